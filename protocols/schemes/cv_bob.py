"""Bob of the CV scheme: he decodes, removes the displacement, and makes the key.

Bob uses his own samples and what Alice disclosed, nothing else.
"""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.coding.frames import FrameCodec, OpenedFrames
from dsp.decision import DecisionScale, decision_scale, map_bits, soft_bits
from dsp.decision_phase import refine_phase
from dsp.displacement import remove_displacement
from dsp.framing import preamble_symbols
from dsp.pipeline import ReceivedBurst
from dsp.settings import FrameLayout, QpskPreamble
from protocols.estimation.channel import Detector, Displacement
from protocols.estimation.regression import Sums, regress
from protocols.messages import wire
from protocols.privacy_amplification import toeplitz
from protocols.reconciliation import multidimensional
from protocols.reconciliation.met_ldpc import ReconciliationCode
from protocols.reconciliation.rates import choose_rate
from protocols.schemes.cv_common import (
    Distillation,
    Outcome,
    amplify,
    detector,
    distil,
)
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    LinkKeys,
    Transcript,
)
from protocols.settings import ClassicalSettings, SecuritySettings
from protocols.verification.tags import tags
from scqc.core.errors import PayloadError, PeerError, ProtocolAbort, SignalError
from scqc.core.rng import EntropySource, permutation, random_bits


@dataclass(slots=True)
class ClassicalReport:
    """What became of the classical frames."""

    frames: int = 0
    frames_lost: int = 0
    raw_errors: int = 0
    burst_raw_errors: list[int] = field(default_factory=list)
    burst_raw_bits: list[int] = field(default_factory=list)
    fec_errors: int = 0
    raw_bits: int = 0
    iterations: list[int] = field(default_factory=list)
    payload: bytes | None = None
    payload_problem: str = ""
    scales: list[DecisionScale] = field(default_factory=list)


class CvBob:
    """State machine without input or output: bytes in, bytes out.

    Parameters
    ----------
    bursts : list of ReceivedBurst
        Of one block, in order.
    layout : FrameLayout
    classical, security : settings
    n_taps : int
        Taps of the displacement's cancellation [symbol].
    codec : FrameCodec or None
        None without displacement.
    entropy : EntropySource
        For the raw key, the permutation and all seeds.
    link : str
    keys : dict
        Authentication keys by direction.
    decision_directed : bool
        Whether decoded symbols refine the phase of their neighbours.
    permutation_seed : bytes, 32 bytes, optional
        Public seed of an earlier processing of the same capture: the same symbols
        are disclosed and the same figures come out.
    """

    def __init__(
        self,
        bursts: list[ReceivedBurst],
        layout: FrameLayout,
        classical: ClassicalSettings,
        security: SecuritySettings,
        n_taps: int,
        codec: FrameCodec | None,
        entropy: EntropySource,
        link: str,
        keys: dict[str, LinkKeys],
        *,
        decision_directed: bool = False,
        permutation_seed: bytes | None = None,
    ) -> None:
        self._decision_directed = decision_directed
        self._given_seed = permutation_seed
        self._bursts, self._layout, self._n_taps = bursts, layout, n_taps
        self._classical, self._security, self._codec = classical, security, codec
        self._entropy = entropy
        self._transcript = Transcript(link, BOB_TO_ALICE, ALICE_TO_BOB, keys)
        self._expected: type[wire.Message] = wire.FrameDisclosure
        self._opened: list[OpenedFrames] = []
        self.report = ClassicalReport()
        self.distillation: Distillation | None = None
        self.sample_sums: dict[str, Sums] = {}
        self.class_sums: list[wire.ClassSums] = []
        self.burst_sums: list[wire.ClassSums] = []
        self.authenticated = False
        self.code: ReconciliationCode | None = None
        self.outcome: Outcome | None = None
        self._secret_bits = 0
        self._key = b""
        self._disclosed = np.zeros(0, dtype=np.int64)

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

    @property
    def finished(self) -> bool:
        """Whether the exchange has come to its end."""
        return self.authenticated

    def key(self) -> tuple[bytes, int]:
        """Return the packed key and its length [bit].

        Raises
        ------
        PeerError
            Before Alice's transcript was authenticated.
        """
        if not self.authenticated:
            raise PeerError("bob: no key before the transcript is authenticated")
        return self._key, self._secret_bits

    def start(self) -> list[bytes]:
        """Decode the classical frames and open the exchange."""
        if self._codec is not None:
            with ThreadPoolExecutor(self._security.threads) as pool:
                self._opened = list(pool.map(self._open, range(len(self._bursts))))
        ok = [o.crc_ok for o in self._opened]
        flags = np.concatenate(ok) if ok else np.zeros(0, dtype=np.bool_)
        if flags.size and not flags.any():
            raise SignalError(
                f"classical frames: none of {flags.size} passed its CRC; lower "
                "target_raw_ber or fec_rate, or check that the run's frames are these"
            )
        self._crc_ok = flags
        self.report.frames = int(flags.size)
        self.report.frames_lost = int(np.count_nonzero(~flags))
        self.report.iterations = [int(i) for o in self._opened for i in o.iterations]
        packed = wire.pack_bits(flags.astype(np.uint8))
        return [self._transcript.send(wire.FrameReport(flags.size, packed))]

    def receive(self, data: bytes) -> list[bytes]:
        """Take one message of Alice's; return the answers.

        Raises
        ------
        PeerError
            If the message is malformed or not the one expected now.
        ProtocolAbort
            If a security check fails.
        """
        message = self._transcript.receive(data)
        if not isinstance(message, self._expected):
            raise PeerError(
                f"bob: got {type(message).__name__}, expected {self._expected.__name__}"
            )
        match message:
            case wire.FrameDisclosure():
                answers = self._remove_displacement(message)
            case wire.SampleDisclosure():
                answers = self._offer(message)
            case wire.ReconciliationResult():
                answers = self._disclose_failed(message)
            case wire.EstimationReport():
                answers = self._distil(message)
            case wire.Verdict():
                answers = self._check_verdict(message)
            case wire.TranscriptTag():
                self._transcript.check_peer(message.tag)
                self.authenticated = True
                answers = [wire.TranscriptTag(self._transcript.own_tag())]
            case _:
                raise PeerError(f"bob: unexpected {type(message).__name__}")
        return [self._transcript.send(answer) for answer in answers]

    # The classical stream -----------------------------------------------------

    def _open(self, index: int) -> OpenedFrames:
        burst, codec = self._bursts[index], self._codec
        if codec is None or self._classical.psk == "none":
            raise ProtocolAbort("bob: no frames without displacement")
        scale = decision_scale(burst.symbols)
        llr = soft_bits(burst.symbols, scale, self._classical.psk)
        frames = self._classical.frames_per_burst
        return codec.open(
            llr.reshape(frames, codec.fec.n_bits),
            index * frames,
            self._classical.fec_iterations,
        )

    def _remove_displacement(
        self, disclosure: wire.FrameDisclosure
    ) -> list[wire.AnyMessage]:
        """Subtract the displacement of every frame, decoded or disclosed."""
        parts = []
        if self._codec is not None:
            n_bits = self._codec.fec.n_bits
            coded = np.concatenate([o.coded for o in self._opened])
            failed = np.flatnonzero(~self._crc_ok)
            bits = wire.unpack_bits(
                "frame disclosure", disclosure.coded, failed.size * n_bits
            )
            sent = bits.reshape(failed.size, n_bits)
            self.report.fec_errors = int(np.count_nonzero(coded[failed] != sent))
            coded[failed] = sent
            per_burst = coded.reshape(len(self._bursts), -1)
            with ThreadPoolExecutor(self._security.threads) as pool:
                parts = list(pool.map(self._clean, self._bursts, per_burst))
            self.report.burst_raw_errors = [p[1] for p in parts]
            self.report.burst_raw_bits = [2 * p[0].size for p in parts]
            self.report.raw_errors = sum(self.report.burst_raw_errors)
            self.report.raw_bits = sum(self.report.burst_raw_bits)
            self.report.scales = [p[2] for p in parts]
            if self._crc_ok.any():
                self._deliver(disclosure.payload_sha256)
        else:
            for burst in self._bursts:
                scale = np.float32(1.0 / burst.unit.scale)
                parts.append((burst.symbols * scale, 0, DecisionScale(0.0, 0.0)))
        self._symbols = np.concatenate([p[0] for p in parts])
        self._expected = wire.SampleDisclosure
        fresh = self._entropy.read(32)
        self._seed = fresh if self._given_seed is None else self._given_seed
        n = self._symbols.size
        self._n_sample = min(self._security.disclosed_symbols, n // 2)
        return [wire.SampleRequest(self._seed, n, self._n_sample)]

    def _clean(
        self, burst: ReceivedBurst, coded: NDArray[np.uint8]
    ) -> tuple[NDArray[np.complex64], int, DecisionScale]:
        """Return one burst's symbols in sqrt(SNU), raw errors, decision scale."""
        if self._classical.psk == "none":
            raise ProtocolAbort("bob: no displacement to remove")
        directions = map_bits(coded, self._classical.psk)
        signs = directions.view(np.float32)
        wrong = int(np.count_nonzero(burst.symbols.view(np.float32) * signs < 0.0))
        scale = decision_scale(burst.symbols)
        in_snu = DecisionScale(
            scale.amplitude / burst.unit.scale, scale.variance / burst.unit.scale**2
        )
        before = np.zeros(0, dtype=np.complex64)
        preamble = self._layout.preamble
        if isinstance(preamble, QpskPreamble):
            ratio = burst.preamble_gain * preamble.amplitude_sqrt_snu / scale.amplitude
            before = (ratio * preamble_symbols(preamble)).astype(np.complex64)
        symbols = burst.symbols
        if self._decision_directed:
            report = burst.report
            symbols = refine_phase(
                symbols,
                directions,
                scale,
                report.lock.phase_noise,
                report.hops_per_symbol,
            )
        removal = remove_displacement(symbols, directions, before, self._n_taps)
        return removal.symbols * np.float32(1.0 / burst.unit.scale), wrong, in_snu

    def _deliver(self, digest: bytes) -> None:
        """Assemble the payload if every frame that carries it arrived."""
        codec = self._codec
        if codec is None:
            return
        try:
            payload = codec.assemble(self._opened)
        except PayloadError as error:
            # Lost frames are a result, not a failure: the key does not need them.
            self.report.payload_problem = str(error)
            return
        if hashlib.sha256(payload).digest() == digest:
            self.report.payload = payload

    # The key ------------------------------------------------------------------

    def _offer(self, disclosure: wire.SampleDisclosure) -> list[wire.AnyMessage]:
        """Choose the rate from the sample and publish side information."""
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
        pooled = self.sample_sums["x"] + self.sample_sums["p"]
        rate = choose_rate(
            pooled.snr,
            pooled.snr_sigma,
            self._security.rate_margin_sigmas,
            self._security.code_size,
        )
        code = self.code = ReconciliationCode(rate, self._security.code_size)
        values = shuffled[m:].view(np.float32)
        frames = values.size // code.n
        if frames == 0:
            raise ProtocolAbort(
                f"reconciliation: {values.size} quadratures are less than one frame of "
                f"{code.n}; use a smaller code_size or a longer run"
            )
        values = values[: frames * code.n]
        deviations = (float(np.std(values[0::2])), float(np.std(values[1::2])))
        values[0::2] /= np.float32(deviations[0])
        values[1::2] /= np.float32(deviations[1])
        kappa = 0.5 * sum(
            s.xy / s.n / d
            for s, d in zip(self.sample_sums.values(), deviations, strict=True)
        )
        sigma2 = pooled.xx / pooled.n - kappa**2
        words = random_bits(self._entropy, values.size)
        side = self._side = multidimensional.encode(values, words)
        self._sum_yy = (
            deviations[0] ** 2
            * float(np.sum(np.square(values[0::2], dtype=np.float64))),
            deviations[1] ** 2
            * float(np.sum(np.square(values[1::2], dtype=np.float64))),
        )
        self._words = words.reshape(frames, code.n)
        tag_key = self._entropy.read(16)
        self._expected = wire.ReconciliationResult
        return [
            wire.ReconciliationOffer(
                rate,
                code.size,
                code.sha256,
                frames,
                kappa,
                sigma2,
                deviations,
                side.alpha.astype("<i2").tobytes(),
                side.norm.astype("<f4").tobytes(),
                wire.pack_bits(code.syndrome(self._words)),
                tag_key,
                tags(self._words, tag_key).tobytes(),
                self.calibration(),
            )
        ]

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
        return "none" if self._codec is None else "error-corrected"

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
        self._expected = wire.EstimationReport
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
                report.sums,
                self.detector(),
                self.displacement,
                code,
                outcome,
                self._security,
            )
            secret = self.distillation.secret_bits
        if secret:
            raw = int(np.count_nonzero(outcome.accepted)) * code.n
            seed = self._entropy.read((toeplitz.seed_length(raw) + 7) // 8)
            self._key = amplify(self._words, outcome.accepted, seed, secret)
        self._secret_bits = secret
        self._expected = wire.Verdict
        return [wire.Amplification(secret, seed)]

    def _check_verdict(self, verdict: wire.Verdict) -> list[wire.AnyMessage]:
        if verdict.secret_bits != self._secret_bits:
            raise PeerError(
                f"verdict: Alice counts {verdict.secret_bits} secret bits, we count "
                f"{self._secret_bits}"
            )
        self._expected = wire.TranscriptTag
        return []
