"""Bob of the photon-counting scheme: he detected, and corrects what he detected."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

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
from protocols.reconciliation.ladder import load_code
from protocols.schemes.noisy_words import NoisyWords
from protocols.schemes.pads import BobPads, Pad
from protocols.schemes.party import Party
from protocols.schemes.photon_common import (
    Disclosure,
    PhotonDistillation,
    Received,
    Sifted,
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
from protocols.verification.tags import TAG_BITS, tags
from scqc.core.errors import PeerError
from scqc.core.rng import EntropySource


class PhotonBob(Party):
    """State machine without input or output: bytes in, bytes out.

    Parameters
    ----------
    received : Received
    settings : tuple of DecoySettings, PhotonSecuritySettings
    entropy : EntropySource
    channel : PublicChannel
    pads : BobPads or None
        Where the pads of messages come from.
    permutation_seed : bytes, optional
        Public seed of an earlier processing of the same record.

    Attributes
    ----------
    key_errors : int
        Corrected errors of all accepted frames [1].
    iterations : ndarray, shape (n_frames,), int64 [1]
        Of the decoder, all rounds.
    """

    def __init__(
        self,
        received: Received,
        settings: tuple[DecoySettings, PhotonSecuritySettings],
        entropy: EntropySource,
        channel: PublicChannel,
        pads: BobPads | None = None,
        permutation_seed: bytes | None = None,
    ) -> None:
        directions = (BOB_TO_ALICE, ALICE_TO_BOB)
        super().__init__("bob", channel, directions, Preparation)
        self._received, self._entropy, self._pads = received, entropy, pads
        self._pulses, self._security = settings
        self._given_seed = permutation_seed
        self.distillation: PhotonDistillation | None = None
        self.disclosure: Disclosure | None = None
        self.pad: Pad | None = None
        self.key_errors = 0
        self.message_bits = 0
        self.iterations = np.zeros(0, dtype=np.int64)
        self._message = np.zeros(0, dtype=np.uint8)
        self._message_whole = False

    def start(self) -> list[bytes]:
        """Announce the detections; after this, nothing about them can change."""
        received = self._received
        steps = np.diff(received.places, prepend=-1).astype("<u4")
        return [
            self._transcript.send(
                Detections(
                    received.n_slots,
                    received.places.size,
                    steps.tobytes(),
                    wire.pack_bits(received.bases),
                )
            )
        ]

    def message(self) -> NDArray[np.uint8]:
        """Return the received message without its pad.

        Returns
        -------
        ndarray, shape (n,), uint8 [bit]
            Empty if the block carried none, or a frame of it failed.

        Raises
        ------
        PeerError
            Before Alice's transcript was authenticated: a pad alone can be
            tampered with.
        """
        if not self.authenticated:
            raise PeerError("bob: no message before the transcript is authenticated")
        return self._message if self._message_whole else self._message[:0]

    def _answers(self, message: Message) -> list[wire.AnyMessage]:
        match message:
            case Preparation():
                return self._disclose_check(message)
            case MaskedWords():
                return self._decode(message)
            case Reveal():
                return self._decode_again(message)
            case CascadeStart():
                return self._start_cascade(message)
            case Parities():
                return self._hear_parities(message)
            case Verification():
                return self._verify(message)
            case DirectWord():
                return self._read_direct(message)
            case wire.Verdict():
                return self._check_verdict(message)
            case wire.TranscriptTag():
                return [self._tag()]
        return []

    def _disclose_check(self, message: Preparation) -> list[wire.AnyMessage]:
        """Sift, and tell the bits of the check basis."""
        n = self._received.places.size
        bases = wire.unpack_bits("bases", message.bases, n)
        pairs = wire.unpack_bits("intensities", message.intensities, 2 * n)
        intensities = (pairs[0::2] << np.uint8(1)) | pairs[1::2]
        self.alice_bases, self.intensities = bases, intensities
        fresh = self._entropy.read(32)
        seed = fresh if self._given_seed is None else self._given_seed
        self.sifted: Sifted = sift(bases, self._received.bases, intensities, seed)
        if self._security.encoding == "direct":
            self._expected = (DirectWord,)
        elif self._security.reconciliation == "cascade":
            self._expected = (CascadeStart,)
        else:
            self._expected = (MaskedWords,)
        bits = wire.pack_bits(self._received.bits[self.sifted.check])
        return [CheckBits(bits, seed, self._received.public_key_sample)]

    def _judge_check(self, errors: tuple[int, int, int]) -> None:
        """Judge what Alice found wrong in the check basis, and our public slots."""
        self.check = check_basis(self.sifted, errors, self._pulses, self._security)
        sample = self._received.public_key_sample
        self._rate, _ = expected_errors(self.check, sample, self._security)

    def _decode(self, message: MaskedWords) -> list[wire.AnyMessage]:
        """Take the pad Alice names, then correct the words."""
        if message.message_bits:
            self.pad = self._follow(message)
        self._judge_check(message.check_errors)
        code = load_code(message.code)
        if code.sha256 != message.code_sha256:
            raise PeerError(
                "reconciliation: Alice's code is not ours (sha-256 differs)"
            )
        frames, n = message.n_frames, code.n_bits
        if not 0 < frames * n <= self.sifted.key.size:
            raise PeerError(
                f"masked words: {frames} frames of {n} bits, sifted "
                f"{self.sifted.key.size}"
            )
        if message.rows != code.min_rows:
            raise PeerError(
                f"masked words: {message.rows} rows, the code has {code.min_rows}"
            )
        if message.message_bits > frames * (n - message.rows):
            raise PeerError(
                f"masked words: {message.message_bits} message bits in {frames} frames"
            )
        self.message_bits = message.message_bits
        published = wire.unpack_bits("masked words", message.words, frames * n)
        own = self._received.bits[self.sifted.key[: frames * n]]
        self._words = NoisyWords(code, published.reshape(frames, n), own)
        self._errors, self._decoded = self._words.errors, self._words.decoded
        self._frame_rows, self.iterations = self._words.rows, self._words.iterations
        self._first_rows = frames * code.min_rows
        self._rounds = self._verifications = 0
        return self._try(np.arange(frames))

    def _try(self, frames: NDArray[np.int64]) -> list[wire.AnyMessage]:
        """Decode `frames` with all checks known of them; ask for more or end."""
        self._words.decode(frames, self._rate, self._security)
        failed = ~self._decoded
        if failed.any() and not self._words.all_told:
            self._expected = (Reveal,)
            return [RevealRequest(wire.pack_bits(failed.astype(np.uint8)))]
        self._expected = (Verification,)
        return [Decoded(wire.pack_bits(self._decoded.astype(np.uint8)))]

    def _decode_again(self, message: Reveal) -> list[wire.AnyMessage]:
        """Add the checks that Alice told to those of her word we hold."""
        failed = np.flatnonzero(~self._decoded)
        n_bits = failed.size * self._words.next_checks
        self._words.learn(failed, wire.unpack_bits("reveal", message.checks, n_bits))
        self._rounds += 1
        return self._try(failed)

    def _start_cascade(self, message: CascadeStart) -> list[wire.AnyMessage]:
        """Cut the key into the same frames as Alice, and announce parities."""
        self._judge_check(message.check_errors)
        plan = cascade.plan_frames(
            self.sifted.key.size, self._rate, self._security.frame_bits
        )
        theirs = (message.n_frames, message.frame_bits, message.first_block)
        ours = (plan.n_frames, plan.n_bits, plan.first_block)
        if theirs != ours:
            raise PeerError(
                f"cascade: Alice's frames, bits and first block {theirs}, ours {ours}"
            )
        frames, n = plan.n_frames, plan.n_bits
        own = self._received.bits[self.sifted.key[: frames * n]].reshape(frames, n)
        self._cascade = cascade.Cascade(own, True, plan, message.seed)
        self._rounds = self._verifications = 0
        return self._announce_parities()

    def _announce_parities(self) -> list[wire.AnyMessage]:
        self._own_parities = self._cascade.parities()
        self._expected = (Parities,)
        return [ParityRequest(wire.pack_bits(self._own_parities))]

    def _hear_parities(self, message: Parities) -> list[wire.AnyMessage]:
        """Search on, or end when no block known is odd."""
        own, search = self._own_parities, self._cascade
        search.learn(own, wire.unpack_bits("parities", message.bits, own.size))
        if search.n_questions:
            return self._announce_parities()
        self._errors = search.errors
        # His own parities count as much as hers.
        self._first_rows = int(np.sum(search.asked))
        self._frame_rows = 2 * search.asked
        self._decoded = np.ones(search.asked.size, dtype=np.bool_)
        self.iterations = np.full(search.asked.size, search.round_trips)
        self._expected = (Verification,)
        return [Decoded(wire.pack_bits(self._decoded.astype(np.uint8)))]

    def _verify(self, message: Verification) -> list[wire.AnyMessage]:
        """Compare tags, count the errors, and propose the key's length."""
        frames, n = self._errors.shape
        own = self._received.bits[self.sifted.key[: frames * n]].reshape(frames, n)
        corrected = own ^ self._errors
        theirs = wire.unpack_array("tags", message.tags, "|u1", frames * TAG_BITS // 8)
        ours = tags(corrected, message.tag_key)
        equal = np.all(ours == theirs.reshape(frames, -1), axis=1)
        accepted: NDArray[np.bool_] = self._decoded & equal
        self._verifications += 1
        if again := self._ask_again(~equal):
            return again
        self.key_errors = int(np.sum(self._errors[accepted], dtype=np.int64))
        # More flags per frame: decoded, as often as verified, and accepted.
        self.disclosure = Disclosure(
            n,
            self._frame_rows,
            self._first_rows,
            self._rounds + self._verifications + 1,
            accepted,
            self._verifications,
        )
        kept = corrected[accepted].ravel()
        if kept.size:
            refuse_errors("Z", self.key_errors / kept.size, self._security)
        self._read_message(accepted)
        self.distillation = distil(
            self.sifted, self.check, self.disclosure, self._pulses, self._security
        )
        secret, seed = self.distillation.secret_bits, b""
        if secret:
            seed = self._entropy.read((toeplitz.seed_length(kept.size) + 7) // 8)
            self._key = toeplitz.compress(kept, seed, secret)
            self.epsilon = self.distillation.epsilon
        self._secret_bits = secret
        self._expected = (wire.Verdict,)
        return [
            Verified(wire.pack_bits(accepted.astype(np.uint8)), self.key_errors),
            wire.Amplification(secret, seed),
        ]

    def _ask_again(self, wrong: NDArray[np.bool_]) -> list[wire.AnyMessage]:
        """Ask for further checks of frames that decoded to another word than hers.

        Only of those that know all checks told so far; short frames have words of
        few bits that all known checks allow.
        """
        if self._security.reconciliation != "ldpc":
            return []
        retry = self._words.doubtful(wrong)
        if not retry.any():
            return []
        self._decoded[retry] = False
        self._expected = (Reveal,)
        return [RevealRequest(wire.pack_bits(retry.astype(np.uint8)))]

    def _read_message(self, accepted: NDArray[np.bool_]) -> None:
        """Take the message out of the corrected words, if all its frames are good."""
        if self.pad is None:
            return
        information = self._words.information()
        per_frame = information.shape[1]
        needed = math.ceil(self.message_bits / per_frame)
        self._message_whole = bool(accepted[:needed].all())
        self._message = information.ravel()[: self.message_bits] ^ self.pad.bits

    def _follow(self, message: MaskedWords | DirectWord) -> Pad:
        """Spend what Alice spent; from here on it is gone, whatever happens."""
        if self._pads is None:
            raise PeerError("bob: a message, but there is no pool of pads")
        named = sum(part.n_bits for part in message.pads)
        if named != message.message_bits:
            raise PeerError(
                f"pads: {named} bits named for a message of {message.message_bits} bits"
            )
        return self._pads.follow(message.pads)

    def _read_direct(self, message: DirectWord) -> list[wire.AnyMessage]:
        """Direct encoding: the word is decoded already; take its pad off."""
        if message.message_bits:
            self.pad = self._follow(message)
        self._judge_check(message.check_errors)
        word = self._received.word
        if word is None:
            raise PeerError("bob: direct encoding without a decoded word")
        refuse_errors("Z", word.error_rate, self._security)
        fits = word.message.size == message.message_bits
        self._message_whole = word.intact and fits
        if self.pad is not None and self._message_whole:
            self._message = word.message ^ self.pad.bits
        self.message_bits = message.message_bits
        self._expected = (wire.Verdict,)
        return [DirectResult(self._message_whole, word.error_rate)]

    def _check_verdict(self, verdict: wire.Verdict) -> list[wire.AnyMessage]:
        if verdict.secret_bits != self._secret_bits:
            raise PeerError(
                f"verdict: Alice counts {verdict.secret_bits} secret bits, we count "
                f"{self._secret_bits}"
            )
        self._expected = (wire.TranscriptTag,)
        return []
