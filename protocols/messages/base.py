"""What all messages share: their base, and the limits of their fields."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Seed = Annotated[bytes, Meta(min_length=32, max_length=32)]
HashKey = Annotated[bytes, Meta(min_length=16, max_length=16)]
Finite = Annotated[float, Meta(gt=-1e30, lt=1e30)]


#: Everything that a decoder raises on hostile bytes.
MALFORMED = (
    msgspec.MsgspecError,
    UnicodeDecodeError,
    RecursionError,
    OverflowError,
)


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Base of all messages."""
