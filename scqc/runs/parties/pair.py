"""Both parties in one program, on a link that is a function call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from protocols.key_sink.sink import KeySink
from protocols.messages.wire import decode
from scqc.core.errors import KeySinkError, PeerError, ScqcError
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LabConfig, LoadedConfig
from scqc.runs.parties.alice import AliceEnd, NextBlock, SchemeAlice
from scqc.runs.parties.block import TRANSCRIPT_NAME, BlockName
from scqc.runs.parties.bob import BobLight, BobTaker, Captured, SchemeReceived
from scqc.runs.parties.bob import distil_block as _distil
from scqc.runs.parties.cv_alice import CvAliceEnd
from scqc.runs.parties.cv_bob import CvBobEnd, CvBobLight
from scqc.runs.parties.distil import SchemeBob, SchemeParty, Store
from scqc.runs.parties.keys import shares_of
from scqc.runs.parties.light_talk import LightTalk
from scqc.runs.parties.link import LocalLink
from scqc.runs.parties.opened import OpenStation
from scqc.runs.parties.photon_alice import PhotonAliceEnd
from scqc.runs.parties.photon_bob import PhotonBobEnd, PhotonBobLight
from scqc.runs.progress import Progress
from scqc.runs.sinks import Sinks
from scqc.store.results import SentMessage, read_transcript


def scheme_alice(
    config: LabConfig,
    sink: KeySink,
    journal: Journal,
    session: int = 0,
    link: bytes = b"",
) -> SchemeAlice:
    """Return Alice of the config's scheme."""
    if isinstance(config, CvConfig):
        return CvAliceEnd(config, session, link)
    return PhotonAliceEnd(config, sink, journal, session, link)


def scheme_bob(
    config: LabConfig,
    sink: KeySink,
    journal: Journal,
    session: int = 0,
    link: bytes = b"",
) -> Any:
    """Return Bob of the config's scheme: `CvBobEnd` or `PhotonBobEnd`."""
    if isinstance(config, CvConfig):
        return CvBobEnd(config, session, link)
    return PhotonBobEnd(config, sink, journal, session, link)


def bob_light(
    loaded: LoadedConfig, opened: OpenStation, talk: LightTalk, session: int = 0
) -> Any:
    """Return Bob's instruments, set: `CvBobLight` or `PhotonBobLight`."""
    config, half = loaded.config, opened.half("bob")
    if isinstance(config, CvConfig):
        return CvBobLight(loaded.text, config, half, opened.recovery, talk)
    light = PhotonBobLight(loaded.text, config, half, opened.recovery, talk, session)
    light.prepare()
    return light


def store_of(config: LabConfig, sink: KeySink) -> Store:
    """Return a party's sink with the shares of the config."""
    simulated = config.sim is not None
    return Store(sink, shares_of(config), simulated, settings=config.keys)


def both_ends(
    config: LabConfig, sinks: Sinks, journal: Journal
) -> tuple[SchemeAlice, Any]:
    """Return Alice and Bob of the config's scheme."""
    return (
        scheme_alice(config, sinks[0], journal),
        scheme_bob(config, sinks[1], journal),
    )


class Pair:
    """Alice's and Bob's ends of one program.

    Parameters
    ----------
    config : LabConfig
    ends : tuple of SchemeAlice, and Bob of the same scheme
    sinks : tuple of KeySink, or None
        Alice's and Bob's; without them no key is made.
    note : callable, optional
        Told who said how much.
    """

    def __init__(
        self,
        config: LabConfig,
        ends: tuple[SchemeAlice, Any],
        sinks: Sinks | None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.alice_scheme, self.bob_scheme = ends
        #: What Alice sends when Bob asks for a block; or why nothing.
        self.next: NextBlock | str = "nothing is to be sent"
        #: Alice of the protocol, for each block that has a key.
        self.alices: dict[BlockName, SchemeParty] = {}
        stores = [None, None] if sinks is None else [store_of(config, s) for s in sinks]
        self.alice = AliceEnd(
            self.alice_scheme, stores[0], lambda: self.next, self._done
        )
        self.link = LocalLink(self.alice, note)
        self._store = stores[1]
        self._taker = BobTaker(self.link)

    def open_light(self, loaded: LoadedConfig, opened: OpenStation) -> BobLight:
        """Use these instruments for both ends; return Bob's."""
        alice = self.alice.open_light(opened.half("alice"), opened.recovery)
        alice.prepare()
        light: BobLight = bob_light(loaded, opened, self._taker.talk)
        light.acquire()
        return light

    def take(self, light: BobLight, block: NextBlock, progress: Progress) -> Captured:
        """Send one block and store what arrives.

        Raises
        ------
        ScqcError
            Typed by cause.
        """
        self.next = block
        most = self.alice_scheme.n_bursts
        try:
            taken = self._taker.take(light, most, 0, block.folder, progress)
        finally:
            # Her record is closed, whatever became of the light.
            self.alice.give_up()
        if isinstance(taken, str):
            raise PeerError(f"alice: no block: {taken}")
        return taken

    def distil(
        self, received: SchemeReceived, captured: Captured, folder: Path
    ) -> tuple[SchemeParty, SchemeBob]:
        """Make the key of a block; return both parties with it.

        Parameters
        ----------
        received : SchemeReceived
        captured : Captured
        folder : Path
            Gets the transcript.

        Raises
        ------
        ScqcError
            Typed by cause.
        """
        if self._store is None:
            raise KeySinkError("no key sinks are open: no key can be made")
        seed = public_seed(
            captured.path.parent / TRANSCRIPT_NAME,
            received.name.run_uuid,
            self.bob_scheme.seed_message,
        )
        bob, _ = _distil(
            received,
            lambda keys, opening: self.bob_scheme.party(received, keys, opening, seed),
            self._store,
            self.link,
            (captured.opening, captured.index, folder),
        )
        return self.alices.pop(received.name), bob

    def _done(self, block: NextBlock, what: SchemeParty | ScqcError) -> None:
        if not isinstance(what, ScqcError):
            self.alices[block.name] = what


def public_seed(transcript: Path, run_uuid: str, kind: type[Any]) -> bytes | None:
    """Return the public seed of an earlier processing, if there was one."""
    if not transcript.exists():
        return None
    owner, messages = read_transcript(transcript)
    if owner != run_uuid:
        return None
    return seed_in(messages, kind)


def seed_in(messages: list[SentMessage], kind: type[Any]) -> bytes | None:
    """Return the permutation seed that was said, if it was."""
    for message in messages:
        said = decode(message.frame)
        if isinstance(said, kind):
            seed: bytes = said.permutation_seed
            return seed
    return None
