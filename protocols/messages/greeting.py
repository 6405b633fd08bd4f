"""How two programs make sure of each other before they do anything together.

Bob greets, Alice greets back: both say which link and session this is, what time
they have, what they were configured to do, which start key they hold and how far
their key sinks are. Whatever does not fit ends it, with a sentence that says what
to do. Nothing that was said is believed yet. Then Bob sends a tag over all of it,
and Alice hers; each is paid for with one-time pad that both sinks hold. Only when
the peer's tag is right is its account of its key sink acted upon.

    Bob                                      Alice
    Hello                              ->    checks it
    checks it                          <-    Hello, SinkQuestions
    SinkQuestions, SinkAnswers, tag    ->    checks the tag, settles her sink
    checks the tag, settles his sink   <-    SinkAnswers, tag

Two programs that greet are about to begin anew: blocks that one of them had not
finished are given up. Sans-I/O: frames in, frames out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from protocols.messages.base import Message
from protocols.messages.envelope import MAJOR, MINOR
from protocols.messages.session import Hello, HelloTag, SinkAnswers, SinkQuestions
from protocols.messages.terms import check_clock, check_config, config_digest
from protocols.messages.wire import AnyMessage
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    LinkKeys,
    PublicChannel,
    Transcript,
)
from scqc.core.errors import KeySinkError, PeerError

Party = Literal["alice", "bob"]
SENDS: dict[Party, str] = {"alice": ALICE_TO_BOB, "bob": BOB_TO_ALICE}
OTHER: dict[Party, Party] = {"alice": "bob", "bob": "alice"}
#: Largest difference of the two clocks by default [s].
MAX_SKEW_S = 60.0


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

    def questions(self, theirs: bytes) -> bytes:
        """Return what to ask about blocks that the peer's state does not list."""
        ...

    def answer(self, questions: bytes) -> bytes:
        """Tell what became of blocks that this end's state did not list."""
        ...

    def promise(self) -> None:
        """Make sure that what was answered to be unknown stays so."""
        ...

    def settle(self, theirs: bytes) -> None:
        """Bring the sink in step with the peer's state, which is proven now.

        Raises
        ------
        KeySinkError
            If that cannot be done.
        """
        ...

    def resolve(self, answers: bytes) -> int:
        """Act on the peer's answers, proven too; return what was given up [bit]."""
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
        self._keys: dict[str, LinkKeys] = {}
        sends, receives = SENDS[terms.party], SENDS[OTHER[terms.party]]
        place = f"greeting/{terms.link.hex()}"
        self._transcript = Transcript(PublicChannel(place, self._keys), sends, receives)
        self._broken_off = False
        #: What the peer said of itself; to be believed once `finished`.
        self.peer: Hello | None = None
        #: This end's clock minus the peer's, as he told it [s].
        self.skew_s = 0.0
        self.finished = False

    def _begin(self) -> None:
        """Refuse to go on after a failure: there is one try for a tag."""
        if self._broken_off or self.finished:
            raise PeerError("greeting: it is over; greet again")
        self._broken_off = True

    def _take(self, frames: list[bytes], *kinds: type[Message]) -> list[Any]:
        """Unpack the frames of a turn, of these kinds and in this order."""
        found = [self._transcript.receive(frame) for frame in frames[: len(kinds)]]
        names = [type(message).__name__ for message in found]
        wanted = [kind.__name__ for kind in kinds]
        if names != wanted or len(frames) != len(kinds):
            raise PeerError(
                f"greeting: got {len(frames)} frames {', '.join(names)}; expected "
                f"{', '.join(wanted)}"
            )
        return found

    def _say(self, *messages: AnyMessage) -> list[bytes]:
        return [self._transcript.send(message) for message in messages]

    def _hello(self, session: bytes) -> Hello:
        terms = self._terms
        return Hello(
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

    def _tag(self) -> HelloTag:
        return HelloTag(self._transcript.own_tag())

    def _check_identity(self, hello: Hello) -> None:
        """Refuse a peer that is not the other end of this link."""
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

    def _check_terms(self, hello: Hello) -> None:
        """Refuse a peer that does not fit, before anything is spent."""
        self._check_identity(hello)
        terms, own = self._terms, self._sink.fingerprint()
        now_s = terms.now_s()
        check_clock(now_s, hello.utc_s, terms.max_skew_s)
        self.skew_s = now_s - hello.utc_s
        check_config(terms.config, hello.config, hello.config_sha256)
        if hello.fingerprint != own:
            raise KeySinkError(
                f"start key: fingerprint {own.hex()} here, {hello.fingerprint.hex()} "
                "at the peer; load the same start key at both ends, and compare with "
                "`scqc keys fingerprint`"
            )
        self.peer = hello


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
        return self._say(self._hello(self._session))

    def receive(self, frames: list[bytes]) -> list[bytes]:
        """Take Alice's answer; return the frames of the next turn, none at the end.

        Raises
        ------
        PeerError, KeySinkError
            If the two do not fit together.
        ProtocolAbort
            If her tag is wrong.
        """
        self._begin()
        said = self._prove(frames) if self.peer else self._meet(frames)
        self._broken_off = False
        return said

    def _meet(self, frames: list[bytes]) -> list[bytes]:
        hello, asked = self._take(frames, Hello, SinkQuestions)
        if hello.session != self._session:
            raise PeerError(
                f"greeting: of session {hello.session.hex()}, expected "
                f"{self._session.hex()}"
            )
        self._check_terms(hello)
        self._keys.update(self._sink.tag_keys(hello.sink))
        said = self._say(
            SinkQuestions(self._sink.questions(hello.sink)),
            SinkAnswers(self._sink.answer(asked.questions)),
        )
        return [*said, *self._say(self._tag())]

    def _prove(self, frames: list[bytes]) -> list[bytes]:
        told, tag = self._take(frames, SinkAnswers, HelloTag)
        self._transcript.check_peer(tag.tag)
        if self.peer is not None:
            self._sink.settle(self.peer.sink)
        self._sink.resolve(told.answers)
        self._sink.promise()
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
        self._begin()
        said = self._prove(frames, self.peer) if self.peer else self._meet(frames)
        self._broken_off = False
        return said

    def _meet(self, frames: list[bytes]) -> list[bytes]:
        (hello,) = self._take(frames, Hello)
        self._check_terms(hello)
        own = self._hello(hello.session)
        return self._say(own, SinkQuestions(self._sink.questions(hello.sink)))

    def _prove(self, frames: list[bytes], peer: Hello) -> list[bytes]:
        asked, told, tag = self._take(frames, SinkQuestions, SinkAnswers, HelloTag)
        self._keys.update(self._sink.tag_keys(peer.sink))
        self._transcript.check_peer(tag.tag)
        self._sink.settle(peer.sink)
        self._sink.resolve(told.answers)
        said = self._say(SinkAnswers(self._sink.answer(asked.questions)))
        # She has proof of him, and what she says now is believed at once.
        self._sink.promise()
        self.finished = True
        return [*said, *self._say(self._tag())]
