"""The messages with which two programs greet each other, and confirm keys.

A greeting is told in clear and believed by nobody until its tag is checked; the
tags cover both greetings. A block of key is put to use only when the other end
has confirmed that it holds the block, too.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from protocols.messages.base import Count, HashKey, Message, Seed
from protocols.messages.envelope import Identity, Version
from protocols.messages.light import RunName

MAX_CONFIG_CHARACTERS = 1 << 20
MAX_SINK_BYTES = 8 << 20
Fingerprint = Annotated[bytes, Meta(min_length=8, max_length=64)]
UtcSeconds = Annotated[float, Meta(ge=0.0, lt=1e11)]


class Hello(Message, frozen=True):
    """Either: who this is, and what both ends must agree in before any light.

    `utc_s` is the time of day as seconds since 1970 [s]; `config` is what both
    ends must have alike, as canonical JSON; `sink` is the state of the key sink as
    `protocols.key_sink.resync` packs it. `run` is empty while there is none.
    """

    protocol: Version
    link: Identity
    session: Identity
    party: Literal["alice", "bob"]
    run: Annotated[str, Meta(max_length=64)]
    utc_s: UtcSeconds
    config: Annotated[str, Meta(max_length=MAX_CONFIG_CHARACTERS)]
    config_sha256: Seed
    fingerprint: Fingerprint
    sink: Annotated[bytes, Meta(max_length=MAX_SINK_BYTES)]


class SinkQuestions(Message, frozen=True):
    """Either: blocks that the other did not list, to be told what became of them."""

    questions: Annotated[bytes, Meta(max_length=MAX_SINK_BYTES)]


class SinkAnswers(Message, frozen=True):
    """Either: what became of them."""

    answers: Annotated[bytes, Meta(max_length=MAX_SINK_BYTES)]


class HelloTag(Message, frozen=True):
    """Either: the tag over all of the greeting so far."""

    tag: HashKey


class KeyConfirm(Message, frozen=True):
    """Bob: he holds this block verified; the tag says that it is him."""

    run_uuid: RunName
    block: Count
    tag: HashKey


class KeyConfirmed(Message, frozen=True):
    """Alice: so does she."""

    run_uuid: RunName
    block: Count
    tag: HashKey


SessionMessage = (
    Hello | SinkQuestions | SinkAnswers | HelloTag | KeyConfirm | KeyConfirmed
)
