"""What the run of a planned bench of weak pulses must find."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from protocols.reconciliation.ladder_construct import COLUMNS
from protocols.schemes.photon_common import MINIMUM_KEY_BITS
from protocols.security.decoy import Counts, binary_entropy, estimate
from protocols.security.decoy_length import Disclosed, key_length
from protocols.security.dv_finite import expected_counts, slot_rates
from protocols.verification.tags import TAG_BITS
from scqc.plan.dv import DvPoints
from scqc.plan.scenario import Scenario
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.plan_interval import SIGMAS, Interval, counted
from scqc.runs.plan_photon_bench import (
    OFF_EFFICIENCY,
    bench_efficiency,
    frames_of,
    photon_points,
    scheme_and_fibre,
)

#: How far models may be off, relative: of gains (steps of the converter, second orders;
#: what the dead time leaves out comes on top), and of error rates.
OFF_GAIN, OFF_ERRORS = 0.003, 0.01


def expected_photon_run(
    scenario: Scenario, config: PhotonConfig
) -> dict[str, Interval]:
    """Return the intervals of a run: gains, errors, key.

    Parameters
    ----------
    scenario : Scenario
    config : PhotonConfig
        From `photon_lab_config`.

    Returns
    -------
    dict of str to Interval
        ``gain_signal``, ``gain_decoy``, ``gain_vacuum``, ``qber_z``, ``qber_x`` [1],
        ``secret_bits_per_slot`` [bit].
    """
    points = photon_points(scenario)
    block = _block(scenario, config, points)
    found: dict[str, Interval] = {}
    names = ("signal", "decoy", "vacuum")
    shares = config.decoy.intensities.probabilities
    for name, share, gain in zip(names, shares, points.clicks, strict=True):
        found[f"gain_{name}"] = counted(
            float(np.ravel(gain)[0]), block.slots * share, block.off_gain
        )
    for name, counts in (("z", block.key), ("x", block.check)):
        found[f"qber_{name}"] = counted(
            counts.error_rate, float(max(counts.total, 1)), OFF_ERRORS
        )
    return found | {"secret_bits_per_slot": _key(block)}


@dataclass(frozen=True, slots=True)
class _Block:
    """What a block is expected to count, and what is done with it."""

    slots: float
    all_slots: float
    key: Counts
    check: Counts
    config: PhotonConfig
    efficiency: float
    off_gain: float

    def counting(self, basis: str, counts: Counts) -> _Block:
        """Return the block with other counts of one basis."""
        if basis == "z":
            return replace(self, key=counts)
        return replace(self, check=counts)


def _block(scenario: Scenario, config: PhotonConfig, points: DvPoints) -> _Block:
    scheme, _ = scheme_and_fibre(scenario)
    every = float(config.link.block_slots)
    slots = every * (1.0 - 1.0 / config.link.sync_every)
    sent, z = config.decoy.intensities, config.decoy.z_share
    one = replace(
        points.link,
        transmittance=np.ravel(points.link.transmittance),
        background_yield=float(np.ravel(points.link.background_yield)[0]),
        misalignment=float(np.ravel(points.link.misalignment)[0]),
        ready=np.ravel(points.link.ready),
        blinding=np.ravel(points.link.blinding),
    )
    rates = slot_rates(one, sent)
    key = expected_counts(rates, sent, slots * z**2)
    check = expected_counts(rates, sent, slots * (1.0 - z) ** 2)
    off = OFF_GAIN + float(np.ravel(points.ready_off)[0])
    efficiency = scheme.correction_efficiency
    return _Block(slots, every, key, check, config, efficiency, off)


def _key(block: _Block) -> Interval:
    """Return the key per slot between the worst and the best that may be found.

    The bounds follow the counts; how they spread is told by moving each by a
    standard deviation. The leak follows the error rates: the first word is coded
    for those of the check basis, what it lacks is asked for by those of the key.
    """
    middle = _balance(block, _leak(block, 0.0))
    spread = SIGMAS * math.sqrt(sum(s * s for s in _slopes(block)))
    worst, best = (
        replace(block, key=_scaled(block.key, f), check=_scaled(block.check, f))
        for f in (1.0 - block.off_gain, 1.0 + block.off_gain)
    )
    low = _balance(worst, _leak(worst, SIGMAS)) - spread
    high = _balance(best, _leak(best, -SIGMAS)) + spread
    # Bits beyond the last whole column of a frame are dropped.
    low -= COLUMNS * frames_of(block.key.total) * max(0.0, low) / block.key.total
    bits = [max(0.0, b) / block.all_slots for b in (middle, low, high)]
    if low < MINIMUM_KEY_BITS:
        bits[1] = 0.0
    return Interval(*bits)


def _leak(block: _Block, sigmas: float) -> float:
    """Return the bits disclosed for the correction, errors and codes off by so much."""
    rates = []
    for counts in (block.key, block.check):
        wrong = sum(counts.errors)
        rate = (wrong + sigmas * math.sqrt(max(wrong, 1))) / max(counts.total, 1)
        rates.append(min(max(rate, 0.0), 0.5))
    # Fewer errors in the check basis save nothing: the code's reserve is asked for.
    rate = max(rates) if sigmas >= 0.0 else rates[0]
    efficiency = block.efficiency
    if sigmas:
        own = bench_efficiency(rates[0], block.key.total)
        efficiency = own + OFF_EFFICIENCY * sigmas / SIGMAS
    return max(1.0, efficiency) * binary_entropy(rate) * block.key.total


def _balance(block: _Block, leak_bits: float) -> float:
    """Return what is left of a block's ledger [bit]."""
    security = block.config.security
    secrecy = 0.5 * security.epsilon
    bounds = estimate(
        block.key,
        block.check,
        block.config.decoy.intensities,
        secrecy,
        security.bounds,
    )
    frames = frames_of(block.key.total)
    disclosed = Disclosed(round(leak_bits), 0, TAG_BITS * frames, frames, 0)
    return key_length(block.key.total, bounds, disclosed, secrecy).balance_bits


def _slopes(block: _Block) -> list[float]:
    """Return by how much a standard deviation of every count moves the key [bit]."""
    leak, found = _leak(block, 0.0), []
    for basis, what in (("z", "detections"), ("x", "detections"), ("x", "errors")):
        counts = block.key if basis == "z" else block.check
        for k, n in enumerate(getattr(counts, what)):
            step = max(1, round(math.sqrt(n)))
            sides = [
                _balance(block.counting(basis, _with(counts, what, k, m)), leak)
                for m in (n + step, max(0, n - step))
            ]
            found.append(0.5 * (sides[0] - sides[1]))
    return found


def _with(counts: Counts, what: str, k: int, number: int) -> Counts:
    """Return counts with one number replaced; errors stay among the detections."""
    detections, errors = list(counts.detections), list(counts.errors)
    (detections if what == "detections" else errors)[k] = number
    return _checked(detections, errors)


def _scaled(counts: Counts, factor: float) -> Counts:
    detections = [round(n * factor) for n in counts.detections]
    return _checked(detections, [round(n * factor) for n in counts.errors])


def _checked(detections: list[int], errors: list[int]) -> Counts:
    a, b, c = detections
    return Counts((a, b, c), (min(errors[0], a), min(errors[1], b), min(errors[2], c)))
