"""One program per instrument: locks that end with the processes that hold them.

A lock is a file of this user's runtime folder, locked by the operating system
and named after the resource. The watchdog inherits the open file, so a killed
program's bench stays locked until it is safe.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from driver.processes import ProcessRef
from driver.transports.visa_names import VISA, parse_visa
from scqc.core.clock import Deadline
from scqc.core.errors import ConnectError

# Whatever the environment says: a desktop and cron have to meet in one place.
_BASE = Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
_TRIES = 10
#: How long the watchdog of a dead program is waited for [s].
PATIENCE_S = 12.0
_PAUSE_S = 0.1
_PASSING = "which has ended"
_MODE = 0o600
_PORTS = {"hislip": "4880", "zmq": "5555"}
_THIS_COMPUTER = {"127.0.0.1", "::1", "[::1]"}


def runtime_folder() -> Path:
    """Return this user's folder for locks, made if needed, mode 0700.

    Raises
    ------
    ConnectError
        If it belongs to somebody else, or is open to others.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else "user"
    folder = _BASE / f"scqc-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid"):
        found = folder.lstat()
        if found.st_uid != os.getuid() or folder.is_symlink():
            raise ConnectError("bench", "lock", f"{folder} belongs to somebody else")
        if found.st_mode & 0o077:
            reason = f"{folder} is open to others; set its mode to 0700"
            raise ConnectError("bench", "lock", reason)
    return folder


def canonical(resource: str) -> str:
    """Return one spelling for all names of a resource."""
    if resource.startswith(VISA):
        resource = parse_visa("resource", resource).place
    scheme, mark, rest = resource.partition("://")
    if scheme != "serial":
        return _network_place(resource.lower())
    given = rest.partition("?")[0]
    port = os.path.realpath(given)
    # Names of pseudo-terminals are given to others as soon as one is closed.
    return f"{scheme}{mark}{given if port.startswith('/dev/pts/') else port}"


def _network_place(resource: str) -> str:
    """Return a network resource with its defaults filled in, without its options."""
    scheme, mark, rest = resource.partition("://")
    if scheme not in {"tcp", "socket", "hislip", "zmq"}:
        return resource
    place, _, path = rest.partition("?")[0].partition("/")
    ipv6 = place.startswith("[") and place.endswith("]")
    host, colon, port = (place, "", "") if ipv6 else place.rpartition(":")
    if not colon:
        host, port = place, _PORTS.get(scheme, "")
    host = "localhost" if host in _THIS_COMPUTER else host
    path = path or ("hislip0" if scheme == "hislip" else "")
    end = f":{port}" if port else ""
    return f"{scheme}{mark}{host}{end}{'/' if path else ''}{path}"


class BenchLock:
    """The locks of all instruments of a bench.

    Parameters
    ----------
    resources : mapping of str to str
        Name of the instrument to its resource.
    """

    def __init__(self, resources: Mapping[str, str]) -> None:
        self._resources = dict(resources)
        self._held: dict[Path, int] = {}

    @property
    def handles(self) -> tuple[int, ...]:
        """File descriptors of the locks, for a process that is to hold them too."""
        return tuple(self._held.values())

    @property
    def paths(self) -> tuple[Path, ...]:
        """Files of the locks."""
        return tuple(self._held)

    def acquire(self) -> None:
        """Lock all instruments, or none.

        The watchdog of a dead program is waited for, `PATIENCE_S` at most: it is done
        in a moment.

        Raises
        ------
        ConnectError
            If one is in use, naming every such resource and who holds it.
        """
        deadline = Deadline(PATIENCE_S)
        while busy := self._try():
            if deadline.expired or not all(_PASSING in text for text in busy.values()):
                raise ConnectError(", ".join(busy), "lock", "; ".join(busy.values()))
            time.sleep(_PAUSE_S)

    def _try(self) -> dict[str, str]:
        """Lock all instruments, or none; return those in use, and by whom."""
        folder = runtime_folder()
        busy: dict[str, str] = {}
        for name, resource in self._resources.items():
            digest = hashlib.sha256(canonical(resource).encode()).hexdigest()[:24]
            path = folder / f"{digest}.lock"
            if path in self._held:
                continue
            handle = _locked(path)
            if handle is None:
                busy[name] = f"{resource} is in use by {_holder(path)}"
            else:
                self._held[path] = handle
                _sign(handle, resource)
        if busy:
            self.release()
        return busy

    def release(self) -> None:
        """Give all locks back; calling it again does nothing."""
        for path, handle in self._held.items():
            # Removed while it is still locked: who waits for it looks again.
            with contextlib.suppress(OSError):
                path.unlink()
            _unlock(handle)
            os.close(handle)
        self._held = {}


def _locked(path: Path) -> int | None:
    """Open and lock a file; None if somebody else holds it.

    Raises
    ------
    ConnectError
        If the file cannot be opened.
    """
    for _ in range(_TRIES):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, _MODE)
        except OSError as error:
            raise ConnectError("bench", f"lock {path}", str(error)) from error
        if not _lock(handle):
            os.close(handle)
            return None
        # The one who held it may have removed the file in between.
        with contextlib.suppress(OSError):
            if path.stat().st_ino == os.fstat(handle).st_ino:
                return handle
        os.close(handle)
    return None


def _lock(handle: int) -> bool:
    """Lock an open file without waiting; return whether that worked."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except OSError:
        return False
    return True


def _unlock(handle: int) -> None:
    """Unlock at once, also where another process has inherited the file."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_UN)


def _sign(handle: int, resource: str) -> None:
    """Write down who holds the lock."""
    here = ProcessRef.here()
    entry = {"pid": here.pid, "started": here.started, "resource": resource}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(entry).encode())


def _holder(path: Path) -> str:
    """Return who holds a lock and what to do about it."""
    try:
        entry = json.loads(path.read_text())
        who = ProcessRef(int(entry["pid"]), int(entry["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return "another program; try again, or look who uses it"
    if not who.is_alive:
        return (
            f"the watchdog of process {who.pid}, {_PASSING}; it makes the "
            "station safe, try again in a few seconds"
        )
    started = who.started_utc
    return f"process {who.pid}, started {started}; end that program or wait for it"
