"""Layout of the key database.

Three tables that only grow. `blocks` holds what came in; `releases` holds which
bits went out; `claims` holds the blocks whose public words were said. What is
left of a block is computed, never stored, so there is no counter that a crash
could leave behind the truth. Triggers refuse every update and deletion, whoever
asks.
"""

from __future__ import annotations

#: Stored in SQLite's user_version; another number is refused.
VERSION = 2

_TABLES = """
CREATE TABLE blocks (
    serial INTEGER PRIMARY KEY,
    identifier TEXT NOT NULL UNIQUE,
    run_uuid TEXT NOT NULL,
    block INTEGER NOT NULL,
    purpose TEXT NOT NULL,
    direction TEXT NOT NULL,
    n_bits INTEGER NOT NULL,
    bits BLOB NOT NULL,
    epsilon REAL NOT NULL,
    simulated INTEGER NOT NULL,
    provenance TEXT NOT NULL,
    created_utc TEXT NOT NULL,
    digest BLOB NOT NULL,
    UNIQUE (run_uuid, block, purpose, direction)
) STRICT;
CREATE TABLE releases (
    serial INTEGER PRIMARY KEY,
    identifier TEXT NOT NULL REFERENCES blocks (identifier),
    start_bit INTEGER NOT NULL,
    n_bits INTEGER NOT NULL CHECK (n_bits > 0),
    released_utc TEXT NOT NULL,
    UNIQUE (identifier, start_bit)
) STRICT;
"""

_TRIGGER = """
CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""

_CLAIMS = """
CREATE TABLE claims (
    serial INTEGER PRIMARY KEY,
    run_uuid TEXT NOT NULL,
    block INTEGER NOT NULL,
    claimed_utc TEXT NOT NULL,
    UNIQUE (run_uuid, block)
) STRICT;
"""


def _guarded(tables: str, *names: str) -> str:
    return tables + "".join(
        _TRIGGER.format(table=table, verb=verb)
        for table in names
        for verb in ("UPDATE", "DELETE")
    )


#: Statements that bring a sink of version 1 to version 2.
CLAIMS = _guarded(_CLAIMS, "claims")
#: Statements that create an empty sink.
CREATE = _guarded(_TABLES, "blocks", "releases") + CLAIMS
