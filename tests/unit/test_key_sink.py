import os
import sqlite3

import numpy as np
import pytest

from protocols.key_sink import HASH_PURPOSE, KeySink, provision
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock
from scqc.core.rng import ReplayEntropy, SystemEntropy


def _block(number, n_bits=256, simulated=False, run="run"):
    bits = np.random.default_rng(number).integers(0, 2, n_bits, dtype=np.uint8)
    return KeyBlock(
        identifier=f"{run}/{number}",
        bits=np.packbits(bits).tobytes(),
        n_bits=n_bits,
        epsilon=1e-10,
        simulated=simulated,
        provenance={"run_uuid": run, "block": str(number)},
    )


def draw(sink, direction, n_bits=128):
    return sink.spend("authentication", direction, n_bits).packed


@pytest.fixture
def sink(tmp_path):
    with KeySink(tmp_path / "keys.db") as opened:
        yield opened


def test_round_trip_across_reopening(tmp_path):
    with KeySink(tmp_path / "k.db") as sink:
        sink.put(_block(1))
        assert sink.list()[0].available_bits == 256
    with KeySink(tmp_path / "k.db", create=False) as sink:
        taken = sink.take("run/1")
        assert taken.bits == _block(1).bits
        assert taken.epsilon == 1e-10
        assert sink.list()[0].available_bits == 0


def test_a_block_is_released_once(sink):
    sink.put(_block(1))
    sink.take("run/1")
    with pytest.raises(KeySinkError, match="already spent"):
        sink.take("run/1")
    with pytest.raises(KeySinkError, match="0 available"):
        sink.take(n_bits=1)


def test_pieces_never_overlap_and_use_everything(sink):
    for number in range(3):
        sink.put(_block(number, n_bits=100))
    taken = [sink.take(n_bits=k) for k in (7, 93, 150, 50)]
    bits = [np.unpackbits(np.frombuffer(t.bits, "u1"), count=t.n_bits) for t in taken]
    whole = [
        np.unpackbits(np.frombuffer(_block(k, 100).bits, "u1"), count=100)
        for k in range(3)
    ]
    np.testing.assert_array_equal(np.concatenate(bits), np.concatenate(whole))
    assert taken[2].identifier == "run/1[0:100]+run/2[0:50]"
    assert taken[2].epsilon == 2e-10


def test_not_enough_takes_nothing(sink):
    sink.put(_block(1))
    with pytest.raises(KeySinkError, match="257 bits asked for, 256 available"):
        sink.take(n_bits=257)
    assert sink.available_bits() == 256


def test_a_run_fills_at_most_once(sink):
    sink.put(_block(1))
    again = _block(1)
    object.__setattr__(again, "identifier", "another name")
    with pytest.raises(KeySinkError, match="was stored before"):
        sink.put(again)
    assert len(sink.list()) == 1


def test_key_of_one_direction_is_taken_alone(sink):
    """Beside a delivery of keys the other direction is the other end's to allocate."""
    sink.put(_block(1), direction="alice-to-bob")
    sink.put(_block(2), direction="bob-to-alice")
    for call in ({"n_bits": 257}, {"identifier": "run/1"}):
        with pytest.raises(KeySinkError, match=r"256 available|'alice-to-bob', 'bob"):
            sink.take(**call, direction="bob-to-alice")
    assert sink.available_bits() == 512
    assert sink.take(n_bits=256, direction="bob-to-alice").bits == _block(2).bits
    assert sink.available_bits(direction="alice-to-bob") == 256
    assert sink.take("run/1", direction="alice-to-bob").bits == _block(1).bits


def test_simulated_keys_need_to_be_asked_for(sink):
    sink.put(_block(1, simulated=True))
    for call in ({"identifier": "run/1"}, {"n_bits": 8}):
        with pytest.raises(KeySinkError, match=r"simulated|0 available"):
            sink.take(**call)
    assert sink.take("run/1", allow_simulated=True).simulated


def test_unknown_and_unstated(sink):
    with pytest.raises(KeySinkError, match="no key block 'x'"):
        sink.take("x")
    with pytest.raises(KeySinkError, match="needs an identifier"):
        sink.take()
    lost = _block(1)
    object.__setattr__(lost, "provenance", {})
    with pytest.raises(KeySinkError, match="lacks run_uuid"):
        sink.put(lost)


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_files_are_closed_to_others(tmp_path):
    path = tmp_path / "k.db"
    with KeySink(path) as sink:
        sink.put(_block(1))
        for file in tmp_path.iterdir():
            assert file.stat().st_mode & 0o077 == 0, file
    path.chmod(0o640)
    with pytest.raises(KeySinkError, match="0640"):
        KeySink(path)


def test_absent_and_damaged_files(tmp_path):
    with pytest.raises(KeySinkError, match="no such file"):
        KeySink(tmp_path / "absent.db", create=False)
    with pytest.raises(KeySinkError, match="No such file"):
        KeySink(tmp_path / "no" / "folder.db")
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"not a database" * 1000)
    garbage.chmod(0o600)
    with pytest.raises(KeySinkError, match="not a database"):
        KeySink(garbage)


def test_tampering_shows(tmp_path):
    path = tmp_path / "k.db"
    with KeySink(path) as sink:
        sink.put(_block(1))
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sink.db._db.execute("UPDATE blocks SET simulated=0")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sink.db._db.execute("DELETE FROM blocks")
        sink.db._db.execute("UPDATE material SET bits=zeroblob(32)")
        with pytest.raises(KeySinkError, match="damaged"):
            sink.take("run/1")
        assert sink.available_bits() == 256


def test_start_key_is_equal_direction_separated_and_burnt(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 512, SystemEntropy())
        pads = {}
        for direction in ("alice-to-bob", "bob-to-alice"):
            pads[direction] = draw(alice, direction)
            assert draw(bob, direction) == pads[direction]
            assert draw(alice, direction) != pads[direction]
            key = alice.read_kept(HASH_PURPOSE, direction)
            assert key == bob.read_kept(HASH_PURPOSE, direction)
            assert len(key) == 16
        assert len(set(pads.values())) == 2
        draw(alice, "alice-to-bob", 256)
        with pytest.raises(KeySinkError, match="0 available"):
            draw(alice, "alice-to-bob", 8)
        with pytest.raises(KeySinkError, match="stored before"):
            provision([alice], 512, SystemEntropy())
        with pytest.raises(KeySinkError, match="not kept"):
            alice.read_kept("authentication", "alice-to-bob")
        with pytest.raises(KeySinkError, match="0 available"):
            alice.take(n_bits=8)


def test_start_key_of_a_simulation_is_stamped(sink):
    provision([sink], 256, ReplayEntropy(1, "start"))
    with pytest.raises(KeySinkError, match="0 available"):
        draw(sink, "alice-to-bob")
    with pytest.raises(KeySinkError, match="simulated"):
        sink.read_kept(HASH_PURPOSE, "alice-to-bob")
    sink.spend("authentication", "alice-to-bob", 128, allow_simulated=True)


@pytest.mark.parametrize("front", [1, 2, 3, 64])
def test_a_long_pool_is_spent_as_a_short_one(tmp_path, monkeypatch, front):
    """How many entries are looked at first changes nothing: bits go out in order."""
    monkeypatch.setattr("protocols.key_sink.spending._FRONTS", (front, -1))
    with KeySink(tmp_path / "a.db") as ours, KeySink(tmp_path / "b.db") as theirs:
        for number in range(6):
            for one in (ours, theirs):
                one.put(_block(number, n_bits=100, simulated=number == 1), "pad", "x")
        assert ours.available_bits("pad", "x") == 500
        assert ours.available_bits("pad", simulated=True) == 600
        first = ours.spend("pad", "x", 250)
        assert first.ranges == [("run/0", 0, 100), ("run/2", 0, 100), ("run/3", 0, 50)]
        second = ours.spend("pad", "x", 200)
        assert [start for _, start, _ in second.ranges] == [50, 0, 0]
        # The peer lost what the first was for: it goes past it, and burns it.
        followed = theirs.follow("pad", "x", second.ranges)
        assert np.array_equal(followed.bits, second.bits)
        for one in (ours, theirs):
            assert one.available_bits("pad", "x") == 50
            with pytest.raises(KeySinkError, match="51 bits asked for, 50 available"):
                one.spend("pad", "x", 51)
        with pytest.raises(KeySinkError, match="unknown, spent or out of order"):
            theirs.follow("pad", "x", first.ranges)
