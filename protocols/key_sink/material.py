"""The secret bits on disk, in chunks that are overwritten as they are released.

A chunk carries a digest, so that damage shows before a wrong key leaves; it goes with
the bits, so that nothing tells of them afterwards. It is no protection against
somebody who can write the file.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.key_sink.database import Database
from scqc.core.errors import KeySinkError

CHUNK_BYTES = 4096
_CHUNK_BITS = 8 * CHUNK_BYTES
#: Within a block: first bit, and how many.
Run = tuple[int, int]


def write(db: Database, serial: int, packed: bytes) -> None:
    """Store the bits of a new block."""
    for chunk, start in enumerate(range(0, len(packed), CHUNK_BYTES)):
        bits = packed[start : start + CHUNK_BYTES]
        db.execute(
            "INSERT INTO material (serial, chunk, bits, digest) VALUES (?,?,?,?)",
            (serial, chunk, bits, _digest(serial, chunk, bits)),
        )


def read(db: Database, serial: int, start_bit: int, n_bits: int) -> NDArray[np.uint8]:
    """Return a run of bits.

    Raises
    ------
    KeySinkError
        If they are damaged.
    """
    (bits,) = _walk(db, serial, [(start_bit, n_bits)], overwrite=False)
    return bits


def consume(db: Database, serial: int, runs: Sequence[Run]) -> list[NDArray[np.uint8]]:
    """Return runs of bits that do not overlap, and overwrite them with zeros.

    Each chunk is read and written once, however many of the runs lie in it.

    Raises
    ------
    KeySinkError
        If they are damaged.
    """
    return _walk(db, serial, runs, overwrite=True)


def erase(db: Database, serial: int) -> None:
    """Overwrite and delete what there is of a block."""
    db.execute(
        "UPDATE material SET bits=zeroblob(length(bits)) WHERE serial=?", (serial,)
    )
    db.execute("DELETE FROM material WHERE serial=?", (serial,))


def _walk(
    db: Database, serial: int, runs: Sequence[Run], *, overwrite: bool
) -> list[NDArray[np.uint8]]:
    out = [np.empty(count, dtype=np.uint8) for _, count in runs]
    for chunk, pieces in _pieces(runs).items():
        bits = np.unpackbits(np.frombuffer(_load(db, serial, chunk), np.uint8))
        for number, begin, end, at in pieces:
            if end > bits.size:
                raise _damaged(db, serial)
            out[number][at : at + end - begin] = bits[begin:end]
            if overwrite:
                bits[begin:end] = 0
        if overwrite:
            _replace(db, serial, chunk, np.packbits(bits).tobytes())
    return out


def _pieces(runs: Sequence[Run]) -> dict[int, list[tuple[int, int, int, int]]]:
    """Return what lies in each chunk: run, first and last bit in it, place in run."""
    found: dict[int, list[tuple[int, int, int, int]]] = {}
    for number, (start, count) in enumerate(runs):
        at = 0
        while at < count:
            chunk, begin = divmod(start + at, _CHUNK_BITS)
            end = min(_CHUNK_BITS, begin + count - at)
            found.setdefault(chunk, []).append((number, begin, end, at))
            at += end - begin
    return found


def _load(db: Database, serial: int, chunk: int) -> bytes:
    rows = db.rows(
        "SELECT bits, digest FROM material WHERE serial=? AND chunk=?", (serial, chunk)
    )
    if not rows:
        raise _damaged(db, serial)
    bits, digest = rows[0]
    if not hmac.compare_digest(_digest(serial, chunk, bits), digest):
        raise _damaged(db, serial)
    return bytes(bits)


def _replace(db: Database, serial: int, chunk: int, bits: bytes) -> None:
    db.execute(
        "UPDATE material SET bits=?, digest=? WHERE serial=? AND chunk=?",
        (bits, _digest(serial, chunk, bits), serial, chunk),
    )


def _digest(serial: int, chunk: int, bits: bytes) -> bytes:
    return hashlib.sha256(f"{serial}/{chunk}/".encode() + bits).digest()[:16]


def _damaged(db: Database, serial: int) -> KeySinkError:
    (name,) = db.rows("SELECT identifier FROM blocks WHERE serial=?", (serial,))
    return KeySinkError(
        f"key sink {db.path}: key block {name[0]}: damaged (digest differs); "
        "`scqc keys burn` this block"
    )
