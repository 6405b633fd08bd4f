"""Both parties of a block talking over a link within this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from scqc.core.errors import PeerError
from scqc.store.results import SentMessage


class Talker(Protocol):
    """A party: bytes in, bytes out."""

    @property
    def finished(self) -> bool:
        """Whether the exchange has come to its end."""
        ...

    def receive(self, data: bytes) -> list[bytes]:
        """Take one message of the peer; return the answers."""
        ...


class Opener(Talker, Protocol):
    """The party that speaks first."""

    def start(self) -> list[bytes]:
        """Return the first messages."""
        ...


def converse(
    alice: Talker, bob: Opener, note: Callable[[str], None] | None = None
) -> list[SentMessage]:
    """Carry messages until nobody has more to say.

    Parameters
    ----------
    alice : Talker
    bob : Opener
    note : callable, optional
        Told who said how much.

    Returns
    -------
    list of SentMessage
        In the order they were said.

    Raises
    ------
    PeerError, ProtocolAbort
        If either party stops the exchange.
    """
    said: list[SentMessage] = []
    outbox = [SentMessage("bob", frame) for frame in bob.start()]
    while outbox:
        message = outbox.pop(0)
        said.append(message)
        if message.sender == "bob":
            answers = [SentMessage("alice", f) for f in alice.receive(message.frame)]
        else:
            answers = [SentMessage("bob", f) for f in bob.receive(message.frame)]
        outbox += answers
        if note is not None:
            note(f"{message.sender}: {len(message.frame)} bytes")
    if not (alice.finished and bob.finished):
        raise PeerError("the exchange ended before both transcripts were authenticated")
    return said
