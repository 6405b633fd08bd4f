"""What to send next: a message, or a block for key only.

A padded message always costs more pad than its own detections give back, so a
sink that serves messages runs dry. The schedule keeps a reserve, lets blocks for
key only fill the sink while it is below, and says when it will be empty.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scqc.core.errors import KeySinkError

#: Authentication pad that one tag costs [bit].
TAG_PAD_BITS = 128
#: That one block costs in the dearer direction: Alice also confirms the key [bit].
BLOCK_PAD_BITS = 2 * TAG_PAD_BITS
#: What two programs leave for greetings [bit]: if the word that confirms a key is lost,
#: only a greeting makes the key available, and the pad it brings.
GREETING_RESERVE_BITS = 4 * TAG_PAD_BITS


@dataclass(frozen=True, slots=True)
class SinkLevel:
    """What a party's sink holds.

    Parameters
    ----------
    pad_bits : int
        For messages [bit].
    authentication_bits : int
        The smaller of the two directions [bit].
    reserve_bits : int
        Pad that messages must leave [bit].
    """

    pad_bits: int
    authentication_bits: int
    reserve_bits: int

    @property
    def spendable_bits(self) -> int:
        """Pad above the reserve [bit]."""
        return max(0, self.pad_bits - self.reserve_bits)


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What the next block is for.

    Parameters
    ----------
    kind : {"message", "key"}
    message_bits : int
        Zero for a block of key only [bit].
    reason : str
    """

    kind: Literal["message", "key"]
    message_bits: int
    reason: str


def plan_block(
    level: SinkLevel,
    waiting_bits: int,
    blocks_left: int,
    refill_bits: int | None = None,
    owed_bits: int = 0,
) -> BlockPlan:
    """Decide about the next block.

    Parameters
    ----------
    level : SinkLevel
    waiting_bits : int
        Message still to be sent; it goes into one block [bit].
    blocks_left : int
        This one included [1].
    refill_bits : int, optional
        Fresh pad that the last block gave; unknown before the first [bit].
    owed_bits : int
        Authentication pad per direction that greetings and blocks on their way
        will cost [bit].

    Raises
    ------
    KeySinkError
        If the block cannot be authenticated, or no number of the blocks that
        are left lets the sink pad the message.
    """
    if level.authentication_bits < BLOCK_PAD_BITS + owed_bits:
        owed = f" beside {owed_bits} for others and greetings" if owed_bits else ""
        raise KeySinkError(
            f"key sink: {level.authentication_bits} bits of authentication pad, a "
            f"block costs {BLOCK_PAD_BITS} per direction{owed}; provision more"
        )
    if waiting_bits == 0:
        return BlockPlan("key", 0, "nothing to send")
    spendable = level.spendable_bits
    if waiting_bits <= spendable:
        return BlockPlan("message", waiting_bits, f"{spendable} bits above the reserve")
    # A sink below its reserve has to make good for that first.
    missing = waiting_bits + level.reserve_bits - level.pad_bits
    enough = refill_bits is None or refill_bits * (blocks_left - 1) >= missing
    if blocks_left > 1 and enough:
        return BlockPlan("key", 0, f"{missing} bits of pad missing: fill the sink")
    raise KeySinkError(
        f"key sink: the message needs {waiting_bits} bits of pad, {level.pad_bits} are "
        f"there and {level.reserve_bits} of them are the reserve; send a shorter "
        "message, provision more, or run blocks for key only first"
    )


def blocks_to_depletion(
    level: SinkLevel, message_bits: float, refill_bits: float
) -> float:
    """Forecast how many more blocks like the last the sink can pad [1].

    A block takes all its pad before it gives any back.

    Parameters
    ----------
    level : SinkLevel
    message_bits, refill_bits : float
        Per block [bit].

    Returns
    -------
    float
        Whole number; infinity when the sink does not drain.
    """
    drain = message_bits - refill_bits
    if drain <= 0.0:
        return math.inf
    if level.spendable_bits < message_bits:
        return 0.0
    return 1.0 + math.floor((level.spendable_bits - message_bits) / drain)
