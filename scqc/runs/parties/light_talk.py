"""Bob's end of the messages about light, and what was said for the transcript."""

from __future__ import annotations

from typing import Any

from protocols.messages.light import LightMessage, Lost
from protocols.messages.wire import decode, encode
from scqc.core.errors import PeerError
from scqc.runs.parties.link import Asker


class BurstLost(Exception):  # noqa: N818
    """Alice lost an instrument with the burst; ask her to load again."""


class LightTalk:
    """Asks Alice, and keeps what was said about a block.

    Parameters
    ----------
    asker : Asker
    """

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._block = 0
        self._sent: list[bytes] = []
        self._received: list[bytes] = []

    def begin(self, block: int) -> None:
        """Begin a block: what is said from here on belongs to it."""
        self._block, self._sent, self._received = block, [], []

    def said(self) -> tuple[list[bytes], list[bytes]]:
        """Return what was sent and received since the block began."""
        return list(self._sent), list(self._received)

    def ask(self, message: LightMessage, *wanted: type[Any]) -> Any:
        """Say one message; return the answer.

        Raises
        ------
        BurstLost
            If an instrument of Alice's was lost, and is back.
        PeerError
            If the answer is another than one of `wanted`.
        """
        frame = encode(message)
        self._sent.append(frame)
        frames = self._asker.ask("light", self._block, [frame])
        self._received += frames
        if len(frames) != 1:
            raise PeerError(f"light: {len(frames)} answers to {type(message).__name__}")
        answer = decode(frames[0])
        if isinstance(answer, Lost):
            raise BurstLost(answer.reason)
        if not isinstance(answer, wanted):
            names = " or ".join(kind.__name__ for kind in wanted)
            raise PeerError(f"light: got {type(answer).__name__}, expected {names}")
        return answer
