"""Two sinks over crashes, lost messages, restored backups and greetings.

Whatever the order of events: no bit of a pool in step serves two purposes, no byte of
exported key goes out twice at one end or differs between the two, nothing that both
ends hold is lost in a greeting, and after it both agree, or both refuse.
"""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.key_sink import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
    KeySink,
    State,
    entries,
    provision,
    resync,
    storing,
)
from protocols.key_sink.export import ExportStore
from protocols.key_sink.resync import Resync
from scqc.core.errors import KeySinkError
from scqc.core.rng import SystemEntropy
from tests.sink_kit import TO_ALICE, TO_BOB, pool_key

IN_STEP = [(AUTHENTICATION_PURPOSE, TO_BOB), (AUTHENTICATION_PURPOSE, TO_ALICE),
           (PAD_PURPOSE, TO_BOB)]  # fmt: skip
ends = st.sampled_from([0, 1])
events = st.lists(
    st.one_of(
        st.tuples(st.just("distil"), st.integers(0, 5)),
        st.tuples(st.just("spend"), st.integers(1, 90)),
        st.tuples(st.just("follow"), st.integers(0, 9)),
        st.tuples(st.just("allocate"), ends),
        st.tuples(st.just("fetch"), ends),
        st.tuples(st.just("crash"), ends),
        st.tuples(st.just("backup"), ends),
        st.tuples(st.just("restore"), ends),
        st.tuples(st.just("connect"), st.integers(0, 8)),
        st.tuples(st.just("connect"), st.just(9)),
    ),
    min_size=4,
    max_size=18,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two sinks with a common start key."""
    folder = tmp_path_factory.mktemp("template")
    with KeySink(folder / "0.db") as alice, KeySink(folder / "1.db") as bob:
        provision([alice, bob], 8192, SystemEntropy(), pad_bits=64)
    return folder


class World:
    """Two ends, what they used which bit for, and who may act."""

    def __init__(self, template, folder):
        self.paths = [folder / "0.db", folder / "1.db"]
        for path in self.paths:
            shutil.copy(template / path.name, path)
            path.chmod(0o600)
        self.sinks, self.stores = [None, None], [None, None]
        self.used, self.out = [{}, {}], [{}, {}]
        self.messages, self.keys = [], [[], []]
        self.blocks, self.steps, self.faulted, self.connected = 0, 0, False, False
        #: Per end: the backup, and how often the other end has settled with it.
        self.backups, self.met, self.unheard = [None, None], [0, 0], 0
        for end in (0, 1):
            self.open(end)

    def open(self, end):
        sink = KeySink(self.paths[end], create=False)
        sink.db.execute("PRAGMA synchronous=OFF")
        ways = (TO_BOB, TO_ALICE) if end == 0 else (TO_ALICE, TO_BOB)
        self.sinks[end], self.stores[end] = sink, ExportStore(sink, *ways)

    def close(self):
        for sink in self.sinks:
            sink.close()

    # Both ends work, each step a transaction that a crash may come after.

    def distil(self, last):
        if not self.connected:
            return
        number, alice, bob = self.blocks, *self.sinks
        self.blocks += 1
        pools = [
            pool_key(number, AUTHENTICATION_PURPOSE, TO_BOB, 64),
            pool_key(number, PAD_PURPOSE, TO_BOB, 96),
            pool_key(number, KEY_PURPOSE, TO_BOB, 128),
            pool_key(number, KEY_PURPOSE, TO_ALICE, 128),
        ]
        steps = (
            lambda: bob.claim("run", number),
            lambda: alice.claim("run", number),
            lambda: bob.store(pools, confirmed=False),
            lambda: alice.store(pools, confirmed=True),
            lambda: bob.confirm("run", number),
        )
        for step in steps[: last if last < 5 else None]:
            step()
        self.connected = last == 5

    def note(self, end, ranges, purpose):
        for name, start, count in ranges:
            for bit in range(start, start + count):
                assert (name, bit) not in self.used[end], "released twice at one end"
                self.used[end][name, bit] = purpose
                assert self.used[1 - end].get((name, bit), purpose) == purpose

    def spend(self, n_bits):
        if self.connected:
            pad = self.sinks[0].spend(PAD_PURPOSE, TO_BOB, n_bits)
            self.note(0, pad.ranges, f"message {len(self.messages)}")
            self.messages.append(pad)
            self.unheard += 1

    def follow(self, number):
        """Also late, out of order, and for the second time."""
        if self.connected and self.messages:
            number = max(0, len(self.messages) - 1 - number)
            pad = self.messages[number]
            mine = self.sinks[1].follow(PAD_PURPOSE, TO_BOB, pad.ranges)
            self.note(1, mine.ranges, f"message {number}")
            np.testing.assert_array_equal(mine.bits, pad.bits)
            if number == len(self.messages) - 1:
                self.unheard = 0

    def give_out(self, end, key):
        place = key.position
        for at, byte in enumerate(key.bits, place.first_byte):
            assert (place.block_tag, at) not in self.out[end], "given out twice"
            self.out[end][place.block_tag, at] = byte
            assert self.out[1 - end].get((place.block_tag, at), byte) == byte

    def allocate(self, end):
        for key in self.stores[end].allocate(1, 4):
            self.give_out(end, key)
            self.keys[end].append(key)

    def fetch(self, end):
        if self.keys[1 - end]:
            wanted = self.keys[1 - end].pop(0).position
            (got,) = self.stores[end].fetch([wanted])
            self.give_out(end, got)

    # What goes wrong.

    def crash(self, end):
        self.sinks[end].close()
        self.open(end)
        self.connected = False

    def backup(self, end):
        self.sinks[end].db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        kept = self.paths[end].with_suffix(".old")
        shutil.copy(self.paths[end], kept)
        self.backups[end] = (kept, self.met[end], len(self.out[end]))

    def restore(self, end):
        """Put an old copy in place: since then both have met again, or all is heard."""
        if self.backups[end] is None:
            return
        kept, met, given = self.backups[end]
        # Before the two meet again only the marks tell: nothing unheard then, and
        # no exported key, which the other end does not follow.
        if met == self.met[end] and (self.unheard or given != len(self.out[end])):
            return
        self.sinks[end].close()
        for path in self.paths[end].parent.glob(f"{self.paths[end].name}*"):
            path.unlink()
        shutil.copy(kept, self.paths[end])
        self.paths[end].chmod(0o600)
        self.open(end)
        self.connected = False
        if met < self.met[end]:
            # It must show at the next greeting; until then nobody asks it for key.
            self.faulted = True

    def connect(self, last):
        """Greet; the line may break after any step."""
        self.connected = False
        talk = [Resync(self.sinks[0], TO_BOB), Resync(self.sinks[1], TO_ALICE)]
        mine = [end.describe() for end in talk]
        theirs = mine[::-1]
        if last == 0:
            return
        before = [self.held(end) for end in (0, 1)]
        try:
            self.greet(talk, theirs, last)
        except KeySinkError as error:
            if not (self.faulted or "needs 128" in str(error)):
                raise AssertionError("a fault without a cause") from error
            return
        # One of the two notices, perhaps not the first.
        assert not self.faulted or last < 3, "an old copy went unnoticed"
        if last < 9:
            return
        self.connected, self.unheard = True, 0
        for purpose, direction in IN_STEP:
            levels = [s.available_bits(purpose, direction) for s in self.sinks]
            assert levels[0] == levels[1]
        for end, sink in enumerate(self.sinks):
            assert sink.verified_blocks() == []
            self.check_nothing_lost(end, before)

    def greet(self, talk, theirs, last):
        keys = []
        for end in (1, 0)[: max(1, last - 1)]:
            keys.append(talk[end].tag_keys(theirs[end]))
        if last < 3:
            return
        for direction in (TO_BOB, TO_ALICE):
            assert keys[0][direction].pad == keys[1][direction].pad
        asked = [e.questions(t) for e, t in zip(talk, theirs, strict=True)]
        for end in (0, 1)[: max(0, last - 3)]:
            talk[end].settle(theirs[end])
            self.met[1 - end] += 1
        for end in (0, 1)[: max(0, last - 5)]:
            told = talk[1 - end].answer(asked[end])
            if last - 5 > end or last == 9:
                talk[end].resolve(told)
                talk[1 - end].promise()

    def held(self, end):
        left = entries.unspent(self.sinks[end].db)
        return {e.identifier: e for e in left}

    def check_nothing_lost(self, end, before):
        """What both held is held, but for the tags and what either had spent."""
        after = {e.identifier: e for e in self.sinks[end].list()}
        for name, entry in before[end].items():
            other = before[1 - end].get(name)
            if other is None or entry.purpose in ("hash", "key-name"):
                continue
            used = entry.used_bits
            if entry.purpose != KEY_PURPOSE:
                used = max(used, other.used_bits)
            tag = 128 if entry.purpose == AUTHENTICATION_PURPOSE else 0
            assert after[name].used_bits <= min(used + tag, entry.n_bits)
            assert after[name].state >= State.AVAILABLE


@settings(max_examples=60, deadline=None)
@given(sequence=events)
def test_no_bit_serves_twice_and_nothing_common_is_lost(template, sequence):
    with tempfile.TemporaryDirectory() as folder:
        world = World(template, Path(folder))
        try:
            world.connect(9)
            world.distil(5)
            for what, detail in sequence:
                if world.faulted and what != "connect":
                    continue
                try:
                    getattr(world, what)(detail)
                except KeySinkError:
                    continue
            world.connect(9)
        finally:
            world.close()


def run(template, folder, sequence):
    world = World(template, Path(folder))
    try:
        world.connect(9)
        world.distil(5)
        for what, detail in sequence:
            getattr(world, what)(detail)
    finally:
        world.close()


def forget(*_):
    """Stand in for a step that is left out."""


BROKEN = {
    "the marks are not made equal": (
        (Resync, "_burn_upto"),
        [("spend", 10), ("connect", 9)],
    ),
    "epochs are not compared": (
        (resync, "check_epochs"),
        [("backup", 0), ("connect", 9), ("restore", 0), ("connect", 9)],
    ),
    "the peer's epoch is not noted": (
        (resync, "_seen"),
        [("backup", 0), ("connect", 9), ("restore", 0), ("connect", 9)],
    ),
    "what waits is not confirmed": (
        (storing, "make_available"),
        [("distil", 4), ("connect", 9)],
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_property_notices_what_is_broken(template, tmp_path, monkeypatch, what):
    (place, name), sequence = BROKEN[what]
    (tmp_path / "sound").mkdir()
    run(template, tmp_path / "sound", [e for e in sequence if e[0] != "restore"])
    replacement = (lambda _: (0, b"")) if name == "_seen" else forget
    monkeypatch.setattr(place, name, replacement)
    with pytest.raises((AssertionError, KeySinkError)):
        run(template, tmp_path, sequence)
