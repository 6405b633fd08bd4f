"""Another process, and not one that took its number later.

Numbers of processes are used again; number and start time together are not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_STATE, _START = 0, 19
_STOPPED = frozenset("Tt")
_DEAD = frozenset("ZXx")


def _fields(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` behind the name; empty without."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name is in brackets and may hold anything, brackets and blanks too.
    return text.rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class ProcessRef:
    """A process by number and start time.

    Parameters
    ----------
    pid : int
    started : int
        Clock ticks from the start of the system; 0 where that is not told.
    """

    pid: int
    started: int = 0

    @classmethod
    def here(cls) -> ProcessRef:
        """Return this process."""
        return cls.of(os.getpid())

    @classmethod
    def of(cls, pid: int) -> ProcessRef:
        """Return the process that has this number now."""
        fields = _fields(pid)
        return cls(pid, int(fields[_START]) if len(fields) > _START else 0)

    @property
    def is_alive(self) -> bool:
        """Whether it still runs or is stopped; without ``/proc``, whether one does."""
        if self.started:
            fields = _fields(self.pid)
            same = len(fields) > _START and int(fields[_START]) == self.started
            return same and fields[_STATE] not in _DEAD
        if os.name != "posix":
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    @property
    def is_stopped(self) -> bool:
        """Whether it is stopped by a signal or a debugger; False if not told."""
        fields = _fields(self.pid) if self.started else []
        return bool(fields) and fields[_STATE] in _STOPPED

    @property
    def started_utc(self) -> str:
        """When it was started, in UTC to the second; "unknown" if not told."""
        if not self.started:
            return "unknown"
        running_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        running_s -= self.started / os.sysconf("SC_CLK_TCK")
        start = datetime.fromtimestamp(time.time() - running_s, UTC)
        return f"{start:%Y-%m-%dT%H:%M:%SZ}"

    def kill(self) -> None:
        """End it at once, if it is still the same process."""
        if not self.is_alive:
            return
        number = signal.SIGKILL if os.name == "posix" else signal.SIGTERM
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
