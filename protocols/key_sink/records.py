"""What the sink tells and takes: pools, states, entries, released bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from scqc.core.records import KeyBlock

#: Pools. Key is for export; authentication and pad are spent in step at both ends.
KEY_PURPOSE = "key"
AUTHENTICATION_PURPOSE = "authentication"
PAD_PURPOSE = "pad"
#: Kept and never spent: hash keys of the tags, and the secret of the key names.
HASH_PURPOSE = "hash"
KEY_NAME_PURPOSE = "key-name"
IN_STEP = (AUTHENTICATION_PURPOSE, PAD_PURPOSE)
KEPT = (HASH_PURPOSE, KEY_NAME_PURPOSE)

#: A run of bits: identifier of the block, first bit, number of bits.
Range = tuple[str, int, int]


class State(IntEnum):
    """How far a block has come; it only moves forward.

    Raw: distillation has begun. Verified: this end accepts the key. Available: the
    peer is known to hold it verified, too. Leased: some of its bits are out.
    Consumed: all are. Erased: none is left on the disk.
    """

    RAW = 0
    VERIFIED = 1
    AVAILABLE = 2
    LEASED = 3
    CONSUMED = 4
    ERASED = 5


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """What may be told about a stored block: everything but its bits."""

    serial: int
    identifier: str
    tag: int
    run_uuid: str
    block: int
    purpose: str
    direction: str
    n_bits: int
    epsilon: float
    simulated: bool
    created_utc: str
    state: State
    used_bits: int

    @property
    def available_bits(self) -> int:
        """Bits that can still be released [bit]."""
        ready = State.AVAILABLE <= self.state <= State.LEASED
        return self.n_bits - self.used_bits if ready else 0


Entries = list[KeyEntry]
#: A run of bits of a stored block: first bit, number of bits.
Part = tuple[KeyEntry, int, int]
Parts = list[Part]


@dataclass(frozen=True, slots=True)
class PoolKey:
    """A key and the pool it is for.

    Parameters
    ----------
    key : KeyBlock
        Its provenance names ``run_uuid`` and ``block``.
    purpose : str
    direction : str
    """

    key: KeyBlock
    purpose: str = KEY_PURPOSE
    direction: str = ""


@dataclass(frozen=True, slots=True)
class Spent:
    """Bits, released for ever, and where they lay.

    Parameters
    ----------
    bits : ndarray, shape (n,), uint8 [bit]
        Never printed.
    ranges : list of (identifier, first bit, number of bits)
    epsilon : float
        Of the blocks they came from, added up [1].
    """

    bits: NDArray[np.uint8] = field(repr=False)
    ranges: list[Range]
    epsilon: float

    @property
    def packed(self) -> bytes:
        """The bits, most significant first, zeros at the end."""
        return np.packbits(self.bits).tobytes()
