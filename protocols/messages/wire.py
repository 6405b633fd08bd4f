"""The messages of the CV scheme, and the packing of all messages.

Numbers travel as raw little-endian bytes with their count checked on arrival;
nothing is ever unpickled. `decode` turns every malformed message into one typed
error.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from protocols.messages.base import MALFORMED, Count, Finite, HashKey, Message, Seed
from protocols.messages.distil import DistilMessage
from protocols.messages.light import LightMessage
from protocols.messages.photon import PhotonMessage
from protocols.messages.session import SessionMessage
from scqc.core.errors import PeerError

MAX_MESSAGE_BYTES = 1 << 30


class FrameReport(Message, frozen=True):
    """Bob: which classical frames passed their CRC."""

    n_frames: Count
    crc_ok: bytes


class FrameDisclosure(Message, frozen=True):
    """Alice: the payload's digest and the coded bits of the frames that failed."""

    payload_sha256: Seed
    coded: bytes


class SampleRequest(Message, frozen=True):
    """Bob: the public permutation; its first `n_sample` symbols are disclosed."""

    permutation_seed: Seed
    n_symbols: Count
    n_sample: Count


class SampleDisclosure(Message, frozen=True):
    """Alice: her Gaussian values of the sample, complex64 [sqrt(SNU)]."""

    values: bytes


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bob's shot-noise calibration, as the estimate needs it."""

    electronic_snu: Finite
    n_shot: Count
    n_electronic: Count


class ReconciliationOffer(Message, frozen=True):
    """Bob: side information, syndromes and verification tags of all frames."""

    rate: Finite
    code_size: Count
    code_sha256: str
    n_frames: Count
    kappa: Finite
    sigma2: Finite
    deviations: tuple[Finite, Finite]
    alpha: bytes
    norm: bytes
    syndromes: bytes
    tag_key: HashKey
    tags: bytes
    calibration: Calibration


class ReconciliationResult(Message, frozen=True):
    """Alice: which frames decoded and verified."""

    accepted: bytes


class RetrySyndromes(Message, frozen=True):
    """Bob: one further row of checks for every frame that failed at first."""

    syndromes: bytes


class FailedFrames(Message, frozen=True):
    """Bob: the raw key bits of the frames that failed; they leave the key."""

    bits: bytes


class ClassSums(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sums over one quadrature and bit class."""

    name: Annotated[str, Meta(max_length=8)]
    n: Count
    xx: Finite
    xy: Finite
    yy: Finite


class EstimationReport(Message, frozen=True):
    """Alice: the statistics of all frames, per quadrature and bit class.

    `bursts` splits the same samples by time, for monitoring.
    """

    sums: Annotated[list[ClassSums], Meta(max_length=8)]
    bursts: Annotated[list[ClassSums], Meta(max_length=100_000)]


class Amplification(Message, frozen=True):
    """Bob: the length of the key and the seed of the hash."""

    secret_bits: Count
    seed: bytes


class Verdict(Message, frozen=True):
    """Alice: the length she computed herself."""

    secret_bits: Count


class TranscriptTag(Message, frozen=True):
    """Either: the authentication tag over everything this side has sent."""

    tag: HashKey


AnyMessage = (
    FrameReport
    | FrameDisclosure
    | SampleRequest
    | SampleDisclosure
    | ReconciliationOffer
    | ReconciliationResult
    | RetrySyndromes
    | FailedFrames
    | EstimationReport
    | Amplification
    | Verdict
    | TranscriptTag
    | PhotonMessage
    | LightMessage
    | DistilMessage
    | SessionMessage
)

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(AnyMessage)


def encode(message: AnyMessage) -> bytes:
    """Pack one message."""
    return _ENCODER.encode(message)


def decode(data: bytes) -> AnyMessage:
    """Unpack one message.

    Raises
    ------
    PeerError
        If it is too long, malformed, or of an unknown kind.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise PeerError(f"message: {len(data)} bytes, limit {MAX_MESSAGE_BYTES} bytes")
    try:
        message: AnyMessage = _DECODER.decode(data)
    except MALFORMED as error:
        raise PeerError(f"message of {len(data)} bytes: {error}") from error
    return message


def pack_bits(bits: NDArray[np.uint8]) -> bytes:
    """Pack bits, most significant first.

    Parameters
    ----------
    bits : ndarray, any shape, uint8 [bit]
    """
    return np.packbits(bits).tobytes()


def unpack_bits(name: str, data: bytes, n_bits: int) -> NDArray[np.uint8]:
    """Unpack exactly `n_bits` bits.

    Returns
    -------
    ndarray, shape (n_bits,), uint8 [bit]

    Raises
    ------
    PeerError
        If the number of bytes does not fit.
    """
    if len(data) != (n_bits + 7) // 8:
        raise PeerError(f"{name}: {len(data)} bytes for {n_bits} bits")
    return np.unpackbits(np.frombuffer(data, dtype=np.uint8), count=n_bits)


def unpack_array(name: str, data: bytes, dtype: str, count: int) -> NDArray[np.generic]:
    """View raw little-endian numbers, checked for count and finiteness.

    Returns
    -------
    ndarray, shape (count,), of `dtype` [as named]

    Raises
    ------
    PeerError
        If the count differs or a number is not finite.
    """
    kind = np.dtype(dtype)
    if len(data) != count * kind.itemsize:
        raise PeerError(
            f"{name}: {len(data)} bytes for {count} values of {kind.itemsize} bytes"
        )
    values: NDArray[np.generic] = np.frombuffer(data, dtype=kind)
    if kind.kind in "fc" and not np.all(np.isfinite(values)):
        raise PeerError(f"{name}: contains values that are not finite")
    return values
