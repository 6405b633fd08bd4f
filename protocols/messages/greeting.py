"""How two programs make sure of each other before they do anything together.

Bob greets, Alice greets back: both say which link and session this is, what time
they have, what they were configured to do, which start key they hold and how far
their key sinks are. Whatever does not fit ends it, with a sentence that says what
to do. Nothing that was said is believed yet. Then Bob sends a tag over both
greetings, and Alice hers; each is paid for with one-time pad that both sinks hold.
Only when the peer's tag is right is its account of its key sink acted upon.

    Bob                          Alice
    Hello                  ->    checks it
    checks it              <-    Hello
    draws pad, HelloTag    ->    draws pad, checks the tag, settles her sink
    checks it, settles     <-    HelloTag

Sans-I/O: frames in, frames out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from protocols.authentication import wegman_carter
from protocols.messages.base import Message
from protocols.messages.envelope import MAJOR, MINOR
from protocols.messages.session import Hello, HelloTag
from protocols.messages.terms import check_clock, check_config, config_digest
from protocols.messages.wire import decode, encode
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE, LinkKeys
from scqc.core.errors import KeySinkError, PeerError

Party = Literal["alice", "bob"]
SENDS: dict[Party, str] = {"alice": ALICE_TO_BOB, "bob": BOB_TO_ALICE}
OTHER: dict[Party, Party] = {"alice": "bob", "bob": "alice"}
#: Largest difference of the two clocks by default [s].
MAX_SKEW_S = 60.0
Kind = TypeVar("Kind", bound=Message)


class GreetingSink(Protocol):
    """What a greeting needs of a party's key sink."""

    def fingerprint(self) -> bytes:
        """Return what tells start keys apart, and nothing about them."""
        ...

    def describe(self) -> bytes:
        """Begin a new epoch; return the state of the sink, for the peer."""
        ...

    def tag_keys(self, theirs: bytes) -> dict[str, LinkKeys]:
        """Draw the authentication keys of a greeting, per direction.

        At the farther of both ends' marks, so that both draw the same bits.

        Parameters
        ----------
        theirs : bytes
            The peer's state, as it says.

        Raises
        ------
        KeySinkError
            If the states do not fit: an older epoch than was seen before, or marks
            that are too far apart.
        """
        ...

    def settle(self, theirs: bytes) -> None:
        """Bring the sink in step with the peer's state, which is proven now.

        Raises
        ------
        KeySinkError
            If that cannot be done.
        """
        ...


@dataclass(frozen=True, slots=True)
class Terms:
    """What one end brings to a greeting.

    Parameters
    ----------
    link : bytes, 16 bytes
    party : {"alice", "bob"}
    config : str
        What both ends must have alike, as canonical JSON.
    run : str
        Empty while there is none.
    max_skew_s : float
        Largest difference of the clocks [s].
    now_s : callable
        Returns the time of day as seconds since 1970 [s].
    """

    link: bytes
    party: Party
    config: str
    run: str = ""
    max_skew_s: float = MAX_SKEW_S
    now_s: Callable[[], float] = time.time


class _Greeting:
    """What both ends of a greeting share.

    Parameters
    ----------
    terms : Terms
    sink : GreetingSink
    """

    def __init__(self, terms: Terms, sink: GreetingSink) -> None:
        self._terms, self._sink = terms, sink
        #: Both greetings as they were sent, Bob's first.
        self._frames: dict[Party, bytes] = {}
        self._keys: dict[str, LinkKeys] = {}
        #: What the peer said of itself; to be believed once `finished`.
        self.peer: Hello | None = None
        self.finished = False

    def _hello(self, session: bytes) -> bytes:
        terms = self._terms
        frame = encode(
            Hello(
                protocol=(MAJOR, MINOR),
                link=terms.link,
                session=session,
                party=terms.party,
                run=terms.run,
                utc_s=terms.now_s(),
                config=terms.config,
                config_sha256=config_digest(terms.config),
                fingerprint=self._sink.fingerprint(),
                sink=self._sink.describe(),
            )
        )
        self._frames[terms.party] = frame
        return frame

    def _meet(self, frame: bytes, session: bytes | None) -> Hello:
        """Take the peer's greeting; `session` is what it must belong to."""
        hello = _expect(frame, Hello)
        self._check(hello, session)
        self._frames[OTHER[self._terms.party]] = frame
        self.peer = hello
        return hello

    def _check(self, hello: Hello, session: bytes | None) -> None:
        """Refuse a peer that does not fit, before anything is drawn."""
        terms = self._terms
        if hello.protocol[0] != MAJOR:
            raise PeerError(
                f"greeting: protocol version {hello.protocol[0]}.{hello.protocol[1]}, "
                f"this program speaks {MAJOR}.{MINOR}; run the same release at both "
                "ends"
            )
        if hello.party != OTHER[terms.party]:
            raise PeerError(
                f"greeting: this end is {terms.party!r} and the peer {hello.party!r}; "
                "one of them must be the other"
            )
        if hello.link != terms.link:
            raise PeerError(
                f"greeting: the peer is of link {hello.link.hex()}, this end of link "
                f"{terms.link.hex()}; give both the files of one `scqc keys init-link`"
            )
        if session is not None and hello.session != session:
            raise PeerError(
                f"greeting: of session {hello.session.hex()}, expected {session.hex()}"
            )
        check_clock(terms.now_s(), hello.utc_s, terms.max_skew_s)
        check_config(terms.config, hello.config, hello.config_sha256)
        own = self._sink.fingerprint()
        if hello.fingerprint != own:
            raise KeySinkError(
                f"start key: fingerprint {own.hex()} here, {hello.fingerprint.hex()} "
                "at the peer; load the same start key at both ends, and compare with "
                "`scqc keys fingerprint`"
            )

    def _draw(self, peer: Hello) -> None:
        self._keys = self._sink.tag_keys(peer.sink)

    def _tag(self) -> bytes:
        keys = self._keys[SENDS[self._terms.party]]
        body = self._body(self._terms.party)
        return encode(HelloTag(wegman_carter.tag(keys.hash_key, keys.pad, body)))

    def _prove(self, frame: bytes) -> None:
        """Check the peer's tag.

        Raises
        ------
        ProtocolAbort
            If it is not the tag of these two greetings.
        """
        tag = _expect(frame, HelloTag).tag
        other = OTHER[self._terms.party]
        keys = self._keys[SENDS[other]]
        wegman_carter.check(keys.hash_key, keys.pad, self._body(other), tag)

    def _body(self, sender: Party) -> bytes:
        """Join both greetings, and who says that they are these."""
        framed = b"".join(
            len(self._frames[party]).to_bytes(8, "big") + self._frames[party]
            for party in ("bob", "alice")
        )
        place = f"greeting/{self._terms.link.hex()}"
        return wegman_carter.bind(place, SENDS[sender], 0, framed)


class BobGreeting(_Greeting):
    """Bob's end; he draws the session.

    Parameters
    ----------
    terms : Terms
    sink : GreetingSink
    session : bytes, 16 bytes
        Fresh, from an `EntropySource`.
    """

    def __init__(self, terms: Terms, sink: GreetingSink, session: bytes) -> None:
        super().__init__(terms, sink)
        self._session = session

    def start(self) -> list[bytes]:
        """Return the frames of the first turn."""
        return [self._hello(self._session)]

    def receive(self, frames: list[bytes]) -> list[bytes]:
        """Take Alice's answer; return the frames of the next turn, none at the end.

        Raises
        ------
        PeerError, KeySinkError
            If the two do not fit together.
        ProtocolAbort
            If her tag is wrong.
        """
        frame = _only(frames)
        if self.finished or "bob" not in self._frames:
            raise PeerError("greeting: an answer that nobody asked for")
        if self.peer is None:
            self._draw(self._meet(frame, self._session))
            return [self._tag()]
        self._prove(frame)
        self._sink.settle(self.peer.sink)
        self.finished = True
        return []


class AliceGreeting(_Greeting):
    """Alice's end; a new one for every greeting of Bob's."""

    def answer(self, frames: list[bytes]) -> list[bytes]:
        """Take what Bob says; return the answer.

        Raises
        ------
        PeerError, KeySinkError
            If the two do not fit together.
        ProtocolAbort
            If his tag is wrong; he needs a new greeting.
        """
        frame = _only(frames)
        if self.peer is None:
            hello = self._meet(frame, None)
            return [self._hello(hello.session)]
        if self._keys:
            raise PeerError("greeting: the tag was checked before; greet again")
        _expect(frame, HelloTag)
        self._draw(self.peer)
        self._prove(frame)
        answer = [self._tag()]
        self._sink.settle(self.peer.sink)
        self.finished = True
        return answer


def _only(frames: list[bytes]) -> bytes:
    if len(frames) != 1:
        raise PeerError(f"greeting: {len(frames)} frames, expected 1")
    return frames[0]


def _expect(frame: bytes, kind: type[Kind]) -> Kind:
    message = decode(frame)
    if not isinstance(message, kind):
        name = type(message).__name__
        raise PeerError(f"greeting: got {name}, expected {kind.__name__}")
    return message
