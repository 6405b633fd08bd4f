"""The program's side of the watchdog: starts it, beats, and hears from it."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from driver.interlock import Interlock
from driver.watch_plan import BEAT, BEAT_S, BYE, HANG_S, WatchPlan
from scqc.core.errors import WatchdogError

READY_TIMEOUT_S = 30.0
_LEAVE_S = 15.0
# Beats without an echo after which the watchdog counts as gone: 5 s.
MISSED_ECHOES = 50
GONE = "the watchdog has ended: the station is made safe and the run is over"
SILENT = "the watchdog answers no more: the station is made safe and the run is over"
_LOG = logging.getLogger("scqc.bench")


@dataclass(frozen=True, slots=True)
class Supervision:
    """How a bench is watched.

    Parameters
    ----------
    watchdog : bool
        Whether a process of its own makes the station safe if this one cannot.
        Only a bench that never arms anything does without.
    journal : Path, optional
        Run journal that gets a line when the watchdog acts.
    run_uuid : str
        For that line.
    hang_s : float
        Silence that counts as a hang [s]. A program that distils keys beside its
        light computes with the interpreter's lock held, and needs more.
    """

    watchdog: bool = True
    journal: Path | None = None
    run_uuid: str = ""
    hang_s: float = HANG_S


class Guard:
    """One watchdog process.

    Parameters
    ----------
    plan : WatchPlan
    interlock : Interlock
    on_lost : callable
        Makes the bench safe; called in a thread when the watchdog is gone.
    handles : tuple of int
        File descriptors that the watchdog is to hold too: the bench's locks.
    """

    def __init__(
        self,
        plan: WatchPlan,
        interlock: Interlock,
        on_lost: Callable[[], object],
        handles: tuple[int, ...] = (),
    ) -> None:
        self._interlock, self._on_lost = interlock, on_lost
        self._ready, self._leaving = threading.Event(), threading.Event()
        self._unanswered = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "driver.watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=os.name == "posix",
            pass_fds=handles if os.name == "posix" else (),
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
        self.pid = self._process.pid
        self._send(plan.to_line())
        self._threads = [
            threading.Thread(target=target, name=f"watchdog-{name}", daemon=True)
            for name, target in (("ear", self._listen), ("heart", self._beat))
        ]
        for thread in self._threads:
            thread.start()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when the watchdog watches.

        Raises
        ------
        WatchdogError
            If it has ended, or does not say so in time.
        """
        if not self._ready.wait(timeout_s):
            raise WatchdogError("bench", "watchdog", f"not ready in {timeout_s:g} s")
        self.check()

    def check(self) -> None:
        """Refuse to go on if the watchdog has acted or is gone.

        Raises
        ------
        WatchdogError
        """
        self._interlock.check("bench", "watchdog")

    def release(self) -> None:
        """Say goodbye, once the bench is safe; calling it again does nothing."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        self._send(BYE)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_LEAVE_S if self._ready.is_set() else 0.0)
        except subprocess.TimeoutExpired:
            # Not even ready, or still busy with an instrument that is silent.
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _send(self, data: bytes) -> None:
        """Write to the watchdog; that it is gone is heard by the ear."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.write(data)

    def _beat(self) -> None:
        """Beat until the end; a program that hangs does so no more."""
        while not self._leaving.wait(BEAT_S):
            self._send(BEAT)
            self._unanswered += 1 if self._ready.is_set() else 0
            if self._unanswered == MISSED_ECHOES:
                self._lost(SILENT)

    def _listen(self) -> None:
        """Hear echoes and reports; the end of both means that it has ended."""
        stdout = self._process.stdout
        if stdout is None:
            return
        while line := stdout.readline():
            self._unanswered = 0
            text = line.lstrip(BEAT)
            if not text.strip():
                continue
            try:
                said = json.loads(text)
            except ValueError:
                continue
            if "acted" in said:
                _LOG.error("%s", said["acted"])
            self._ready.set()
        if not self._leaving.is_set():
            self._lost(GONE)
        self._ready.set()

    def _lost(self, reason: str) -> None:
        """Make safe from here: nobody else would if this program died now."""
        if self._leaving.is_set() or self._interlock.is_tripped:
            return
        _LOG.error("%s", reason)
        self._interlock.trip(reason)
        self._on_lost()
