"""The watchdog: makes the station safe when the program dies, stops or hangs.

``python -m driver.watchdog`` reads a `WatchPlan` from standard input and then the
program's beats. It acts when that input ends without a goodbye, when the program
is stopped by a signal, or when it beats no more. It has links of its own; where
an instrument takes one client only, the hung program is ended first. Having
acted it watches on, so that whatever a waking program still sends is undone.

On standard output it says ``{"ready": true}``, answers beats, and reports what it
did. It never outlives its work.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from driver.hal import Instrument
from driver.interlock import Interlock
from driver.links import make_link
from driver.making_safe import HEAD_START_S
from driver.processes import ProcessRef
from driver.registry import DRIVERS, make_driver
from driver.watch_plan import (
    BYE,
    ECHO,
    HANG_S,
    STOPPED_TICKS,
    TICK_S,
    Watched,
    WatchPlan,
)
from scqc.core.clock import Deadline
from scqc.core.errors import InstrumentError

# Commands of a killed program may still be on their way: all is said again.
SETTLE_S = 0.12
# For connecting and for being safe in one attempt, and for all attempts.
CONNECT_S, ATTEMPT_S, GIVE_UP_S = 1.0, 3.0, 10.0
_PAUSE_S = 0.02


class Inbox:
    """What the program sends, received in a thread of its own.

    Parameters
    ----------
    read : callable
        Returns the next bytes, none at the end.
    """

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._beats = 0
        self.said_bye = False
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="inbox", daemon=True)
        self._thread.start()

    def take_beats(self) -> int:
        """Return the beats since the last call [1]."""
        # Assignments are atomic; a beat counted twice or not at all does no harm.
        beats, self._beats = self._beats, 0
        return beats

    def _listen(self) -> None:
        while data := self._read():
            self._beats += len(data)
            if BYE in data:
                self.said_bye = True
                break
        self.over.set()


@dataclass(slots=True)
class HeartMonitor:
    """Tells from beats and looks at the process what is wrong with a program.

    Silence is counted in the watchdog's own time: on a machine that is too busy
    to run the watchdog, and so too busy to run the program, no time passes.

    Parameters
    ----------
    process : ProcessRef
    hang_s : float
        Silence that counts as a hang [s].
    """

    process: ProcessRef
    hang_s: float = HANG_S
    silent_s: float = 0.0
    stopped_ticks: int = 0

    def look(self, beats: int, elapsed_s: float) -> str | None:
        """Take one look; return what is wrong, if anything is.

        Parameters
        ----------
        beats : int
            Received since the last look [1].
        elapsed_s : float
            Since the last look [s].
        """
        self.stopped_ticks = self.stopped_ticks + 1 if self.process.is_stopped else 0
        self.silent_s = 0.0 if beats else self.silent_s + min(elapsed_s, 2 * TICK_S)
        if self.stopped_ticks >= STOPPED_TICKS:
            return "was stopped"
        return "hangs" if self.silent_s > self.hang_s else None


@dataclass(slots=True)
class SafetyActions:
    """Makes every instrument of a plan safe; failures of one stop no other.

    Parameters
    ----------
    plan : WatchPlan
    failures : dict of str to str
        Instruments that are not safe, and why.
    """

    plan: WatchPlan
    failures: dict[str, str] = field(default_factory=dict)

    def run(self) -> None:
        """Return when all are safe, or all have been tried long enough."""
        self.failures = {w.name: "not yet safe" for w in self.plan.instruments}
        threads = []
        for watched in self.plan.instruments:
            done = threading.Event()
            thread = threading.Thread(
                target=self._one, args=(watched, done), name=watched.name, daemon=True
            )
            thread.start()
            threads.append(thread)
            # In order, but nobody waits long for one that is silent.
            done.wait(HEAD_START_S)
        end = Deadline(GIVE_UP_S + 2 * ATTEMPT_S)
        for thread in threads:
            thread.join(end.remaining_s())

    def _one(self, watched: Watched, done: threading.Event) -> None:
        """Make one instrument safe, twice, over a link of its own."""
        deadline = Deadline(GIVE_UP_S)
        while True:
            try:
                with _opened(watched) as instrument:
                    self.failures.pop(watched.name, None)
                    done.set()
                    time.sleep(SETTLE_S)
                    instrument.safe_state(ATTEMPT_S)
                return
            except InstrumentError as error:
                if watched.name in self.failures:
                    self.failures[watched.name] = str(error)
                if deadline.expired:
                    return
            time.sleep(_PAUSE_S)


@contextlib.contextmanager
def _opened(watched: Watched) -> Iterator[Instrument]:
    """Open an instrument, which makes it safe; close it at the end."""
    link = make_link(
        DRIVERS[watched.driver].link,
        watched.name,
        watched.resource,
        open_timeout_s=CONNECT_S,
        io_timeout_s=ATTEMPT_S,
    )
    instrument = make_driver(watched.driver, link, watched.words)
    try:
        instrument.open()
        yield instrument
    finally:
        instrument.close()


class Watchdog:
    """Watches one program until it says goodbye or is gone.

    Parameters
    ----------
    plan : WatchPlan
    inbox : Inbox
    say : callable
        Sends bytes to the program.
    """

    def __init__(
        self, plan: WatchPlan, inbox: Inbox, say: Callable[[bytes], None]
    ) -> None:
        self._plan, self._inbox, self._say = plan, inbox, say
        self._process = ProcessRef(plan.pid, plan.started)
        self._interlock = Interlock(Path(plan.interlock))
        self.acted = False

    def run(self) -> None:
        """Watch, and act when it is time."""
        monitor = HeartMonitor(self._process, self._plan.hang_s)
        last_s, found = time.monotonic(), ""
        while not self._inbox.over.wait(TICK_S) and self._process.is_alive:
            now_s = time.monotonic()
            beats = self._inbox.take_beats()
            wrong = monitor.look(beats, now_s - last_s)
            last_s = now_s
            if beats:
                self._say(ECHO)
                if self.acted:
                    # It woke up; what it sent until it noticed is undone.
                    self._act(f"{found}, then woke up", quiet=True)
                    self.acted = False
            elif wrong is not None and not self.acted:
                found = wrong
                self._act(found)
        if not self._inbox.said_bye:
            self._act("ended without leaving the bench", quiet=self.acted)
            self._clear_up()

    def _act(self, wrong: str, *, quiet: bool = False) -> None:
        """Make the station safe and say so."""
        begin_s = time.monotonic()
        reason = f"the program (process {self._plan.pid}) {wrong}"
        self._interlock.trip(f"{reason}; the watchdog made the station safe")
        self.acted = True
        if any(w.is_exclusive for w in self._plan.instruments):
            # A port can be taken over only from a program that is gone.
            self._process.kill()
        actions = SafetyActions(self._plan)
        actions.run()
        took_s = time.monotonic() - begin_s
        names = ", ".join(w.name for w in self._plan.instruments)
        text = f"{reason}: {names} made safe in {took_s:.2f} s"
        if actions.failures:
            listed = "; ".join(actions.failures.values())
            text = f"{reason}: NOT SAFE: {listed}"
        if not quiet:
            self._say(json.dumps({"acted": text}).encode() + b"\n")
            self._note(text)

    def _note(self, text: str) -> None:
        """Write a line into the run's journal, else to standard error."""
        entry = {
            "utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "run_uuid": self._plan.run_uuid,
            "kind": "watchdog",
            "text": text,
        }
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        with contextlib.suppress(OSError):
            if self._plan.journal:
                with open(self._plan.journal, "ab", buffering=0) as file:
                    file.write(line.encode())
            os.write(2, f"watchdog: {text}\n".encode())

    def _clear_up(self) -> None:
        """Remove what a program that died has left."""
        self._interlock.remove()
        for path in self._plan.locks:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _say(data: bytes) -> None:
    """Write to the program; one that is gone or full hears nothing."""
    with contextlib.suppress(OSError):
        os.write(1, data)


def main() -> int:
    """Watch the program on standard input; return the exit code."""
    # The program decides when it is over, not the terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 2
        line += byte
    try:
        plan = WatchPlan.from_line(bytes(line))
        for watched in plan.instruments:
            # What acting needs is imported now.
            link = make_link(
                DRIVERS[watched.driver].link, watched.name, watched.resource
            )
            make_driver(watched.driver, link, watched.words)
        watchdog = Watchdog(plan, Inbox(lambda: os.read(0, 4096)), _say)
    except (ValueError, TypeError, KeyError, OSError, InstrumentError) as error:
        sys.stderr.write(f"watchdog not started: {error}\n")
        return 2
    if os.name == "posix":
        # A full pipe to a stopped program must not stop the watchdog.
        os.set_blocking(1, False)
    _say(b'{"ready": true}\n')
    watchdog.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
