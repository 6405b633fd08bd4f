"""Messages that wait to be sent, on disk until Bob has them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from scqc.core.errors import PayloadError

_MAX_BYTES = 1 << 30


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

    def waiting(self) -> list[str]:
        """Return the names of the messages that are not delivered, oldest first."""
        return sorted(p.name for p in self._waiting.iterdir() if p.suffix != ".part")

    def add(self, content: bytes, name: str) -> str:
        """Put a message at the end; return the name it has here.

        Raises
        ------
        PayloadError
            If it is empty.
        """
        if not content:
            raise PayloadError(f"message {name}: empty")
        numbers = [*self.waiting(), *(p.name for p in self._sent.iterdir())]
        number = 1 + max((int(n.partition("-")[0]) for n in numbers), default=0)
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in name)[:80]
        target = self._waiting / f"{number:06d}-{safe}"
        part = target.with_suffix(".part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with os.fdopen(os.open(part, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(target)
        return target.name

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


def read_message(path: Path) -> bytes:
    """Read a message to be sent.

    Raises
    ------
    PayloadError
        If it cannot be read, or is too large.
    """
    try:
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise PayloadError(f"{path}: {size} bytes, limit {_MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise PayloadError(f"{path}: {error.strerror}") from error
