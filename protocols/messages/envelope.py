"""The envelope that every message between the two programs travels in.

It says which link, session, direction, stream, turn and block its frames belong
to, so that a message that is replayed, reflected or from another link is seen to
be out of place before anything reads what it carries. It is no authentication:
that the frames of a block are genuine is proved by the tags of the block alone.

The version stands in every envelope. Another major version is refused; a newer
minor version may only add keys to `ext`, which an older program does not read.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from protocols.messages.base import MALFORMED, Count
from scqc.core.errors import PeerError

Stream = Literal["session", "light", "key"]
#: Who has greeted whom; taking the light of a block; distilling a block.
STREAMS: Final[tuple[Stream, ...]] = get_args(Stream)
Direction = Literal["alice-to-bob", "bob-to-alice"]
#: "working": no reply yet, but one is being made or on its way.
Status = Literal["ok", "refused", "working"]

MAJOR, MINOR = 1, 0
ID_BYTES = 16
MAX_FRAMES = 4096
MAX_FRAME_BYTES = 1 << 30
#: Largest envelope of each stream [byte].
MAX_BYTES: Final[dict[Stream, int]] = {
    "session": 1 << 24,
    "light": 1 << 24,
    "key": (1 << 30) + (1 << 16),
}
LARGEST_BYTES = max(MAX_BYTES.values())
_HEAD_BYTES = 1 << 14

Identity = Annotated[bytes, Meta(min_length=ID_BYTES, max_length=ID_BYTES)]
Version = tuple[Annotated[int, Meta(ge=0, le=255)], Annotated[int, Meta(ge=0, le=255)]]
Frame = Annotated[bytes, Meta(max_length=MAX_FRAME_BYTES)]
Sequence = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
ErrorName = Annotated[str, Meta(max_length=64)]
Sentence = Annotated[str, Meta(max_length=4000)]
_ExtKey = Annotated[str, Meta(max_length=64)]
_ExtValue = Annotated[bytes, Meta(max_length=4096)]


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One message between the programs.

    Parameters
    ----------
    protocol : tuple of int
        Major and minor version.
    link : bytes, 16 bytes
        Names the pair of parties; both have it in their key file.
    session : bytes, 16 bytes
        Drawn by Bob for every connection that he opens with a greeting.
    direction, stream : str
    sequence : int
        Number of the turn on this stream; a reply carries that of its request.
    block : int
    status : str
    frames : list of bytes
    error, sentence : str
        Of a refusal: the class of the error, and what it says.
    coming_bytes : int
        Of a notice: size of the reply that follows, 0 if it is still made [byte].
    ext : dict
        Optional keys of newer minor versions; not read.
    """

    protocol: Version
    link: Identity
    session: Identity
    direction: Direction
    stream: Stream
    sequence: Sequence
    block: Count
    status: Status = "ok"
    frames: Annotated[list[Frame], Meta(max_length=MAX_FRAMES)] = []
    error: ErrorName = ""
    sentence: Sentence = ""
    coming_bytes: Count = 0
    ext: Annotated[dict[_ExtKey, _ExtValue], Meta(max_length=16)] = {}


class _Head(msgspec.Struct, frozen=True):
    """What every version of the envelope has."""

    protocol: tuple[int, int]


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Envelope)
_HEAD_DECODER = msgspec.msgpack.Decoder(_Head)


def pack(envelope: Envelope) -> bytes:
    """Pack an envelope.

    Raises
    ------
    PeerError
        If it has more frames or bytes than its stream allows.
    """
    n_bytes = sum(map(len, envelope.frames))
    limit = MAX_BYTES[envelope.stream] - _HEAD_BYTES
    if len(envelope.frames) > MAX_FRAMES or n_bytes > limit:
        raise PeerError(
            f"message of stream {envelope.stream!r}: {len(envelope.frames)} frames "
            f"with {n_bytes} bytes, limits {MAX_FRAMES} frames, {limit} bytes"
        )
    return _ENCODER.encode(envelope)


def unpack(data: bytes) -> Envelope:
    """Unpack an envelope; what is none costs no memory.

    Raises
    ------
    PeerError
        If it is too long for its stream, malformed, or of another version.
    """
    _check_size("any", len(data), LARGEST_BYTES)
    try:
        envelope = _DECODER.decode(data)
    except MALFORMED as error:
        raise _refusal(data, error) from error
    _check_version(envelope.protocol)
    _check_size(envelope.stream, len(data), MAX_BYTES[envelope.stream])
    return envelope


def _check_size(stream: str, n_bytes: int, limit: int) -> None:
    if n_bytes > limit:
        raise PeerError(
            f"message of stream {stream!r}: {n_bytes} bytes, limit {limit} bytes"
        )


def _refusal(data: bytes, error: Exception) -> PeerError:
    """Return why `data` is no envelope: of another version, or malformed."""
    try:
        _check_version(_HEAD_DECODER.decode(data).protocol)
    except PeerError as version:
        return version
    except MALFORMED:
        pass
    return PeerError(f"message of {len(data)} bytes: {error}")


def _check_version(protocol: tuple[int, int]) -> None:
    if protocol[0] != MAJOR:
        raise PeerError(
            f"message of protocol version {protocol[0]}.{protocol[1]}, this program "
            f"speaks {MAJOR}.{MINOR}; run the same release at both ends"
        )
