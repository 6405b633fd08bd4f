"""One stream of a link, as either end sees it: turns in order, each exactly once.

Bob asks and Alice answers. The network may lose, repeat and reorder messages, and
an adversary may send any bytes. Everything is checked before anything changes: a
message that is rejected leaves the channel as it was. Bob repeats a request until
its reply is there; Alice answers the repetition with the reply that she has, and
acts but once.

Sans-I/O: bytes in, bytes out; who carries them, and when to repeat, is up to the
caller.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final, get_args

from msgspec.structs import replace

from protocols.messages.base import Message
from protocols.messages.envelope import (
    MAJOR,
    MINOR,
    Direction,
    Envelope,
    Status,
    Stream,
    pack,
    unpack,
)
from protocols.messages.light import LightMessage
from protocols.messages.session import KeyConfirm, KeyConfirmed, SessionMessage
from protocols.messages.wire import AnyMessage, decode
from scqc.core.errors import PeerError, PeerRefused, ScqcError

TO_ALICE: Final[Direction] = "bob-to-alice"
TO_BOB: Final[Direction] = "alice-to-bob"
_SENTENCE = 4000
_ELSEWHERE = {*get_args(SessionMessage), *get_args(LightMessage)}
#: What may be said on each stream.
KINDS: Final[dict[Stream, tuple[type[Message], ...]]] = {
    "session": get_args(SessionMessage),
    "light": get_args(LightMessage),
    "key": (
        *(kind for kind in get_args(AnyMessage) if kind not in _ELSEWHERE),
        KeyConfirm,
        KeyConfirmed,
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a channel belongs.

    Parameters
    ----------
    link, session : bytes, 16 bytes
    stream : str
    """

    link: bytes
    session: bytes
    stream: Stream


@dataclass(frozen=True, slots=True)
class Turn:
    """What a message that was accepted carries.

    Parameters
    ----------
    sequence, block : int
    frames : list of bytes
        May be key material of a party's disclosure; not printed.
    repeated : bool
        A request that was accepted before: to be answered, not acted on.
    """

    sequence: int
    block: int
    frames: list[bytes] = field(repr=False)
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """Alice is at work.

    Parameters
    ----------
    coming_bytes : int
        Size of the reply that comes next; 0 while it is made [byte].
    """

    coming_bytes: int


class AskingChannel:
    """Bob's end of a stream.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._sequence = 0
        self._block = 0
        self._request: bytes | None = None

    @property
    def request(self) -> bytes | None:
        """What has to be sent, again if need be; None when nothing is open."""
        return self._request

    def wrap(self, block: int, frames: list[bytes]) -> bytes:
        """Return the next request.

        Raises
        ------
        PeerError
            If the one before is still open, or this one is too large.
        """
        if self._request is not None:
            raise PeerError(
                f"stream {self.place.stream!r}: turn {self._sequence} is still open"
            )
        head = _head(self.place, TO_ALICE, self._sequence, block)
        request = pack(replace(head, frames=frames))
        self._block, self._request = block, request
        return request

    def unwrap(self, data: bytes) -> Turn | Notice:
        """Take Alice's reply to the open request, or her notice that she works.

        Raises
        ------
        PeerRefused
            If she refused; the turn is over.
        PeerError
            If this is no message of hers about the open turn; nothing changed.
        """
        envelope = unpack(data)
        _check_place(envelope, self.place, TO_BOB)
        if self._request is None:
            raise PeerError(f"stream {self.place.stream!r}: a reply to no request")
        _check_turn(envelope, self._sequence, self._block)
        if envelope.status == "working":
            return Notice(envelope.coming_bytes)
        if envelope.status == "ok":
            check_frames(self.place.stream, envelope.frames)
        turn = Turn(self._sequence, self._block, envelope.frames)
        self._sequence, self._request = self._sequence + 1, None
        if envelope.status == "refused":
            action = f"stream {self.place.stream!r}, block {self._block}"
            raise PeerRefused(action, envelope.error, envelope.sentence)
        return turn


class AnsweringChannel:
    """Alice's end of a stream.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        #: Number of the next fresh turn.
        self._next = 0
        self._block = 0
        self._digest = b""
        self._reply: bytes | None = None

    @property
    def is_working(self) -> bool:
        """Whether a turn was taken and not yet answered."""
        return self._next > 0 and self._reply is None

    @property
    def turns(self) -> int:
        """How many turns were taken [1]."""
        return self._next

    @property
    def reply(self) -> bytes | None:
        """The reply to the last turn; None while it is made."""
        return self._reply

    def unwrap(self, data: bytes) -> Turn:
        """Take Bob's next request, or the repetition of his last.

        Raises
        ------
        PeerError
            If it is neither; nothing changed.
        """
        return self.take(unpack(data), data)

    def take(self, envelope: Envelope, data: bytes) -> Turn:
        """Take a request that is unpacked already; see `unwrap`."""
        _check_place(envelope, self.place, TO_ALICE)
        if envelope.status != "ok":
            raise PeerError(f"a request of status {envelope.status!r}, expected 'ok'")
        digest = hashlib.sha256(data).digest()
        if envelope.sequence == self._next - 1 and digest == self._digest:
            return Turn(envelope.sequence, self._block, envelope.frames, repeated=True)
        _check_turn(envelope, self._next, envelope.block)
        if self.is_working:
            raise PeerError(
                f"stream {self.place.stream!r}: turn {self._next - 1} is not answered"
            )
        check_frames(self.place.stream, envelope.frames)
        self._next, self._block = self._next + 1, envelope.block
        self._digest, self._reply = digest, None
        return Turn(envelope.sequence, envelope.block, envelope.frames)

    def wrap(self, frames: list[bytes]) -> bytes:
        """Return the reply to the turn that was taken; kept for its repetition.

        Raises
        ------
        PeerError
            If there is none, or the reply is too large.
        """
        return self._answer("ok", frames=frames)

    def refuse(self, error: ScqcError) -> bytes:
        """Return the refusal of the turn that was taken; kept like a reply."""
        name = type(error).__name__[:64]
        return self._answer("refused", error=name, sentence=str(error)[:_SENTENCE])

    def notice(self, coming_bytes: int = 0) -> bytes:
        """Return a notice that the last turn is worked at, or its reply coming."""
        head = _head(self.place, TO_BOB, max(0, self._next - 1), self._block)
        return pack(replace(head, status="working", coming_bytes=coming_bytes))

    def _answer(
        self,
        status: Status,
        frames: list[bytes] | None = None,
        error: str = "",
        sentence: str = "",
    ) -> bytes:
        if not self.is_working:
            raise PeerError(f"stream {self.place.stream!r}: no turn to answer")
        head = _head(self.place, TO_BOB, self._next - 1, self._block)
        self._reply = pack(
            replace(
                head,
                status=status,
                frames=frames or [],
                error=error,
                sentence=sentence,
            )
        )
        return self._reply


def refusal(envelope: Envelope, error: ScqcError) -> bytes:
    """Return the refusal of a request that no channel has taken."""
    place = Place(envelope.link, envelope.session, envelope.stream)
    head = _head(place, TO_BOB, envelope.sequence, envelope.block)
    name = type(error).__name__[:64]
    return pack(
        replace(head, status="refused", error=name, sentence=str(error)[:_SENTENCE])
    )


def check_frames(stream: Stream, frames: list[bytes]) -> None:
    """Refuse frames that are no messages of this stream, before a party sees them.

    Raises
    ------
    PeerError
        If a frame is malformed, or of a kind that another stream has.
    """
    for frame in frames:
        message = decode(frame)
        if not isinstance(message, KINDS[stream]):
            raise PeerError(f"stream {stream!r}: a {type(message).__name__} on it")


def _head(place: Place, direction: Direction, sequence: int, block: int) -> Envelope:
    """Return an empty message that says where it belongs."""
    return Envelope(
        protocol=(MAJOR, MINOR),
        link=place.link,
        session=place.session,
        direction=direction,
        stream=place.stream,
        sequence=sequence,
        block=block,
    )


def _check_place(envelope: Envelope, place: Place, direction: Direction) -> None:
    """Refuse what is of another link, session, direction or stream."""
    for name, value, wanted in (
        ("link", envelope.link.hex(), place.link.hex()),
        ("session", envelope.session.hex(), place.session.hex()),
        ("direction", envelope.direction, direction),
        ("stream", envelope.stream, place.stream),
    ):
        if value != wanted:
            raise PeerError(f"message of {name} {value!r}, expected {wanted!r}")


def _check_turn(envelope: Envelope, sequence: int, block: int) -> None:
    """Refuse what is not the one turn that may come, or carries what it must not."""
    if envelope.sequence != sequence:
        raise PeerError(
            f"stream {envelope.stream!r}: message of turn {envelope.sequence}, "
            f"expected {sequence}"
        )
    if envelope.block != block:
        raise PeerError(
            f"stream {envelope.stream!r}: message of block {envelope.block}, "
            f"expected {block}"
        )
    status = envelope.status
    for name, size, owner in (
        ("frames", len(envelope.frames), "ok"),
        ("error", len(envelope.error), "refused"),
        ("sentence", len(envelope.sentence), "refused"),
        ("coming_bytes", envelope.coming_bytes, "working"),
    ):
        if size and status != owner:
            raise PeerError(
                f"stream {envelope.stream!r}: a message of status {status!r} with "
                f"{name!r}, which only {owner!r} has"
            )
