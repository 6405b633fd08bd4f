"""Alice of the CV scheme: she knows what she sent, and learns what Bob measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp.decision import bits_per_symbol
from protocols.estimation.channel import Displacement
from protocols.estimation.regression import regress, regress_classes
from protocols.messages import wire
from protocols.messages.base import Message
from protocols.privacy_amplification import toeplitz
from protocols.reconciliation import multidimensional
from protocols.reconciliation.met_ldpc import ReconciliationCode
from protocols.schemes.cv_common import Distillation, Outcome, detector, distil
from protocols.schemes.party import Party
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    PublicChannel,
)
from protocols.settings import ClassicalSettings, SecuritySettings
from protocols.verification.tags import TAG_BITS, tags
from scqc.core.errors import PeerError
from scqc.core.rng import permutation

NORM_LIMIT = 1e3
GAIN_LIMIT = 1e9


@dataclass(frozen=True, slots=True)
class AliceRecord:
    """What Alice prepared.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [sqrt(SNU)]
        Gaussian variables at the channel input, without displacement.
    coded : ndarray, shape (n_frames, n_bits), uint8 [bit]
        Coded bits of all frames; empty without displacement.
    payload_sha256 : bytes
    n_bursts : int
        Bursts of equal length that `symbols` came in [1].
    payload_frames : int
        Of the frames, the first ones that carry the payload [1].
    """

    symbols: NDArray[np.complex64]
    coded: NDArray[np.uint8]
    payload_sha256: bytes
    n_bursts: int = 1
    payload_frames: int = 0


class CvAlice(Party):
    """State machine without input or output: bytes in, bytes out.

    Parameters
    ----------
    record : AliceRecord
    classical, security : settings
    channel : PublicChannel
    """

    def __init__(
        self,
        record: AliceRecord,
        classical: ClassicalSettings,
        security: SecuritySettings,
        channel: PublicChannel,
    ) -> None:
        directions = (ALICE_TO_BOB, BOB_TO_ALICE)
        super().__init__("alice", channel, directions, wire.FrameReport)
        self._record, self._classical, self._security = record, classical, security
        self.distillation: Distillation | None = None
        self._whole = False

    @property
    def delivered(self) -> bool:
        """Whether Bob, authenticated, has every frame of the payload."""
        return self.authenticated and self._whole

    def _answers(self, message: Message) -> Iterable[wire.AnyMessage]:
        match message:
            case wire.FrameReport():
                return self._disclose_frames(message)
            case wire.SampleRequest():
                return self._disclose_sample(message)
            case wire.ReconciliationOffer():
                return self._reconcile(message)
            case wire.RetrySyndromes():
                return self._retry(message)
            case wire.FailedFrames():
                return self._estimate(message)
            case wire.Amplification():
                return self._amplify(message)
        return []

    def _disclose_frames(self, report: wire.FrameReport) -> list[wire.AnyMessage]:
        coded = self._record.coded
        if report.n_frames != coded.shape[0]:
            raise PeerError(
                f"frame report: {report.n_frames} frames, sent {coded.shape[0]}"
            )
        ok = wire.unpack_bits("frame report", report.crc_ok, report.n_frames)
        self._expected = (wire.SampleRequest,)
        wanted = self._record.payload_frames
        self._whole = bool(wanted and ok[:wanted].all())
        failed = wire.pack_bits(coded[ok == 0])
        return [wire.FrameDisclosure(self._record.payload_sha256, failed)]

    def _disclose_sample(self, request: wire.SampleRequest) -> list[wire.AnyMessage]:
        n = self._record.symbols.size
        if request.n_symbols != n or not 0 < request.n_sample < n:
            raise PeerError(
                f"sample request: {request.n_sample} of {request.n_symbols} symbols, "
                f"sent {n}"
            )
        order = permutation(request.permutation_seed, n).astype(np.int32)
        shuffled = self._record.symbols[order]
        self._values = shuffled[request.n_sample :].view(np.float32)
        self._bits = self._signs(order[request.n_sample :])
        self._bursts = order[request.n_sample :] // (n // self._record.n_bursts)
        self._expected = (wire.ReconciliationOffer,)
        sample = shuffled[: request.n_sample]
        return [wire.SampleDisclosure(sample.tobytes())]

    def _signs(self, order: NDArray[np.int32]) -> NDArray[np.uint8]:
        """Return the bit class of every quadrature in the given order."""
        if self._classical.psk == "none":
            return np.zeros(2 * order.size, dtype=np.uint8)
        per_symbol = bits_per_symbol(self._classical.psk)
        bits = self._record.coded.reshape(-1, per_symbol)
        return np.repeat(bits, 2 // per_symbol, axis=1)[order].ravel()

    def _reconcile(self, offer: wire.ReconciliationOffer) -> list[wire.AnyMessage]:
        code = ReconciliationCode(offer.rate, offer.code_size)
        if code.sha256 != offer.code_sha256:
            raise PeerError("reconciliation: Bob's code is not ours (sha-256 differs)")
        n, frames = code.n, offer.n_frames
        if not 0 < frames * n <= self._values.size:
            raise PeerError(
                f"reconciliation: {frames} frames of {n} quadratures, have "
                f"{self._values.size}"
            )
        side = _side_information(offer, frames * n // 8)
        rows = wire.unpack_bits("syndromes", offer.syndromes, frames * code.leak_bits)
        used = self._values[: frames * n]
        llr = multidimensional.llr(used, side, offer.kappa, offer.sigma2)
        decoded = code.decode(
            llr.reshape(frames, n),
            rows.reshape(frames, code.leak_bits),
            self._security.decoder_iterations,
            self._security.threads,
        )
        sent = wire.unpack_array(
            "tags", offer.tags, "|u1", frames * TAG_BITS // 8
        ).reshape(frames, -1)
        equal = np.all(tags(decoded.words, offer.tag_key) == sent, axis=1)
        self._offer, self._code, self._side = offer, code, side
        self._words = decoded.words
        self._rows, self._llr, self._sent_tags = rows, llr, sent
        self._outcome = Outcome(equal, ~equal)
        self.iterations = decoded.iterations
        self._expected = (wire.FailedFrames,) if equal.all() else (wire.RetrySyndromes,)
        return [wire.ReconciliationResult(wire.pack_bits(equal.astype(np.uint8)))]

    def _retry(self, message: wire.RetrySyndromes) -> list[wire.AnyMessage]:
        """Decode what failed once more, with one further row of checks."""
        code, failed = self._code, np.flatnonzero(self._outcome.retried)
        width = code.retry_leak_bits
        extra = wire.unpack_bits("retry", message.syndromes, failed.size * width)
        decoded = code.decode_again(
            self._llr.reshape(-1, code.n)[failed],
            self._rows.reshape(-1, code.leak_bits)[failed],
            extra.reshape(failed.size, width),
            self._security.decoder_iterations,
            self._security.threads,
        )
        self._words[failed] = decoded.words
        made = tags(decoded.words, self._offer.tag_key)
        accepted = self._outcome.accepted.copy()
        accepted[failed] = np.all(made == self._sent_tags[failed], axis=1)
        self._outcome = Outcome(accepted, self._outcome.retried)
        self._expected = (wire.FailedFrames,)
        return [wire.ReconciliationResult(wire.pack_bits(accepted.astype(np.uint8)))]

    def _estimate(self, message: wire.FailedFrames) -> list[wire.AnyMessage]:
        failed = np.flatnonzero(~self._outcome.accepted)
        bits = wire.unpack_bits(
            "failed frames", message.bits, failed.size * self._code.n
        )
        words = self._words
        words[failed] = bits.reshape(failed.size, self._code.n)
        # From the key bits and Bob's side information all his data follow.
        bob = multidimensional.recover_y(words.ravel(), self._side)
        bob[0::2] *= np.float32(self._offer.deviations[0])
        bob[1::2] *= np.float32(self._offer.deviations[1])
        used = bob.size
        quadrature = np.tile(np.array([0, 1], dtype=np.uint8), used // 2)
        classes = regress_classes(
            self._values[:used], bob, quadrature, self._bits[:used]
        )
        self._sums = [
            wire.ClassSums(name, s.n, s.xx, s.xy, s.yy) for name, s in classes.items()
        ]
        self._expected = (wire.Amplification,)
        burst = np.repeat(self._bursts[: used // 2], 2)
        by_time = []
        for number in range(self._record.n_bursts):
            part = burst == number
            sums = regress(self._values[:used][part], bob[part])
            by_time.append(
                wire.ClassSums(str(number), sums.n, sums.xx, sums.xy, sums.yy)
            )
        return [wire.EstimationReport(self._sums, by_time)]

    def _amplify(self, message: wire.Amplification) -> Iterator[wire.AnyMessage]:
        displacement: Displacement = (
            "none" if self._classical.psk == "none" else "error-corrected"
        )
        secret = 0
        if self._outcome.accepted.any():
            self.distillation = distil(
                (self._sums, self._record.n_bursts),
                detector(self._security, self._offer.calibration),
                displacement,
                self._code,
                self._outcome,
                self._security,
            )
            secret = self.distillation.secret_bits
            self.epsilon = self.distillation.epsilon
        if message.secret_bits != secret:
            raise PeerError(
                f"amplification: Bob counts {message.secret_bits} secret bits, we "
                f"count {secret}"
            )
        if secret:
            raw = int(np.count_nonzero(self._outcome.accepted)) * self._code.n
            if 8 * len(message.seed) < toeplitz.seed_length(raw):
                raise PeerError(
                    f"amplification: seed of {len(message.seed)} bytes for {raw} bits"
                )
            accepted = self._words[self._outcome.accepted].ravel()
            self._key = toeplitz.compress(accepted, message.seed, secret)
        self._secret_bits = secret
        self._expected = (wire.TranscriptTag,)
        yield wire.Verdict(secret)
        # The verdict is sent by now, so the tag covers it too.
        yield self._tag()


def _side_information(
    offer: wire.ReconciliationOffer, groups: int
) -> multidimensional.SideInfo:
    """Unpack Bob's rotations and norms; refuse what no measurement gives."""
    alpha = wire.unpack_array("alpha", offer.alpha, "<i2", 8 * groups)
    norm = wire.unpack_array("norm", offer.norm, "<f4", groups).astype(np.float32)
    rotations = alpha.reshape(groups, 8).astype(np.int16)
    if not rotations.any(axis=1).all():
        raise PeerError("alpha: a rotation is all zeros")
    # Bob's quadratures have unit variance: a norm is about sqrt(8).
    if not (np.all(norm > 0.0) and np.all(norm < NORM_LIMIT)):
        raise PeerError(f"norm: a value outside 0 to {NORM_LIMIT:g}")
    if not abs(offer.kappa) < GAIN_LIMIT * offer.sigma2:
        raise PeerError(
            f"reconciliation: kappa {offer.kappa:.3g} and noise variance "
            f"{offer.sigma2:.3g} SNU, their ratio must be below {GAIN_LIMIT:g}"
        )
    return multidimensional.SideInfo(rotations, norm)
