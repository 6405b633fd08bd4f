"""All streams of a link, as either end sees them, and the sessions on it.

A session begins with Bob's greeting, which carries a number that he has just
drawn; every message of the session carries the same. Alice serves a session on
its other streams only when the greeting has proven itself: the first turn of the
session stream greets, the second brings Bob's tag, and answering that one is what
makes the session the current one. Until then the session before stays as it is,
so that a greeting from anybody else ends nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.messages.channel import (
    TO_ALICE,
    AnsweringChannel,
    AskingChannel,
    Place,
    Turn,
    refusal,
)
from protocols.messages.envelope import STREAMS, Envelope, Stream, unpack
from protocols.messages.session import Hello
from protocols.messages.wire import decode
from scqc.core.errors import PeerError, ScqcError

#: The turn of the session stream that proves who greeted.
PROOF_TURN = 1


class StrangeSession(PeerError):  # noqa: N818
    """A request of a session that is not served; `reply` tells the sender so."""

    def __init__(self, envelope: Envelope) -> None:
        super().__init__(
            f"session {envelope.session.hex()} is not served on stream "
            f"{envelope.stream!r}: it is over, or its greeting is; greet again"
        )
        self.reply = refusal(envelope, self)


class AskingEnd:
    """Bob's end of a link.

    Parameters
    ----------
    link : bytes, 16 bytes
    """

    def __init__(self, link: bytes) -> None:
        self._link = link
        self._channels: dict[Stream, AskingChannel] = {}

    def channel(self, stream: Stream, frames: list[bytes]) -> AskingChannel:
        """Return the channel on which to send `frames`; a greeting begins a session.

        Raises
        ------
        PeerError
            If there was no greeting yet.
        """
        hello = greeting_in(frames) if stream == "session" else None
        if hello is not None:
            places = _places(self._link, hello.session)
            self._channels = {s: AskingChannel(p) for s, p in places.items()}
        if stream not in self._channels:
            raise PeerError(f"stream {stream!r}: no session was begun by a greeting")
        return self._channels[stream]


@dataclass(slots=True)
class _Session:
    """Alice's channels of one session."""

    number: bytes
    channels: dict[Stream, AnsweringChannel]
    refused: bool = False

    def serves(self, envelope: Envelope, proven: bool) -> bool:
        """Whether a message of this session is for one of its channels."""
        fresh = envelope.sequence >= self.channels[envelope.stream].turns
        return not (fresh and self.refused) and (proven or envelope.stream == "session")


class AnsweringEnd:
    """Alice's end of a link.

    Parameters
    ----------
    link : bytes, 16 bytes
    """

    def __init__(self, link: bytes) -> None:
        self._link = link
        self._current: _Session | None = None
        #: Greets, and has not proven itself yet.
        self._greeting: _Session | None = None

    @property
    def sessions(self) -> list[bytes]:
        """Numbers of the sessions that may still be answered."""
        return [s.number for s in (self._current, self._greeting) if s is not None]

    def unwrap(self, data: bytes) -> tuple[AnsweringChannel, Turn]:
        """Take a request; return the channel to answer it on.

        Raises
        ------
        StrangeSession
            If its session is not served; nothing changed.
        PeerError
            If it is refused for anything else; nothing changed.
        """
        envelope = unpack(data)
        # A stranger to the link is told nothing, not even that there is no session.
        if envelope.link != self._link or envelope.direction != TO_ALICE:
            raise PeerError(
                f"message of link {envelope.link.hex()}, direction "
                f"{envelope.direction!r}; expected {self._link.hex()}, {TO_ALICE!r}"
            )
        for session in (self._current, self._greeting):
            if session is not None and session.number == envelope.session:
                if not session.serves(envelope, proven=session is self._current):
                    raise StrangeSession(envelope)
                channel = session.channels[envelope.stream]
                return channel, channel.take(envelope, data)
        if envelope.stream != "session" or envelope.sequence > 0:
            raise StrangeSession(envelope)
        return self._begin(envelope, data)

    def _begin(self, envelope: Envelope, data: bytes) -> tuple[AnsweringChannel, Turn]:
        places = _places(self._link, envelope.session)
        channels = {s: AnsweringChannel(p) for s, p in places.items()}
        session = _Session(envelope.session, channels)
        channel = session.channels["session"]
        turn = channel.take(envelope, data)
        hello = greeting_in(turn.frames)
        if hello is None or hello.session != envelope.session:
            raise PeerError(
                f"session {envelope.session.hex()}: does not begin with its greeting"
            )
        self._greeting = session
        return channel, turn

    def reply(self, channel: AnsweringChannel, frames: list[bytes]) -> bytes:
        """Return the reply to the turn taken on `channel`.

        The reply to the turn with Bob's tag makes its session the current one.
        """
        data = channel.wrap(frames)
        greeting = self._greeting
        if greeting is None or channel is not greeting.channels["session"]:
            return data
        if channel.turns > PROOF_TURN:
            self._current, self._greeting = greeting, None
        return data

    def refuse(self, channel: AnsweringChannel, error: ScqcError) -> bytes:
        """Return the refusal of the turn taken on `channel`.

        A greeting that was refused goes no further; it can only be told so again.
        """
        greeting = self._greeting
        if greeting is not None and channel is greeting.channels["session"]:
            greeting.refused = True
        return channel.refuse(error)


def greeting_in(frames: list[bytes]) -> Hello | None:
    """Return the greeting that `frames` begin with, if they do.

    Raises
    ------
    PeerError
        If the first frame is malformed.
    """
    message = decode(frames[0]) if frames else None
    return message if isinstance(message, Hello) else None


def _places(link: bytes, session: bytes) -> dict[Stream, Place]:
    return {stream: Place(link, session, stream) for stream in STREAMS}
