"""What both services share: a home, a sink, a link, a socket to be told things by."""

from __future__ import annotations

import re
import shutil
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protocols.key_sink.resync import Resync, last_epoch
from protocols.key_sink.sink import KeySink
from protocols.messages.greeting import SENDS, Terms
from scqc.core.errors import (
    ErrorRateAbort,
    KeySinkError,
    PeerError,
    PeerLost,
    ProtocolAbort,
    ScqcError,
)
from scqc.runs.disk import block_bytes, require_space
from scqc.runs.journal import Journal
from scqc.runs.lab_config import LoadedConfig
from scqc.runs.memory import give_back_free_memory
from scqc.runs.parties.alice import MOST_PENDING
from scqc.runs.parties.block import ALICE_NAME, BOB_NAME, CAPTURE_NAME
from scqc.runs.parties.control import require_alone
from scqc.runs.parties.curve import LinkKeyFile, read_link_file
from scqc.runs.parties.observer import LinkCounts, Observer, Sources
from scqc.runs.parties.patience import LinkTimes
from scqc.runs.parties.shared_config import shared_config
from scqc.runs.parties.status import Status
from scqc.runs.sink_use import sink_in_service
from scqc.runs.sinks import open_sink, sink_directory
from scqc.store.results import Sender

#: Either end notices within ten seconds that the other is gone.
TIMES = LinkTimes(silence_s=3.0, lost_s=8.0)
#: So many blocks in a row may fail before the service stops asking for more.
MAX_FAILURES = 3
#: Whoever waits says so once an hour [s]; nobody's disk gets full of it.
_TELL_EVERY_S = 3600.0
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a service lives, and what it is to do.

    Parameters
    ----------
    loaded : LoadedConfig
    home : Path
        Made with mode 0700.
    lab : Path or None
        What ``scqc serve-sim`` wrote, for a simulated bench.
    run_uuid : str
        Names the run; with the same name and seed a simulated one gives the same.
    paused : bool
        Whether it waits to be told to start.
    blocks : int or None
        Ends by itself after so many [1].
    metrics : str or None
        Where metrics are served, instead of ``[peer] metrics``.
    """

    loaded: LoadedConfig
    home: Path
    lab: Path | None
    run_uuid: str
    paused: bool = False
    blocks: int | None = None
    metrics: str | None = None


class Service(ABC):
    """One end of a link as a program of its own; `AliceService`, `BobService`.

    Parameters
    ----------
    place : Place
    party : {"alice", "bob"}
    sink : KeySink
    keys : LinkKeyFile
    journal : Journal
    """

    def __init__(
        self,
        place: Place,
        party: Sender,
        sink: KeySink,
        keys: LinkKeyFile,
        journal: Journal,
    ) -> None:
        self.place, self.party = place, party
        self.config = place.loaded.config
        self.sink, self.keys, self.journal = sink, keys, journal
        self.simulated = self.config.sim is not None
        #: How often these sinks were used before [1].
        self.session = last_epoch(sink)
        self.status = Status(party)
        self.status.alarms.tell = partial(journal.write, "alarm")
        #: The network end of the link, once there is one.
        self.network: LinkCounts | None = None
        self.observer = Observer(
            Sources(self.config, place.home, sink, self.status, lambda: self.network)
        )
        self.end = threading.Event()
        self.running = threading.Event()
        if not place.paused:
            self.running.set()
        self._failures = 0
        #: What was told of a kind last, without its numbers, and when [s].
        self._told: dict[str, tuple[str, float]] = {}
        #: Called after every block that was distilled.
        self.settle: Callable[[], None] = lambda: None
        #: Why this end asks for nothing until it is told to start; empty if it does.
        self.faulted = ""

    @abstractmethod
    def run(self) -> None:
        """Serve until told to end."""

    def terms(self) -> Terms:
        """Return what this end brings to a greeting."""
        return Terms(
            link=self.keys.link,
            party=self.party,
            config=shared_config(self.config),
            run=self.place.run_uuid,
            max_skew_s=self.config.peer.max_clock_skew_s,
        )

    def resync(self) -> Resync:
        """Return this end's part of the sinks' resynchronisation."""
        return Resync(self.sink, SENDS[self.party], allow_simulated=self.simulated)

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request of the control socket."""
        match request.get("command"):
            case "status":
                return self.observer.look()
            case "start":
                self._failures, self.faulted = 0, ""
                self.running.set()
                self.journal.write("control", "started")
            case "stop":
                self.running.clear()
                self.journal.write("control", "stopped after the block in progress")
            case "end":
                self.journal.write("control", "told to end")
                self.end.set()
            case _:
                return self.handle_more(request)
        return {"state": self.status.state}

    def handle_more(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer what only one of the services understands."""
        raise PeerError(f"control: {self.party} does not know {request.get('command')}")

    def block_home(self, index: int) -> Path:
        """Return the folder of a block."""
        return self.place.home / "blocks" / f"block-{index:06d}"

    def make_room(self, index: int) -> None:
        """Remove folders of old blocks; require room on the disk for another.

        Raises
        ------
        DiskSpaceError
            If there is none.
        """
        # Those that wait to be distilled are not old.
        on_the_way = max(self.config.peer.queue_blocks + 3, MOST_PENDING + 1)
        kept = max(self.config.peer.keep_blocks, on_the_way)
        folders = sorted((self.place.home / "blocks").glob("block-*"))
        for folder in folders[: max(0, len(folders) - kept)]:
            shutil.rmtree(folder, ignore_errors=True)
        # Of blocks that failed; those of the others went when their key was made.
        for folder in folders[: max(0, len(folders) - on_the_way)]:
            self.drop_raw(folder)
        require_space(self.place.home, block_bytes(self.config), f"block {index}")

    def drop_raw(self, folder: Path) -> None:
        """Remove what a key could be made of once more, with the public transcript.

        The sink forgets key that was used; its raw material must not outlive it.
        """
        if not self.config.peer.keep_captures:
            for name in (CAPTURE_NAME, BOB_NAME, ALICE_NAME):
                (folder / name).unlink(missing_ok=True)

    def first_index(self) -> int:
        """Return the number after that of the last block that is in the home [1]."""
        folders = sorted((self.place.home / "blocks").glob("block-*"))
        return int(folders[-1].name.rpartition("-")[2]) + 1 if folders else 0

    def note_failure(self, what: str, error: ScqcError) -> None:
        """Note a block that failed; after a few in a row, ask for no more."""
        text = f"{what}: {type(error).__name__}: {error}"
        self.journal.write("error", text)
        # Whichever end has found it: a refusal carries the name of the peer's error.
        names = (type(error).__name__, getattr(error, "error", ""))
        self.status.failed(text, too_many_errors=ErrorRateAbort.__name__ in names)
        self._failures += 1
        if self._failures >= MAX_FAILURES:
            self.running.clear()
            self.faulted = f"{self._failures} blocks in a row failed"
            self.status.enter("fault", self.faulted)
            self.journal.write("fault", self.faulted)

    def note_refusal(self, error: ScqcError) -> None:
        """Note why two ends do not come together."""
        self.status.alarms.happened("greeting-refused", str(error))

    @contextmanager
    def noting_refusal(self) -> Iterator[None]:
        """Note what ends a greeting; that nobody is there is no refusal."""
        try:
            yield
        except PeerLost:
            raise
        except (PeerError, KeySinkError, ProtocolAbort) as error:
            self.note_refusal(error)
            raise

    def tell_again(self, kind: str, text: str) -> None:
        """Journal what comes every few seconds: when it changes, and once an hour.

        Numbers may change, such as the time of day.
        """
        sentence, now_s = _DIGITS.sub("", text), time.monotonic()
        told, told_s = self._told.get(kind, ("", 0.0))
        if sentence != told or now_s - told_s >= _TELL_EVERY_S:
            self._told[kind] = sentence, now_s
            self.journal.write(kind, text)

    def note_session(self, peer: str, skew_s: float) -> None:
        """Note that a session with the peer has begun."""
        self._told.clear()
        self.status.greeted(skew_s)
        self.status.enter("linked", f"{peer} has greeted" if peer == "Bob" else "")
        self.journal.write("greeting", f"a session with {peer} has begun")

    def note_success(self) -> None:
        """Note that a block was distilled."""
        self._failures = 0
        self.settle()
        give_back_free_memory()

    def rest(self) -> None:
        """Say why no block is taken: told to stop, or a fault that needs somebody."""
        if self.faulted:
            self.status.enter("fault", self.faulted)
        else:
            self.status.enter("paused", "told to stop")


#: Makes one of the services.
Make = Callable[[Place, KeySink, LinkKeyFile, Journal], Service]


@contextmanager
def opened_home(place: Place, party: Sender) -> Iterator[tuple[KeySink, LinkKeyFile]]:
    """Open sink and key file of a party.

    Raises
    ------
    ConfigError
        If the key file is absent or wrong.
    KeySinkError
        If there is no sink on a real bench, or it is damaged.
    """
    config, home = place.loaded.config, place.home
    require_alone(home)
    for folder in (home, home / "blocks"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    named = config.peer.link_file
    link = Path(named) if named else sink_directory(config, home) / f"{party}.link"
    keys = read_link_file(link, party)
    with (
        open_sink(config, home, party) as sink,
        sink_in_service(Path(sink.path)),
    ):
        yield sink, keys
