"""What two sinks tell each other when they meet, and its limits. Nothing is secret."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from protocols.key_sink.records import KeyEntry
from scqc.core.errors import PeerError

#: Blocks that are told of [1]; an identifier's length [character].
MAX_BLOCKS, MAX_NAME = 16_384, 200

Name = Annotated[str, Meta(max_length=MAX_NAME)]
Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Nonce = Annotated[bytes, Meta(max_length=16)]


class BlockMark(msgspec.Struct, frozen=True, array_like=True):
    """How much of a block is spent; `state` as in `State`."""

    identifier: Name
    run_uuid: Name
    block: Count
    purpose: Name
    direction: Name
    n_bits: Count
    used_bits: Count
    state: Annotated[int, Meta(ge=1, le=3)]


class SinkState(msgspec.Struct, frozen=True, array_like=True):
    """What a sink tells its peer: nothing of it is secret."""

    epoch: Count
    nonce: Nonce
    seen_epoch: Count
    seen_nonce: Nonce
    marks: Annotated[list[BlockMark], Meta(max_length=MAX_BLOCKS)]


class Fate(msgspec.Struct, frozen=True, array_like=True):
    """What became of a block that the peer did not list."""

    identifier: Name
    fate: Literal["unknown", "held", "spent"]


Questions = Annotated[list[BlockMark], Meta(max_length=MAX_BLOCKS)]
Fates = Annotated[list[Fate], Meta(max_length=MAX_BLOCKS)]


def mark_of(entry: KeyEntry) -> BlockMark:
    """Return what the peer is told of a block."""
    return BlockMark(
        entry.identifier,
        entry.run_uuid,
        entry.block,
        entry.purpose,
        entry.direction,
        entry.n_bits,
        entry.used_bits,
        int(entry.state),
    )


def decode(data: bytes, kind: Any) -> Any:
    """Return what the peer says, checked against its limits.

    Raises
    ------
    PeerError
        If it does not parse.
    """
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as cause:
        raise PeerError("key sink: what the peer says of it does not parse") from cause
