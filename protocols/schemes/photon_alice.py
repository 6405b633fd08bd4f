"""Alice of the photon-counting scheme: she prepared the slots and owns the word."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags import slots
from protocols.messages import wire
from protocols.messages.base import Message
from protocols.messages.photon import (
    CascadeStart,
    CheckBits,
    Decoded,
    Detections,
    DirectResult,
    DirectWord,
    MaskedWords,
    PadRange,
    Parities,
    ParityRequest,
    Preparation,
    Reveal,
    RevealRequest,
    Verification,
    Verified,
)
from protocols.privacy_amplification import toeplitz
from protocols.reconciliation import cascade
from protocols.reconciliation.ladder import plan_frames
from protocols.schemes.pads import AlicePads, Pad
from protocols.schemes.party import Party
from protocols.schemes.photon_common import (
    Disclosure,
    PhotonDistillation,
    Sifted,
    by_intensity,
    check_basis,
    distil,
    expected_errors,
    refuse_errors,
    sift,
)
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    PublicChannel,
)
from protocols.settings import DecoySettings, PhotonSecuritySettings
from protocols.verification.tags import tags
from scqc.core.errors import PeerError, ProtocolAbort
from scqc.core.rng import EntropySource, random_bits


@dataclass(frozen=True, slots=True)
class Outgoing:
    """The message of a block, before its pad.

    Parameters
    ----------
    bits : ndarray, shape (n,), uint8 [bit]
        Empty: a block for key only.
    pads : AlicePads or None
        Where the pad comes from; None only without a message.
    spent : Pad or None
        Pad of a direct encoding, spent before the light was sent.
    """

    bits: NDArray[np.uint8] = field(repr=False)
    pads: AlicePads | None = None
    spent: Pad | None = None


NOTHING_TO_SEND = Outgoing(np.zeros(0, dtype=np.uint8))


class PhotonAlice(Party):
    """State machine without input or output: bytes in, bytes out.

    Parameters
    ----------
    prepared : ndarray, shape (n_slots,), uint8 [code]
        Slot bytes of the block as sent.
    outgoing : Outgoing
    settings : tuple of DecoySettings, PhotonSecuritySettings
    entropy : EntropySource
        For the bits that no message fills, and the hash key.
    channel : PublicChannel

    Attributes
    ----------
    sent_bits : int
        Message bits that went into the published words [bit].
    pad : Pad or None
        What was spent on them.
    """

    def __init__(
        self,
        prepared: NDArray[np.uint8],
        outgoing: Outgoing,
        settings: tuple[DecoySettings, PhotonSecuritySettings],
        entropy: EntropySource,
        channel: PublicChannel,
    ) -> None:
        directions = (ALICE_TO_BOB, BOB_TO_ALICE)
        super().__init__("alice", channel, directions, Detections)
        self._prepared, self._outgoing, self._entropy = prepared, outgoing, entropy
        self._pulses, self._security = settings
        self.distillation: PhotonDistillation | None = None
        self.sent_bits = 0
        self.pad: Pad | None = None

    @property
    def delivered(self) -> bool:
        """Whether Bob, authenticated, has every frame of the message."""
        if not (self.authenticated and self.sent_bits):
            return False
        needed = 1
        if self._security.encoding != "direct":
            per_frame = self._code.n_bits - self._code.min_rows
            needed = math.ceil(self.sent_bits / per_frame)
        return bool(self.accepted[:needed].all())

    def _answers(self, message: Message) -> Iterable[wire.AnyMessage]:
        match message:
            case Detections():
                return self._tell_preparation(message)
            case CheckBits():
                return self._publish(message)
            case RevealRequest():
                return self._reveal(message)
            case ParityRequest():
                return self._tell_parities(message)
            case Decoded():
                return self._verify(message)
            case Verified():
                return self._note_verified(message)
            case wire.Amplification():
                return self._amplify(message)
            case DirectResult():
                return self._end_direct(message)
        return []

    def _tell_preparation(self, message: Detections) -> list[wire.AnyMessage]:
        """Answer with bases and intensities of exactly the announced slots."""
        if message.n_slots != self._prepared.size:
            raise PeerError(
                f"detections: of {message.n_slots} slots, sent {self._prepared.size}"
            )
        n = message.n_detections
        steps = wire.unpack_array("detections", message.steps, "<u4", n)
        if steps.min(initial=1) == 0:
            raise PeerError("detections: a slot is announced twice")
        places = np.cumsum(steps.astype(np.int64)) - 1
        if n and places[-1] >= self._prepared.size:
            raise PeerError(
                f"detections: slot {places[-1]}, sent {self._prepared.size}"
            )
        found = self._prepared[places]
        if slots.is_sync(found).any():
            raise PeerError("detections: a public slot is announced for the key")
        self._bob_bases = wire.unpack_bits("bases", message.bases, n)
        self._bits, self._bases = slots.bit(found), slots.basis(found)
        self._intensities = slots.intensity(found)
        self._expected = (CheckBits,)
        pairs = np.stack([self._intensities >> 1, self._intensities & 1], axis=1)
        return [Preparation(wire.pack_bits(self._bases), wire.pack_bits(pairs))]

    def _publish(self, message: CheckBits) -> list[wire.AnyMessage]:
        """Judge the check basis; only then spend a pad and publish the words."""
        self._sifted: Sifted = sift(
            self._bases, self._bob_bases, self._intensities, message.permutation_seed
        )
        at = self._sifted.check
        bob = wire.unpack_bits("check bits", message.bits, at.size)
        wrong = self._intensities[at[bob != self._bits[at]]]
        errors = by_intensity(wrong)
        self._check = check_basis(self._sifted, errors, self._pulses, self._security)
        rate, n_sampled = expected_errors(
            self._check, message.public_key_sample, self._security
        )
        if self._security.encoding == "direct":
            return self._describe_direct(errors)
        if self._security.reconciliation == "cascade":
            return self._start_cascade(errors, rate)
        plan = plan_frames(
            self._sifted.key.size, rate, n_sampled, self._security.frame_bits
        )
        self._code, self._rows = plan.code, plan.code.min_rows
        frames, n = plan.n_frames, plan.code.n_bits
        self._published = frames * self._rows
        self._raw = self._bits[self._sifted.key[: frames * n]].reshape(frames, n)
        information = random_bits(self._entropy, frames * (n - self._rows))
        ranges = self._pad_into(information)
        word = self._code.encode(information.reshape(frames, -1))
        self._words = word
        self._frame_rows = np.full(frames, self._rows, dtype=np.int64)
        self._rounds = self._verifications = 0
        self._expected = (RevealRequest, Decoded)
        return [
            MaskedWords(
                check_errors=errors,
                code=plan.code.name,
                code_sha256=plan.code.sha256,
                n_frames=frames,
                rows=self._rows,
                words=wire.pack_bits(word ^ self._raw),
                message_bits=self.sent_bits,
                pads=ranges,
            )
        ]

    def _pad_into(self, information: NDArray[np.uint8]) -> list[PadRange]:
        """Put the padded message in front of the random bits, if it fits."""
        message, pads = self._outgoing.bits, self._outgoing.pads
        if not message.size or pads is None or message.size > information.size:
            return []
        self.pad = pads.spend(message.size)
        information[: message.size] = message ^ self.pad.bits
        self.sent_bits = message.size
        return self.pad.ranges

    def _reveal(self, message: RevealRequest) -> list[wire.AnyMessage]:
        """Tell further checks of the frames that failed."""
        flags = wire.unpack_bits(
            "reveal request", message.failed, self._frame_rows.size
        )
        failed = np.flatnonzero(flags)
        upto = self._code.next_rows(self._rows)
        if not failed.size or upto == self._rows:
            raise PeerError(
                f"reveal request: {failed.size} frames at {self._rows} rows of "
                f"{self._code.max_rows}; nothing left to reveal"
            )
        if np.any(self._frame_rows[failed] != self._rows):
            raise PeerError("reveal request: a frame that had decoded before")
        more = self._code.further_checks(self._words[failed], self._rows, upto)
        self._rows = upto
        self._frame_rows[failed] = upto
        self._rounds += 1
        self._expected = (RevealRequest, Decoded)
        return [Reveal(wire.pack_bits(more))]

    def _start_cascade(
        self, errors: tuple[int, int, int], rate: float
    ) -> list[wire.AnyMessage]:
        """Cut the key into frames for Cascade, which has no word for a message."""
        if self._outgoing.bits.size:
            raise ProtocolAbort(
                f"cascade: a message of {self._outgoing.bits.size} bits, but only the "
                "words of reconciliation 'ldpc' can carry one"
            )
        plan = cascade.plan_frames(
            self._sifted.key.size, rate, self._security.frame_bits
        )
        frames, n = plan.n_frames, plan.n_bits
        self._raw = self._bits[self._sifted.key[: frames * n]].reshape(frames, n)
        seed = self._entropy.read(32)
        self._cascade = cascade.Cascade(self._raw, False, plan, seed)
        self._frame_rows = np.zeros(frames, dtype=np.int64)
        self._published = self._rounds = self._verifications = 0
        self._expected = (ParityRequest,)
        return [CascadeStart(errors, frames, n, plan.first_block, seed)]

    def _tell_parities(self, message: ParityRequest) -> list[wire.AnyMessage]:
        """Announce the parities of the blocks that Bob announced his of."""
        own = self._cascade.parities()
        self._cascade.learn(own, wire.unpack_bits("parities", message.bits, own.size))
        # His count as much as hers.
        self._published += own.size
        self._frame_rows = 2 * self._cascade.asked
        if not self._cascade.n_questions:
            self._expected = (Decoded,)
        return [Parities(wire.pack_bits(own))]

    def _verify(self, message: Decoded) -> list[wire.AnyMessage]:
        wire.unpack_bits("decoded", message.decoded, self._frame_rows.size)
        self._rounds += 1
        self._verifications += 1
        key = self._entropy.read(16)
        # A word that is not hers has told so by its tag: Bob may ask for more checks.
        ladder = self._security.reconciliation == "ldpc"
        self._expected = (Verified, RevealRequest) if ladder else (Verified,)
        return [Verification(key, tags(self._raw, key).tobytes())]

    def _note_verified(self, message: Verified) -> list[wire.AnyMessage]:
        frames = self._frame_rows.size
        flags = wire.unpack_bits("verified", message.accepted, frames)
        self.accepted = flags.astype(np.bool_)
        self._rounds += 1
        kept = int(np.count_nonzero(self.accepted)) * self._raw.shape[1]
        if message.key_errors > kept:
            raise PeerError(f"verified: {message.key_errors} errors in {kept} bits")
        if kept:
            refuse_errors("Z", message.key_errors / kept, self._security)
        self._expected = (wire.Amplification,)
        return []

    def _amplify(self, message: wire.Amplification) -> Iterator[wire.AnyMessage]:
        disclosure = Disclosure(
            self._raw.shape[1],
            self._frame_rows,
            self._published,
            self._rounds,
            self.accepted,
            self._verifications,
        )
        self.distillation = distil(
            self._sifted, self._check, disclosure, self._pulses, self._security
        )
        secret = self.distillation.secret_bits
        if message.secret_bits != secret:
            raise PeerError(
                f"amplification: Bob counts {message.secret_bits} secret bits, we "
                f"count {secret}"
            )
        if secret:
            raw = self._raw[self.accepted].ravel()
            if 8 * len(message.seed) < toeplitz.seed_length(raw.size):
                raise PeerError(
                    f"amplification: seed of {len(message.seed)} bytes for "
                    f"{raw.size} bits"
                )
            self._key = toeplitz.compress(raw, message.seed, secret)
            self.epsilon = self.distillation.epsilon
        self._secret_bits = secret
        self._expected = (wire.TranscriptTag,)
        yield wire.Verdict(secret)
        # The verdict is sent by now, so the tag covers it too.
        yield self._tag()

    def _describe_direct(self, errors: tuple[int, int, int]) -> list[wire.AnyMessage]:
        """Direct encoding: the word was in the light; tell which pad lies on it."""
        self.pad = self._outgoing.spent
        self.sent_bits = self._outgoing.bits.size
        self._expected = (DirectResult,)
        ranges = self.pad.ranges if self.pad is not None else []
        return [DirectWord(errors, self.sent_bits, ranges)]

    def _end_direct(self, message: DirectResult) -> Iterator[wire.AnyMessage]:
        """Close a block that can never give a key."""
        self.accepted = np.array([message.decoded])
        self._expected = (wire.TranscriptTag,)
        yield wire.Verdict(0)
        yield self._tag()
