"""The link between the parties as a sequence of turns: Bob asks, Alice answers.

A turn carries frames, bytes whose meaning is the parties' own, on one of three
streams: "session" greets and confirms, "light" takes a block, "key" distils one.
The streams go on side by side, so that the light of one block runs beside the
distillation of the block before; within a stream one turn follows the other.
Whether both ends are in one program or in two, they see the same turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from protocols.messages.envelope import STREAMS, Stream

__all__ = ["STREAMS", "Answerer", "Asker", "LocalLink", "Stream"]


class Asker(Protocol):
    """Bob's end of a link."""

    def ask(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """Send frames; return the frames that Alice answers with.

        Different streams may be used from different threads at a time, one stream
        from one thread.

        Raises
        ------
        PeerRefused
            If Alice refused; between two programs every error of hers arrives so.
        PeerLost
            If she does not answer any more.
        PeerError
            If her answer breaks the rules.
        """
        ...


class Answerer(Protocol):
    """Alice's end of a link."""

    def answer(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """Act on the frames of a turn, once; return the frames of the answer.

        Called from one thread per stream.

        Raises
        ------
        ScqcError
            To refuse; its class and text are told to Bob, so no secret is in them.
        """
        ...


class LocalLink:
    """Both ends in one program: Alice's end is called, and her errors are raised.

    Parameters
    ----------
    answerer : Answerer
    note : callable, optional
        Told who said how much.
    """

    def __init__(
        self, answerer: Answerer, note: Callable[[str], None] | None = None
    ) -> None:
        self._answerer, self._note = answerer, note

    def ask(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """Let Alice answer; see `Asker.ask`. Her own errors come through.

        Raises
        ------
        ScqcError
            Whatever Alice raises.
        """
        self._tell("bob", frames)
        answer = self._answerer.answer(stream, block, frames)
        self._tell("alice", answer)
        return answer

    def _tell(self, who: str, frames: list[bytes]) -> None:
        if self._note is not None:
            self._note(f"{who}: {sum(map(len, frames))} bytes")
