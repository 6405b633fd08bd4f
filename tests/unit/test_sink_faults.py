"""Bad input to a key sink: a typed error that says what to do, and no key."""

import os
import shutil
import sqlite3
import threading

import pytest

from protocols.key_sink import PAD_PURPOSE, KeySink, database
from protocols.key_sink.check import burn_everything, examine
from scqc.core.errors import KeySinkError
from tests.sink_kit import TO_BOB, key_block, pool_key

posix = pytest.mark.skipif(os.name != "posix", reason="POSIX files")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "k.db"
    with KeySink(path) as sink:
        for number in range(4):
            sink.put(key_block(number, 8 * 10_000), PAD_PURPOSE, TO_BOB)
    return path


def left(sink):
    return sink.available_bits(PAD_PURPOSE, TO_BOB)


def test_a_full_disk_releases_nothing(path):
    with KeySink(path) as sink:
        before = left(sink)
        ((pages,),) = sink.db.rows("PRAGMA page_count")
        sink.db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(KeySinkError, match="disk is full: free space"):
            sink.put(key_block(9, 8 * 100_000))
        assert len(sink.list()) == 4
        assert left(sink) == before
        sink.db.execute("PRAGMA max_page_count=1000000")
        sink.spend(PAD_PURPOSE, TO_BOB, 100)
        assert examine(sink).blocks == 4


@posix
def test_a_full_disk_under_the_log_releases_nothing(path):
    """The log itself meets the limit: within the commit."""
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with KeySink(path) as sink:
        sink.spend(PAD_PURPOSE, TO_BOB, 100)
        before = left(sink)
        log = path.with_name("k.db-wal").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (log, limits[1]))
        try:
            with pytest.raises(KeySinkError, match="disk"):  # noqa: PT012
                for _ in range(1000):
                    sink.spend(PAD_PURPOSE, TO_BOB, 8)
                    before -= 8
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, kept)
        assert left(sink) == before
        sink.spend(PAD_PURPOSE, TO_BOB, 8)
        sink.verify_journal()


@posix
def test_a_read_only_sink_releases_nothing(path):
    uri = f"file:{path}?mode=ro"
    with KeySink(path) as sink:
        before = left(sink)
        sink.db._db.close()
        sink.db._db = sqlite3.connect(uri, uri=True, isolation_level=None)
        for release in (
            lambda: sink.spend(PAD_PURPOSE, TO_BOB, 8),
            lambda: sink.put(key_block(9)),
            lambda: sink.lease(PAD_PURPOSE, TO_BOB, 8),
            lambda: sink.claim("run", 77),
        ):
            with pytest.raises(KeySinkError, match="read-only: make both writable"):
                release()
        assert left(sink) == before


def test_a_locked_sink_says_so(path, monkeypatch):
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.05)
    with KeySink(path) as sink:
        before = left(sink)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(KeySinkError, match="another program holds the sink"):
            sink.spend(PAD_PURPOSE, TO_BOB, 8)
        other.execute("ROLLBACK")
        other.close()
        assert left(sink) == before
        sink.spend(PAD_PURPOSE, TO_BOB, 8)


@pytest.mark.parametrize("patience_s", [0.05, 20.0])
def test_a_new_sink_waits_for_who_makes_it(tmp_path, monkeypatch, patience_s):
    """SQLite does not wait by itself where a file gets its write-ahead log."""
    path = tmp_path / "new.db"
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", patience_s)
    path.touch(0o600)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    if patience_s < 1:
        with pytest.raises(KeySinkError, match="another program holds the sink"):
            KeySink(path)
        other.execute("ROLLBACK")
    else:
        end = threading.Timer(0.2, other.execute, ("ROLLBACK",))
        end.start()
        with KeySink(path) as sink:
            assert sink.list() == []
        end.join()
    other.close()


def test_two_programs_share_a_sink(path):
    """Each takes what the other has not: the delivery of keys beside the link."""
    with KeySink(path) as one, KeySink(path) as two:
        spans, errors = [], []

        def work(sink):
            try:
                for _ in range(40):
                    spans.extend(sink.spend(PAD_PURPOSE, TO_BOB, 16).ranges)
            except KeySinkError as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(s,)) for s in (one, two, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(set(spans)) == len(spans) == 120
        assert one.verify_journal() == two.verify_journal()


@pytest.mark.parametrize("number", [0, 2])
def test_a_corrupted_page_gives_no_key(path, number):
    clean = path.read_bytes()
    at = clean.index(key_block(number, 80_000).bits[5000:5016])
    path.write_bytes(clean[:at] + os.urandom(64) + clean[at + 64 :])
    right = {key_block(k, 8 * 10_000).bits for k in range(4)}
    with KeySink(path) as sink:
        for _ in range(number):
            assert sink.spend(PAD_PURPOSE, TO_BOB, 80_000).packed in right
        with pytest.raises(KeySinkError, match=r"damaged.*burn"):
            sink.spend(PAD_PURPOSE, TO_BOB, 80_000)
        with pytest.raises(KeySinkError, match=r"damaged.*burn"):
            examine(sink)
        sink.burn(f"run/{number}")
        assert sink.spend(PAD_PURPOSE, TO_BOB, 80_000).packed in right


def test_every_flipped_byte_is_noticed_or_harmless(path):
    """What comes out of a damaged sink is right, or nothing comes out."""
    clean = path.read_bytes()
    right = {key_block(k, 8 * 10_000).bits for k in range(4)}
    for at in range(50, len(clean), len(clean) // 60):
        path.write_bytes(clean[:at] + bytes([clean[at] ^ 0x10]) + clean[at + 1 :])
        for log in path.parent.glob("k.db-*"):
            log.unlink()
        try:
            with KeySink(path) as sink:
                for _ in range(4):
                    assert sink.spend(PAD_PURPOSE, TO_BOB, 80_000).packed in right
        except KeySinkError:
            continue


def test_a_broken_chain_is_noticed_at_opening(path):
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("DROP TRIGGER journal_no_UPDATE")
    db.execute("UPDATE journal SET detail='nothing of note' WHERE serial=2")
    db.close()
    with pytest.raises(KeySinkError, match=r"changed at entry 2.*keys burn"):
        KeySink(path)
    # Its only use is to be burnt.
    with KeySink(path, checked=False) as sink:
        assert burn_everything(sink) == 4 * 80_000
        with pytest.raises(KeySinkError, match="entry 2"):
            sink.verify_journal()


@pytest.mark.parametrize("serial", [1, 2, 3])
def test_a_missing_entry_breaks_the_chain(path, serial):
    with KeySink(path) as sink:
        sink.db.execute("DROP TRIGGER journal_no_DELETE")
        sink.db.execute("DELETE FROM journal WHERE serial=?", (serial,))
        with pytest.raises(KeySinkError, match="journal was changed"):
            sink.verify_journal()


def test_an_old_entry_is_found_by_the_whole_check_only(path):
    with KeySink(path) as sink:
        for _ in range(300):
            sink.spend(PAD_PURPOSE, TO_BOB, 8)
        sink.db.execute("DROP TRIGGER journal_no_UPDATE")
        sink.db.execute("UPDATE journal SET subject='x' WHERE serial=3")
    with KeySink(path) as sink, pytest.raises(KeySinkError, match="entry 3"):
        examine(sink)


def test_a_copy_of_the_file_alone_is_no_sink(path, tmp_path):
    """Copying while it is open can tear it: then it is damaged, or an old copy."""
    with KeySink(path) as sink:
        sink.spend(PAD_PURPOSE, TO_BOB, 80_000)
        torn = tmp_path / "torn.db"
        shutil.copy(path, torn)
        torn.chmod(0o600)
    with KeySink(torn) as sink:
        assert left(sink) in (240_000, 320_000)


def test_a_counter_that_disagrees_is_found(path):
    with KeySink(path) as sink:
        sink.db.execute("UPDATE progress SET used_bits=8 WHERE serial=1")
        with pytest.raises(KeySinkError, match="0 bits released, 8 counted"):
            examine(sink)


def test_pools_of_other_purposes_are_out_of_reach(path):
    with KeySink(path) as sink:
        sink.store([pool_key(9)], confirmed=True)
        with pytest.raises(KeySinkError, match="not spent in step"):
            sink.spend("key", TO_BOB, 8)
        with pytest.raises(KeySinkError, match="not spent in step"):
            sink.follow("key", TO_BOB, [(pool_key(9).key.identifier, 0, 8)])
        with pytest.raises(KeySinkError, match="not for export"):
            sink.take("run/0")
        with pytest.raises(KeySinkError, match="spent in step"):
            sink.burn_upto(pool_key(9).key.identifier, 8)
