"""Bob of the CV scheme: he decodes, removes the displacement, and makes the key.

Bob uses his own samples and what Alice disclosed, nothing else.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dsp.pipeline import ReceivedBurst
from protocols.estimation.channel import Detector, Displacement
from protocols.estimation.regression import Sums, regress
from protocols.messages import wire
from protocols.messages.base import Message
from protocols.privacy_amplification import toeplitz
from protocols.reconciliation import multidimensional
from protocols.reconciliation.met_ldpc import ReconciliationCode
from protocols.reconciliation.rates import MEASURED, choose_rate
from protocols.schemes.cv_common import (
    Distillation,
    Outcome,
    detector,
    distil,
)
from protocols.schemes.cv_reception import ClassicalReport, Reception
from protocols.schemes.party import Party
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    PublicChannel,
)
from protocols.settings import SecuritySettings
from protocols.verification.tags import tags
from scqc.core.errors import PeerError, ProtocolAbort
from scqc.core.rng import EntropySource, permutation, random_bits


class CvBob(Party):
    """State machine without input or output: bytes in, bytes out.

    Parameters
    ----------
    bursts : list of ReceivedBurst
        Of one block, in order.
    reception : Reception or None
        Decodes the same bursts; None without displacement.
    security : SecuritySettings
    entropy : EntropySource
        For the raw key, the permutation and all seeds.
    channel : PublicChannel
    permutation_seed : bytes, 32 bytes, optional
        Public seed of an earlier processing of the same capture: the same symbols
        are disclosed and the same figures come out.
    """

    def __init__(
        self,
        bursts: list[ReceivedBurst],
        reception: Reception | None,
        security: SecuritySettings,
        entropy: EntropySource,
        channel: PublicChannel,
        permutation_seed: bytes | None = None,
    ) -> None:
        directions = (BOB_TO_ALICE, ALICE_TO_BOB)
        super().__init__("bob", channel, directions, wire.FrameDisclosure)
        self._bursts, self._reception = bursts, reception
        self._security, self._entropy = security, entropy
        self._given_seed = permutation_seed
        self.distillation: Distillation | None = None
        self.sample_sums: dict[str, Sums] = {}
        self.class_sums: list[wire.ClassSums] = []
        self.burst_sums: list[wire.ClassSums] = []
        self.code: ReconciliationCode | None = None
        self.outcome: Outcome | None = None
        self._disclosed = np.zeros(0, dtype=np.int64)

    @property
    def report(self) -> ClassicalReport:
        """What became of the classical frames; empty without displacement."""
        if self._reception is None:
            return ClassicalReport()
        return self._reception.report

    @property
    def n_symbols(self) -> int:
        """Data symbols of the block [1]."""
        return sum(burst.symbols.size for burst in self._bursts)

    def disclosed_sample(
        self, n: int
    ) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
        """Return some of the symbols that Alice disclosed, for figures.

        No other symbol may be shown: with the side information on the public
        channel, Bob's value of a key symbol gives its raw key bits.

        Returns
        -------
        displaced, residual : ndarray, shape (<= n,), complex64 [sqrt(SNU)]
            As received, and after the displacement was removed.
        """
        shown = np.sort(self._disclosed[:n])
        starts = np.cumsum([0, *(b.symbols.size for b in self._bursts)])
        displaced = [
            burst.symbols[shown[(shown >= a) & (shown < a + burst.symbols.size)] - a]
            / burst.unit.scale
            for burst, a in zip(self._bursts, starts[:-1], strict=True)
        ]
        return (
            np.concatenate(displaced).astype(np.complex64),
            self._symbols[shown].copy(),
        )

    def start(self) -> list[bytes]:
        """Decode the classical frames and open the exchange."""
        flags = np.zeros(0, dtype=np.bool_)
        if self._reception is not None:
            flags = self._reception.decode()
        packed = wire.pack_bits(flags.astype(np.uint8))
        return [self._transcript.send(wire.FrameReport(flags.size, packed))]

    def _answers(self, message: Message) -> list[wire.AnyMessage]:
        match message:
            case wire.FrameDisclosure():
                return self._request_sample(message)
            case wire.SampleDisclosure():
                return self._offer(message)
            case wire.ReconciliationResult():
                return self._disclose_failed(message)
            case wire.EstimationReport():
                return self._distil(message)
            case wire.Verdict():
                return self._check_verdict(message)
            case wire.TranscriptTag():
                return [self._tag()]
        return []

    def _request_sample(
        self, disclosure: wire.FrameDisclosure
    ) -> list[wire.AnyMessage]:
        """Clean the symbols, then ask for a random sample of Alice's values."""
        if self._reception is not None:
            self._symbols = self._reception.clean(disclosure)
        else:
            self._symbols = np.concatenate(
                [b.symbols * np.float32(1.0 / b.unit.scale) for b in self._bursts]
            )
        fresh = self._entropy.read(32)
        self._seed = fresh if self._given_seed is None else self._given_seed
        n = self._symbols.size
        self._n_sample = min(self._security.disclosed_symbols, n // 2)
        self._expected = (wire.SampleDisclosure,)
        return [wire.SampleRequest(self._seed, n, self._n_sample)]

    def _offer(self, disclosure: wire.SampleDisclosure) -> list[wire.AnyMessage]:
        """Choose the rate from the sample and publish side information."""
        values = self._learn_from_sample(disclosure)
        pooled = self.sample_sums["x"] + self.sample_sums["p"]
        code = self.code = self._choose_code(pooled, values.size)
        frames = values.size // code.n
        values = values[: frames * code.n]
        deviations = (float(np.std(values[0::2])), float(np.std(values[1::2])))
        for q, deviation in enumerate(deviations):
            values[q::2] /= np.float32(deviation)
        self._sum_yy = tuple(
            deviation**2 * float(np.sum(np.square(values[q::2], dtype=np.float64)))
            for q, deviation in enumerate(deviations)
        )
        # Alice's variable given his: x = kappa y + z.
        kappa = 0.5 * sum(
            s.xy / s.n / d
            for s, d in zip(self.sample_sums.values(), deviations, strict=True)
        )
        words = random_bits(self._entropy, values.size)
        side = self._side = multidimensional.encode(values, words)
        self._words = words.reshape(frames, code.n)
        tag_key = self._entropy.read(16)
        self._expected = (wire.ReconciliationResult,)
        return [
            wire.ReconciliationOffer(
                rate=code.rate,
                code_size=code.size,
                code_sha256=code.sha256,
                n_frames=frames,
                kappa=kappa,
                sigma2=pooled.xx / pooled.n - kappa**2,
                deviations=deviations,
                alpha=side.alpha.astype("<i2").tobytes(),
                norm=side.norm.astype("<f4").tobytes(),
                syndromes=wire.pack_bits(code.syndrome(self._words)),
                tag_key=tag_key,
                tags=tags(self._words, tag_key).tobytes(),
                calibration=self.calibration(),
            )
        ]

    def _learn_from_sample(
        self, disclosure: wire.SampleDisclosure
    ) -> NDArray[np.float32]:
        """Turn to Alice's axes, measure the SNR; return the undisclosed quadratures.

        Returns
        -------
        ndarray, shape (2 * (n_symbols - n_sample),), float32 [sqrt(SNU)]
        """
        m, order = self._n_sample, permutation(self._seed, self._symbols.size)
        self._disclosed = order[:m].copy()
        shuffled = self._symbols[order]
        alice = wire.unpack_array("sample", disclosure.values, "<c8", m).astype(
            np.complex64
        )
        # The phase of the rest is turned by what the sample shows: cross-fitted.
        turn = complex(np.vdot(shuffled[:m].astype(np.complex128), alice))
        if not 0.0 < abs(turn) < math.inf:
            raise PeerError(
                f"sample: Alice's values have covariance {turn:.3g} with ours, which "
                "gives no phase"
            )
        shuffled *= np.complex64(turn / abs(turn))
        sample = shuffled[:m]
        self.sample_sums = {
            "x": regress(alice.real.copy(), sample.real.copy()),
            "p": regress(alice.imag.copy(), sample.imag.copy()),
        }
        return shuffled[m:].view(np.float32)

    def _choose_code(self, sample: Sums, n_quadratures: int) -> ReconciliationCode:
        """Return the code whose rate the sample's SNR allows.

        A block shorter than one frame of the configured size takes a smaller code:
        it ends in a verdict about its size, not in an error.
        """
        wanted = self._security.code_size
        for size in sorted((s for s in MEASURED if s <= wanted), reverse=True):
            rate = choose_rate(
                sample.snr, sample.snr_sigma, self._security.rate_margin_sigmas, size
            )
            code = ReconciliationCode(rate, size)
            if code.n <= n_quadratures:
                return code
        raise ProtocolAbort(
            f"reconciliation: {n_quadratures} quadratures are less than one frame of "
            f"the smallest code, {code.n}; a longer run is needed"
        )

    def calibration(self) -> wire.Calibration:
        """Return the pooled calibration of all bursts."""
        n_shot = sum(b.unit.n_shot for b in self._bursts)
        n_dark = sum(b.unit.n_electronic for b in self._bursts)
        dark = sum(b.unit.electronic_snu * b.unit.n_electronic for b in self._bursts)
        return wire.Calibration(dark / n_dark, n_shot, n_dark)

    def detector(self) -> Detector:
        """Return the detector as calibrated."""
        return detector(self._security, self.calibration())

    @property
    def displacement(self) -> Displacement:
        """How the displacement was removed."""
        return "none" if self._reception is None else "error-corrected"

    def _disclose_failed(
        self, result: wire.ReconciliationResult
    ) -> list[wire.AnyMessage]:
        frames = self._words.shape[0]
        flags = wire.unpack_bits("reconciliation result", result.accepted, frames)
        first = self.outcome is None
        accepted = flags.astype(np.bool_)
        retried = ~accepted if self.outcome is None else self.outcome.retried
        if self.outcome is not None and np.any(self.outcome.accepted & ~accepted):
            raise PeerError("reconciliation: Alice takes back an accepted frame")
        self.outcome = Outcome(accepted, retried)
        if first and not accepted.all() and self.code is not None:
            rows = self.code.retry_syndrome(self._words[retried])
            return [wire.RetrySyndromes(wire.pack_bits(rows))]
        self._expected = (wire.EstimationReport,)
        return [wire.FailedFrames(wire.pack_bits(self._words[~accepted]))]

    def _distil(self, report: wire.EstimationReport) -> list[wire.AnyMessage]:
        """Check Alice's statistics against our own, then count the key."""
        for q, name in enumerate(("x", "p")):
            theirs = sum(s.yy for s in report.sums if s.name.startswith(name))
            ours = self._sum_yy[q]
            # She rebuilds our data from rounded side information (16 bit).
            if abs(theirs - ours) > 1e-4 * ours:
                raise ProtocolAbort(
                    f"estimation: Alice's sum of our {name} data is {theirs:.6g}, ours "
                    f"{ours:.6g}; they must agree to 1e-4"
                )
        self.class_sums, self.burst_sums = report.sums, report.bursts
        secret, seed = 0, b""
        outcome, code = self.outcome, self.code
        if outcome is None or code is None:
            raise PeerError("bob: estimation before reconciliation")
        if outcome.accepted.any():
            self.distillation = distil(
                (report.sums, len(report.bursts)),
                self.detector(),
                self.displacement,
                code,
                outcome,
                self._security,
            )
            secret = self.distillation.secret_bits
            self.epsilon = self.distillation.epsilon
        if secret:
            raw = int(np.count_nonzero(outcome.accepted)) * code.n
            seed = self._entropy.read((toeplitz.seed_length(raw) + 7) // 8)
            raw_bits = self._words[outcome.accepted].ravel()
            self._key = toeplitz.compress(raw_bits, seed, secret)
        self._secret_bits = secret
        self._expected = (wire.Verdict,)
        return [wire.Amplification(secret, seed)]

    def _check_verdict(self, verdict: wire.Verdict) -> list[wire.AnyMessage]:
        if verdict.secret_bits != self._secret_bits:
            raise PeerError(
                f"verdict: Alice counts {verdict.secret_bits} secret bits, we count "
                f"{self._secret_bits}"
            )
        self._expected = (wire.TranscriptTag,)
        return []
