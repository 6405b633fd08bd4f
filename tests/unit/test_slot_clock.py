"""Clock and frame are found where the tags were written to have them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tags_kit import Scene, mixed_table, tagger_time, tags

from dsp.time_tags.clock import find_line, slot_clock
from dsp.time_tags.clock_loop import BLOCK_DETECTIONS, track
from dsp.time_tags.frame import DARK, LIT, _normaliser, _threshold, find_frame
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.sync import place
from scqc.core.errors import LockError, SyncError

LAYOUT = SlotLayout(frame_slots=1 << 21)
SETTINGS = TagSettings(min_delay_s=-4e-3, max_delay_s=4e-3)
TABLE = place(mixed_table(LAYOUT), LAYOUT)


def _find(record, layout=LAYOUT, settings=SETTINGS, prior=None):
    clock = slot_clock(record.times_ps, layout, settings, prior)
    return find_frame(record.times_ps, clock, layout, settings, prior)


def _error_s(clock, scene, n_slots):
    at = np.arange(0, n_slots, max(1, n_slots // 1000))
    times_ps = np.rint(tagger_time(at, scene) * 1e12).astype(np.int64)
    return (clock.at(times_ps) - at) / scene.slot_rate_hz


@pytest.mark.parametrize(
    "scene",
    [
        Scene(seed=1),
        Scene(ppm=50.0, delay_s=3.999e-3, seed=2),
        Scene(ppm=-50.0, delay_s=-3.9e-3, seed=3),
        Scene(ppm=12.3, drift_ppm_per_s=1e-3, rate_hz=1e6, dark_hz=5e4, seed=4),
        Scene(ppm=-7.0, rate_hz=2e4, duration_s=0.4, seed=5),
        Scene(ppm=50.0, rate_hz=1e3, dark_hz=50.0, duration_s=8.0, seed=6),
        Scene(rate_hz=1e3, duration_s=8.0, drift_ppm_per_s=2e-3, seed=7),
        Scene(slot_rate_hz=1e9, jitter_s=50e-12, rate_hz=1e6, delay_s=5e-4, seed=8),
    ],
)
def test_clock_and_slot_zero_are_found(scene):
    layout = LAYOUT.model_copy(update={"slot_rate_hz": scene.slot_rate_hz})
    settings = SETTINGS
    if scene.slot_rate_hz > 250e6:
        settings = TagSettings(min_delay_s=-1e-3, max_delay_s=1e-3)
    record, _ = tags(TABLE, scene)
    found = _find(record, layout, settings)
    n_slots = int(scene.duration_s * scene.slot_rate_hz)
    error_s = _error_s(found.clock, scene, n_slots)
    # The promise is 50 ps; a wrong slot would show as nanoseconds.
    assert math.sqrt(np.mean(error_s**2)) < 50e-12
    # The clock's own figure is honest to the spread of what few knots there are.
    assert math.sqrt(np.mean(error_s**2)) < 5.0 * found.clock.residual_s
    assert found.clock.delay_s == pytest.approx(scene.delay_s, abs=0.2e-9)
    middle_s = 0.5 * scene.duration_s
    wanted = 1.0 / (1.0 + 1e-6 * (scene.ppm + scene.drift_ppm_per_s * middle_s)) - 1.0
    reach = 5.0 * math.sqrt(2.0) * found.clock.residual_s / scene.duration_s
    assert found.clock.df == pytest.approx(wanted, abs=reach + 2e-9)


def test_the_line_is_as_high_as_theory_says():
    """P = n (C F)^2: jitter's contrast, and the share of detections that is light."""
    scene = Scene(rate_hz=1e6, dark_hz=2e5, ppm=20.0, seed=9)
    record, _ = tags(TABLE, scene)
    line = find_line(record.times_ps, LAYOUT, SETTINGS)
    inside = (record.times_ps >= line.segment_ps[0]) & (
        record.times_ps <= line.segment_ps[1]
    )
    n = int(inside.sum())
    share = 1e6 / 1.2e6
    contrast = math.exp(-0.5 * (2 * math.pi * 5e8 * scene.jitter_s) ** 2)
    wanted = n * (share * contrast) ** 2
    # The amplitude's noise is 1; half a bin off costs up to 1 dB twice.
    assert 0.63 * wanted - 5 * math.sqrt(2 * wanted) < line.power
    assert line.power < wanted + 5 * math.sqrt(2 * wanted)


def test_satellites_alone_do_not_make_the_other_half_win():
    """A third more light in the satellites than in the centre: still told apart."""
    record, origin = tags(TABLE, Scene(rate_hz=1e6, seed=10))
    rng = np.random.default_rng(1)
    kept = (origin[1] != 0) | (rng.random(record.times_ps.size) < 0.75)
    found = _find(
        replace(record, times_ps=record.times_ps[kept], channels=record.channels[kept])
    )
    assert found.clock.delay_s == pytest.approx(1e-3, abs=0.2e-9)


def test_the_loop_holds_over_a_gap_and_says_when_it_cannot():
    scene = Scene(rate_hz=2e4, duration_s=2.0, ppm=10.0, seed=11)
    record, _ = tags(TABLE, scene)
    times_ps = record.times_ps
    short = (times_ps < 0.9e12) | (times_ps > 1.1e12)
    clock = _find(
        replace(record, times_ps=times_ps[short], channels=record.channels[short])
    ).clock
    assert np.max(np.abs(_error_s(clock, scene, int(5e8)))) < 200e-12
    # Free-running for long, a drift of 0.05 ppm/s is worth many cycles.
    settings = SETTINGS.model_copy(update={"max_clock_drift_ppm_per_s": 0.05})
    long = (times_ps < 0.5e12) | (times_ps > 1.9e12)
    with pytest.raises(LockError, match="lost"):
        slot_clock(times_ps[long], LAYOUT, settings)


def test_a_jump_of_the_clock_is_noticed():
    record, _ = tags(TABLE, Scene(rate_hz=2e4, duration_s=1.0, seed=12))
    times_ps = record.times_ps.copy()
    times_ps[times_ps > 0.5e12] += 1000
    line = find_line(times_ps, LAYOUT, SETTINGS)
    with pytest.raises(LockError, match="lost"):
        track(times_ps, line, LAYOUT, SETTINGS)


def test_the_loop_is_the_best_there_is_on_a_steady_clock():
    """No drift allowed for: the error is that of a straight line through all tags."""
    scene = Scene(rate_hz=1e5, dark_hz=1.0, duration_s=0.2, ppm=5.0)
    settings = SETTINGS.model_copy(update={"max_clock_drift_ppm_per_s": 1e-7})
    errors = []
    for seed in range(8):
        record, _ = tags(TABLE, replace(scene, seed=100 + seed))
        clock = _find(record, settings=settings).clock
        errors.append(_error_s(clock, scene, int(5e7)))
    # Angle of a mean phasor: variance (1 + C4 ...) / (2 n C^2) at most 1 / (2 n C^2).
    contrast = math.exp(-0.5 * (2 * math.pi * 5e8 * scene.jitter_s) ** 2)
    bound_s = math.sqrt(2.0 / (2 * 2e4 * contrast**2)) / (2 * math.pi * 5e8)
    rms = math.sqrt(np.mean(np.square(errors)))
    # 16 parameters behind this mean square: relative deviation sqrt(2 / 16).
    assert rms < bound_s * math.sqrt(1 + 4 * math.sqrt(2 / 16))


def test_a_prior_narrows_the_search():
    # The delay repeats within a microsecond: too few clicks for an open search.
    scene = Scene(rate_hz=5.2e4, duration_s=0.04, ppm=31.0, seed=13)
    record, _ = tags(TABLE, scene)
    with pytest.raises(SyncError, match="too few clicks"):
        _find(record)
    earlier, _ = tags(TABLE, Scene(ppm=31.0, seed=14))
    prior = _find(earlier).clock
    settings = SETTINGS.model_copy(update={"prior_delay_s": 1e-7})
    found = _find(record, settings=settings, prior=prior)
    assert found.clock.delay_s == pytest.approx(1e-3, abs=0.2e-9)
    far = SlotClock(prior.knots_ps, prior.positions * (1 + 5e-6), 250e6, 0.0)
    with pytest.raises(LockError):
        slot_clock(record.times_ps, LAYOUT, settings, far)


def test_no_light_never_locks():
    """100 dark records: a false-alarm probability of 1e-9 each leaves no chance."""
    for seed in range(100):
        scene = Scene(rate_hz=0.0, dark_hz=1e5, duration_s=0.01, seed=seed)
        record, _ = tags(TABLE, scene, n_slots=2_500_000)
        with pytest.raises(LockError, match="is there light"):
            slot_clock(record.times_ps, LAYOUT, SETTINGS)


def test_another_pattern_never_locks():
    small = SlotLayout(frame_slots=1 << 18)
    settings = TagSettings(min_delay_s=0.0, max_delay_s=1e-3)
    table = place(mixed_table(small), small)
    record, _ = tags(table, Scene(rate_hz=1e6, delay_s=5e-4, seed=15))
    clock = slot_clock(record.times_ps, small, settings)
    assert find_frame(record.times_ps, clock, small, settings).score > 50.0
    for seed in range(2, 102):
        other = small.model_copy(update={"sync_seed": seed})
        with pytest.raises(SyncError, match="sync_seed"):
            find_frame(record.times_ps, clock, other, settings)


def test_the_threshold_holds_where_it_can_be_measured():
    """At a false alarm of 1e-2, chance passes no more often than that."""
    layout = SlotLayout(frame_slots=1 << 12)
    rng = np.random.default_rng(3)
    n_clicks, n_trials, n_lags = 1000, 4000, 1e-9 / 1e-2
    weights = np.zeros(1 << 12)
    pattern = rng.random(1 << 12)
    weights[pattern < 1 / 32] = math.log(LIT)
    weights[pattern > 31 / 32] = math.log(DARK)
    counts = np.bincount(rng.integers(0, 1 << 12, n_clicks), minlength=1 << 12)
    clicked = np.bincount(counts[counts > 0])
    threshold = _threshold(clicked, layout, n_lags)
    offset = _normaliser(clicked, layout)
    scores = [rng.permutation(weights) @ counts + offset for _ in range(n_trials)]
    passed = np.mean(np.array(scores) > threshold)
    assert passed < 1e-2 + 5 * math.sqrt(1e-2 / n_trials)
    # Chernoff's bound is not idle either: it is within a few times the truth.
    assert passed > 1e-2 / 30


def test_every_lag_that_is_tried_raises_the_threshold():
    """A union bound: 2000 times the lags cost ln 2000 nat at the tail's slope."""
    record, _ = tags(TABLE, Scene(rate_hz=1e6, seed=18))
    clock = slot_clock(record.times_ps, LAYOUT, SETTINGS)
    narrow = SETTINGS.model_copy(
        update={"min_delay_s": 0.998e-3, "max_delay_s": 1.002e-3}
    )
    wide, near = (
        find_frame(record.times_ps, clock, LAYOUT, rules)
        for rules in (SETTINGS, narrow)
    )
    assert near.score == pytest.approx(wide.score, abs=1e-2)
    # theta, the slope of the bound, is of order one to a few for these weights.
    assert 0.2 * math.log(2000) < wide.threshold - near.threshold < 5 * math.log(2000)


def test_a_delay_outside_the_range_is_not_found():
    record, _ = tags(TABLE, Scene(delay_s=4.2e-3, rate_hz=1e6, seed=16))
    with pytest.raises(SyncError, match="delay outside"):
        _find(record)
    wide = TagSettings(min_delay_s=-10e-3, max_delay_s=10e-3)
    clock = slot_clock(record.times_ps, LAYOUT, wide)
    with pytest.raises(SyncError, match="raise frame_slots"):
        find_frame(record.times_ps, clock, LAYOUT, wide)


def test_too_few_detections_are_refused():
    with pytest.raises(LockError, match="at least 100"):
        slot_clock(np.arange(99, dtype=np.int64), LAYOUT, SETTINGS)
    assert BLOCK_DETECTIONS >= 64


@pytest.mark.soak
def test_tag_sync_locks_at_a_thousand_detections_per_second():
    """30 s at 1000/s in at least 95 of 100 seeds, and never at a wrong slot (dv)."""
    locked = 0
    rng = np.random.default_rng(17)
    for seed in range(100):
        scene = Scene(
            rate_hz=1e3,
            duration_s=30.0,
            ppm=rng.uniform(-50, 50),
            delay_s=rng.uniform(-3.9e-3, 3.9e-3),
            drift_ppm_per_s=rng.uniform(-1e-3, 1e-3),
            seed=seed,
        )
        record, _ = tags(TABLE, scene)
        try:
            found = _find(record)
        except (LockError, SyncError):
            continue
        error_s = _error_s(found.clock, scene, int(30 * 250e6))
        assert math.sqrt(np.mean(error_s**2)) < 50e-12
        locked += 1
    assert locked >= 95
