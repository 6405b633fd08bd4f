"""Sinks of older formats keep what they hold, and what they have spent."""

import hashlib
import json
import sqlite3

import numpy as np
import pytest

from protocols.key_sink import KEY_PURPOSE, PAD_PURPOSE, KeySink, State
from scqc.core.errors import KeySinkError

TO_BOB = "alice-to-bob"
# As format 2 was; format 1 lacked the claims.
BLOCKS = """
CREATE TABLE blocks (
    serial INTEGER PRIMARY KEY, identifier TEXT NOT NULL UNIQUE,
    run_uuid TEXT NOT NULL, block INTEGER NOT NULL, purpose TEXT NOT NULL,
    direction TEXT NOT NULL, n_bits INTEGER NOT NULL, bits BLOB NOT NULL,
    epsilon REAL NOT NULL, simulated INTEGER NOT NULL, provenance TEXT NOT NULL,
    created_utc TEXT NOT NULL, digest BLOB NOT NULL,
    UNIQUE (run_uuid, block, purpose, direction)
) STRICT"""
RELEASES = """
CREATE TABLE releases (
    serial INTEGER PRIMARY KEY,
    identifier TEXT NOT NULL REFERENCES blocks (identifier),
    start_bit INTEGER NOT NULL, n_bits INTEGER NOT NULL CHECK (n_bits > 0),
    released_utc TEXT NOT NULL, UNIQUE (identifier, start_bit)
) STRICT"""
CLAIMS = """
CREATE TABLE claims (
    serial INTEGER PRIMARY KEY, run_uuid TEXT NOT NULL, block INTEGER NOT NULL,
    claimed_utc TEXT NOT NULL, UNIQUE (run_uuid, block)
) STRICT"""
GUARD = """
CREATE TRIGGER {0}_no_{1} BEFORE {1} ON {0}
BEGIN SELECT RAISE(ABORT, '{0} is append-only'); END"""
BITS = np.random.default_rng(5).bytes(125)


def old_sink(path, version):
    path.touch(mode=0o600)
    db = sqlite3.connect(path, isolation_level=None)
    tables = {"blocks": BLOCKS, "releases": RELEASES, "claims": CLAIMS}
    for name in list(tables)[: version + 1]:
        db.execute(tables[name])
        for verb in ("UPDATE", "DELETE"):
            db.execute(GUARD.format(name, verb))
    for number, (name, run, purpose, direction) in enumerate(
        [
            ("start/alice-to-bob/hash", "start", "hash", TO_BOB),
            ("run/0/pad/alice-to-bob", "run", PAD_PURPOSE, TO_BOB),
            ("run/0", "run", KEY_PURPOSE, ""),
            ("run/1", "run", KEY_PURPOSE, "x"),
        ]
    ):
        tags = json.dumps({"run_uuid": run, "block": "0"})
        bits = BITS[::-1] if purpose == "hash" else BITS
        fields = (name, run, 0, purpose, direction, 1000, bits, 1e-10, 0, tags)
        text = [f.hex() if isinstance(f, bytes) else repr(f) for f in fields]
        digest = hashlib.sha256("\x1f".join(text).encode()).digest()
        db.execute(
            "INSERT INTO blocks VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (number + 1, *fields, "2026-01-01T00:00:00+00:00", digest),
        )
    for name, start, count in (
        ("run/0/pad/alice-to-bob", 0, 100),
        ("run/0/pad/alice-to-bob", 100, 7),
        ("run/1", 0, 1000),
    ):
        db.execute(
            "INSERT INTO releases (identifier, start_bit, n_bits, released_utc) "
            "VALUES (?,?,?,'then')",
            (name, start, count),
        )
    if version == 2:
        db.execute("INSERT INTO claims VALUES (1, 'run', 7, 'then')")
    db.execute(f"PRAGMA user_version={version}")
    db.close()


@pytest.mark.parametrize("version", [1, 2])
def test_an_older_sink_is_brought_up(tmp_path, version):
    path = tmp_path / "old.db"
    old_sink(path, version)
    whole = np.unpackbits(np.frombuffer(BITS, np.uint8))
    for _ in range(2):
        with KeySink(path, create=False) as sink:
            levels = {e.identifier: e.available_bits for e in sink.list()}
            assert levels["run/0/pad/alice-to-bob"] in (893, 793)
            assert sink.verify_journal() > 0
            sink.claim("run", 10 + levels["run/0/pad/alice-to-bob"])
            spent = sink.spend(PAD_PURPOSE, TO_BOB, 100)
            start = spent.ranges[0][1]
            np.testing.assert_array_equal(spent.bits, whole[start : start + 100])
            states = {e.identifier: e.state for e in sink.list()}
            assert states["run/1"] == State.ERASED
            assert sink.read_kept("hash", TO_BOB) == BITS[::-1]
    with KeySink(path) as sink:
        assert sink.take("run/0").bits == BITS
        if version == 2:
            with pytest.raises(KeySinkError, match="distilled before"):
                sink.claim("run", 7)
    # What was spent long ago is not in the file any more.
    for file in tmp_path.iterdir():
        assert BITS[:12] not in file.read_bytes(), file


def test_a_damaged_older_sink_stays_as_it_is(tmp_path):
    path = tmp_path / "old.db"
    old_sink(path, 2)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TRIGGER blocks_no_UPDATE")
    db.execute("UPDATE blocks SET simulated=1 WHERE serial=2")
    db.close()
    before = path.read_bytes()
    with pytest.raises(KeySinkError, match="damaged"):
        KeySink(path)
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    assert db.execute("SELECT count(*) FROM blocks").fetchone() == (4,)
    db.close()
    assert len(before) > 0


def test_a_newer_sink_is_refused(tmp_path):
    path = tmp_path / "new.db"
    with KeySink(path) as sink:
        sink.db.execute("PRAGMA user_version=4")
    with pytest.raises(KeySinkError, match=r"format 4, wanted 3.*newer version"):
        KeySink(path)
