"""A flag shared with the watchdog: whether this program may still command.

The watchdog sets it before it makes the station safe. A program that was only
stopped or hung finds it set before its next command, and ends instead of going
on with a station in a state that it does not know.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from driver.bench_lock import runtime_folder
from scqc.core.errors import WatchdogError

# One byte for the flag, the rest for the reason.
_SIZE = 256


class Interlock:
    """A flag and a reason in a file that two processes map.

    Parameters
    ----------
    path : Path, optional
        Of an existing one, for the watchdog; a new one is made by default.
    """

    def __init__(self, path: Path | None = None) -> None:
        if path is None:
            handle, name = tempfile.mkstemp(".interlock", dir=runtime_folder())
            os.write(handle, bytes(_SIZE))
        else:
            name = str(path)
            handle = os.open(path, os.O_RDWR)
        self.path = Path(name)
        with os.fdopen(handle, "r+b") as file:
            self._flag: mmap.mmap | bytearray = mmap.mmap(file.fileno(), _SIZE)
        self._exempt = threading.local()

    @property
    def is_tripped(self) -> bool:
        """Whether only the way to the safe state is open."""
        return self._flag[0] != 0

    @property
    def reason(self) -> str:
        """Why, once it is tripped."""
        return bytes(self._flag[1:]).rstrip(b"\0").decode(errors="replace")

    def trip(self, reason: str) -> None:
        """Allow nothing from now on but making safe."""
        self._flag[1:] = reason.encode()[: _SIZE - 1].ljust(_SIZE - 1, b"\0")
        self._flag[0] = 1

    def check(self, instrument: str, command: str) -> None:
        """Refuse `command` if the flag is set, except while making safe.

        Raises
        ------
        WatchdogError
            If the flag is set.
        """
        if self._flag[0] and not getattr(self._exempt, "now", False):
            raise WatchdogError(instrument, command, self.reason)

    @contextmanager
    def making_safe(self) -> Iterator[None]:
        """Let this thread pass for the time of the block."""
        before = getattr(self._exempt, "now", False)
        self._exempt.now = True
        try:
            yield
        finally:
            self._exempt.now = before

    def remove(self) -> None:
        """Remove the file and let go of it; the flag stays readable."""
        shared = self._flag
        self._flag = bytearray(shared[:])
        if isinstance(shared, mmap.mmap):
            shared.close()
        # A system that keeps mapped files removes it with its temporary ones.
        with contextlib.suppress(OSError):
            self.path.unlink()


class Interlocked:
    """A link that asks the interlock before every exchange."""

    instrument: str
    interlock: Interlock | None = None

    def permit(self, command: str) -> None:
        """Refuse `command` if the watchdog has acted.

        Raises
        ------
        WatchdogError
        """
        if self.interlock is not None:
            self.interlock.check(self.instrument, command)
