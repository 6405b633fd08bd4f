"""The journal inside a sink: every transition, chained to the one before.

Each entry's digest is SHA-256 over the digest before it and the entry. A changed or
removed entry breaks the chain from there on. Entries cut off at the end leave a chain
that is whole: that is what a restored backup looks like, and what the epochs that the
two ends exchange are for.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from protocols.key_sink.database import DAMAGED, Database
from scqc.core.errors import KeySinkError

#: Digest before the first entry.
_GENESIS = bytes(32)
_COLUMNS = "serial, at_utc, event, subject, detail, digest"


def now_utc() -> str:
    """Return the time as it is written into the sink."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def note(db: Database, event: str, subject: str, detail: str = "") -> None:
    """Append an entry; within the transaction of what it tells of.

    Parameters
    ----------
    db : Database
    event, subject, detail : str
        Never anything secret.
    """
    last = db.rows("SELECT serial, digest FROM journal ORDER BY serial DESC LIMIT 1")
    serial, digest = last[0] if last else (0, _GENESIS)
    entry = (serial + 1, now_utc(), event, subject, detail)
    db.execute(
        f"INSERT INTO journal ({_COLUMNS}) VALUES (?,?,?,?,?,?)",
        (*entry, _chained(digest, entry)),
    )


def verify(db: Database, last: int | None = None) -> int:
    """Check the chain; return how many entries were checked [1].

    Parameters
    ----------
    db : Database
    last : int, optional
        Only so many from the end [1].

    Raises
    ------
    KeySinkError
        If an entry was changed or removed.
    """
    query = f"SELECT {_COLUMNS} FROM journal ORDER BY serial DESC"
    rows = db.rows(query) if last is None else db.rows(f"{query} LIMIT ?", (last + 1,))
    rows.reverse()
    if not rows:
        return 0
    first = rows[0][0]
    whole = last is None or len(rows) <= last
    if whole:
        rows.insert(0, (0, "", "", "", "", _GENESIS))
    for before, row in pairwise(rows):
        expected = _chained(before[5], row[:5])
        if row[0] != before[0] + 1 or row[5] != expected:
            raise _broken(db, row[0])
    if whole and first != 1:
        raise _broken(db, first)
    return len(rows) - 1


def _chained(before: bytes, entry: tuple[Any, ...]) -> bytes:
    parts = [before, *(str(field).encode() for field in entry)]
    joined = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(joined).digest()


def _broken(db: Database, serial: int) -> KeySinkError:
    return KeySinkError(
        f"key sink {db.path}: its journal was changed at entry {serial}: {DAMAGED}"
    )
