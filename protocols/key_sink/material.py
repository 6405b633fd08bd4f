"""The secret bits on disk, in chunks that are overwritten as they are released.

A chunk carries a digest, so that damage shows before a wrong key leaves; it goes with
the bits, so that nothing tells of them afterwards. It is no protection against
somebody who can write the file.
"""

from __future__ import annotations

import hashlib
import hmac

import numpy as np
from numpy.typing import NDArray

from protocols.key_sink.database import Database
from scqc.core.errors import KeySinkError

CHUNK_BYTES = 4096
_CHUNK_BITS = 8 * CHUNK_BYTES


def write(db: Database, serial: int, packed: bytes) -> None:
    """Store the bits of a new block."""
    for chunk, start in enumerate(range(0, len(packed), CHUNK_BYTES)):
        bits = packed[start : start + CHUNK_BYTES]
        db.execute(
            "INSERT INTO material (serial, chunk, bits, digest) VALUES (?,?,?,?)",
            (serial, chunk, bits, _digest(serial, chunk, bits)),
        )


def read(
    db: Database, serial: int, start_bit: int, n_bits: int, *, overwrite: bool = False
) -> NDArray[np.uint8]:
    """Return a run of bits, and overwrite them with zeros if so told.

    Raises
    ------
    KeySinkError
        If they are damaged.
    """
    out = np.empty(n_bits, dtype=np.uint8)
    first, last = start_bit // _CHUNK_BITS, (start_bit + n_bits - 1) // _CHUNK_BITS
    rows = db.rows(
        "SELECT chunk, bits, digest FROM material WHERE serial=? AND chunk BETWEEN ? "
        "AND ? ORDER BY chunk",
        (serial, first, last),
    )
    if len(rows) != last - first + 1:
        raise _damaged(db, serial)
    at = 0
    for chunk, bits, digest in rows:
        if not hmac.compare_digest(_digest(serial, chunk, bits), digest):
            raise _damaged(db, serial)
        begin = start_bit + at - chunk * _CHUNK_BITS
        end = min(_CHUNK_BITS, begin + n_bits - at, 8 * len(bits))
        window = np.frombuffer(bits, np.uint8)[begin // 8 : (end + 7) // 8]
        offset = begin - 8 * (begin // 8)
        unpacked = np.unpackbits(window)
        run = slice(offset, offset + end - begin)
        out[at : at + end - begin] = unpacked[run]
        at += end - begin
        if overwrite:
            unpacked[run] = 0
            _replace(db, (serial, chunk), bits, begin // 8, np.packbits(unpacked))
    if at != n_bits:
        raise _damaged(db, serial)
    return out


def erase(db: Database, serial: int) -> None:
    """Overwrite and delete what there is of a block."""
    db.execute(
        "UPDATE material SET bits=zeroblob(length(bits)) WHERE serial=?", (serial,)
    )
    db.execute("DELETE FROM material WHERE serial=?", (serial,))


def _replace(
    db: Database,
    key: tuple[int, int],
    bits: bytes,
    at_byte: int,
    window: NDArray[np.uint8],
) -> None:
    changed = bytearray(bits)
    changed[at_byte : at_byte + window.size] = window.tobytes()
    fresh = bytes(changed)
    db.execute(
        "UPDATE material SET bits=?, digest=? WHERE serial=? AND chunk=?",
        (fresh, _digest(*key, fresh), *key),
    )


def _digest(serial: int, chunk: int, bits: bytes) -> bytes:
    return hashlib.sha256(f"{serial}/{chunk}/".encode() + bits).digest()[:16]


def _damaged(db: Database, serial: int) -> KeySinkError:
    (name,) = db.rows("SELECT identifier FROM blocks WHERE serial=?", (serial,))
    return KeySinkError(
        f"key sink {db.path}: key block {name[0]}: damaged (digest differs); "
        "`scqc keys burn` this block"
    )
