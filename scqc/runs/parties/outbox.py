"""Messages that wait to be sent, on disk until Bob has them."""

from __future__ import annotations

import errno
import os
import re
import shutil
import threading
from pathlib import Path

from scqc.core.errors import CaptureError, DiskSpaceError, PayloadError

_MAX_BYTES = 1 << 30
#: What a message is called here; whatever else lies in the folders is not ours.
_NAME = re.compile(r"(\d{6,})-.+")
#: One that is being written; no message has such a name.
_PART = ".being-written"


class Outbox:
    """Files in the order they were given; each leaves when it was delivered.

    Parameters
    ----------
    home : Path
        Of Alice's service; gets the folders ``outbox`` and ``sent``.
    """

    def __init__(self, home: Path) -> None:
        self._waiting, self._sent = home / "outbox", home / "sent"
        for folder in (self._waiting, self._sent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        #: The message that is on its way in a block.
        self.in_flight: str | None = None
        # Two that are given at once get two numbers.
        self._lock = threading.Lock()

    def waiting(self) -> list[str]:
        """Return the names of the messages that are not delivered, oldest first."""
        return _messages(self._waiting)

    def add(self, content: bytes, name: str) -> str:
        """Put a message at the end; return the name it has here.

        Raises
        ------
        PayloadError
            If it is empty.
        CaptureError
            If it cannot be written; nothing of it is left then.
        """
        if not content:
            raise PayloadError(f"message {name}: empty")
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:80]
        with self._lock:
            last = [_number(n) for n in self.waiting() + _messages(self._sent)]
            target = self._waiting / f"{1 + max(last, default=0):06d}-{safe}"
            try:
                self._write(target, content)
            except OSError as error:
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                kind = DiskSpaceError if full else CaptureError
                raise kind(f"message {name}: {target}: {error.strerror}") from error
        return target.name

    def _write(self, target: Path, content: bytes) -> None:
        part = self._waiting / _PART
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        try:
            with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.rename(target)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def next(self) -> tuple[str, bytes] | None:
        """Return the oldest message that is not on its way; None without one."""
        if self.in_flight is not None:
            return None
        for name in self.waiting():
            return name, (self._waiting / name).read_bytes()
        return None

    def delivered(self) -> None:
        """Note that Bob has the message that was on its way."""
        if self.in_flight is not None:
            shutil.move(self._waiting / self.in_flight, self._sent / self.in_flight)
        self.in_flight = None

    def lost(self) -> None:
        """Note that its block has failed: it will be sent again."""
        self.in_flight = None


def _messages(folder: Path) -> list[str]:
    """Return the names of the messages of a folder, in the order of their numbers."""
    return sorted(
        (p.name for p in folder.iterdir() if _NAME.fullmatch(p.name)), key=_number
    )


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def read_message(path: Path) -> bytes:
    """Read a message to be sent.

    Raises
    ------
    PayloadError
        If it cannot be read, is empty or too large.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise PayloadError(f"{path}: {size} bytes, limit {_MAX_BYTES}")
        if not size:
            raise PayloadError(f"message {path}: empty")
        return path.read_bytes()
    except OSError as error:
        raise PayloadError(f"{path}: {error.strerror}") from error
