"""The messages with which Bob leads a block's light: what is played, and when.

Bob's instruments decide when a record can be taken, so he asks and Alice answers,
one message each. They tell nothing about what a burst carries. They are part of
the block's transcript: the tags at its end cover them too.

However Bob asks, Alice plays what she prepared once: a burst that may have been
played is replaced by a fresh one before it is loaded again.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols.messages.base import Count, Message

RunName = Annotated[str, Meta(pattern=r"^[0-9a-f-]{1,64}\Z")]
Sentence = Annotated[str, Meta(max_length=1000)]
Positive = Annotated[float, Meta(gt=0.0, lt=1e12)]
Shutters = Literal["signal", "shot", "electronic"]


class BlockRequest(Message, frozen=True):
    """Bob: he is ready to take a block."""


class BlockOffer(Message, frozen=True):
    """Alice: a block is prepared; its run and its number there."""

    run_uuid: RunName
    block: Count
    n_bursts: Count


class NotNow(Message, frozen=True):
    """Alice: no block at present, and why."""

    reason: Sentence


class Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bob: what the probe told of the link: power gain [1] and noise [SNU]."""

    gain: Positive
    noise_snu: Positive


class LoadProbe(Message, frozen=True):
    """Bob: load a burst that carries nothing, and is kept nowhere."""


class LoadBurst(Message, frozen=True):
    """Bob: load a burst of the block."""

    number: Count
    budget: Budget | None = None


class Loaded(Message, frozen=True):
    """Alice: it is in her generator, and lasts so long [s]."""

    duration_s: Positive


class SetShutters(Message, frozen=True):
    """Bob: bring the shutters in place for a record of this kind."""

    kind: Shutters


class Play(Message, frozen=True):
    """Bob: his instruments are armed."""


class EndBurst(Message, frozen=True):
    """Bob: all records of the burst are read."""


class Done(Message, frozen=True):
    """Alice: what was asked for is done."""


class Lost(Message, frozen=True):
    """Alice: an instrument dropped its connection, and is back; load again."""

    reason: Sentence


class BlockTaken(Message, frozen=True):
    """Bob: so many bursts of the block are stored; its light is over."""

    n_bursts: Count


LightMessage = (
    BlockRequest
    | BlockOffer
    | NotNow
    | LoadProbe
    | LoadBurst
    | Loaded
    | SetShutters
    | Play
    | EndBurst
    | Done
    | Lost
    | BlockTaken
)
