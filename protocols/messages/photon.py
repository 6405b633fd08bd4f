"""The messages of the photon-counting scheme.

The order is part of the security: Bob commits to what he detected before Alice
tells bases and intensities, and she publishes the word that carries the message
only when the check basis has passed.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocols.messages.base import Count, Finite, HashKey, Message, Seed

Name = Annotated[str, Meta(max_length=256)]
Triple = tuple[Count, Count, Count]


class Detections(Message, frozen=True):
    """Bob: the slots he detected, and his bases.

    `steps` are the differences of rising slot numbers, uint32; the first counts
    from -1, so that no step is zero. `bases` is packed, 1 for the check basis.
    """

    n_slots: Count
    n_detections: Count
    steps: bytes
    bases: bytes


class Preparation(Message, frozen=True):
    """Alice: the bases and intensities of the detected slots, both packed.

    Intensities take two bits each: 0 signal, 1 decoy, 2 vacuum.
    """

    bases: bytes
    intensities: bytes


class CheckBits(Message, frozen=True):
    """Bob: his bits where both used the check basis; the order of the key bits.

    `public_key_sample` are errors and detections of the key basis in slots whose
    content everybody knows: a hint which code will do.
    """

    bits: bytes
    permutation_seed: Seed
    public_key_sample: tuple[Count, Count]


class PadRange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of pad bits: block, first bit, number of bits."""

    identifier: Name
    start_bit: Count
    n_bits: Count


class MaskedWords(Message, frozen=True):
    """Alice: a codeword per frame, XORed with her key bits.

    `check_errors` are wrong check bits by intensity. The first `message_bits`
    information bits of the block are the padded message, all others are random.
    """

    check_errors: Triple
    code: Name
    code_sha256: Annotated[str, Meta(max_length=64)]
    n_frames: Count
    rows: Count
    words: bytes
    message_bits: Count
    pads: Annotated[list[PadRange], Meta(max_length=10_000)]


class RevealRequest(Message, frozen=True):
    """Bob: frames that did not decode; packed flags, one per frame."""

    failed: bytes


class Reveal(Message, frozen=True):
    """Alice: further checks of the frames that failed."""

    checks: bytes


class Decoded(Message, frozen=True):
    """Bob: decoding is over; flags of the frames that have a word."""

    decoded: bytes


class Verification(Message, frozen=True):
    """Alice: a fresh hash key and the tags of all her frames."""

    tag_key: HashKey
    tags: bytes


class Verified(Message, frozen=True):
    """Bob: frames whose tags agree, and his count of corrected errors."""

    accepted: bytes
    key_errors: Count


class CascadeStart(Message, frozen=True):
    """Alice, Cascade: how the check basis fared, the frames, the order of the bits."""

    check_errors: Triple
    n_frames: Count
    frame_bits: Count
    first_block: Count
    seed: Seed


class ParityRequest(Message, frozen=True):
    """Bob, Cascade: his parities of the blocks that come next, packed.

    Which blocks these are follows from what both have announced before.
    """

    bits: bytes


class Parities(Message, frozen=True):
    """Alice: her parities of the same blocks, packed."""

    bits: bytes


class DirectWord(Message, frozen=True):
    """Alice, direct encoding: how the check basis fared, and the pads used."""

    check_errors: Triple
    message_bits: Count
    pads: Annotated[list[PadRange], Meta(max_length=10_000)]


class DirectResult(Message, frozen=True):
    """Bob, direct encoding: whether the word decoded, and its raw error rate."""

    decoded: bool
    raw_error_rate: Finite


PhotonMessage = (
    Detections
    | Preparation
    | CheckBits
    | MaskedWords
    | RevealRequest
    | Reveal
    | Decoded
    | Verification
    | Verified
    | CascadeStart
    | ParityRequest
    | Parities
    | DirectWord
    | DirectResult
)
