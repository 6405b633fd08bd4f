"""Sinks of format 1 and 2 become format 3.

They held the bits beside their description, and knew of no state: what is in them was
stored at both ends. Format 1 had no claims.
"""

from __future__ import annotations

import hashlib
from typing import Any

from protocols.key_sink import material
from protocols.key_sink.database import Database
from protocols.key_sink.entries import METADATA, metadata_digest, tag_of
from protocols.key_sink.health import note
from protocols.key_sink.records import State
from scqc.core.errors import KeySinkError

_OLD = {1: ("blocks", "releases"), 2: ("blocks", "releases", "claims")}


def set_aside(db: Database, version: int) -> None:
    """Rename the old tables and drop their guards, within a transaction."""
    for table in _OLD[version]:
        for verb in ("UPDATE", "DELETE"):
            db.execute(f"DROP TRIGGER IF EXISTS {table}_no_{verb}")
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")


def take_over(db: Database, version: int) -> None:
    """Fill the new tables from the old ones and drop these, within a transaction.

    Raises
    ------
    KeySinkError
        If a block is damaged.
    """
    rows = db.rows(
        "SELECT identifier, run_uuid, block, purpose, direction, n_bits, bits, "
        "epsilon, simulated, provenance, digest, serial, created_utc FROM old_blocks "
        "ORDER BY serial"
    )
    for row in rows:
        _take_block(db, row)
    if "claims" in _OLD[version]:
        db.execute(
            "INSERT INTO claims (serial, run_uuid, block, claimed_utc) "
            "SELECT serial, run_uuid, block, claimed_utc FROM old_claims"
        )
    # The newest first: a table that others refer to cannot go before them.
    for table in reversed(_OLD[version]):
        db.execute(f"DROP TABLE old_{table}")
    note(db, "migrated", f"format {version}", f"{len(rows)} blocks")


def _take_block(db: Database, row: tuple[Any, ...]) -> None:
    identifier, run_uuid, block, purpose, direction, n_bits, bits = row[:7]
    epsilon, simulated, provenance, digest, serial, created = row[7:]
    if _old_digest(*row[:10]) != digest:
        raise KeySinkError(
            f"key sink {db.path}: key block {identifier}: damaged (digest differs); "
            "the file stays as it is"
        )
    started = identifier == f"{run_uuid}/{direction}/{purpose}"
    metadata = (
        identifier,
        tag_of(identifier),
        run_uuid,
        block,
        purpose,
        direction,
        n_bits,
        epsilon,
        simulated,
        int(not started),
        provenance,
    )
    db.execute(
        f"INSERT INTO blocks (serial, {METADATA}, created_utc, digest) "
        "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (serial, *metadata, created, metadata_digest(*metadata)),
    )
    db.execute(
        "INSERT INTO progress (serial, state, used_bits) VALUES (?,?,0)",
        (serial, State.AVAILABLE),
    )
    material.write(db, serial, bits)
    for start, count, released in db.rows(
        "SELECT start_bit, n_bits, released_utc FROM old_releases WHERE identifier=? "
        "ORDER BY start_bit",
        (identifier,),
    ):
        material.consume(db, serial, [(start, count)])
        db.execute(
            "INSERT INTO releases (serial, start_bit, n_bits, released_utc) "
            "VALUES (?,?,?,?)",
            (serial, start, count, released),
        )
        db.execute(
            "UPDATE progress SET used_bits=used_bits+?1, state=CASE WHEN "
            "used_bits+?1=?2 THEN ?3 ELSE ?4 END WHERE serial=?5",
            (count, n_bits, State.CONSUMED, State.LEASED, serial),
        )


def _old_digest(*fields: object) -> bytes:
    text = [f.hex() if isinstance(f, bytes) else repr(f) for f in fields]
    return hashlib.sha256("\x1f".join(text).encode()).digest()
