"""Layout of the key database, format 3.

`blocks` says what came in and never changes; `progress` says how far each block has
come and only moves forward; `releases` holds which bits went out, and a bit goes out
once; `claims` and `refusals` hold the blocks whose public words were said, and those
that will never be stored; `epochs`, `peer_epochs` and `start_keys` are what the two
ends compare when they meet; `journal` chains every transition to the one before. The
secret bits lie apart, in `material`: the only table that is overwritten and deleted
from. Triggers refuse everything else, whoever asks.
"""

from __future__ import annotations

import sqlite3

#: Stored in SQLite's user_version; older numbers are migrated, newer refused.
VERSION = 3

_TABLES = """
CREATE TABLE blocks (
    serial INTEGER PRIMARY KEY,
    identifier TEXT NOT NULL UNIQUE,
    tag INTEGER NOT NULL,
    run_uuid TEXT NOT NULL,
    block INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    direction TEXT NOT NULL,
    n_bits INTEGER NOT NULL,
    epsilon REAL NOT NULL,
    simulated INTEGER NOT NULL,
    distilled INTEGER NOT NULL,
    provenance TEXT NOT NULL,
    created_utc TEXT NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (run_uuid, block, purpose, direction)
) STRICT;
CREATE TABLE progress (
    serial INTEGER PRIMARY KEY REFERENCES blocks (serial),
    state INTEGER NOT NULL,
    used_bits INTEGER NOT NULL
) STRICT;
CREATE INDEX tags ON blocks (tag);
CREATE INDEX unspent ON progress (state) WHERE state < 4;
CREATE INDEX unerased ON progress (state) WHERE state = 4;
CREATE TABLE material (
    serial INTEGER NOT NULL REFERENCES blocks (serial),
    chunk INTEGER NOT NULL,
    bits BLOB NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (serial, chunk)
) STRICT, WITHOUT ROWID;
CREATE TABLE releases (
    serial INTEGER NOT NULL REFERENCES blocks (serial),
    start_bit INTEGER NOT NULL CHECK (start_bit >= 0),
    n_bits INTEGER NOT NULL CHECK (n_bits > 0),
    released_utc TEXT NOT NULL,
    PRIMARY KEY (serial, start_bit)
) STRICT, WITHOUT ROWID;
CREATE TABLE claims (
    serial INTEGER PRIMARY KEY,
    run_uuid TEXT NOT NULL,
    block INTEGER NOT NULL,
    claimed_utc TEXT NOT NULL,
    UNIQUE (run_uuid, block)
) STRICT;
CREATE TABLE refusals (
    serial INTEGER PRIMARY KEY,
    run_uuid TEXT NOT NULL,
    block INTEGER NOT NULL,
    refused_utc TEXT NOT NULL,
    UNIQUE (run_uuid, block)
) STRICT;
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    nonce BLOB NOT NULL,
    begun_utc TEXT NOT NULL
) STRICT;
CREATE TABLE peer_epochs (
    serial INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    seen_utc TEXT NOT NULL
) STRICT;
CREATE TABLE start_keys (
    serial INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    loaded_utc TEXT NOT NULL
) STRICT;
CREATE TABLE journal (
    serial INTEGER PRIMARY KEY,
    at_utc TEXT NOT NULL,
    event TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,
    digest BLOB NOT NULL
) STRICT;
"""

_APPEND_ONLY = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""

_LAWS = """
CREATE TRIGGER progress_no_DELETE BEFORE DELETE ON progress
BEGIN SELECT RAISE(ABORT, 'progress is never deleted'); END;
CREATE TRIGGER progress_forward BEFORE UPDATE ON progress
WHEN NEW.serial <> OLD.serial OR NEW.state < OLD.state
    OR NEW.used_bits < OLD.used_bits
BEGIN SELECT RAISE(ABORT, 'progress only moves forward'); END;
CREATE TRIGGER releases_no_UPDATE BEFORE UPDATE ON releases
BEGIN SELECT RAISE(ABORT, 'releases is append-only'); END;
CREATE TRIGGER releases_no_DELETE BEFORE DELETE ON releases
WHEN (SELECT state FROM progress WHERE serial = OLD.serial) < 5
BEGIN SELECT RAISE(ABORT, 'releases of a block are kept until it is erased'); END;
CREATE TRIGGER releases_once BEFORE INSERT ON releases
WHEN (SELECT state FROM progress WHERE serial = NEW.serial) NOT IN (1, 2, 3)
    OR NEW.start_bit + NEW.n_bits
        > (SELECT n_bits FROM blocks WHERE serial = NEW.serial)
    OR NEW.start_bit < coalesce((
        SELECT start_bit + n_bits FROM releases
        WHERE serial = NEW.serial AND start_bit < NEW.start_bit + NEW.n_bits
        ORDER BY start_bit DESC LIMIT 1
    ), 0)
BEGIN SELECT RAISE(ABORT, 'these bits were spent before, or do not exist'); END;
"""

_GROWING = (
    "blocks",
    "claims",
    "refusals",
    "epochs",
    "peer_epochs",
    "start_keys",
    "journal",
)


def create_script() -> str:
    """Return the statements that make an empty sink."""
    guards = (
        _APPEND_ONLY.format(table=table, verb=verb)
        for table in _GROWING
        for verb in ("UPDATE", "DELETE")
    )
    return _TABLES + "".join(guards) + _LAWS


def statements(script: str) -> list[str]:
    """Split a script at statement ends; triggers hold semicolons of their own."""
    out, pending = [], ""
    for piece in script.split(";"):
        pending += piece + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n;"):
                out.append(pending)
            pending = ""
    return out
