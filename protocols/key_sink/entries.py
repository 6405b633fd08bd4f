"""Questions to the sink: which blocks there are, and what of them is left."""

from __future__ import annotations

import hashlib
from typing import Any

from protocols.key_sink.database import Database
from protocols.key_sink.records import Entries, KeyEntry, Range, State
from scqc.core.errors import KeySinkError

#: Bits of the short name that a block goes by in the names of delivered keys.
TAG_BITS = 40
_COLUMNS = (
    "b.serial, b.identifier, b.tag, b.run_uuid, b.block, b.purpose, b.direction, "
    "b.n_bits, b.epsilon, b.simulated, b.created_utc, p.state, p.used_bits"
)
#: What a block's digest covers.
METADATA = (
    "identifier, tag, run_uuid, block, purpose, direction, n_bits, epsilon, simulated, "
    "distilled, provenance"
)
#: Start key before distilled key: the order is the same at both ends, whenever each
#: of them was given its start key.
_ORDER = "ORDER BY b.distilled, b.serial"


def find(
    db: Database, condition: str = "1", values: tuple[Any, ...] = (), most: int = -1
) -> Entries:
    """Return the entries that fulfil an SQL condition, oldest first, at `most` so many.

    Parameters
    ----------
    db : Database
    condition : str
    values : tuple
        Of the condition.
    most : int
        All of them if negative [1].
    """
    rows = db.rows(
        f"SELECT {_COLUMNS} FROM progress p JOIN blocks b USING (serial) "
        f"WHERE {condition} {_ORDER} LIMIT {most:d}",
        values,
    )
    return [_entry(row) for row in rows]


def unspent(db: Database) -> Entries:
    """Return all entries that are not consumed, verified ones included."""
    return find(db, "p.state < 4")


def pool(db: Database, purpose: str, direction: str | None) -> Entries:
    """Return the unspent entries of a pool, of both directions for None."""
    if direction is None:
        return find(db, "p.state < 4 AND b.purpose=?", (purpose,))
    where = "p.state < 4 AND b.purpose=? AND b.direction=?"
    return find(db, where, (purpose, direction))


def in_step(
    db: Database, purpose: str, direction: str, *, simulated: bool, most: int = -1
) -> Entries:
    """Return what can be spent of a pool, oldest first, at `most` so many entries."""
    where = "p.state IN (2, 3) AND b.purpose=? AND b.direction=? AND b.simulated<=?"
    return find(db, where, (purpose, direction, int(simulated)), most)


def available_bits(
    db: Database, purpose: str, direction: str | None, *, simulated: bool
) -> int:
    """Return how many bits a pool can still release, both directions for None [bit].

    A sum of the database's own: a pool that nobody draws from has many entries.
    """
    where = "p.state IN (2, 3) AND b.purpose=? AND b.simulated<=?"
    values: tuple[Any, ...] = (purpose, int(simulated))
    if direction is not None:
        where, values = f"{where} AND b.direction=?", (*values, direction)
    ((bits,),) = db.rows(
        "SELECT coalesce(sum(b.n_bits - p.used_bits), 0) FROM progress p "
        f"JOIN blocks b USING (serial) WHERE {where}",
        values,
    )
    return int(bits)


def named(db: Database, identifier: str) -> KeyEntry:
    """Return one entry.

    Raises
    ------
    KeySinkError
        If there is none of that name.
    """
    found = find(db, "b.identifier=?", (identifier,))
    if not found:
        raise KeySinkError(f"key sink {db.path}: no key block {identifier!r}")
    return found[0]


def of_block(db: Database, run_uuid: str, block: int) -> Entries:
    """Return the pools that one distilled block filled."""
    return find(db, "b.run_uuid=? AND b.block=?", (run_uuid, block))


def free_runs(db: Database, entry: KeyEntry) -> list[Range]:
    """Return the runs of bits that were never released, first to last."""
    released = db.rows(
        "SELECT start_bit, n_bits FROM releases WHERE serial=? ORDER BY start_bit",
        (entry.serial,),
    )
    runs, at = [], 0
    for start, count in [*released, (entry.n_bits, 0)]:
        if start > at:
            runs.append((entry.identifier, at, start - at))
        at = start + count
    return runs


def tag_of(identifier: str) -> int:
    """Return the short name of a block, the same at both ends."""
    digest = hashlib.sha256(identifier.encode()).digest()
    return int.from_bytes(digest[: TAG_BITS // 8], "big")


def tag_is_unique(db: Database, entry: KeyEntry) -> bool:
    """Return whether no other key for export ever had the same short name."""
    ((count,),) = db.rows(
        "SELECT count(*) FROM blocks WHERE tag=? AND purpose=? AND direction=?",
        (entry.tag, entry.purpose, entry.direction),
    )
    return bool(count == 1)


def metadata_digest(*fields: object) -> bytes:
    """Return the digest of what is known of a block but its bits.

    It shows damage; it is no protection against a deliberate change.
    """
    return hashlib.sha256("\x1f".join(map(repr, fields)).encode()).digest()


def check_metadata(db: Database, entry: KeyEntry) -> None:
    """Refuse an entry that was changed on disk.

    Raises
    ------
    KeySinkError
        If its digest differs.
    """
    (row,) = db.rows(
        f"SELECT {METADATA}, digest FROM blocks WHERE serial=?", (entry.serial,)
    )
    if row[-1] != metadata_digest(*row[:-1]):
        raise KeySinkError(
            f"key sink {db.path}: key block {entry.identifier}: damaged (digest "
            "differs); `scqc keys burn` this block"
        )


def _entry(row: tuple[Any, ...]) -> KeyEntry:
    fields = dict(zip(KeyEntry.__slots__, row, strict=True))
    fields["simulated"] = bool(fields["simulated"])
    fields["state"] = State(fields["state"])
    return KeyEntry(**fields)
