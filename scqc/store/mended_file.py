"""An unfinished or cut-off HDF5 file, seen as if it had been closed.

A writer that was killed leaves a mark in the superblock (the file's first 48
bytes) and possibly an old file size there, and HDF5 then refuses to open the
file, or opens it in a mode that waits for a writer that is gone. A file that
was cut off is refused outright. Here HDF5 reads through a stream that shows a
clean superblock and zeros behind the end; the file itself is not touched.
Checksums decide what of it is good.
"""

from __future__ import annotations

import io
from pathlib import Path

SUPERBLOCK_BYTES = 48
_WORD = 0xFFFFFFFF


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (32 - by))) & _WORD


def lookup3(data: bytes) -> int:
    """Return the checksum HDF5 keeps of its metadata.

    References
    ----------
    .. [1] B. Jenkins, lookup3.c, hashlittle() with initial value 0 (2006).
    """
    a = b = c = (0xDEADBEEF + len(data)) & _WORD
    at = 0
    while len(data) - at > 12:
        a, b, c = (
            (value + int.from_bytes(data[at + k : at + k + 4], "little")) & _WORD
            for value, k in ((a, 0), (b, 4), (c, 8))
        )
        for shift in (4, 6, 8, 16, 19, 4):
            a = ((a - c) & _WORD) ^ _rotate(c, shift)
            c = (c + b) & _WORD
            a, b, c = b, c, a
        at += 12
    if at == len(data):
        return c
    tail = data[at:].ljust(12, b"\0")
    a, b, c = (
        (value + int.from_bytes(tail[k : k + 4], "little")) & _WORD
        for value, k in ((a, 0), (b, 4), (c, 8))
    )
    for shift in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotate(b, shift)) & _WORD
        a, b, c = b, c, a
    # Seven turns of the roles leave the last result in b.
    return b


def mended_superblock(head: bytes, end: int) -> bytes:
    """Return a version 3 superblock with no writer's mark and size `end` [bytes]."""
    clean = head[:11] + b"\0" + head[12:28] + end.to_bytes(8, "little") + head[36:44]
    return clean + lookup3(clean).to_bytes(4, "little")


class MendedFile(io.RawIOBase):
    """Read-only stream over a file with another superblock and a longer end.

    Parameters
    ----------
    path : Path
    end : int
        Size to show; zeros follow the real end [bytes].
    """

    def __init__(self, path: Path, end: int) -> None:
        super().__init__()
        self._raw = path.open("rb")
        self._head = mended_superblock(self._raw.read(SUPERBLOCK_BYTES), end)
        self._end, self._at = end, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position [bytes]."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position [bytes] and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._end}
        self._at = base[whence] + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` from the position on; return how many bytes [1]."""
        view = memoryview(buffer).cast("B")
        n = max(0, min(len(view), self._end - self._at))
        self._raw.seek(self._at)
        data = self._raw.read(n)
        view[: len(data)] = data
        view[len(data) : n] = bytes(n - len(data))
        if self._at < len(self._head):
            head = self._head[self._at : self._at + n]
            view[: len(head)] = head
        self._at += n
        return n

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()
