"""The pool of message pads: spending, following, recovering, planning."""

import math
import sqlite3

import numpy as np
import pytest
from msgspec.structs import replace

from protocols.key_sink import PAD_PURPOSE, KeySink, provision
from protocols.key_sink.align import align
from protocols.key_sink.pads import MessagePads
from protocols.key_sink.resync import MAX_JUMP_BITS
from protocols.key_sink.schedule import SinkLevel, blocks_to_depletion, plan_block
from protocols.messages.photon import PadRange
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock
from scqc.core.rng import SystemEntropy
from scqc.runs.parties.tag_pads import follow_pads, spend_pads

TO_BOB = "alice-to-bob"
WAYS = (TO_BOB, "bob-to-alice")


def pad_block(number, n_bits=1000, simulated=False):
    bits = np.random.default_rng(number).integers(0, 2, n_bits, dtype=np.uint8)
    return KeyBlock(
        identifier=f"run/{number}",
        bits=np.packbits(bits).tobytes(),
        n_bits=n_bits,
        epsilon=1e-10,
        simulated=simulated,
        provenance={"run_uuid": "run", "block": str(number)},
    )


def store(number, *sinks, **kind):
    for sink in sinks:
        sink.put(pad_block(number, **kind), PAD_PURPOSE, TO_BOB)


@pytest.fixture
def ends(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        for number in range(3):
            store(number, alice, bob)
        yield alice, bob


def left(sink):
    return sink.available_bits(PAD_PURPOSE, TO_BOB)


def test_both_ends_get_the_same_bits_across_blocks(ends):
    alice, bob = map(MessagePads, ends)
    whole = np.concatenate(
        [np.unpackbits(np.frombuffer(pad_block(k).bits, "u1")) for k in range(3)]
    )
    at = 0
    for size in (1, 999, 1500, 500):
        spent = alice.spend(size)
        followed = bob.follow(spent.ranges)
        np.testing.assert_array_equal(spent.bits, whole[at : at + size])
        np.testing.assert_array_equal(followed.bits, spent.bits)
        assert followed.ranges == spent.ranges
        # The message is as secret as every block its pad came from.
        assert spent.epsilon == followed.epsilon == 1e-10 * len(spent.ranges)
        at += size
    assert left(ends[0]) == left(ends[1]) == 0
    with pytest.raises(KeySinkError, match="0 available"):
        alice.spend(1)


def test_a_pad_that_cannot_be_paid_costs_nothing(ends):
    for n_bits in (0, 3001, -5):
        with pytest.raises(KeySinkError):
            MessagePads(ends[0]).spend(n_bits)
    assert left(ends[0]) == 3000


def test_pads_are_not_printed(ends):
    pad = MessagePads(ends[0]).spend(64)
    assert "array" not in repr(pad)
    assert "array" not in repr(ends[1].spend(PAD_PURPOSE, TO_BOB, 64))


def test_what_the_peer_skipped_is_burnt(ends):
    alice, bob = ends
    MessagePads(alice).spend(1200)  # lost in a crash: Bob never hears of it
    pad = MessagePads(alice).spend(300)
    assert pad.ranges == [PadRange("run/1", 200, 300)]
    followed = MessagePads(bob).follow(pad.ranges)
    np.testing.assert_array_equal(followed.bits, pad.bits)
    assert left(alice) == left(bob) == 1500
    # The skipped bits are gone at Bob's end too, by either way.
    with pytest.raises(KeySinkError, match="spent"):
        MessagePads(bob).follow([PadRange("run/0", 0, 100)])
    assert bob.spend(PAD_PURPOSE, TO_BOB, 1).ranges == [("run/1", 500, 1)]


@pytest.mark.parametrize(
    ("ranges", "why"),
    [
        ([], "no pad named"),
        ([("other", 0, 8)], "unknown"),
        ([("run/0", 99, 8)], "spent up to 100"),
        ([("run/0", 0, 8)], "spent up to 100"),
        ([("run/0", -1, 8)], "spent up to 100"),
        ([("run/0", 100, 0)], "it has 1000"),
        ([("run/0", 100, -8)], "it has 1000"),
        ([("run/0", 100, 901)], "it has 1000"),
        ([("run/1", 0, 1 << 40)], "it has 1000"),
        ([("run/1", 1 << 40, 1)], "it has 1000"),
        ([("run/1", 0, 8), ("run/0", 100, 8)], "out of order"),
        ([("run/1", 0, 8), ("run/1", 0, 8)], "spent up to 8"),
        ([("run/1", 0, 8), ("run/1", 7, 8)], "spent up to 8"),
        ([("run/1", 16, 8), ("run/1", 0, 8)], "spent up to 24"),
        ([("run/0", 100, 8), ("other", 0, 8)], "unknown"),
        ([("run/9/authentication", 0, 8)], "unknown"),
    ],
)
def test_a_peer_cannot_name_other_bits(ends, ranges, why):
    _, bob = ends
    bob.put(pad_block(9), "authentication", TO_BOB)
    bob.follow(PAD_PURPOSE, TO_BOB, [("run/0", 0, 100)])
    with pytest.raises(KeySinkError, match=why):
        MessagePads(bob).follow([PadRange(*part) for part in ranges])
    assert left(bob) == 2900


def test_other_pools_and_simulated_keys_are_out_of_reach(tmp_path):
    with KeySink(tmp_path / "s.db") as sink:
        store(1, sink, simulated=True)
        sink.put(pad_block(2), "authentication", TO_BOB)
        sink.put(pad_block(3), PAD_PURPOSE, "bob-to-alice")
        for name in ("run/1", "run/2", "run/3"):
            with pytest.raises(KeySinkError):
                MessagePads(sink).follow([PadRange(name, 0, 8)])
        with pytest.raises(KeySinkError, match="0 available"):
            MessagePads(sink).spend(8)
        assert MessagePads(sink, allow_simulated=True).spend(8).bits.size == 8
        for call in ({"n_bits": 8}, {"identifier": "run/1"}):
            with pytest.raises(KeySinkError):
                sink.take(**call, allow_simulated=True)


# After a crash ---------------------------------------------------------------------


def test_alignment_burns_what_only_one_end_knows(ends):
    alice, bob = ends
    MessagePads(alice).spend(150)  # crash before Bob followed
    store(7, alice)  # crash between the two stores
    store(8, bob)
    bob.put(pad_block(9), "key", "")  # key that nobody shares
    for sink in ends:  # exported key is no common pool: each end takes its own
        sink.put(pad_block(10), "key", "")
    bob.take("run/10", 300, allow_simulated=True)
    align(alice, bob)
    assert left(alice) == left(bob) == 2850
    assert bob.available_bits(simulated=True) == 700
    assert alice.available_bits(simulated=True) == 1000
    align(alice, bob)
    assert left(alice) == left(bob) == 2850
    pad = MessagePads(alice).spend(2850)
    np.testing.assert_array_equal(MessagePads(bob).follow(pad.ranges).bits, pad.bits)


def test_alignment_covers_authentication_and_either_direction(tmp_path):
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 512, SystemEntropy(), pad_bits=256)
        bob.spend("authentication", "bob-to-alice", 128)
        align(alice, bob)
        one = alice.spend("authentication", "bob-to-alice", 128)
        two = bob.spend("authentication", "bob-to-alice", 128)
        assert one.packed == two.packed


def test_burning_is_checked(ends):
    for name, bits in (("run/0", 1001), ("other", 1)):
        with pytest.raises(KeySinkError, match=r"no (key )?block"):
            ends[0].burn_upto(name, bits)
    assert ends[0].burn_upto("run/0", 30) == 30
    assert ends[0].burn_upto("run/0", 20) == 0
    assert ends[0].spend(PAD_PURPOSE, TO_BOB, 1).ranges == [("run/0", 30, 1)]


# Claims and migration -----------------------------------------------------------------


def test_words_of_a_block_are_claimed_once_and_for_ever(tmp_path):
    path = tmp_path / "s.db"
    with KeySink(path) as sink:
        sink.claim("run", 1)
        sink.claim("run", 2)
        sink.claim("other", 1)
        with pytest.raises(KeySinkError, match="distilled before"):
            sink.claim("run", 1)
        for verb in ("UPDATE claims SET block=5", "DELETE FROM claims"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                sink.db._db.execute(verb)
    with KeySink(path) as sink, pytest.raises(KeySinkError, match="distilled before"):
        sink.claim("other", 1)


# Planning ---------------------------------------------------------------------------


def test_a_message_leaves_the_reserve():
    level = SinkLevel(1000, 256, 200)
    assert plan_block(level, 800, 1).kind == "message"
    assert plan_block(level, 800, 1).message_bits == 800
    with pytest.raises(KeySinkError, match="1000 are there and 200 of them"):
        plan_block(level, 801, 1)
    assert plan_block(level, 0, 1).kind == "key"


def test_blocks_for_key_only_fill_the_sink_first():
    level = SinkLevel(1000, 256, 200)
    # 300 bits are missing: three blocks of 100 before the last one carries it.
    assert plan_block(level, 1100, 4, 100).kind == "key"
    with pytest.raises(KeySinkError, match="key only first"):
        plan_block(level, 1100, 3, 100)


@pytest.mark.parametrize("pad", [0, 150, 200, 5000])
def test_a_plan_is_kept_to_the_end(pad):
    """What the first block promises, the last one can do: below the reserve too."""
    reserve, refill, waiting = 1000, 60, 100
    for blocks in range(1, 60):
        level = SinkLevel(pad, 256 * blocks, reserve)
        try:
            plan_block(level, waiting, blocks, refill)
        except KeySinkError:
            assert pad + refill * (blocks - 1) < reserve + waiting
            continue
        for n in range(blocks):
            now = pad + n * refill
            plan = plan_block(SinkLevel(now, 256, reserve), waiting, blocks - n, refill)
            if plan.kind == "message":
                assert now - plan.message_bits >= reserve
                break
        else:
            pytest.fail("never sent")


def test_without_tags_no_block():
    with pytest.raises(KeySinkError, match="127 bits of authentication pad"):
        plan_block(SinkLevel(10**6, 127, 0), 0, 5)


def test_a_block_that_names_far_pads_burns_none(tmp_path):
    """Whoever begins a block has not proven himself: the pool must outlive him."""
    with KeySink(tmp_path / "a.db") as alice, KeySink(tmp_path / "b.db") as bob:
        provision([alice, bob], 1 << 17, SystemEntropy())
        honest = spend_pads(bob, simulated=False)
        there = [alice.available_bits("authentication", way) for way in WAYS]
        for way in WAYS:
            bob.spend("authentication", way, MAX_JUMP_BITS)
        far = spend_pads(bob, simulated=False).ranges
        for named in (
            far,
            replace(honest.ranges, alice_to_bob=far.alice_to_bob),
            replace(honest.ranges, bob_to_alice=far.bob_to_alice),
        ):
            with pytest.raises(KeySinkError, match="bits of pad ahead, at most 32768"):
                follow_pads(alice, named, simulated=False)
        # The direction that was named honestly may have been spent.
        now = [alice.available_bits("authentication", way) for way in WAYS]
        assert sum(there) - sum(now) <= 256 + 128


def test_pad_that_is_owed_pays_for_no_block():
    """Blocks on their way have their tags still to pay for, and so have greetings."""
    assert plan_block(SinkLevel(0, 1024, 0), 0, 5, owed_bits=768).kind == "key"
    with pytest.raises(KeySinkError, match="beside 768 for others and greetings"):
        plan_block(SinkLevel(0, 1023, 0), 0, 5, owed_bits=768)


@pytest.mark.parametrize(
    ("pad", "reserve", "message", "refill"),
    [(1000, 0, 300, 100), (1000, 0, 300, 0), (100, 0, 90, 80), (50, 0, 90, 80),
     (1000, 400, 600, 100), (1000, 2000, 1, 0)],
)  # fmt: skip
def test_the_forecast_is_what_happens(pad, reserve, message, refill):
    expected, level = 0, pad
    while level - message >= reserve:
        level += refill - message
        expected += 1
    forecast = blocks_to_depletion(SinkLevel(pad, 128, reserve), message, refill)
    assert forecast == expected


def test_a_sink_that_gains_never_runs_dry():
    assert math.isinf(blocks_to_depletion(SinkLevel(10, 128, 0), 5, 5))
