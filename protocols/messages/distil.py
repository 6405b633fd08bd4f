"""The messages around the distillation of a block: which pads, which bursts."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from protocols.messages.base import Count, Message
from protocols.messages.light import RunName
from protocols.messages.photon import PadRange

Ranges = Annotated[list[PadRange], Meta(min_length=1, max_length=100)]


class TagPads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the pads of a block's tags lie in both sinks, by direction.

    From Alice to Bob two: of the transcript, and of the confirmation.
    """

    alice_to_bob: Ranges
    bob_to_alice: Ranges


class KeyStart(Message, frozen=True):
    """Bob: he has received so many bursts of a block, and has spent these pads.

    `refill_tags` is how many tags per direction the key is to pay for in advance:
    both ends cut it alike, and a stock that is full takes no more.
    """

    run_uuid: RunName
    block: Count
    n_bursts: Count
    pads: TagPads
    refill_tags: Annotated[int, Meta(ge=0, le=1024)]


class KeyReady(Message, frozen=True):
    """Alice: she has spent the same; the scheme's first message may come."""


DistilMessage = KeyStart | KeyReady
