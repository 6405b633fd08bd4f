"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scqc.core.errors import CaptureError, DiskSpaceError

# What h5py and the file system raise on damaged, hostile or full media.
HDF5_FAILURES = (
    OSError,
    KeyError,
    ValueError,
    TypeError,
    IndexError,
    RuntimeError,
    MemoryError,
    OverflowError,
    AttributeError,
    NotImplementedError,
)
_FULL = re.compile(rf"\berrno\b\D{{1,4}}({errno.ENOSPC}|{errno.EDQUOT})\b", re.I)


@contextmanager
def capture_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn every failure of the HDF5 layer into a `CaptureError`.

    Raises
    ------
    DiskSpaceError
        If the disk is full.
    CaptureError
        For anything else.
    """
    try:
        yield
    except CaptureError:
        raise
    except HDF5_FAILURES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        # HDF5 says it in its own words, the number among them.
        if _FULL.search(reason):
            full = os.strerror(errno.ENOSPC)
            raise DiskSpaceError(
                f"{path}: {doing}: the disk is full ({full})"
            ) from error
        raise CaptureError(f"{path}: {doing}: {reason}") from error


def fsync_path(path: Path) -> None:
    """Force a file, or a directory's entries, to the disk."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(part: Path, final: Path) -> None:
    """Give a finished file its name, durably."""
    fsync_path(part)
    part.replace(final)
    fsync_path(final.parent)


def part_path(path: Path) -> Path:
    """Return the name a file has until it is complete."""
    return path.with_name(path.name + ".part")


def write_atomically(path: Path, pieces: Iterator[bytes], mode: int = 0o644) -> None:
    """Write a file that appears under its name only when it is whole.

    Parameters
    ----------
    path : Path
    pieces : iterator of bytes
    mode : int
        Permissions, in force from the first byte on.

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    part = part_path(path)
    with capture_errors(path, "write"):
        part.unlink(missing_ok=True)
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as out:
            for piece in pieces:
                out.write(piece)
        publish(part, path)


def refuse_shared(path: Path) -> None:
    """Refuse raw key material that other users may read.

    Raises
    ------
    CaptureError
        If the file cannot be looked at, or its mode is wider than 0600.
    """
    with capture_errors(path, "open"):
        mode = path.stat().st_mode & 0o777
    if mode & 0o077 and os.name == "posix":
        raise CaptureError(
            f"{path}: mode {mode:o} lets others read raw key material, limit 600"
        )
