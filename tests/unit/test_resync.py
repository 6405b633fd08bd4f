"""Two sinks meet: epochs, marks, and blocks that only one of them has."""

import shutil

import msgspec
import pytest

from protocols.key_sink import (
    AUTHENTICATION_PURPOSE,
    PAD_PURPOSE,
    KeySink,
    State,
    provision,
    resync,
)
from protocols.key_sink.check import burn_everything
from protocols.key_sink.marks import Fate, SinkState
from protocols.key_sink.resync import MAX_JUMP_BITS, Resync, last_epoch
from protocols.key_sink.schedule import (
    BLOCK_PAD_BITS,
    GREETING_RESERVE_BITS,
    SinkLevel,
    plan_block,
)
from protocols.key_sink.start_key import decode, draw_start_key, encode, load
from scqc.core.errors import KeySinkError, PeerError
from scqc.core.rng import ReplayEntropy, SystemEntropy
from tests.sink_kit import TO_ALICE, TO_BOB, pool_key


@pytest.fixture
def sinks(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 16_384, SystemEntropy())
        yield alice, bob


def meet(alice, bob):
    """A whole greeting with its second round, as two programs do it."""
    ends = Resync(alice, TO_BOB), Resync(bob, TO_ALICE)
    states = [end.describe() for end in ends]
    keys = [e.tag_keys(t) for e, t in zip(ends, reversed(states), strict=True)]
    for direction in (TO_BOB, TO_ALICE):
        assert keys[0][direction].pad == keys[1][direction].pad
        assert keys[0][direction].hash_key == keys[1][direction].hash_key
    asked = [e.questions(t) for e, t in zip(ends, reversed(states), strict=True)]
    for end, theirs in zip(ends, reversed(states), strict=True):
        end.settle(theirs)
    told = [e.answer(q) for e, q in zip(ends, reversed(asked), strict=True)]
    burnt = [e.resolve(t) for e, t in zip(ends, reversed(told), strict=True)]
    for end in ends:
        end.promise()
    return burnt


def left(sink, purpose=AUTHENTICATION_PURPOSE, direction=TO_BOB):
    return sink.available_bits(purpose, direction)


def state_of(sink, number):
    return [e.state for e in sink.list() if (e.run_uuid, e.block) == ("run", number)]


def copied(sink, to):
    sink.db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(sink.path, to)
    to.chmod(0o600)
    return to


def test_a_greeting_costs_one_tag_per_direction(sinks):
    for number in range(1, 4):
        assert meet(*sinks) == [0, 0]
        for direction in (TO_BOB, TO_ALICE):
            for sink in sinks:
                bits = left(sink, direction=direction)
                assert bits == 16_384 - 128 * number


def test_what_nobody_heard_is_said_again_in_the_same_epoch(sinks):
    alice, bob = sinks
    end, other = Resync(alice, TO_BOB), Resync(bob, TO_ALICE)
    unheard = end.describe()
    # What was spent in between by another program of this end is told, too.
    alice.store([pool_key(1)], confirmed=False)
    mine, theirs = end.describe(), other.describe()
    assert mine != unheard
    assert last_epoch(alice) == 1
    pads = [e.tag_keys(t) for e, t in ((end, theirs), (other, mine))]
    assert pads[0][TO_BOB].pad == pads[1][TO_BOB].pad
    other.settle(mine)
    end.settle(theirs)
    # The next greeting is another one.
    meet(alice, bob)
    assert last_epoch(alice) == last_epoch(bob) == 2


def test_tags_are_drawn_beyond_both_marks(sinks):
    alice, bob = sinks
    alice.spend(AUTHENTICATION_PURPOSE, TO_BOB, 200)
    bob.spend(AUTHENTICATION_PURPOSE, TO_BOB, 1000)
    bob.spend(AUTHENTICATION_PURPOSE, TO_ALICE, 7)
    meet(alice, bob)
    assert left(alice) == left(bob) == 16_384 - 1128
    assert left(alice, direction=TO_ALICE) == left(bob, direction=TO_ALICE)


def test_a_tag_may_lie_in_two_blocks(sinks):
    for sink in sinks:
        sink.spend(AUTHENTICATION_PURPOSE, TO_BOB, 16_384 - 100)
        sink.store([pool_key(1, AUTHENTICATION_PURPOSE)], confirmed=True)
    meet(*sinks)
    assert left(sinks[0]) == left(sinks[1]) == 1024 - 28


def test_a_peer_far_ahead_is_a_fault_and_burns_nothing(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 1 << 17, SystemEntropy())
        alice.spend(AUTHENTICATION_PURPOSE, TO_BOB, MAX_JUMP_BITS + 1)
        end, other = Resync(alice, TO_BOB), Resync(bob, TO_ALICE)
        mine, theirs = end.describe(), other.describe()
        with pytest.raises(KeySinkError, match="ahead, at most"):
            other.tag_keys(mine)
        assert left(bob) == 1 << 17
        end.tag_keys(theirs)


def test_a_sink_that_cannot_pay_says_what_to_do(sinks):
    sinks[0].spend(AUTHENTICATION_PURPOSE, TO_BOB, 16_384 - 127)
    end, other = Resync(sinks[0], TO_BOB), Resync(sinks[1], TO_ALICE)
    states = end.describe(), other.describe()
    with pytest.raises(KeySinkError, match=r"127 bits.*needs 128.*keys load"):
        end.tag_keys(states[1])
    with pytest.raises(KeySinkError, match="127 bits"):
        other.tag_keys(states[0])


def test_verified_blocks_are_confirmed_if_the_peer_has_them(sinks):
    alice, bob = sinks
    for number, states in enumerate(((False, False), (True, False), (False, True))):
        for sink, confirmed in zip(sinks, states, strict=True):
            sink.store([pool_key(number)], confirmed=confirmed)
    meet(alice, bob)
    for sink in sinks:
        assert sink.verified_blocks() == []
        assert sink.available_bits() == 3 * 1024


def test_the_last_block_that_is_begun_can_still_be_confirmed(tmp_path):
    """Its tags are paid, its last word is lost: a greeting brings key, and new pad."""
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        least = BLOCK_PAD_BITS + GREETING_RESERVE_BITS
        provision([alice, bob], least, SystemEntropy())
        plan_block(SinkLevel(0, least, 0), 0, 1, owed_bits=GREETING_RESERVE_BITS)
        for direction in (TO_BOB, TO_ALICE):
            spent = bob.spend(AUTHENTICATION_PURPOSE, direction, BLOCK_PAD_BITS)
            alice.follow(AUTHENTICATION_PURPOSE, direction, spent.ranges)
        fresh = [pool_key(1, AUTHENTICATION_PURPOSE, d) for d in (TO_BOB, TO_ALICE)]
        bob.store(fresh, confirmed=False)
        alice.store(fresh, confirmed=True)
        # Three of them are cut short, at one end only.
        for _ in range(3):
            bob.spend(AUTHENTICATION_PURPOSE, TO_BOB, 128)
            bob.spend(AUTHENTICATION_PURPOSE, TO_ALICE, 128)
        meet(alice, bob)
        assert state_of(bob, 1) == [State.AVAILABLE] * 2


def test_what_only_one_end_has_is_given_up_for_ever(sinks):
    alice, bob = sinks
    alice.store([pool_key(1), pool_key(1, PAD_PURPOSE)], confirmed=False)
    bob.store([pool_key(2, "key", TO_ALICE)], confirmed=True)
    bob.store([pool_key(3, "key", TO_BOB)], confirmed=True)
    assert meet(alice, bob) == [2048, 2048]
    for sink, number in ((alice, 2), (bob, 1)):
        # The answer stays true: the end that said no cannot change its mind.
        with pytest.raises(KeySinkError, match="given up"):
            sink.store([pool_key(number)], confirmed=False)
    assert alice.available_bits() == bob.available_bits() == 0
    assert meet(alice, bob) == [0, 0]


def test_key_that_our_applications_have_not_fetched_is_kept(sinks):
    """The peer allocated and gave out all of it: erased there, wanted here."""
    alice, bob = sinks
    for sink, confirmed in ((alice, True), (bob, False)):
        pools = [pool_key(1, "key", d) for d in (TO_BOB, TO_ALICE)]
        sink.store(pools, confirmed=confirmed)
    alice.lease("key", TO_BOB, 1024)
    assert state_of(alice, 1) == [State.ERASED, State.AVAILABLE]
    meet(alice, bob)
    assert bob.available_bits("key", TO_BOB) == 1024
    # The other way round: what the receiver burnt, nobody can fetch.
    alice.burn(pool_key(1, "key", TO_ALICE).key.identifier)
    assert meet(alice, bob) == [0, 1024]
    assert bob.available_bits("key", TO_BOB) == 1024


def test_pads_that_the_peer_used_up_are_burnt(sinks):
    alice, bob = sinks
    for sink in sinks:
        sink.store([pool_key(1, PAD_PURPOSE)], confirmed=True)
    alice.spend(PAD_PURPOSE, TO_BOB, 1024)
    assert meet(alice, bob) == [0, 1024]


def test_another_block_of_the_same_name_is_a_fault(sinks):
    sinks[0].store([pool_key(1, n_bits=800)], confirmed=True)
    sinks[1].store([pool_key(1, n_bits=808)], confirmed=True)
    with pytest.raises(KeySinkError, match="at the peer"):
        meet(*sinks)


# Old copies and clones ---------------------------------------------------------------


def test_a_restored_backup_is_a_fault_at_both_ends(sinks, tmp_path):
    alice, bob = sinks
    meet(alice, bob)
    old = copied(alice, tmp_path / "old.db")
    meet(alice, bob)
    with KeySink(old) as restored:
        ends = Resync(restored, TO_BOB), Resync(bob, TO_ALICE)
        states = [end.describe() for end in ends]
        for end, theirs in zip(ends, reversed(states), strict=True):
            before = [(e.used_bits, e.state) for s in (restored, bob) for e in s.list()]
            for step in (end.tag_keys, end.settle):
                with pytest.raises(KeySinkError, match=r"old copy or a clone.*burn"):
                    step(theirs)
            after = [(e.used_bits, e.state) for s in (restored, bob) for e in s.list()]
            assert before == after


@pytest.mark.parametrize("attempts", [0, 1, 5])
def test_a_clone_is_a_fault_whoever_comes_first(sinks, tmp_path, attempts):
    """However often the other tried to connect meanwhile."""
    alice, bob = sinks
    meet(alice, bob)
    with KeySink(copied(alice, tmp_path / "clone.db")) as clone:
        meet(clone, bob)
        for _ in range(attempts):
            Resync(alice, TO_BOB).describe()
        with pytest.raises(KeySinkError, match="old copy or a clone"):
            meet(alice, bob)
        end, other = Resync(bob, TO_ALICE), Resync(alice, TO_BOB)
        other.describe()
        theirs = end.describe()
        # Bob has seen less than he is told; the clone's original notices.
        with pytest.raises(KeySinkError, match="old copy or a clone"):
            other.tag_keys(theirs)


def test_after_a_fault_a_new_start_key_is_a_new_beginning(sinks, tmp_path):
    alice, bob = sinks
    meet(alice, bob)
    old = copied(alice, tmp_path / "old.db")
    meet(alice, bob)
    key = decode(encode(draw_start_key(SystemEntropy(), 1024, "second")))
    with KeySink(old) as restored:
        with pytest.raises(KeySinkError):
            meet(restored, bob)
        for sink in (restored, bob):
            burn_everything(sink)
            load(sink, key)
        assert meet(restored, bob) == [0, 0]
        assert left(restored) == left(bob) == 1024 - 128


def test_an_epoch_is_seen_only_when_it_is_settled(sinks):
    alice, bob = sinks
    for _ in range(3):
        Resync(alice, TO_BOB).describe()
    meet(alice, bob)
    for sink, epoch in ((alice, 4), (bob, 1)):
        told = msgspec.msgpack.decode(Resync(sink, "x").describe(), type=SinkState)
        assert told.epoch == epoch + 1
        assert told.seen_epoch == 5 - epoch


# What the peer may say ---------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [b"", b"\x00", b"\xc1" * 9, b"\x91" * 5000, b"\xdd\xff\xff\xff\xff",
     msgspec.msgpack.encode([1, b"x" * 17, 0, b"", []]),
     msgspec.msgpack.encode([-1, b"", 0, b"", []]),
     msgspec.msgpack.encode([1, b"", 0, b"", [["n", "r", 0, "p", "d", 8, 0, 9]]]),
     msgspec.msgpack.encode([1, b"", 0, b"", [["n" * 201, "r", 0, "p", "", 8, 0, 1]]])],
)  # fmt: skip
def test_nonsense_is_refused(sinks, said):
    end = Resync(sinks[0], TO_BOB)
    end.describe()
    with pytest.raises(PeerError, match="does not parse"):
        end.tag_keys(said)
    with pytest.raises(PeerError, match="does not parse"):
        end.settle(said)
    assert left(sinks[0]) == 16_384
    end.settle(Resync(sinks[1], TO_ALICE).describe())
    if said != msgspec.msgpack.encode([]):
        with pytest.raises(PeerError, match="does not parse"):
            end.answer(said + b"\x01")
        with pytest.raises(PeerError, match="does not parse"):
            end.resolve(said + b"\x01")


def test_answers_about_other_blocks_change_nothing(sinks):
    alice, bob = sinks
    for sink in sinks:
        sink.store([pool_key(1)], confirmed=True)
    end = Resync(alice, TO_BOB)
    end.describe()
    end.settle(Resync(bob, TO_ALICE).describe())
    names = [e.identifier for e in alice.list()]
    lies = msgspec.msgpack.encode([Fate(name, "unknown") for name in [*names, "x"]])
    assert end.resolve(lies) == 0
    assert alice.available_bits() == 1024


def test_more_key_than_can_be_told_of_costs_nothing(sinks, monkeypatch):
    """Key that nobody fetches may pile up; pools in step come first."""
    for number in range(8):
        for sink in sinks:
            pools = [pool_key(number), pool_key(number, PAD_PURPOSE)]
            sink.store(pools, confirmed=sink is sinks[0])
    monkeypatch.setattr(resync, "MAX_BLOCKS", 19)
    assert meet(*sinks) == [0, 0]
    assert sinks[0].available_bits() == 8 * 1024
    # What the other end did not list is asked for, and settled the next time.
    assert meet(*sinks) == [0, 0]
    # Of a pool in step the oldest are told of, where it is spent: the rest waits.
    monkeypatch.setattr(resync, "MAX_BLOCKS", 16)
    sinks[0].spend(PAD_PURPOSE, TO_BOB, 100)
    assert meet(*sinks) == [0, 0]
    left = [sink.available_bits(PAD_PURPOSE, TO_BOB) for sink in sinks]
    assert left == [8 * 1024 - 100] * 2
    ranges = sinks[0].spend(PAD_PURPOSE, TO_BOB, 2000).ranges
    assert sinks[1].follow(PAD_PURPOSE, TO_BOB, ranges).bits.size == 2000


def test_steps_out_of_order_are_refused(sinks):
    end = Resync(sinks[0], TO_BOB)
    theirs = Resync(sinks[1], TO_ALICE).describe()
    for step in (end.tag_keys, end.settle, end.questions):
        with pytest.raises(KeySinkError, match="begins with"):
            step(theirs)
    with pytest.raises(KeySinkError, match="not settled"):
        Resync(sinks[0], TO_BOB).resolve(b"\x90")


def test_a_simulated_start_key_pays_only_when_asked_for(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 1024, ReplayEntropy(1, "start"))
        with pytest.raises(KeySinkError):
            meet(alice, bob)
        end = Resync(alice, TO_BOB, allow_simulated=True)
        end.describe()
        assert end.tag_keys(Resync(bob, TO_ALICE).describe()).keys() == {
            TO_BOB,
            TO_ALICE,
        }
