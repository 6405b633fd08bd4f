"""The life of a block: raw, verified, available, leased, consumed, erased."""

import pickle
import sqlite3

import pytest

from protocols.key_sink import AUTHENTICATION_PURPOSE, PAD_PURPOSE, KeySink, State
from protocols.key_sink.check import burn_everything, examine
from scqc.core.errors import KeySinkError
from tests.sink_kit import TO_ALICE, TO_BOB, key_block, pool_key


@pytest.fixture
def sink(tmp_path):
    with KeySink(tmp_path / "k.db") as opened:
        yield opened


def state(sink, number=0):
    return [e.state for e in sink.list() if e.block == number]


def events(sink):
    return [row[0] for row in sink.db.rows("SELECT event FROM journal ORDER BY serial")]


def test_a_block_goes_through_its_states(sink):
    keys = [pool_key(0), pool_key(0, PAD_PURPOSE)]
    sink.claim("run", 0)
    sink.store(keys, confirmed=False)
    assert state(sink) == [State.VERIFIED] * 2
    assert sink.verified_blocks() == [("run", 0)]
    assert sink.available_bits() == sink.available_bits(PAD_PURPOSE) == 0
    assert sink.confirm("run", 0) == 2
    assert sink.confirm("run", 0) == 0
    assert sink.verified_blocks() == []
    sink.spend(PAD_PURPOSE, TO_BOB, 100)
    assert state(sink) == [State.AVAILABLE, State.LEASED]
    sink.spend(PAD_PURPOSE, TO_BOB, 924)
    assert state(sink) == [State.AVAILABLE, State.ERASED]
    assert events(sink) == [
        *("raw", "verified", "verified", "available", "available"),
        *("spent pad", "consumed", "spent pad", "erased"),
    ]


def test_what_is_not_confirmed_is_not_released(sink):
    pools = [pool_key(0), pool_key(0, PAD_PURPOSE), pool_key(0, AUTHENTICATION_PURPOSE)]
    sink.store(pools, confirmed=False)
    name = pools[0].key.identifier
    for release in (
        lambda: sink.take(name),
        lambda: sink.take(n_bits=8),
        lambda: sink.spend(PAD_PURPOSE, TO_BOB, 8),
        lambda: sink.follow(PAD_PURPOSE, TO_BOB, [(pools[1].key.identifier, 0, 8)]),
        lambda: sink.spend(AUTHENTICATION_PURPOSE, TO_BOB, 8),
        lambda: sink.lease("key", TO_BOB, 8),
    ):
        with pytest.raises(KeySinkError):
            release()
    assert all(e.used_bits == 0 for e in sink.list())


def test_pools_of_a_block_come_all_or_none(sink):
    sink.put(pool_key(0, PAD_PURPOSE).key, PAD_PURPOSE, TO_BOB)
    with pytest.raises(KeySinkError, match="stored before"):
        sink.store([pool_key(0), pool_key(0, PAD_PURPOSE)], confirmed=True)
    assert len(sink.list()) == 1


def test_a_discarded_block_never_comes_back(sink):
    sink.store([pool_key(0)], confirmed=False)
    assert sink.discard("run", 0) == 1024
    assert state(sink) == [State.ERASED]
    # Not even another pool of it, and nothing of a block that never came.
    sink.discard("run", 5)
    for number, purpose in ((0, PAD_PURPOSE), (5, "key")):
        with pytest.raises(KeySinkError, match="given up"):
            sink.store([pool_key(number, purpose)], confirmed=False)
        with pytest.raises(KeySinkError, match="given up"):
            sink.claim("run", number)
    with pytest.raises(KeySinkError, match="no block 9"):
        sink.confirm("run", 9)


def test_an_available_block_is_not_discarded(sink):
    sink.store([pool_key(0)], confirmed=True)
    with pytest.raises(KeySinkError, match="only a verified one"):
        sink.discard("run", 0)
    assert sink.available_bits() == 1024


def test_the_tables_keep_their_laws_whoever_asks(sink):
    sink.store([pool_key(0), pool_key(1)], confirmed=True)
    name = pool_key(0).key.identifier
    sink.take(name, 100)
    laws = [
        ("UPDATE progress SET state=1", "forward"),
        ("UPDATE progress SET used_bits=0", "forward"),
        ("DELETE FROM progress", "never deleted"),
        ("DELETE FROM releases", "until it is erased"),
        ("UPDATE releases SET n_bits=1", "append-only"),
        ("INSERT INTO releases VALUES (1, 99, 5, '')", "spent before"),
        ("INSERT INTO releases VALUES (1, 50, 5, '')", "spent before"),
        ("INSERT INTO releases VALUES (1, 1020, 5, '')", "spent before"),
        ("DELETE FROM journal", "append-only"),
        ("DELETE FROM epochs", "append-only"),
        ("UPDATE claims SET block=1", "append-only"),
    ]
    sink.claim("run", 0)
    sink.db.execute("INSERT INTO epochs VALUES (1, x'', '')")
    for statement, why in laws:
        with pytest.raises((sqlite3.IntegrityError, KeySinkError), match=why):
            sink.db.execute(statement)


def test_consumed_bits_leave_the_disk(tmp_path):
    path = tmp_path / "k.db"
    with KeySink(path) as sink:
        sink.put(key_block(1, 8 * 20_000), PAD_PURPOSE, TO_BOB)
        sink.put(key_block(2, 8 * 20_000))
        secret = [key_block(k, 8 * 20_000).bits for k in (1, 2)]
        sink.spend(PAD_PURPOSE, TO_BOB, 8 * 10_000)
        sink.take("run/2")
        on_disk = b"".join(f.read_bytes() for f in tmp_path.iterdir())
        # The whole block is gone at once; of the other, what was spent.
        assert not any(secret[1][k : k + 8] in on_disk for k in range(0, 20_000, 500))
    on_disk = b"".join(f.read_bytes() for f in tmp_path.iterdir())
    assert not any(secret[0][k : k + 8] in on_disk for k in range(0, 9_990, 500))
    assert any(secret[0][k : k + 8] in on_disk for k in range(10_000, 19_000, 500))


def test_what_a_crash_left_to_erase_is_erased_at_the_next_opening(tmp_path):
    path = tmp_path / "k.db"
    with KeySink(path) as sink:
        sink.put(key_block(1))
        sink.sweep = lambda: None
        sink.take("run/1")
        assert state(sink, 1) == [State.CONSUMED]
    with KeySink(path) as sink:
        assert state(sink, 1) == [State.ERASED]
        assert sink.db.rows("SELECT count(*) FROM material") == [(0,)]


# Leases ------------------------------------------------------------------------------


def test_a_lease_is_spent_at_once_and_handed_out_in_order(tmp_path):
    path = tmp_path / "k.db"
    with KeySink(path) as sink:
        for number in range(2):
            sink.store([pool_key(number)], confirmed=True)
        whole = b"".join(pool_key(k).key.bits for k in range(2))
        lease = sink.lease("key", TO_BOB, 1600)
        assert sink.available_bits() == 448
        taken, at = b"", 0
        for size in (8, 1000, 16, 568):
            bits, ranges = lease.take(size)
            assert sum(count for _, _, count in ranges) == size
            taken, at = taken + bits, at + size
        assert taken == whole[:199]
        for wrong in (16, 0, -8, 4):
            with pytest.raises(KeySinkError, match="asked for"):
                lease.take(wrong)
        lease.close()
        with pytest.raises(KeySinkError):
            lease.take(8)
    # A crash after this would have lost the remainder, and nothing else.
    with KeySink(path) as sink:
        assert sink.take(n_bits=448).bits == whole[200:]


def test_a_lease_is_not_shown_or_copied(sink):
    sink.store([pool_key(0)], confirmed=True)
    with sink.lease("key", TO_BOB, 512) as lease:
        assert repr(lease) == "Lease(512 bits left)"
        with pytest.raises(KeySinkError, match="not pickled"):
            pickle.dumps(lease)
    assert lease.left_bits == 0


def test_a_lease_that_cannot_be_paid_costs_nothing(sink):
    sink.store([pool_key(0, n_bits=100), pool_key(1, n_bits=100)], confirmed=True)
    for n_bits, run in ((208, 8), (8, 104), (0, 8)):
        with pytest.raises(KeySinkError, match="available"):
            sink.lease("key", TO_BOB, n_bits, min_run_bits=run)
    # Whole bytes of each block: 96 of its 100 bits.
    sink.lease("key", TO_BOB, 192)
    assert sink.available_bits() == 8


# Examination and burning --------------------------------------------------------------


def test_an_examination_adds_up(sink):
    sink.store([pool_key(0, PAD_PURPOSE)], confirmed=True)
    sink.store([pool_key(1)], confirmed=False)
    sink.spend(PAD_PURPOSE, TO_BOB, 24)
    found = examine(sink)
    assert found.levels == {f"pad {TO_BOB}": 1000, f"key {TO_BOB}": 0}
    assert (found.blocks, found.waiting) == (2, 1)
    assert found.journal_entries == sink.verify_journal() == 3


def test_everything_can_be_burnt(sink):
    for number, purpose in enumerate(("key", "pad", "authentication", "hash")):
        sink.store([pool_key(number, purpose, TO_ALICE)], confirmed=number != 1)
    sink.take(n_bits=24)
    assert burn_everything(sink) == 4 * 1024 - 24
    assert {e.state for e in sink.list()} == {State.ERASED}
    assert examine(sink).levels == {}
    assert sink.db.rows("SELECT count(*) FROM material") == [(0,)]
    with pytest.raises(KeySinkError, match="no hash"):
        sink.read_kept("hash", TO_ALICE)
