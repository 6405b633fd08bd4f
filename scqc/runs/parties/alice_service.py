"""``scqc alice``: Alice's end as a program, block after block until told to end."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from protocols.key_sink.schedule import (
    BLOCK_PAD_BITS,
    GREETING_RESERVE_BITS,
    plan_block,
)
from protocols.key_sink.sink import KeySink
from protocols.messages.greeting import AliceGreeting
from protocols.messages.session import Hello
from protocols.messages.wire import decode
from scqc.core.errors import KeySinkError, PayloadError, ScqcError
from scqc.runs.cv_config import CvConfig
from scqc.runs.journal import Journal
from scqc.runs.parties.alice import AliceEnd, GivenUp, NextBlock
from scqc.runs.parties.block import ALICE_NAME, RESULT_NAME, BlockName, later_run
from scqc.runs.parties.control import ControlServer
from scqc.runs.parties.curve import LinkKeyFile
from scqc.runs.parties.distil import SchemeParty
from scqc.runs.parties.link import Stream
from scqc.runs.parties.opened import open_own_station
from scqc.runs.parties.outbox import Outbox, read_message
from scqc.runs.parties.pair import scheme_alice, store_of
from scqc.runs.parties.service import TIMES, Place, Service
from scqc.runs.parties.status import DoneBlock
from scqc.runs.parties.zmq_server import ZmqServer
from scqc.runs.photon.pads import sink_level
from scqc.runs.photon.prepare import check_payload as check_photon_payload
from scqc.runs.transmit import check_payload as check_cv_payload
from scqc.store.results import write_result

_STEP_S = 0.2
#: Bob asks for nothing so long: her light rests [s].
_IDLE_S = 10.0


class AliceService(Service):
    """Alice's service; an `Answerer` that greets before anything else.

    Parameters
    ----------
    place, sink, keys, journal
        See `Service`.
    """

    def __init__(
        self, place: Place, sink: KeySink, keys: LinkKeyFile, journal: Journal
    ) -> None:
        super().__init__(place, "alice", sink, keys, journal)
        scheme = scheme_alice(self.config, sink, journal, self.session, keys.link)
        store = store_of(self.config, sink)
        self.outbox = Outbox(place.home)
        self._ends = AliceEnd(scheme, store, self._choose, self._done)
        self._greeting: AliceGreeting | None = None
        self._index = self.first_index()
        self._offered = 0
        self._sending: dict[BlockName, str] = {}
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve until told to end.

        Raises
        ------
        InstrumentError
            Of her bench.
        PeerError
            If the address cannot be bound.
        """
        config, place = self.config, self.place
        with ExitStack() as opened:
            opened.enter_context(ControlServer(place.home, self.handle))
            station = opened.enter_context(
                open_own_station(config, "alice", place.lab, self.journal)
            )
            light = self._ends.open_light(station.half("alice"), station.recovery)
            opened.callback(self._ends.close_light)
            light.prepare()
            server = opened.enter_context(
                ZmqServer(config.peer.address, self.keys, self, TIMES)
            )
            self.network = server
            self.journal.write("link", f"listening at {server.address}")
            self.status.enter("waiting", f"for Bob at {server.address}")
            while not self.end.wait(_STEP_S):
                server.check()
                # Also asks whether the watchdog still watches.
                station.bench.instrument(station.bench.names[0])
                self._ends.rest_when_idle(_IDLE_S)
        self.status.enter("ended")

    def answer(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """See `Answerer.answer`."""
        if stream == "key":
            return self._ends.answer(stream, block, frames)
        if stream == "light":
            try:
                return self._ends.answer(stream, block, frames)
            except ScqcError as error:
                self.note_failure("light", error)
                raise
        if frames and isinstance(decode(frames[0]), Hello):
            self._greeting = AliceGreeting(self.terms(), self.resync())
        greeting = self._greeting
        if greeting is None:
            raise KeySinkError("greeting: it begins with a Hello")
        try:
            said = greeting.answer(frames)
        except ScqcError as error:
            self._greeting = None
            self.tell_again("greeting", f"{type(error).__name__}: {error}")
            self.note_refusal(error)
            raise
        if greeting.finished:
            self._ends.forget()
            with self._lock:
                self._sending.clear()
                self.outbox.lost()
            self.note_session("Bob", greeting.skew_s)
        return said

    def handle_more(self, request: dict[str, Any]) -> dict[str, Any]:
        """Take a message to be sent."""
        if request.get("command") != "message":
            return super().handle_more(request)
        path = Path(str(request.get("path", "")))
        content = read_message(path)
        self._check(content)
        name = self.outbox.add(content, path.name)
        self.journal.write("message", f"{name}: {len(content)} bytes to be sent")
        return {"message": name, "waiting": len(self.outbox.waiting())}

    def _check(self, content: bytes) -> None:
        """Refuse a message that no block carries."""
        if isinstance(self.config, CvConfig):
            check_cv_payload(self.config, content)
        else:
            if not self.config.carries_payload:
                raise PayloadError(
                    f"message: scheme {self.config.link.scheme!r} makes a key only"
                )
            check_photon_payload(self.config, content)

    def _choose(self) -> NextBlock | str:
        """Say what comes next, or why nothing does."""
        if self.end.is_set():
            return "Alice ends"
        if not self.running.is_set():
            self.rest()
            return f"Alice is in state {self.status.state}"
        try:
            self.make_room(self._index)
            payload = self._payload()
        except ScqcError as error:
            # It may get better: room on the disk, key in the sink.
            self.status.enter("fault", str(error))
            return f"{type(error).__name__}: {error}"
        self.status.enter("running")
        run, n = self.place.run_uuid, self._offered
        name = BlockName(run, n)
        if isinstance(self.config, CvConfig):
            name = BlockName(later_run(run, n))
        folder = self.block_home(self._index)
        self._index += 1
        self._offered += 1
        if payload:
            with self._lock:
                self._sending[name] = self.outbox.in_flight or ""
        return NextBlock(name, folder, payload)

    def _payload(self) -> bytes:
        """Return the message that goes with the next block; empty for key only.

        Raises
        ------
        KeySinkError
            If the sink cannot pay for the tags of a block.
        """
        found = self.outbox.next()
        level = sink_level(self.config, self.sink)
        owed_bits = GREETING_RESERVE_BITS + BLOCK_PAD_BITS * self._ends.pending
        waiting_bits = 0
        if found is not None and not isinstance(self.config, CvConfig):
            waiting_bits = 8 * len(found[1])
        plan = plan_block(level, waiting_bits, 1 << 30, owed_bits=owed_bits)
        if found is None or (waiting_bits and plan.kind == "key"):
            return b""
        name, content = found
        self.outbox.in_flight = name
        return content

    def _done(self, block: NextBlock, what: SchemeParty | ScqcError) -> None:
        """Note what became of a block."""
        with self._lock:
            sent = self._sending.pop(block.name, None)
            delivered = bool(getattr(what, "delivered", False))
            if sent is not None and delivered:
                self.outbox.delivered()
                self.journal.write("message", f"{sent}: delivered")
            elif sent is not None:
                self.outbox.lost()
        if isinstance(what, GivenUp):
            # Bob knows why, and counts it.
            self.journal.write("block", str(what))
            return
        if isinstance(what, ScqcError):
            self.note_failure(block.folder.name, what)
            return
        self.note_success()
        _, n_bits = what.key()
        index = int(block.folder.name.rpartition("-")[2])
        self.status.done(DoneBlock(index, time.monotonic(), n_bits))
        self.journal.write("key", f"{block.name.link}: {n_bits} bits")
        entry = {
            "party": "alice",
            "run_uuid": block.name.run_uuid,
            "block": block.name.number,
            "key": {"secret_bits": n_bits, "simulated": self.simulated},
            "payload": {"sent": sent or "", "delivered": delivered},
        }
        write_result(block.folder / RESULT_NAME, entry)
        # Raw key material; nothing more can be made of it.
        (block.folder / ALICE_NAME).unlink(missing_ok=True)


def make_alice(
    place: Place, sink: KeySink, keys: LinkKeyFile, journal: Journal
) -> AliceService:
    """Return Alice's service."""
    return AliceService(place, sink, keys, journal)
