"""No pad bit serves two messages, whatever the order of events."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.key_sink import PAD_PURPOSE, KeySink
from protocols.key_sink.align import align
from scqc.core.errors import KeySinkError
from scqc.core.records import KeyBlock

TO_BOB = "alice-to-bob"
events = st.lists(
    st.one_of(
        st.tuples(st.just("fill"), st.sampled_from(["both", "alice", "bob"])),
        st.tuples(st.just("spend"), st.integers(1, 90)),
        st.tuples(st.just("follow"), st.integers(0, 20)),
        st.tuples(st.just("align"), st.just(0)),
        st.tuples(st.just("reopen"), st.sampled_from([0, 1])),
        st.tuples(
            st.just("forge"),
            st.tuples(st.integers(0, 2), st.integers(-1, 66), st.integers(-1, 66)),
        ),
    ),
    min_size=4,
    max_size=16,
)


class World:
    """Two sinks, all pads Alice ever spent, and who used which bit for what."""

    def __init__(self, folder):
        self.paths = [folder / "alice.db", folder / "bob.db"]
        self.sinks = [KeySink(path) for path in self.paths]
        self.blocks, self.messages, self.used = 0, [], [{}, {}]

    def close(self):
        for sink in self.sinks:
            sink.close()

    def note(self, end, ranges, purpose):
        for name, start, count in ranges:
            for bit in range(start, start + count):
                assert (name, bit) not in self.used[end], "released twice at one end"
                self.used[end][name, bit] = purpose
                other = self.used[1 - end].get((name, bit), purpose)
                assert other == purpose, "one bit for two messages"

    def fill(self, where):
        bits = np.random.default_rng(self.blocks).bytes(8)
        tags = {"run_uuid": "run", "block": str(self.blocks)}
        key = KeyBlock(f"run/{self.blocks}", bits, 64, 0.0, False, tags)
        self.blocks += 1
        for sink, name in zip(self.sinks, ("alice", "bob"), strict=True):
            if where in ("both", name):
                sink.put(key, PAD_PURPOSE, TO_BOB)

    def spend(self, n_bits):
        pad = self.sinks[0].spend(PAD_PURPOSE, TO_BOB, n_bits)
        self.note(0, pad.ranges, len(self.messages))
        self.messages.append(pad)

    def follow(self, number):
        """Also late, out of order, and for the second time."""
        if self.messages:
            number %= len(self.messages)
            pad = self.messages[number]
            mine = self.sinks[1].follow(PAD_PURPOSE, TO_BOB, pad.ranges)
            self.note(1, mine.ranges, number)
            np.testing.assert_array_equal(mine.bits, pad.bits)

    def forge(self, what):
        """Somebody names bits that Alice did not spend for this."""
        block, start, count = what
        name = f"run/{block % max(1, self.blocks)}"
        mine = self.sinks[1].follow(PAD_PURPOSE, TO_BOB, [(name, start, count)])
        for bit in range(start, start + count):
            assert (name, bit) not in self.used[1]
            self.used[1][name, bit] = self.used[0].get((name, bit), "forged")
        assert mine.bits.size == count

    def align(self, _):
        align(*self.sinks)
        levels = [s.available_bits(PAD_PURPOSE, TO_BOB) for s in self.sinks]
        assert levels[0] == levels[1]

    def reopen(self, end):
        self.sinks[end].close()
        self.sinks[end] = KeySink(self.paths[end], create=False)


@settings(max_examples=150, deadline=None)
@given(events)
def test_every_bit_serves_one_message(sequence):
    forged = False
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        try:
            world.fill("both")
            for what, detail in sequence:
                # After a forgery the bits differ in purpose until aligned: the
                # exchange it came from aborts, and every start aligns.
                if forged and what == "spend":
                    world.align(0)
                    forged = False
                try:
                    getattr(world, what)(detail)
                except KeySinkError:
                    continue
                forged = forged or what == "forge"
        finally:
            world.close()
