"""Keys for export: allocated at one end, fetched at the other, each byte once."""

import copy
import pickle
import threading

import numpy as np
import pytest

from protocols.key_sink import KeySink, provision
from protocols.key_sink.export import (
    ExportStore,
    KeyPosition,
    NotEnoughKey,
    UnknownKey,
)
from scqc.core.errors import KeySinkError
from scqc.core.rng import SystemEntropy
from tests.sink_kit import TO_ALICE, TO_BOB, pool_key


@pytest.fixture
def sinks(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 128, SystemEntropy())
        for sink in (alice, bob):
            for number in range(3):
                pools = [pool_key(number, "key", d, 80_000) for d in (TO_BOB, TO_ALICE)]
                sink.store(pools, confirmed=True)
        yield alice, bob


@pytest.fixture
def ends(sinks):
    with (
        ExportStore(sinks[0], TO_BOB, TO_ALICE) as alice,
        ExportStore(sinks[1], TO_ALICE, TO_BOB) as bob,
    ):
        yield alice, bob


def bytes_of(keys):
    """Every byte of a list of keys, by its place."""
    places = [(k.position.block_tag, k.position.first_byte) for k in keys]
    return {(t, a + i): b for k, (t, a) in zip(keys, places, strict=True)
            for i, b in enumerate(k.bits)}  # fmt: skip


def test_both_ends_get_the_same_keys_in_any_order(ends):
    for sender, receiver in (ends, ends[::-1]):
        keys = [k for n, size in ((5, 32), (7, 16), (3, 999), (1, 1)) for k in
                sender.allocate(n, size)]  # fmt: skip
        assert len(bytes_of(keys)) == 5 * 32 + 7 * 16 + 3 * 999 + 1
        order = np.random.default_rng(1).permutation(len(keys))
        for n in order:
            (got,) = receiver.fetch([keys[n].position])
            assert got.bits == keys[n].bits
        for n in order[:5]:
            with pytest.raises(UnknownKey, match="handed out before"):
                receiver.fetch([keys[n].position])
    assert ends[0].key_id_secret() == ends[1].key_id_secret()
    assert len(ends[0].key_id_secret()) == 32


def test_a_request_gets_all_or_none(ends):
    alice, bob = ends
    keys = alice.allocate(4, 32)
    places = [key.position for key in keys]
    wrong = [
        [*places, places[0]],
        [places[0], KeyPosition(places[1].block_tag, places[1].first_byte - 1, 32)],
        [*places, KeyPosition(1, 0, 32)],
        [*places, KeyPosition(places[0].block_tag, 9990, 32)],
        [*places, KeyPosition(places[0].block_tag, -1, 32)],
    ]
    for request in wrong:
        with pytest.raises(UnknownKey):
            bob.fetch(request)
    assert [k.bits for k in bob.fetch(places)] == [k.bits for k in keys]


def test_numbers_out_of_bounds_are_refused(ends):
    alice, bob = ends
    for n, size in ((0, 32), (-1, 32), (1025, 32), (1, 0), (1, -8), (1, 1 << 21)):
        with pytest.raises(KeySinkError, match="asked for"):
            alice.allocate(n, size)
    with pytest.raises(KeySinkError, match="no key named"):
        bob.fetch([])
    with pytest.raises(KeySinkError):
        bob.fetch([KeyPosition(1, 0, 0)])


def test_each_end_allocates_in_its_own_direction_only(ends):
    alice, bob = ends
    (key,) = alice.allocate(1, 32)
    with pytest.raises(UnknownKey):
        alice.fetch([key.position])
    assert alice.available_bytes() == 30_000 - 32
    assert bob.available_bytes() == 30_000
    (other,) = bob.allocate(1, 32)
    assert other.position.block_tag != key.position.block_tag


def test_an_empty_pool_says_so_and_keeps_what_is_left(ends):
    alice, bob = ends
    keys = alice.allocate(900, 32)
    with pytest.raises(NotEnoughKey):
        alice.allocate(100, 32)
    with pytest.raises(NotEnoughKey):
        alice.allocate(1, 10_001)
    rest = alice.allocate(36, 32)
    assert len(bytes_of([*keys, *rest])) == 936 * 32
    with pytest.raises(NotEnoughKey):
        alice.allocate(1, 32)
    # 10 000 is no multiple of 32: what is left of each block fits shorter keys.
    assert alice.available_bytes() == 48
    assert len(alice.allocate(3, 16)) == 3
    for place in range(0, 900, 100):
        bob.fetch([k.position for k in keys[place : place + 100]])


def test_a_large_key_does_not_burn_small_blocks(tmp_path):
    with KeySink(tmp_path / "a.db") as sink, ExportStore(sink, TO_BOB, TO_ALICE) as one:
        for number in range(20):
            sink.store([pool_key(number, n_bits=800)], confirmed=True)
        with pytest.raises(NotEnoughKey):
            one.allocate(1, 200)
        assert one.available_bytes() == 2000
        assert len(one.allocate(60, 32)) == 60
        assert len(one.allocate(20, 4)) == 20


def test_a_restart_loses_the_lease_and_repeats_nothing(sinks):
    alice, bob = sinks
    with ExportStore(alice, TO_BOB, TO_ALICE) as one:
        first = one.allocate(5, 32)
    with ExportStore(alice, TO_BOB, TO_ALICE) as one:
        # 30 000 bytes fit into one lease: all is lost.
        assert one.available_bytes() == 0
    for number in range(5, 20):
        for sink in sinks:
            sink.store([pool_key(number, n_bits=80_000)], confirmed=True)
    with ExportStore(alice, TO_BOB, TO_ALICE) as one:
        second = one.allocate(5, 32)
        assert 150_000 - 65_536 - 10_000 < one.available_bytes() <= 150_000
    assert len(bytes_of([*first, *second])) == 10 * 32
    with ExportStore(bob, TO_ALICE, TO_BOB) as other:
        got = other.fetch([k.position for k in (*second, *first)])
        assert [k.bits for k in got] == [k.bits for k in (*second, *first)]


def test_simulated_keys_are_delivered_only_when_asked_for(tmp_path):
    with KeySink(tmp_path / "a.db") as sink, KeySink(tmp_path / "b.db") as peer:
        for one in (sink, peer):
            one.store([pool_key(1, simulated=True)], confirmed=True)
        with ExportStore(sink, TO_BOB, TO_ALICE) as closed:
            assert closed.available_bytes() == 0
            with pytest.raises(NotEnoughKey):
                closed.allocate(1, 8)
        with ExportStore(sink, TO_BOB, TO_ALICE, allow_simulated=True) as opened:
            (key,) = opened.allocate(1, 8)
        with (
            ExportStore(peer, TO_ALICE, TO_BOB) as closed,
            pytest.raises(KeySinkError, match="simulated"),
        ):
            closed.fetch([key.position])


def test_a_block_that_is_not_confirmed_has_to_wait(tmp_path):
    with KeySink(tmp_path / "a.db") as sink, KeySink(tmp_path / "b.db") as peer:
        sink.store([pool_key(1)], confirmed=True)
        peer.store([pool_key(1)], confirmed=False)
        with (
            ExportStore(sink, TO_BOB, TO_ALICE) as one,
            ExportStore(peer, TO_ALICE, TO_BOB) as other,
        ):
            (key,) = one.allocate(1, 8)
            with pytest.raises(NotEnoughKey, match="waits"):
                other.fetch([key.position])
            peer.confirm("run", 1)
            assert other.fetch([key.position])[0].bits == key.bits


def test_many_threads_share_the_commits(ends, monkeypatch):
    alice, bob = ends
    keys = alice.allocate(400, 16)
    got, refused = [], []

    def work(part):
        for key in part:
            try:
                got.extend(bob.fetch([key.position]))
            except UnknownKey as error:
                refused.append(error)

    # Every key is asked for by two threads: one of them gets it.
    parts = [keys[k::8] for k in range(8)] * 2
    threads = [threading.Thread(target=work, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(refused) == 400
    assert bytes_of(got) == bytes_of(keys)


def test_a_commit_that_fails_gives_nobody_a_key(ends, sinks):
    alice, bob = ends
    keys = alice.allocate(3, 32)
    db = sinks[1].db
    real, fail = db.transaction, []

    def broken():
        return _Failing(real()) if fail and not db._db.in_transaction else real()

    db.transaction = broken
    fail.append(1)
    with pytest.raises(KeySinkError, match="power"):
        bob.fetch([keys[0].position])
    fail.clear()
    assert bob.fetch([keys[0].position])[0].bits == keys[0].bits


class _Failing:
    """A transaction whose commit fails."""

    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        return self.inner.__enter__()

    def __exit__(self, *_):
        error = KeySinkError("the power failed")
        self.inner.__exit__(type(error), error, None)
        raise error


def test_keys_are_not_shown_or_copied(ends):
    (key,) = ends[0].allocate(1, 32)
    for text in (repr(key), str(key), f"{key}"):
        assert key.bits.hex() not in text
        assert repr(key.bits) not in text
    for action in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(KeySinkError, match="not copied"):
            action(key)
