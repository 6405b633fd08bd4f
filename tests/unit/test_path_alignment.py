"""Delays of the detectors' paths, from tags that are made elsewhere."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tags_kit import Scene, mixed_table, tags

from dsp.time_tags.alignment import path_delays
from dsp.time_tags.pipeline import receive_tags
from dsp.time_tags.settings import DETECTORS, SlotLayout, TagSettings
from dsp.time_tags.sync import place
from scqc.core.errors import LockError, SignalError, SyncError
from scqc.core.records import TimeTags

LAYOUT = SlotLayout(slot_rate_hz=50e6, frame_slots=1 << 17)
SETTINGS = TagSettings(min_delay_s=0.0, max_delay_s=2e-3, gate=0.15)
SLOT_PS = 20_000.0
SCENE = Scene(slot_rate_hz=50e6, rate_hz=6e5, duration_s=0.06, delay_s=5e-4)
TABLE = place(mixed_table(LAYOUT), LAYOUT)


def record(delays_ps=(0, 0, 0, 0), scene=SCENE):
    """Tags of a burst with each input late by its delay."""
    made, _ = tags(TABLE, scene)
    late = np.array([0, *delays_ps], dtype=np.int64)[made.channels]
    times_ps = made.times_ps + late
    order = np.argsort(times_ps, kind="stable")
    end_ps = made.duration_ps + max(delays_ps)
    return TimeTags(times_ps[order], made.channels[order].copy(), end_ps)


def found(tags_, settings=SETTINGS, names=DETECTORS):
    return path_delays(tags_, LAYOUT, settings, names)


@pytest.mark.parametrize(
    "delays_ps",
    [
        (0, 0, 0, 0),
        (0, 7_123, 61_500, 949_999),
        # Half slots, and the first one later than the others.
        (10_000, 0, 30_000, 5_000),
        (600_000, 0, 1_000, 300_000),
    ],
)
def test_they_are_found(delays_ps):
    seen = found(record(delays_ps))
    sigma_slots = theory_sigma(SCENE, seen.paths[0].tags) / SLOT_PS
    assert sigma_slots < 1e-3
    for k, (delay_ps, sigma_ps) in enumerate(seen.after_first()):
        wanted_ps = delays_ps[k] - delays_ps[0]
        both = [theory_sigma(SCENE, seen.paths[n].tags) for n in (0, k)]
        bound_ps = 5.0 * math.hypot(*both) if k else 0.0
        assert abs(delay_ps - wanted_ps) <= bound_ps
        if k:
            assert sigma_ps == pytest.approx(math.hypot(*both), rel=0.15)


def theory_sigma(scene, n):
    """Return the uncertainty of a path [ps]: jitter, and dark counts anywhere."""
    length_s = scene.duration_s + scene.delay_s + 2e-3
    dark = scene.dark_hz * length_s / 4.0 / n
    jitter_rad = 4.0 * math.pi * scene.jitter_s * scene.slot_rate_hz
    first = (1.0 - dark) * math.exp(-0.5 * jitter_rad**2)
    second = (1.0 - dark) * math.exp(-2.0 * jitter_rad**2)
    spread = math.sqrt((1.0 - second) / (2.0 * n)) / first
    return SLOT_PS * spread / (4.0 * math.pi)


def test_they_are_as_uncertain_as_they_say():
    squares = []
    for seed in range(12):
        seen = found(record((0, 5_000, 0, 0), replace(SCENE, seed=seed)))
        (_, _), *others = seen.after_first()
        for (delay_ps, sigma_ps), wanted in zip(others, (5_000, 0, 0), strict=True):
            squares.append(((delay_ps - wanted) / sigma_ps) ** 2)
    # Three differences to one and the same first path: neighbours correlate by a
    # half, which triples the variance of the sum at most.
    n = len(squares)
    assert abs(sum(squares) - n) < 5.0 * math.sqrt(3.0 * 2.0 * n)


def test_what_the_settings_remove_is_gone():
    delays_ps = (0, 7_000, 33_000, 250_000)
    settings = SETTINGS.model_copy(
        update={"skew_s": tuple(1e-12 * d for d in delays_ps)}
    )
    for delay_ps, sigma_ps in found(record(delays_ps), settings).after_first():
        assert abs(delay_ps) <= 5.0 * sigma_ps


def test_two_detectors():
    scene = replace(SCENE, z_fraction=1.0, dark_hz=0.0)
    seen = found(record((0, 44_000, 0, 0), scene), names=DETECTORS[:2])
    assert [round(d / 100) for d, _ in seen.after_first()] == [0, 440]


def test_further_than_the_search_is_not_guessed():
    with pytest.raises(SyncError, match=r"rx\.x1.*50 slots"):
        found(record((0, 0, 0, 1_500_000)))


def test_a_dark_detector():
    made = record()
    kept = made.channels != 3
    without = TimeTags(made.times_ps[kept], made.channels[kept], made.duration_ps)
    with pytest.raises(LockError, match=r"rx\.x0: 0 tags"):
        found(without)


def test_a_detector_that_sees_no_slots():
    made = record()
    rng = np.random.default_rng(1)
    times_ps = made.times_ps.copy()
    noise = made.channels == 2
    times_ps[noise] = rng.integers(0, made.duration_ps, int(noise.sum()))
    order = np.argsort(times_ps)
    stray = TimeTags(times_ps[order], made.channels[order], made.duration_ps)
    with pytest.raises(LockError, match=r"rx\.z1"):
        found(stray)


def test_lost_tags_are_refused():
    with pytest.raises(SignalError, match="lost"):
        found(replace(record(), lost=3))


def test_what_out_of_step_means_for_a_run():
    """A quarter of a slot and more: no clock, no frame, or nothing but errors."""
    delays_ps = (0, 7_123, 61_500, 949_999)
    made = record(delays_ps)
    bits = np.zeros(made.times_ps.size, dtype=np.uint8)
    with pytest.raises(SignalError):
        receive_tags(made, LAYOUT, SETTINGS, bits)
    late = [delay_ps for delay_ps, _ in found(made).after_first()]
    inputs = np.array([0, *np.rint(max(late) - np.array(late))], dtype=np.int64)
    times_ps = made.times_ps + inputs[made.channels]
    order = np.argsort(times_ps, kind="stable")
    end_ps = made.duration_ps + int(inputs.max())
    together = TimeTags(times_ps[order], made.channels[order], end_ps)
    for fringe in receive_tags(together, LAYOUT, SETTINGS, bits).report.fringes:
        assert fringe.visibility > 0.9
