"""Alice's end of a link: she answers what Bob asks, about light and about keys."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from protocols.messages.distil import KeyStart
from protocols.messages.light import (
    BlockOffer,
    BlockRequest,
    BlockTaken,
    Done,
    LightMessage,
    NotNow,
)
from protocols.messages.wire import decode, encode
from protocols.schemes.transcript import LinkKeys, Opening
from scqc.core.errors import PeerError, ScqcError
from scqc.runs.parties.alice_light import AliceLight
from scqc.runs.parties.block import BlockName
from scqc.runs.parties.distil import AliceDistiller, SchemeParty, Store
from scqc.runs.parties.half import Half
from scqc.runs.parties.link import Stream
from scqc.runs.recovery import Recovery

#: Blocks whose light is over and whose key is not made yet; older ones are given up.
MOST_PENDING = 7


class SchemeAlice(Protocol):
    """What the schemes do in their own ways: `CvAliceEnd`, `PhotonAliceEnd`."""

    @property
    def n_bursts(self) -> int:
        """Bursts of a block [1]."""
        ...

    def prepare(self, name: BlockName, payload: bytes, folder: Path) -> Any:
        """Draw what is sent in one block; what must be on disk first is there."""
        ...

    def light(self, half: Half, recovery: Recovery) -> AliceLight:
        """Return what answers Bob about the light."""
        ...

    def party(
        self,
        name: BlockName,
        record: Path,
        n_bursts: int,
        keys: dict[str, LinkKeys],
        opening: Opening,
    ) -> SchemeParty:
        """Return Alice of the protocol."""
        ...


@dataclass(frozen=True, slots=True)
class NextBlock:
    """What Alice sends next.

    Parameters
    ----------
    name : BlockName
    folder : Path
        For her record of it.
    payload : bytes
        Empty for a block of key only.
    """

    name: BlockName
    folder: Path
    payload: bytes = field(default=b"", repr=False)


#: Says what comes next; or, as text, why nothing does.
Choose = Callable[[], NextBlock | str]


@dataclass(slots=True)
class Pending:
    """A block whose light was sent."""

    next: NextBlock
    n_bursts: int
    #: As Alice sent and received it.
    said: tuple[list[bytes], list[bytes]] = field(repr=False)


class GivenUp(PeerError):  # noqa: N818
    """A block that will have no key: Bob has lost it, and asks for others."""


class AliceEnd:
    """Alice of either scheme; an `Answerer`.

    Parameters
    ----------
    scheme : SchemeAlice
    store : Store or None
        Without one no key is made.
    choose : callable
        Asked for every block.
    done : callable
        Told of every block that has ended: with the party, or the error.
    """

    def __init__(
        self,
        scheme: SchemeAlice,
        store: Store | None,
        choose: Choose,
        done: Callable[[NextBlock, SchemeParty | ScqcError], None],
    ) -> None:
        self._scheme, self._choose, self._told = scheme, choose, done
        self._distiller: AliceDistiller | None = None
        if store is not None:
            self._distiller = AliceDistiller(store, self._make, self._done)
        self._light: AliceLight | None = None
        self._pending: dict[BlockName, Pending] = {}
        self._taking: NextBlock | None = None
        self._prepared: Any = None
        self._busy, self._asked_s = threading.Lock(), time.monotonic()
        self._sent: list[bytes] = []
        self._received: list[bytes] = []

    def open_light(self, half: Half, recovery: Recovery) -> AliceLight:
        """Use these instruments from now on."""
        self._light = self._scheme.light(half, recovery)
        return self._light

    @property
    def pending(self) -> int:
        """Blocks whose light is over and whose key is not made yet [1]."""
        return len(self._pending)

    def rest_when_idle(self, idle_s: float) -> None:
        """Let the light rest if Bob has asked for none for so long [s]."""
        if time.monotonic() - self._asked_s < idle_s or self._light is None:
            return
        if self._busy.acquire(blocking=False):
            try:
                self._light.rest()
            finally:
                self._busy.release()

    def give_up(self) -> None:
        """Give up the block in the making, if there is one."""
        block = self._taking
        self._drop_taking()
        if block is not None:
            self._abandon(block)

    def close_light(self) -> None:
        """Use no instruments any more; a block in the making is given up."""
        self.give_up()
        self._light = None

    def forget(self) -> None:
        """Give up every block that has no key yet: a new session begins."""
        self.give_up()
        self._keep_at_most(0)

    def expect(self, block: NextBlock, n_bursts: int) -> None:
        """Expect a block to be distilled whose light was sent long ago."""
        self._pending[block.name] = Pending(block, n_bursts, ([], []))

    def answer(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """See `Answerer.answer`."""
        if stream == "key" and self._distiller is not None:
            return self._distiller.answer(frames)
        if stream != "light" or len(frames) != 1:
            raise PeerError(f"alice: {len(frames)} frames on stream {stream!r}")
        with self._busy:
            self._asked_s = time.monotonic()
            return self._answer_light(frames)

    def _answer_light(self, frames: list[bytes]) -> list[bytes]:
        message = decode(frames[0])
        if isinstance(message, BlockRequest):
            self.give_up()
            self._sent, self._received = [], []
        self._received.append(frames[0])
        answer = encode(self._act(message))
        self._sent.append(answer)
        if isinstance(message, BlockTaken):
            self._keep(message)
        return [answer]

    def _act(self, message: Any) -> LightMessage:
        if isinstance(message, BlockRequest):
            return self._offer()
        if isinstance(message, BlockTaken):
            if self._taking is None:
                raise PeerError("alice: no block is being taken")
            return Done()
        if self._light is None:
            raise PeerError("alice: her bench is not open")
        return self._light.answer(message)

    def _offer(self) -> LightMessage:
        chosen = self._choose()
        if isinstance(chosen, str):
            return NotNow(chosen)
        light = self._light
        if light is None:
            return NotNow("Alice's bench is not open")
        try:
            self._prepared = self._scheme.prepare(
                chosen.name, chosen.payload, chosen.folder
            )
        except ScqcError:
            self._abandon(chosen)
            raise
        self._taking = chosen
        light.take(self._prepared)
        name = chosen.name
        return BlockOffer(name.run_uuid, name.number, self._scheme.n_bursts)

    def _keep(self, taken: BlockTaken) -> None:
        """Let the key of a block be made: its light is over."""
        block = self._taking
        if block is None:
            return
        self._drop_taking()
        self._pending[block.name] = Pending(
            block, taken.n_bursts, (self._sent, self._received)
        )
        self._sent, self._received = [], []
        self._keep_at_most(MOST_PENDING)

    def _keep_at_most(self, n: int) -> None:
        """Give up the oldest blocks that wait for their key."""
        while len(self._pending) > n:
            # The other thread may have just taken it.
            pending = self._pending.pop(next(iter(self._pending)), None)
            if pending is not None:
                self._abandon(pending.next)

    def _abandon(self, block: NextBlock) -> None:
        self._told(block, GivenUp(f"block {block.name.link}: given up without a key"))

    def _drop_taking(self) -> None:
        """Close the record of a block, taken whole or given up."""
        self._taking = None
        if self._light is not None:
            self._light.take(None)
        if self._prepared is not None:
            self._prepared.close()
            self._prepared = None

    def _make(
        self, start: KeyStart, keys: dict[str, LinkKeys], said: Opening
    ) -> SchemeParty:
        name = BlockName(start.run_uuid, start.block)
        pending = self._pending.get(name)
        if pending is None:
            raise PeerError(f"alice: block {name.link} was not taken, or has its end")
        if not 0 < start.n_bursts <= pending.n_bursts:
            raise PeerError(
                f"alice: {start.n_bursts} bursts of block {name.link}, it has "
                f"{pending.n_bursts}"
            )
        sent, received = pending.said
        opening = Opening((*sent, *said.sent), (*received, *said.received))
        return self._scheme.party(
            name, pending.next.folder, start.n_bursts, keys, opening
        )

    def _done(self, name: BlockName, what: SchemeParty | ScqcError) -> None:
        if name not in self._pending:
            return
        for other in list(self._pending):
            # The other thread may have just given it up.
            pending = self._pending.pop(other, None)
            if other == name:
                if pending is not None:
                    self._told(pending.next, what)
                return
            # Bob distils in order: he has lost what he passes over.
            if pending is not None:
                self._abandon(pending.next)
