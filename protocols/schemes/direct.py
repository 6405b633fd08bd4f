"""Direct encoding: the padded word itself is in the light.

Every coded bit is sent in many slots, one in each turn of the word, so Bob can
add up what he detected of it without telling anybody which slots those were.
The copies of one bit are, together, many photons of one state: the decoy
argument does not hold for them, and no key is ever drawn from such a block.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsp.coding.fec import Fec
from dsp.coding.frames import FrameCodec
from dsp.time_tags import slots
from scqc.core.errors import PayloadError
from scqc.core.rng import EntropySource

#: Rate of the code on top of the repetition.
FEC_RATE = 1 / 3
_MAX_ITERATIONS = 60


@dataclass(frozen=True, slots=True)
class SoftWord:
    """What Bob made of the light, before anything was announced.

    Parameters
    ----------
    message : ndarray, shape (n,), uint8 [bit]
        Still under its pad; empty if the word did not decode.
    intact : bool
        Whether all frames passed their checks.
    error_rate : float
        Of Bob's key-basis detections against the decoded word, as far as
        Alice's basis was the same; 0.5 if it did not decode [1].
    detections_per_bit : float
        Key-basis detections per coded bit [1].
    """

    message: NDArray[np.uint8] = field(repr=False)
    intact: bool
    error_rate: float
    detections_per_bit: float


def codec(run_id: bytes) -> FrameCodec:
    """Return the codec of the word."""
    return FrameCodec(Fec(FEC_RATE), run_id)


def capacity_bits(n_frames: int) -> int:
    """Return the longest message that `n_frames` frames carry [bit]."""
    return 8 * codec(bytes(4)).payload_capacity(n_frames)


def encode(
    padded: NDArray[np.uint8], n_frames: int, run_id: bytes, filler: EntropySource
) -> NDArray[np.uint8]:
    """Return the coded word of a padded message.

    Parameters
    ----------
    padded : ndarray, shape (n,), uint8 [bit]
        A whole number of bytes.
    n_frames : int
    run_id : bytes, 4 bytes
    filler : EntropySource

    Returns
    -------
    ndarray, shape (n_coded,), uint8 [bit]

    Raises
    ------
    PayloadError
        If the message is no whole number of bytes, or too long.
    """
    if padded.size % 8:
        raise PayloadError(f"direct encoding: {padded.size} bits, no whole bytes")
    payload = np.packbits(padded).tobytes()
    return codec(run_id).build(payload, n_frames, filler).ravel()


def place(
    prepared: NDArray[np.uint8], first_slot: int, coded: NDArray[np.uint8]
) -> None:
    """Write the word into the message-basis slots of a burst, in place.

    Parameters
    ----------
    prepared : ndarray, shape (n,), uint8 [code]
        Slot bytes; public slots and the check basis stay as they are.
    first_slot : int
        Number of the burst's first slot within the block [1].
    coded : ndarray, shape (n_coded,), uint8 [bit]
    """
    turn = (first_slot + np.arange(prepared.size)) % coded.size
    carries = (slots.basis(prepared) == slots.Z) & ~slots.is_sync(prepared)
    prepared[carries] = (prepared[carries] & np.uint8(0xFE)) | coded[turn[carries]]


def decode(
    places: NDArray[np.int64],
    bits: NDArray[np.uint8],
    n_frames: int,
    run_id: bytes,
    rates: tuple[float, float],
) -> SoftWord:
    """Add up the detections of every coded bit and decode.

    Parameters
    ----------
    places : ndarray, shape (n,), int64 [1]
        Slots of Bob's message-basis detections.
    bits : ndarray, shape (n,), uint8 [bit]
    n_frames : int
    run_id : bytes, 4 bytes
    rates : tuple of float
        Expected error rate in matching bases, and Alice's share of the message
        basis: in the rest of the slots Bob's bit is a coin.

    Returns
    -------
    SoftWord
    """
    error_rate, z_share = rates
    code = codec(run_id)
    n_coded = n_frames * code.fec.n_bits
    # Bob does not know Alice's basis yet.
    wrong = z_share * max(error_rate, 1e-3) + (1.0 - z_share) * 0.5
    weight = math.log((1.0 - wrong) / wrong)
    turn = places % n_coded
    votes = np.bincount(
        turn, weights=1.0 - 2.0 * bits.astype(np.float64), minlength=n_coded
    )
    llr = (weight * votes).astype(np.float32).reshape(n_frames, -1)
    opened = code.open(llr, 0, _MAX_ITERATIONS)
    per_bit = places.size / n_coded
    if not opened.crc_ok.all():
        return SoftWord(np.zeros(0, dtype=np.uint8), False, 0.5, per_bit)
    payload = code.assemble([opened])
    seen = float(np.mean(opened.coded.ravel()[turn] != bits)) if places.size else 0.5
    # Take the coins out again.
    matched = max(0.0, (seen - 0.5 * (1.0 - z_share)) / z_share)
    message = np.unpackbits(np.frombuffer(payload, dtype=np.uint8))
    return SoftWord(message, True, matched, per_bit)
