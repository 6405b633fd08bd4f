"""Look into a key sink, take key out of it, put start key into two."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from protocols.key_sink import KeySink
from protocols.key_sink import provision as provision_sinks
from scqc.core.errors import KeySinkError
from scqc.core.rng import SystemEntropy

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
        return [asdict(entry) for entry in sink.list()]


def take_key(
    path: Path,
    out: Path,
    *,
    identifier: str | None = None,
    n_bits: int | None = None,
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
    allow_simulated : bool
        Keys of a simulated bench are released only when asked for so.

    Returns
    -------
    dict
        Everything about the key but its bits.

    Raises
    ------
    KeySinkError
        If the key cannot be released, or the file cannot be written; the file
        is opened first, so that no bit is spent without a place to go.
    """
    with KeySink(path, create=False) as sink:
        try:
            handle = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise KeySinkError(f"key file {out}: {error.strerror}") from error
        try:
            key = sink.take(identifier, n_bits, allow_simulated=allow_simulated)
        except KeySinkError:
            os.close(handle)
            out.unlink()
            raise
        with os.fdopen(handle, "wb") as file:
            file.write(key.bits)
            file.flush()
            os.fsync(handle)
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
        multiple of 8.
    """
    if n_bits <= 0 or n_bits % 8:
        raise KeySinkError(f"start key: {n_bits} bits, wanted a multiple of 8")
    if message_bits < 0 or message_bits % 8:
        raise KeySinkError(f"message pad: {message_bits} bits, wanted a multiple of 8")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    first, second = (directory / sink for sink in SINK_NAMES)
    with KeySink(first) as alice, KeySink(second) as bob:
        sinks = [alice, bob]
        return provision_sinks(
            sinks, n_bits, SystemEntropy(), name, pad_bits=message_bits
        )
