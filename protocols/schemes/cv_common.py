"""What both parties of the CV scheme compute alike, each for itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dsp.coding.fec import Fec
from dsp.coding.frames import FrameCodec
from protocols.estimation.channel import (
    ChannelEstimate,
    Detector,
    Displacement,
    WorstCase,
    estimate_channel,
    worst_case,
)
from protocols.estimation.regression import Sums
from protocols.messages.wire import Calibration, ClassSums
from protocols.reconciliation.met_ldpc import ReconciliationCode
from protocols.security.composable import (
    Ledger,
    aep_bits,
    estimation_bits,
    hashing_bits,
    log2_pattern,
    split_epsilon,
)
from protocols.settings import ClassicalSettings, SecuritySettings
from protocols.verification.tags import TAG_BITS, collision_probability
from scqc.core.errors import PeerError, ProtocolAbort

# A key shorter than this is not worth a block.
MINIMUM_KEY_BITS = 256


@dataclass(frozen=True, slots=True)
class Distillation:
    """Everything that fixes the length of the key.

    Parameters
    ----------
    estimate : ChannelEstimate
    worst : WorstCase
    ledger : Ledger
    epsilon : float
        Total security parameter reached [1].
    """

    estimate: ChannelEstimate
    worst: WorstCase
    ledger: Ledger
    epsilon: float

    @property
    def secret_bits(self) -> int:
        """Length of the key; zero below the smallest useful key."""
        bits = self.ledger.secret_bits
        return bits if bits >= MINIMUM_KEY_BITS else 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """Public result of reconciliation, frame by frame.

    Parameters
    ----------
    accepted : ndarray, shape (n_frames,), bool
        Decoded and verified, at once or after the retry.
    retried : ndarray, shape (n_frames,), bool
        Failed at first, so that a further row of checks was disclosed.
    """

    accepted: NDArray[np.bool_]
    retried: NDArray[np.bool_]


def frame_codec(settings: ClassicalSettings, run_id: bytes) -> FrameCodec:
    """Return the codec of the classical frames."""
    return FrameCodec(Fec(settings.fec_rate), run_id)


def detector(settings: SecuritySettings, calibration: Calibration) -> Detector:
    """Return Bob's detector as calibrated.

    Raises
    ------
    PeerError
        If the calibration has no samples or a negative variance.
    """
    if min(calibration.n_shot, calibration.n_electronic) < 1000:
        raise PeerError(
            f"calibration: {calibration.n_shot} shot and {calibration.n_electronic} "
            "electronic samples, at least 1000 are needed"
        )
    if calibration.electronic_snu < 0.0:
        raise PeerError(
            f"calibration: electronic noise {calibration.electronic_snu} SNU below 0"
        )
    return Detector(
        settings.detector_efficiency,
        calibration.electronic_snu,
        calibration.n_shot,
        calibration.n_electronic,
        settings.trusted_detector,
    )


def total(sums: Sequence[ClassSums]) -> Sums:
    """Add up all classes."""
    whole = Sums(0, 0.0, 0.0, 0.0)
    for part in sums:
        whole = whole + Sums(part.n, part.xx, part.xy, part.yy)
    return whole


def distil(
    told: tuple[Sequence[ClassSums], int],
    receiver: Detector,
    displacement: Displacement,
    code: ReconciliationCode,
    outcome: Outcome,
    settings: SecuritySettings,
) -> Distillation:
    """Estimate the channel and count the key, on either side.

    Parameters
    ----------
    told : tuple of sequence of ClassSums and int
        The statistics of all frames, also those that failed, and for how many bursts
        there were more.
    receiver : Detector
    displacement : {"none", "error-corrected", "raw-decisions"}
    code : ReconciliationCode
    outcome : Outcome
    settings : SecuritySettings

    Raises
    ------
    ProtocolAbort
        If the estimate is impossible, or no frame was accepted.
    """
    sums, bursts = told
    frames, kept = outcome.accepted.size, int(np.count_nonzero(outcome.accepted))
    retried = int(np.count_nonzero(outcome.accepted & outcome.retried))
    estimate = estimate_channel(total(sums), receiver, displacement)
    budget = split_epsilon(settings.epsilon)
    worst = worst_case(estimate, budget.estimation)
    collision = frames * collision_probability(code.n)
    if collision > budget.correctness:
        raise ProtocolAbort(
            f"verification: collision probability {collision:.2g} of {frames} tags, "
            f"limit {budget.correctness:.2g}"
        )
    accepted = log2_pattern(frames, kept)
    kept_bits = kept * code.n
    ledger = Ledger(
        raw_bits=frames * code.n,
        failed_bits=(frames - kept) * code.n,
        syndrome_bits=kept * code.leak_bits,
        revealed_bits=retried * code.retry_leak_bits,
        verification_bits=kept * TAG_BITS,
        # One flag per frame and round.
        flag_bits=frames + int(np.count_nonzero(outcome.retried)),
        estimation_bits=estimation_bits(len(sums), bursts),
        # Two quadratures to a symbol.
        holevo_bits=0.5 * kept_bits * worst.holevo_bits,
        aep_bits=aep_bits(kept_bits, accepted, budget.smoothing),
        hashing_bits=hashing_bits(accepted, budget.smoothing, budget.hashing),
        frames_total=frames,
        frames_kept=kept,
    )
    return Distillation(estimate, worst, ledger, budget.total)


def symbols_for_a_key(distillation: Distillation, limit: int = 1 << 44) -> int | None:
    """Return how many symbols would give a key at the same estimates.

    Returns
    -------
    int or None
        None if no block below `limit` symbols gives a key: too much noise.
    """
    symbols = distillation.ledger.raw_bits // 2
    lower, upper = 1e-3, limit / max(symbols, 1)
    if _balance_at(distillation, upper) < MINIMUM_KEY_BITS:
        return None
    # The balance rises with the size once it is positive: bisect its logarithm.
    while upper > 1.02 * lower:
        factor = math.sqrt(upper * lower)
        if _balance_at(distillation, factor) < MINIMUM_KEY_BITS:
            lower = factor
        else:
            upper = factor
    return math.ceil(symbols * upper)


def _balance_at(distillation: Distillation, factor: float) -> float:
    """Return the ledger's balance [bit] for a block `factor` times as large.

    Counts grow with the factor, standard deviations and the finite-size term with
    its root, and the estimate is told in as many numbers.
    """
    estimate, ledger = distillation.estimate, distillation.ledger
    root, sigmas = math.sqrt(factor), distillation.worst.sigmas
    grown = replace(
        estimate,
        transmittance_sigma=estimate.transmittance_sigma / root,
        noise_bob_sigma_snu=estimate.noise_bob_sigma_snu / root,
        electronic_sigma_snu=estimate.electronic_sigma_snu / root,
    )
    if grown.transmittance <= sigmas * grown.transmittance_sigma:
        return -math.inf
    # The epsilon whose box has the same number of sigmas.
    holevo = worst_case(grown, 3.0 * math.exp(-0.5 * sigmas**2)).holevo_bits
    kept = ledger.kept_bits
    told = ledger.estimation_bits
    gained = kept - (ledger.leak_bits - told) - 0.5 * kept * holevo
    return gained * factor - ledger.aep_bits * root - ledger.hashing_bits - told
