"""Counting against a slow, obvious reference, and what it must never do."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsp.time_tags.counting import Counter
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.slots import SYNC_FLAG
from dsp.time_tags.sync import sync_pattern
from scqc.core.errors import SignalError

LAYOUT = SlotLayout(frame_slots=1 << 10)
# A slot of 4000 ps, three knots, slot 0 centred at 10 000 ps.
CLOCK = SlotClock(
    np.array([0.0, 4e5, 8e5]), np.array([-2.5, 97.5, 197.505]), 250e6, 0.0
)
RULES = TagSettings(
    dead_time_s=6e-9, sort_window_s=3e-9, skew_s=(0.0, 1e-10, -2e-10, 5e-11)
)
BITS = np.random.default_rng(5).integers(0, 2, 4000, dtype=np.uint8)


def reference(times, channels, rules, table, n_slots, public_only=False):
    """Count one tag at a time, with Python's own sort and dictionaries."""
    skew = [round(1e12 * s) for s in rules.skew_s]
    tags = [
        (int(t) - skew[c - 1], k, int(c) - 1)
        for k, (t, c) in enumerate(zip(times, channels, strict=True))
    ]
    tags.sort(key=lambda tag: tag[:2])
    seen, last = {}, -(10**30)
    for t, _, detector in tags:
        position = float(CLOCK.at(np.array([t]))[0])
        slot = int(np.floor(position + 0.5))
        if abs(position - slot) <= rules.gate:
            entry = seen.setdefault(slot, {"alive": t - last >= 6000, "hit": set()})
            entry["hit"].add(detector)
        last = t
    found, tally, used = [], np.zeros((4, 2, 2, 4), dtype=int), 0
    for slot in sorted(seen):
        hit = seen[slot]["hit"]
        if not seen[slot]["alive"] or not 0 <= slot < n_slots:
            continue
        bases = {detector // 2 for detector in hit}
        if len(bases) == 2:
            continue
        detector = min(hit)
        if len(hit) == 2:
            detector = 2 * bases.pop() + int(BITS[used])
            used += 1
        code = int(table[slot % table.size])
        if not public_only or code & SYNC_FLAG:
            tally[(code >> 2) & 3, (code >> 1) & 1, code & 1, detector] += 1
        found.append((slot, detector // 2, detector % 2))
    return found, tally


def jumbled(seed, n=400, span=800_000, bunch=30):
    """Tags in bursts, so that slots, gates and dead times collide; slightly late."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, span, bunch)
    times = rng.choice(centre, n) + rng.integers(0, 12_000, n)
    order = np.argsort(times + rng.integers(0, 3000, n), kind="stable")
    return times[order].astype(np.int64), rng.integers(1, 5, n).astype(np.uint8)


def count(times, channels, splits=(), table=None, n_slots=150):
    counter = Counter(CLOCK, LAYOUT, RULES, BITS, table, n_slots)
    parts = [
        counter.feed(t, c)
        for t, c in zip(
            np.split(times, splits), np.split(channels, splits), strict=True
        )
    ]
    parts.append(counter.finish())
    found = [
        row
        for part in parts
        for row in zip(
            part.slots.tolist(), part.bases.tolist(), part.bits.tolist(), strict=True
        )
    ]
    return found, counter.counts


@pytest.mark.parametrize("seed", range(12))
def test_the_pass_is_the_reference(seed):
    times, channels = jumbled(seed, n=60 + 100 * seed)
    table = np.random.default_rng(seed).integers(0, 12, 256, dtype=np.uint8)
    found, counts = count(times, channels, table=table)
    wanted, tally = reference(times, channels, RULES, table, 150)
    assert found == wanted
    np.testing.assert_array_equal(counts.tally, tally)
    assert counts.tags == times.size == counts.phases.sum()
    assert counts.late == sum(
        t < m for t, m in zip(times, np.maximum.accumulate(times), strict=True)
    )


def test_bob_tallies_public_slots_only():
    times, channels = jumbled(3)
    found, counts = count(times, channels)
    wanted, tally = reference(
        times, channels, RULES, sync_pattern(LAYOUT).table(1 << 10), 150, True
    )
    assert found == wanted
    np.testing.assert_array_equal(counts.tally, tally)
    assert 0 < counts.tally.sum() < len(found)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 20),
    splits=st.lists(st.integers(0, 400), max_size=12).map(sorted),
)
def test_blocks_do_not_matter(seed, splits):
    times, channels = jumbled(seed)
    whole, counts = count(times, channels)
    parts, again = count(times, channels, splits)
    assert parts == whole
    np.testing.assert_array_equal(again.tally, counts.tally)
    np.testing.assert_array_equal(again.phases, counts.phases)
    for name in ("tags", "in_gate", "dead", "double", "cross", "outside", "late"):
        assert getattr(again, name) == getattr(counts, name)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 20), order=st.permutations([1, 2, 3, 4]))
def test_inputs_are_only_names(seed, order):
    times, channels = jumbled(seed)
    moved = RULES.model_copy(update={"inputs": tuple(order)})
    counter = Counter(CLOCK, LAYOUT, moved, BITS, n_slots=150)
    named = np.array([0, *order], dtype=np.uint8)[channels]
    slots = [*counter.feed(times, named).slots, *counter.finish().slots]
    assert slots == [row[0] for row in count(times, channels)[0]]


def _at(slot, places, channels):
    times = 10_000 + 4000 * np.asarray(slot) + np.asarray(places)
    return times.astype(np.int64), np.array(channels, dtype=np.uint8)


def test_double_clicks_keep_the_slot_and_cross_clicks_lose_it():
    times, channels = _at(
        [0, 0, 9, 9, 20, 20, 30], [0, 50, 0, 40, 0, 10, 0], [1, 2, 4, 3, 1, 3, 4]
    )
    found, counts = count(times, channels)
    assert [row[0] for row in found] == [0, 9, 30]
    assert [row[1] for row in found] == [0, 1, 1]
    assert [row[2] for row in found] == [int(BITS[0]), int(BITS[1]), 1]
    assert (counts.double, counts.cross) == (2, 1)


def test_any_click_blinds_the_whole_receiver():
    # Slot 0 fires; slot 1 is 4 ns later, inside 6 ns, and restarts the dead time.
    times, channels = _at([0, 1, 2, 4], [0, 0, 0, 0], [1, 3, 4, 2])
    found, counts = count(times, channels)
    assert [row[0] for row in found] == [0, 4]
    assert counts.dead == 2
    # A satellite, out of every gate, does so too.
    times, channels = _at([0, 1, 5], [2000, 0, 0], [1, 2, 2])
    assert [row[0] for row in count(times, channels)[0]] == [5]


def test_dead_time_leaves_no_anticorrelation_between_detectors():
    """Detectors of 20 ns dead time; after counting, the last one tells nothing.

    Adversary: with a software dead time of nothing, the same test must see it.
    """
    rng = np.random.default_rng(8)
    n = 600_000
    times = np.sort(rng.integers(0, n // 2, n)) * 4000 + 10_000
    channels = rng.integers(1, 3, n).astype(np.uint8)
    alive = np.ones(n, dtype=bool)
    free = np.full(3, -(10**9))
    for k, (t, c) in enumerate(zip(times.tolist(), channels.tolist(), strict=True)):
        alive[k] = t >= free[c]
        if alive[k]:
            free[c] = t + 20_000
    clock = SlotClock(np.array([0.0, 4e12]), np.array([-2.5, 1e9 - 2.5]), 250e6, 0.0)

    def correlation(dead_s):
        rules = RULES.model_copy(
            update={"dead_time_s": dead_s, "skew_s": (0.0, 0.0, 0.0, 0.0)}
        )
        bits = rng.integers(0, 2, n, dtype=np.uint8)
        counter = Counter(clock, LAYOUT, rules, bits)
        found = counter.feed(times[alive], channels[alive])
        signs = 1.0 - 2.0 * found.bits
        near = np.diff(found.slots) <= 8
        product = (signs[1:] * signs[:-1])[near]
        return product.mean(), 1.0 / np.sqrt(product.size)

    bare, sigma = correlation(1e-12)
    assert bare < -20 * sigma
    honest, sigma = correlation(20e-9)
    assert abs(honest) < 5 * sigma


def test_bad_tags_are_refused():
    times, channels = _at([0, 9, 5], [0, 0, 0], [1, 2, 1])
    with pytest.raises(SignalError, match="limit 3000 ps out of order"):
        count(times, channels)
    times, channels = _at([0, 1], [0, 0], [1, 7])
    with pytest.raises(SignalError, match="input 7"):
        count(times, channels)
    times, channels = _at([0, 0], [0, 1], [1, 2])
    counter = Counter(CLOCK, LAYOUT, RULES, BITS[:0])
    counter.feed(times, channels)
    with pytest.raises(SignalError, match="0 random bits"):
        counter.finish()
    with pytest.raises(SignalError, match="power of two"):
        Counter(CLOCK, LAYOUT, RULES, BITS, np.zeros(100, np.uint8), 150)


def test_memory_is_flat():
    """What is held back never grows with the number of blocks."""
    counter = Counter(CLOCK, LAYOUT, RULES, BITS)
    sizes = []
    for block in range(50):
        times = np.arange(10_000, dtype=np.int64) * 7000 + block * 70_000_000
        counter.feed(times, np.ones(10_000, dtype=np.uint8))
        sizes.append(counter._merger._times.size)
    assert len(set(sizes)) <= 2
    assert max(sizes) < 11_000
