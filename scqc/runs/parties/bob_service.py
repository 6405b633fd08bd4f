"""``scqc bob``: Bob's end as a program. He takes a block while he distils another.

Two threads share the link: one leads the light and stores blocks, the other makes
keys of them. Between them is a short queue: when it is full, no light is asked for.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocols.key_sink.resync import Resync
from protocols.key_sink.sink import KeySink
from protocols.messages.ends import StrangeSession
from protocols.messages.greeting import BobGreeting
from scqc.core.errors import (
    PeerError,
    PeerLost,
    PeerRefused,
    PeerUnreached,
    ProtocolAbort,
    ScqcError,
    SignalError,
)
from scqc.core.rng import SystemEntropy
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.parties.block import RECEIVED_NAME
from scqc.runs.parties.bob import BobTaker, Captured, distil_block
from scqc.runs.parties.control import ControlServer
from scqc.runs.parties.curve import LinkKeyFile
from scqc.runs.parties.distil import SchemeParty
from scqc.runs.parties.inbox import Inbox, message_of
from scqc.runs.parties.opened import open_own_station
from scqc.runs.parties.pair import bob_light, scheme_bob, store_of
from scqc.runs.parties.service import TIMES, Place, Service
from scqc.runs.parties.status import DoneBlock
from scqc.runs.parties.zmq_link import ZmqAsker
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.photon.pads import sink_level
from scqc.runs.progress import Silent
from scqc.runs.receive import Timing
from scqc.runs.result import Result

_AGAIN_S = 1.0
#: The longest pause after greetings that were refused one after the other [s].
_REFUSED_S = 10.0
_STEP_S = 0.2
#: Blocks in progress may still become key when this end is told to end [s].
_GRACE_S = 3.0
#: Errors of one block; another block may do better.
_OF_A_BLOCK = (SignalError, ProtocolAbort, PeerRefused)


class BobService(Service):
    """Bob's service.

    Parameters
    ----------
    place, sink, keys, journal
        See `Service`.
    """

    def __init__(
        self, place: Place, sink: KeySink, keys: LinkKeyFile, journal: Journal
    ) -> None:
        super().__init__(place, "bob", sink, keys, journal)
        self._scheme = scheme_bob(self.config, sink, journal, self.session, keys.link)
        self._store = store_of(self.config, sink)
        self._index = self.first_index()
        #: What was to be said of the sink when nobody was there to hear it.
        self._unheard: Resync | None = None
        #: Greetings that were refused since the last that was not [1].
        self._refusals = 0
        #: Blocks that were stored so far [1].
        self.taken = 0
        self._inbox = Inbox(place.home)

    def run(self) -> None:
        """Take and distil blocks until told to end.

        Raises
        ------
        InstrumentError
            Of his bench.
        """
        config, place = self.config, self.place
        with ExitStack() as opened:
            opened.enter_context(ControlServer(place.home, self.handle))
            station = opened.enter_context(
                open_own_station(config, "bob", place.lab, self.journal)
            )
            asker = opened.enter_context(
                ZmqAsker(config.peer.address, self.keys, TIMES)
            )
            self.network = asker
            opened.enter_context(self._cutting_short(asker))
            while not self.end.is_set():
                try:
                    self._greet(asker)
                    Session(self, asker, station).run()
                except PeerLost as error:
                    self._wait_for_alice(error)
                except PeerError as error:
                    self._wait_for_alice(error)
        self.status.enter("ended")

    @contextmanager
    def _cutting_short(self, asker: ZmqAsker) -> Iterator[None]:
        """Close the link soon after this end was told to end, whatever Alice does."""
        over = threading.Event()

        def watch() -> None:
            while not (over.is_set() or self.end.wait(_STEP_S)):
                continue
            if not over.wait(_GRACE_S):
                asker.close()

        watcher = threading.Thread(target=watch, name="bob-end", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _greet(self, asker: ZmqAsker) -> None:
        """Begin a session with Alice."""
        self.status.enter("waiting", f"for Alice at {self.config.peer.address}")
        session, resync = SystemEntropy().read(16), self._unheard or self.resync()
        greeting, self._unheard = BobGreeting(self.terms(), resync, session), None
        with self.noting_refusal():
            frames = greeting.start()
            try:
                frames = greeting.receive(asker.ask("session", 0, frames))
            except PeerUnreached:
                self._unheard = resync
                raise
            while frames:
                frames = greeting.receive(asker.ask("session", 0, frames))
        self._refusals = 0
        self.note_session("Alice", greeting.skew_s)

    def _wait_for_alice(self, error: PeerError) -> None:
        if self.end.is_set():
            return
        text = f"{type(error).__name__}: {error}"
        self.status.enter("waiting", text)
        if isinstance(error, PeerLost):
            self.status.alarms.happened("peer-lost", text)
        self.tell_again("link", text)
        self.end.wait(self.pause_s(error))

    def pause_s(self, error: PeerError) -> float:
        """Return how long to wait until the next greeting [s].

        Both sinks remember every greeting for ever, and what does not fit stays so
        until somebody mends it: each refusal doubles the pause.
        """
        pause_s = min(_AGAIN_S * 2.0 ** min(self._refusals, 20), _REFUSED_S)
        self._refusals += 1
        if isinstance(error, PeerLost):
            pause_s, self._refusals = _AGAIN_S, 0
        return pause_s

    def next_home(self) -> tuple[int, Path]:
        """Return number and folder of the next block."""
        index = self._index
        self._index += 1
        return index, self.block_home(index)

    def again(self) -> None:
        """Take back the number of a block that Alice did not offer."""
        self._index -= 1

    def wants_more(self, taken: int) -> bool:
        """Return whether another block is to be taken."""
        return self.place.blocks is None or taken < self.place.blocks

    def distil(self, captured: Captured, asker: ZmqAsker) -> Result:
        """Make the key of a block; write result, report and payload."""
        journal = Journal(captured.folder, captured.name.run_uuid)
        told = journal, Silent(), Timing()
        if isinstance(self.config, CvConfig):
            result = self._distil_cv(captured, asker, told)
        else:
            result = self._distil_photon(captured, asker, told)
        # It is in the inbox.
        (captured.folder / RECEIVED_NAME).unlink(missing_ok=True)
        return result

    def _distil_cv(self, captured: Captured, asker: ZmqAsker, told: Any) -> Result:
        from scqc.runs.offline import finish_cv
        from scqc.store.sealed_reader import open_capture

        with open_capture(captured.path) as stored:
            received = self._scheme.receive(stored, told[1], told[2])
            bob = self._key(captured, received, asker, told[2])
            return finish_cv(self.config, received, (None, bob), stored, captured, told)

    def _distil_photon(self, captured: Captured, asker: ZmqAsker, told: Any) -> Result:
        from scqc.runs.photon.process import finish_block
        from scqc.runs.photon.summary import finish_run
        from scqc.store.tag_capture import open_tag_capture

        config = self.config
        if not isinstance(config, PhotonConfig):
            raise PeerError("bob: no photon-counting bench")
        before = sink_level(config, self.sink)
        with open_tag_capture(captured.path) as stored:
            received = self._scheme.receive(stored, told[1], told[2])
            bob = self._key(captured, received, asker, told[2])
        level = before, sink_level(config, self.sink)
        places = captured, told[0], self.sink
        block = finish_block(config, received, bob, (None, level), places)
        return finish_run([block], config, captured.folder, told[2], told[1], told[0])

    def _key(
        self, captured: Captured, received: Any, asker: ZmqAsker, timing: Timing
    ) -> Any:
        def accept(bob: SchemeParty) -> None:
            if message := message_of(bob):
                name = self._inbox.put(captured.folder.name, message)
                self.journal.write("payload", f"{name}: delivered")

        with timing.stage("key distillation"):
            bob, _ = distil_block(
                received,
                lambda keys, opening: self._scheme.party(received, keys, opening),
                replace(self._store, accept=accept),
                asker,
                (captured.opening, captured.index, captured.folder),
            )
        return bob


class Session:
    """Bob's work between two greetings.

    Parameters
    ----------
    service : BobService
    asker : ZmqAsker
    station : OpenStation
    """

    def __init__(self, service: BobService, asker: ZmqAsker, station: Any) -> None:
        self._service, self._asker, self._station = service, asker, station
        size = service.config.peer.queue_blocks
        self._waiting: queue.Queue[Captured | None] = queue.Queue(size)
        self._over = threading.Event()

    def run(self) -> None:
        """Take blocks in this thread, distil them in another.

        Raises
        ------
        PeerLost, PeerError
            If the session is over and there must be another greeting.
        InstrumentError, KeySinkError, CaptureError
            If this end cannot go on.
        """
        with ThreadPoolExecutor(1, "bob-key") as pool:
            worker = pool.submit(self._distil_all)
            worker.add_done_callback(lambda _: self._over.set())
            try:
                self._take_all()
            finally:
                self._hand_over(None)
        worker.result()

    def _take_all(self) -> None:
        service, config = self._service, self._service.config
        taker = BobTaker(self._asker)
        light = bob_light(
            service.place.loaded, self._station, taker.talk, service.session
        )
        light.acquire()
        while not (self._over.is_set() or service.end.is_set()):
            if not service.wants_more(service.taken):
                service.end.wait(_STEP_S)
                continue
            if not service.running.is_set():
                service.rest()
                service.end.wait(_STEP_S)
                continue
            index, home = service.next_home()
            try:
                service.make_room(index)
                taken = taker.take(light, config.link.bursts, index, home, Silent())
            except _OF_A_BLOCK as error:
                _require_session(error)
                service.note_failure(f"light of {home.name}", error)
                continue
            if isinstance(taken, str):
                service.again()
                service.status.enter("linked", f"Alice: {taken}")
                service.end.wait(_AGAIN_S)
                continue
            service.status.enter("running")
            service.taken += 1
            self._hand_over(taken)

    def _hand_over(self, captured: Captured | None) -> None:
        """Wait for room in the queue: no light is asked for meanwhile."""
        while not self._over.is_set():
            try:
                self._waiting.put(captured, timeout=_STEP_S)
            except queue.Full:
                if self._service.end.is_set() and captured is not None:
                    return
                continue
            self._service.status.queue(self._waiting.qsize())
            return

    def _distil_all(self) -> None:
        """Make keys until the queue ends."""
        while (captured := self._waiting.get()) is not None:
            self._service.status.queue(self._waiting.qsize())
            self._distil(captured)
            if not self._service.wants_more(self._service.status.blocks):
                self._service.end.set()

    def _distil(self, captured: Captured) -> None:
        service = self._service
        try:
            result = service.distil(captured, self._asker)
        except _OF_A_BLOCK as error:
            _require_session(error)
            service.note_failure(captured.folder.name, error)
            return
        service.note_success()
        service.drop_raw(captured.folder)
        data = result.data
        bits = int(data["key"]["secret_bits"])
        service.status.done(
            DoneBlock(captured.index, time.monotonic(), bits, figures(data))
        )
        service.journal.write("key", f"{captured.name.link}: {bits} bits")


def _require_session(error: ScqcError) -> None:
    """Raise an error that says that Alice has begun anew: greet her again."""
    if isinstance(error, PeerRefused) and error.error == StrangeSession.__name__:
        raise error


def figures(data: dict[str, Any]) -> dict[str, float]:
    """Return what a result says of the channel, for status and metrics."""
    quantum = data["quantum"]
    if "qber" in quantum:
        return {
            "qber_z": float(quantum["qber"]["z"]),
            "qber_x": float(quantum["qber"]["x"]),
            "gain_signal": float(quantum["gain"]["signal"]),
        }
    return {
        "transmittance": float(quantum["transmittance"]["value"]),
        "xi_snu": float(quantum["xi_snu"]["value"]),
        "ber": float(data["classical"]["ber_raw"]),
    }


def make_bob(
    place: Place, sink: KeySink, keys: LinkKeyFile, journal: Journal
) -> BobService:
    """Return Bob's service."""
    return BobService(place, sink, keys, journal)
