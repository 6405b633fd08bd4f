"""Whether a service of a link holds a key sink, so that nothing is loaded under it.

A new start key changes what both ends count from. Loaded at one end while they run,
it would be spent there and burnt at the other: both must have ended.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scqc.core.errors import KeySinkError


@contextmanager
def sink_in_service(sink: Path) -> Iterator[None]:
    """Hold a sink for the time of a service; a crash lets go of it.

    Raises
    ------
    KeySinkError
        If another service holds it, or the file of the lock cannot be made.
    """
    with _held(sink, "a service holds it already; end that one first"):
        yield


@contextmanager
def without_service(sink: Path) -> Iterator[None]:
    """Keep services away from a sink while a start key is put into it.

    Raises
    ------
    KeySinkError
        If one holds it, with what to do.
    """
    why = (
        "a service holds it; end the programs at both ends, load the start key at "
        "both, and start them again"
    )
    with _held(sink, why):
        yield


@contextmanager
def _held(sink: Path, why: str) -> Iterator[None]:
    handle = _locked(sink, why)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _locked(sink: Path, why: str) -> int | None:
    """Return the handle of the lock, to be closed; None where there are no locks."""
    if os.name != "posix":
        return None
    import fcntl

    path = sink.with_name(f"{sink.name}.service")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeySinkError(f"key sink {sink}: {path}: {error.strerror}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise KeySinkError(f"key sink {sink}: {why}") from error
    return handle
