"""Emulated optical switch with words of the bench's own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from scqc.core.settings import Settings
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.pty_line import LineFormat

OPEN_V, CLOSED_V = 1.4, 0.0
# A real shutter takes that long.
MOVE_S = 0.05


class SwitchWords(Settings):
    """What the switch listens to, and what it says to the query."""

    open: str = "OPEN"
    close: str = "CLOSE"
    query: str = "STATE?"
    open_reply: str = "OPEN"
    closed_reply: str = "CLOSED"
    terminator: str = "\r\n"


class LineSwitch:
    """The switch's state; it drives the shutter that hangs on port 1.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    words : SwitchWords or None
    settle_scale : float
        How long it moves, over what a real one takes [1].
    clock : callable
        Returns the time [s].
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        words: SwitchWords | None = None,
        settle_scale: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self._cables = name, cables
        self.faults = faults or FaultPlan(name)
        self._words = words or SwitchWords()
        self.line_format = LineFormat(line_end=self._words.terminator.encode())
        self.lock = threading.RLock()
        self._scale, self._clock = settle_scale, clock
        self._was_open = self._is_open = False
        self._moved_s = clock()

    @property
    def is_safe(self) -> bool:
        """Whether it lets no light through."""
        return not self._is_open

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        words = self._words
        with self.lock:
            if line == words.query:
                moving = self._clock() < self._moved_s
                shown = self._was_open if moving else self._is_open
                return "fetch", [words.open_reply if shown else words.closed_reply]
            if line in (words.open, words.close):
                rebooted = self.faults.take_data("switch", "reboot")
                if rebooted:
                    # Without power it is closed.
                    self._move(False)
                elif not self.faults.take_data("switch", "not-taken"):
                    self._move(line == words.open)
                return "switch", []
            return "", []

    def _move(self, is_open: bool) -> None:
        self._was_open, self._is_open = self._is_open, is_open
        self._moved_s = self._clock() + MOVE_S * self._scale
        self._cables.set_switch(self.name, "1", OPEN_V if is_open else CLOSED_V)
