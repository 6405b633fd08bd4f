"""Bob's end of a link: he takes blocks, and distils them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from protocols.messages.light import BlockOffer, BlockRequest, NotNow
from protocols.schemes.transcript import Opening
from scqc.core.errors import PeerError
from scqc.runs.parties.block import TRANSCRIPT_NAME, BlockName
from scqc.runs.parties.distil import BobDistiller, MakeBob, SchemeBob, Store
from scqc.runs.parties.light_talk import LightTalk
from scqc.runs.parties.link import Asker
from scqc.runs.progress import Progress
from scqc.store.results import SentMessage, write_transcript


class SchemeReceived(Protocol):
    """A block at Bob, of either scheme."""

    @property
    def name(self) -> BlockName:
        """What both ends call it."""
        ...

    @property
    def n_bursts(self) -> int:
        """Bursts that were received [1]."""
        ...


class BobLight(Protocol):
    """Bob's instruments, of either scheme."""

    def acquire(self) -> None:
        """Bring both ends together before the first block."""
        ...

    def capture(
        self, name: BlockName, n_bursts: int, folder: Path, progress: Progress
    ) -> Path:
        """Take a block and store it; return the finished capture."""
        ...


@dataclass(frozen=True, slots=True)
class Captured:
    """A block that Bob has stored.

    Parameters
    ----------
    name : BlockName
    folder : Path
    path : Path
        The capture.
    opening : Opening
        What was said about its light.
    index : int
        What the link calls it [1].
    """

    name: BlockName
    folder: Path
    path: Path
    opening: Opening = field(repr=False)
    index: int = 0


class BobTaker:
    """Takes blocks, one after the other.

    Parameters
    ----------
    asker : Asker
    """

    def __init__(self, asker: Asker) -> None:
        self.talk = LightTalk(asker)

    def take(
        self,
        light: BobLight,
        most_bursts: int,
        index: int,
        folder: Path,
        progress: Progress,
    ) -> Captured | str:
        """Take a block, if Alice offers one; else return why not.

        Parameters
        ----------
        light : BobLight
        most_bursts : int
            Of a block [1].
        index : int
            What the link calls it.
        folder : Path
            For its capture; made.
        progress : Progress

        Raises
        ------
        ScqcError
            Typed by cause; the block is given up then.
        """
        self.talk.begin(index)
        offer = self.talk.ask(BlockRequest(), BlockOffer, NotNow)
        if not isinstance(offer, BlockOffer):
            reason: str = offer.reason
            return reason
        if not 1 <= offer.n_bursts <= most_bursts:
            raise PeerError(
                f"bob: Alice offers {offer.n_bursts} bursts, the config has "
                f"{most_bursts}"
            )
        name = BlockName(offer.run_uuid, offer.block)
        path = light.capture(name, offer.n_bursts, folder, progress)
        sent, received = self.talk.said()
        return Captured(
            name, folder, path, Opening(tuple(sent), tuple(received)), index
        )


def distil_block(
    received: SchemeReceived,
    make: MakeBob,
    store: Store,
    asker: Asker,
    places: tuple[Opening, int, Path],
) -> tuple[SchemeBob, list[SentMessage]]:
    """Make the key of a block that was received; write its transcript.

    Parameters
    ----------
    received : SchemeReceived
    make : callable
        Makes Bob of the scheme.
    store : Store
        His.
    asker : Asker
    places : tuple of Opening, int and Path
        What was said about its light, what the link calls it, and where the
        transcript goes.

    Raises
    ------
    ScqcError
        Typed by cause; no key is made then, and pads that were spent stay spent.
    """
    opening, index, folder = places
    name = received.name
    bob, said = BobDistiller(store, asker).distil(
        name, received.n_bursts, make, (opening, index)
    )
    write_transcript(folder / TRANSCRIPT_NAME, name.run_uuid, said)
    return bob, said
