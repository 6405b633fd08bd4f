"""Look into a key sink, take key out of it, put start key into two."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from protocols.key_sink import KeySink
from protocols.key_sink.check import burn_everything, examine
from protocols.key_sink.served import own_direction
from protocols.key_sink.start_key import (
    decode,
    draw_start_key,
    encode,
    fingerprint,
    load,
    shown,
)
from scqc.core.errors import KeySinkError
from scqc.core.rng import SystemEntropy
from scqc.runs.sink_use import without_service

#: A lease is in the memory of who took it; it ends with that program.
_LEASED = (
    "what a running `scqc keys serve` has taken in advance is not burnt: end "
    "`scqc keys serve` first"
)
SINK_NAMES = ("alice.sqlite", "bob.sqlite")


def list_keys(path: Path) -> list[dict[str, Any]]:
    """Return what may be told about the blocks of a sink: all but their bits.

    Parameters
    ----------
    path : Path

    Raises
    ------
    KeySinkError
        If the sink is absent or damaged.
    """
    with KeySink(path, create=False) as sink:
        return [
            {
                **asdict(entry),
                "state": entry.state.name.lower(),
                "available_bits": entry.available_bits,
            }
            for entry in sink.list()
        ]


def take_key(
    path: Path,
    out: Path,
    *,
    identifier: str | None = None,
    n_bits: int | None = None,
    direction: str | None = None,
    allow_simulated: bool = False,
) -> dict[str, Any]:
    """Release key bits once, into a file of mode 0600.

    Parameters
    ----------
    path : Path
        The sink.
    out : Path
        New file for the packed bits; it must not exist.
    identifier : str, optional
    n_bits : int, optional
    direction : str, optional
        Of one direction only; by default, and at most, the one that this end sends
        in, if keys were ever delivered from this sink.
    allow_simulated : bool
        Keys of a simulated bench are released only when asked for so.

    Returns
    -------
    dict
        Everything about the key but its bits.

    Raises
    ------
    KeySinkError
        If the key cannot be released or is the other end's to deliver, or the file
        cannot be written; the file
        is opened first, so that no bit is spent without a place to go.
    """
    with KeySink(path, create=False) as sink, _new_file(out) as file:
        own = own_direction(sink, direction)
        key = sink.take(identifier, n_bits, own, allow_simulated=allow_simulated)
        file.write(key.bits)
    return {
        "identifier": key.identifier,
        "n_bits": key.n_bits,
        "epsilon": key.epsilon,
        "simulated": key.simulated,
        "file": str(out),
    }


def provision_keys(
    directory: Path, n_bits: int, name: str, message_bits: int = 0
) -> list[str]:
    """Write the same start key into both sinks of a directory.

    Parameters
    ----------
    directory : Path
        Gets ``alice.sqlite`` and ``bob.sqlite``; created with mode 0700.
    n_bits : int
        Pad per direction, a multiple of 8 [bit].
    name : str
        Names the delivery; a second one needs another name.
    message_bits : int
        Pad for messages from Alice to Bob, a multiple of 8 [bit].

    Returns
    -------
    list of str
        Identifiers of the stored blocks.

    Raises
    ------
    KeySinkError
        If a delivery of that name is there, or `n_bits` is not positive and a
        multiple of 8, or a service holds a sink; none of them gets it then.
    """
    key = draw_start_key(SystemEntropy(), n_bits, name, message_bits)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    first, second = (directory / sink for sink in SINK_NAMES)
    with (
        without_service(first),
        without_service(second),
        KeySink(first) as alice,
        KeySink(second) as bob,
        # A key that only one end has keeps the two apart for ever.
        alice.db.transaction(),
    ):
        load(alice, key)
        return load(bob, key)


def write_start_key(
    path: Path, n_bits: int, name: str, message_bits: int = 0
) -> dict[str, Any]:
    """Draw a start key into a file of mode 0600, to be carried to both ends.

    Parameters
    ----------
    path : Path
        New file; it must not exist.
    n_bits, message_bits : int
        As in `provision_keys` [bit].
    name : str

    Returns
    -------
    dict
        Name and fingerprint.

    Raises
    ------
    KeySinkError
        If the file exists or cannot be written.
    """
    key = draw_start_key(SystemEntropy(), n_bits, name, message_bits)
    with _new_file(path) as file:
        file.write(encode(key))
    return {"file": str(path), "name": name, "fingerprint": shown(key.fingerprint)}


def load_start_key(path: Path, sink_path: Path) -> dict[str, Any]:
    """Put a carried start key into a sink, which is made if there is none.

    Parameters
    ----------
    path : Path
        What `write_start_key` wrote; it stays where it is.
    sink_path : Path

    Returns
    -------
    dict
        Name and fingerprint, and the identifiers of the stored blocks.

    Raises
    ------
    KeySinkError
        If the file is open to others, damaged or no start key, or was loaded before.
    """
    try:
        mode = path.stat().st_mode & 0o777
        if os.name == "posix" and mode & 0o077:
            raise KeySinkError(
                f"start key {path}: mode {mode:04o} lets others in, wanted 0600; draw "
                "a new one, this one may be known"
            )
        content = path.read_bytes()
    except OSError as error:
        raise KeySinkError(f"start key {path}: {error.strerror}") from error
    key = decode(content)
    with without_service(sink_path), KeySink(sink_path) as sink:
        blocks = load(sink, key)
    return {
        "sink": str(sink_path),
        "name": key.name,
        "fingerprint": shown(key.fingerprint),
        "blocks": blocks,
    }


def sink_fingerprint(path: Path) -> dict[str, Any]:
    """Return the fingerprint of the newest start key of a sink.

    Raises
    ------
    KeySinkError
        If the sink is absent, or has no start key.
    """
    with KeySink(path, create=False) as sink:
        return {"sink": str(path), "fingerprint": shown(fingerprint(sink))}


def check_sink(path: Path) -> dict[str, Any]:
    """Look at everything in a sink; return what it holds.

    Raises
    ------
    KeySinkError
        At the first thing that is wrong, with what to do.
    """
    with KeySink(path, create=False) as sink:
        return {"sink": str(path), **asdict(examine(sink))}


def burn_sink(path: Path, identifier: str | None = None) -> dict[str, Any]:
    """Erase a block of a sink, or everything in it.

    Parameters
    ----------
    path : Path
        A damaged one can be burnt as far as it can be read.
    identifier : str, optional
        Of one block.

    Returns
    -------
    dict
        How many bits were burnt [bit], and what was not.

    Raises
    ------
    KeySinkError
        If there is no such sink or block, or the file cannot be read or written.
    """
    try:
        with KeySink(path, create=False, checked=False) as sink:
            burnt = (
                burn_everything(sink)
                if identifier is None
                else sink.burn(identifier, "told to")
            )
    except KeySinkError as error:
        if not _unreadable(error.__cause__):
            raise
        raise KeySinkError(
            f"key sink {path}: too damaged to be burnt ({error.__cause__}): end the "
            "programs that use it, move it away and destroy it, then `scqc keys load` "
            "a new start key at both ends; never put an old copy in its place"
        ) from error
    return {"sink": str(path), "burnt_bits": burnt, "note": _LEASED}


def _unreadable(cause: BaseException | None) -> bool:
    """Return whether SQLite cannot read a file, whoever may write it."""
    return isinstance(cause, sqlite3.Error) and cause.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        # A table is not there.
        sqlite3.SQLITE_ERROR,
    )


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Provide a new file that is on the disk afterwards, whole or not at all."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise KeySinkError(f"key file {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise KeySinkError(f"key file {path}: {error.strerror}") from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
