"""Distillation of a block over a link, whatever the scheme: Bob leads, Alice answers.

The key goes into the sinks in three steps. Bob stores his as *verified* before he
sends his last tag; Alice, who has checked that tag, knows so and stores hers as
available; her confirmation, under a tag of its own, makes Bob's available. If it is
lost, the next greeting of the two ends tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from protocols.key_sink.records import AUTHENTICATION_PURPOSE, PoolKey
from protocols.key_sink.shares import ShareSettings, refill_tags
from protocols.key_sink.sink import KeySink
from protocols.messages.distil import KeyReady, KeyStart
from protocols.messages.session import KeyConfirmed
from protocols.messages.wire import decode, encode
from protocols.schemes.transcript import (
    ALICE_TO_BOB,
    BOB_TO_ALICE,
    NOTHING_SAID,
    LinkKeys,
    Opening,
)
from scqc.core.errors import PeerError, ScqcError
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.link import Asker
from scqc.runs.parties.tag_pads import (
    BlockPads,
    check_confirmation,
    confirmation,
    follow_pads,
    spend_pads,
)
from scqc.store.results import SentMessage


class SchemeParty(Protocol):
    """A party of a scheme: bytes in, bytes out, and a key at the end."""

    epsilon: float

    @property
    def finished(self) -> bool:
        """Whether the exchange has come to its end."""
        ...

    def receive(self, data: bytes) -> list[bytes]:
        """Take one message of the peer; return the answers."""
        ...

    def key(self) -> tuple[bytes, int]:
        """Return the packed key and its length [bit]."""
        ...


class SchemeBob(SchemeParty, Protocol):
    """The party that speaks first."""

    def start(self) -> list[bytes]:
        """Return the first messages."""
        ...


#: Cuts a finished party's key into the pools of its sink.
Shares = Callable[[BlockName, SchemeParty, int], list[PoolKey]]


@dataclass(frozen=True, slots=True)
class Store:
    """One party's sink, and how a fresh key is cut into its pools.

    Parameters
    ----------
    sink : KeySink
    shares : callable
    simulated : bool
        Whether keys of a simulated bench may be spent.
    accept : callable, optional
        Told of the party before its key is stored: the last moment at which the peer
        cannot know that the block has arrived.
    settings : ShareSettings
    """

    sink: KeySink
    shares: Shares = field(repr=False)
    simulated: bool
    accept: Callable[[SchemeParty], None] | None = field(default=None, repr=False)
    settings: ShareSettings = field(default_factory=ShareSettings)

    def refill_tags(self) -> int:
        """Return how many tags per direction the next key is to pay for [1]."""
        available = [
            self.sink.available_bits(AUTHENTICATION_PURPOSE, way, self.simulated)
            for way in (ALICE_TO_BOB, BOB_TO_ALICE)
        ]
        return refill_tags(min(available), self.settings)

    def keep(
        self, name: BlockName, party: SchemeParty, tags: int, *, confirmed: bool
    ) -> int:
        """Store the key of a party; return its length [bit].

        Parameters
        ----------
        name : BlockName
        party : SchemeParty
        tags : int
            That it pays for in advance, per direction, as both ends agreed [1].
        confirmed : bool
            Whether the peer is known to hold it.
        """
        if self.accept is not None:
            self.accept(party)
        keys = self.shares(name, party, tags)
        if keys:
            self.sink.store(keys, confirmed=confirmed)
        return sum(part.key.n_bits for part in keys)


#: Makes Bob of the scheme.
MakeBob = Callable[[dict[str, LinkKeys], Opening], SchemeBob]


class BobDistiller:
    """Bob's part.

    Parameters
    ----------
    store : Store
    asker : Asker
    """

    def __init__(self, store: Store, asker: Asker) -> None:
        self._store, self._asker = store, asker

    def distil(
        self,
        name: BlockName,
        n_bursts: int,
        make: MakeBob,
        before: tuple[Opening, int] = (NOTHING_SAID, 0),
    ) -> tuple[SchemeBob, list[SentMessage]]:
        """Let the parties talk, and store the key when both have it.

        Parameters
        ----------
        name : BlockName
        n_bursts : int
            Received [1].
        make : callable
            Makes Bob of the scheme from the keys of the tags, and from all that
            was said about the block before he speaks.
        before : tuple of Opening and int
            What was said about its light, and what the link calls it.

        Returns
        -------
        bob : SchemeBob
            With his key.
        said : list of SentMessage
            The scheme's messages, in the order they were said.

        Raises
        ------
        PeerError, ProtocolAbort, KeySinkError
            If either party stops the exchange; there is no key then.
        """
        sink, said = self._store.sink, list[SentMessage]()
        opening, block = before
        # Words of a block are published once: a second codeword on the same
        # detections would tell the difference of two padded messages.
        sink.claim(name.run_uuid, name.number)
        pads = spend_pads(sink, simulated=self._store.simulated)
        tags = self._store.refill_tags()
        start = encode(
            KeyStart(name.run_uuid, name.number, n_bursts, pads.ranges, tags)
        )
        (ready,) = self._one(self._asker.ask("key", block, [start]))
        if not isinstance(decode(ready), KeyReady):
            raise PeerError("key: Alice is not ready for this block")
        bob, stored_bits = make(pads.keys, opening.then(start, ready)), -1
        frames = bob.start()
        while frames:
            said += [SentMessage("bob", frame) for frame in frames]
            if bob.finished:
                # On disk before Alice can know of it: she may use hers at once.
                stored_bits = self._store.keep(name, bob, tags, confirmed=False)
            answers = self._asker.ask("key", block, frames)
            if bob.finished:
                self._check_confirmation(name, pads, answers)
                break
            said += [SentMessage("alice", frame) for frame in answers]
            frames = [f for answer in answers for f in bob.receive(answer)]
        if stored_bits < 0:
            raise PeerError("the exchange ended before both transcripts were checked")
        if stored_bits:
            sink.confirm(name.run_uuid, name.number)
        return bob, said

    def _one(self, frames: list[bytes]) -> list[bytes]:
        if len(frames) != 1:
            raise PeerError(f"key: {len(frames)} answers, wanted one")
        return frames

    def _check_confirmation(
        self, name: BlockName, pads: BlockPads, answers: list[bytes]
    ) -> None:
        """Check that Alice says she has her key."""
        said = decode(self._one(answers)[0])
        if not isinstance(said, KeyConfirmed):
            raise PeerError(f"key: got {type(said).__name__}, expected KeyConfirmed")
        check_confirmation(name, pads.confirmation, said)


@dataclass(frozen=True, slots=True)
class Begun:
    """A block that Alice distils.

    Parameters
    ----------
    name : BlockName
    party : SchemeParty
    pads : BlockPads
    tags : int
        That its key pays for in advance, per direction [1].
    """

    name: BlockName
    party: SchemeParty = field(repr=False)
    pads: BlockPads = field(repr=False)
    tags: int


#: Makes Alice of the scheme for a block that Bob wants distilled; the words with
#: which he began belong to its transcript.
MakeAlice = Callable[[KeyStart, dict[str, LinkKeys], Opening], SchemeParty]


class AliceDistiller:
    """Alice's part: answers the frames of the stream "key".

    Parameters
    ----------
    store : Store
    make : callable
        Makes Alice of the scheme; refuses blocks that were not taken.
    done : callable
        Told of every block that has ended, with the party or the error.
    """

    def __init__(
        self,
        store: Store,
        make: MakeAlice,
        done: Callable[[BlockName, SchemeParty | ScqcError], None],
    ) -> None:
        self._store, self._make, self._done = store, make, done
        self._begun: Begun | None = None

    def answer(self, frames: list[bytes]) -> list[bytes]:
        """Act on Bob's frames; return the answers.

        Raises
        ------
        PeerError, ProtocolAbort, KeySinkError
            If the exchange is stopped; there is no key then.
        """
        if len(frames) == 1 and isinstance(start := decode(frames[0]), KeyStart):
            ready = encode(KeyReady())
            self._start(start, NOTHING_SAID.then(ready, frames[0]))
            return [ready]
        begun = self._begun
        if begun is None:
            raise PeerError("alice: no block is being distilled")
        try:
            answers = [a for frame in frames for a in begun.party.receive(frame)]
            if begun.party.finished:
                answers.append(self._finish(begun))
        except ScqcError as error:
            self._begun = None
            self._done(begun.name, error)
            raise
        return answers

    def _start(self, start: KeyStart, said: Opening) -> None:
        name = BlockName(start.run_uuid, start.block)
        self._begun = None
        try:
            pads = follow_pads(
                self._store.sink, start.pads, simulated=self._store.simulated
            )
            self._store.sink.claim(name.run_uuid, name.number)
            party = self._make(start, pads.keys, said)
        except ScqcError as error:
            self._done(name, error)
            raise
        self._begun = Begun(name, party, pads, start.refill_tags)

    def _finish(self, begun: Begun) -> bytes:
        """Bob's last tag says that he has stored his key: store ours, and say so."""
        self._begun = None
        self._store.keep(begun.name, begun.party, begun.tags, confirmed=True)
        word = encode(confirmation(begun.name, begun.pads.confirmation))
        self._done(begun.name, begun.party)
        return word
