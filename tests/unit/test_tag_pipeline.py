"""A burst from photons to detections, and every kind of record that is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
from tags_kit import Scene, mixed_table, tags

from dsp.time_tags.correlation import coincidences, g2
from dsp.time_tags.counting import PHASE_BINS
from dsp.time_tags.diagnostics import (
    afterpulsing,
    dead_time_corrected,
    relative_efficiencies,
)
from dsp.time_tags.pipeline import receive_tags
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slots import SIGNAL, basis, bit, intensity
from dsp.time_tags.sync import place
from scqc.core.errors import SignalError

LAYOUT = SlotLayout(frame_slots=1 << 19)
SETTINGS = TagSettings(min_delay_s=0.0, max_delay_s=2e-3, dead_time_s=1e-8)
TABLE = place(mixed_table(LAYOUT), LAYOUT)
BITS = np.random.default_rng(1).integers(0, 2, 100_000, dtype=np.uint8)
BRIGHT = Scene(rate_hz=1e6, dark_hz=2e3, ppm=23.0, delay_s=1.2e-3, seed=1)
N_SLOTS = 5_000_000


def receive(record, **changes):
    prior = changes.pop("prior", None)
    rules = SETTINGS.model_copy(update=changes)
    return receive_tags(record, LAYOUT, rules, BITS, N_SLOTS, prior)


def test_detections_are_what_alice_sent():
    record, origin = tags(TABLE, BRIGHT)
    got = receive(record)
    found = got.detections
    sent = TABLE[found.slots % TABLE.size]
    same = (basis(sent) == found.bases) & (intensity(sent) == SIGNAL)
    wrong = float(np.mean(bit(sent)[same] != found.bits[same]))
    # Visibility, and dark counts and satellites' tails in the gate at one half:
    # a gate of 0.8 ns lies 1.2 ns, 8 sigma, away from a satellite.
    dark = 2e3 * 0.4 / (2e3 * 0.4 + 0.5e6)
    expected = 0.5 * (1 - 0.98) * (1 - dark) + 0.5 * dark
    sigma = math.sqrt(expected / same.sum())
    assert abs(wrong - expected) < 5 * sigma
    assert found.slots[0] >= 0
    assert found.slots[-1] < N_SLOTS
    # Every central photon in a live receiver is found, at its own slot.
    central = np.unique(origin[0][(origin[0] >= 0) & (origin[1] == 0)])
    assert np.mean(np.isin(found.slots, central)) > 1 - 3 * dark - 1e-3
    assert got.clock.delay_s == pytest.approx(1.2e-3, abs=0.1e-9)
    assert got.report.sync_score > got.report.sync_threshold


def test_the_histogram_shows_centre_and_satellites():
    phases = receive(tags(TABLE, BRIGHT)[0]).report.counts.phases.sum(axis=0)
    place_in_slot = (np.arange(PHASE_BINS) + 0.5) / PHASE_BINS - 0.5
    centre = phases[np.abs(place_in_slot) < 0.25].sum() / phases.sum()
    assert centre == pytest.approx(0.5, abs=5 * math.sqrt(0.25 / phases.sum()))
    # Jitter of 150 ps in a slot of 4 ns, and the width of a bin.
    near = np.abs(place_in_slot) < 0.2
    width = np.sqrt(np.average(place_in_slot[near] ** 2, weights=phases[near]))
    assert width == pytest.approx(0.15 / 4, rel=0.05)


@pytest.mark.parametrize("errors_rad", [(0.0, 0.0), (0.4, -0.7), (-1.2, 1.0)])
def test_fringes_give_the_bias_controller_its_error(errors_rad):
    record, _ = tags(TABLE, replace(BRIGHT, error_rad=errors_rad, seed=2))
    for fringe, error in zip(receive(record).report.fringes, errors_rad, strict=True):
        assert abs(fringe.phase_error_rad - error) < 5 * fringe.sigma_rad
        # n clicks in four phases: sqrt(2 / n), half of them in the fringe's basis.
        bound = math.sqrt(1.0 / fringe.counts)
        assert fringe.sigma_rad == pytest.approx(bound / 0.98, rel=0.2)
        assert fringe.visibility == pytest.approx(0.98, abs=5 * bound)
        qber = 0.5 * (1 - 0.98 * math.cos(error))
        sigma = math.sqrt(qber * (1 - qber) / fringe.counts)
        assert abs(fringe.qber - qber) < 5 * sigma + 5e-3


@pytest.mark.parametrize(
    ("wired", "named"),
    [
        ((2, 1, 3, 4), r"input 1 is wired as rx\.z0 and acts as rx\.z1"),
        ((3, 4, 1, 2), r"acts as rx\.x0"),
        ((1, 3, 2, 4), r"input 2 is wired as rx\.z1 and acts as rx\.x0"),
        ((4, 3, 2, 1), "channel map"),
    ],
)
def test_a_wrong_channel_map_is_named(wired, named):
    record, _ = tags(TABLE, BRIGHT)
    swapped = np.array([0, *wired], dtype=np.uint8)[record.channels]
    with pytest.raises(SignalError, match=named):
        receive(replace(record, channels=swapped))
    # The settings can say so: then all is well.
    assert (
        receive(replace(record, channels=swapped), inputs=wired).report.fringes[0].qber
        < 0.05
    )
    assert receive(replace(record, channels=swapped), check_wiring=False).report


def test_bad_records_are_refused():
    record, _ = tags(TABLE, BRIGHT)
    for changes, message in (
        ({"lost": 3}, "3 lost"),
        ({"overflow": True}, "overflow"),
        ({"duration_ps": 10**9}, "limit 0 to the acquisition"),
        ({"times_ps": record.times_ps[:0], "channels": record.channels[:0]}, "empty"),
    ):
        with pytest.raises(SignalError, match=message):
            receive(replace(record, **changes))
    with pytest.raises(SignalError, match="blind"):
        receive(record, max_count_rate_hz=2e5)
    with pytest.raises(SignalError, match="input 4"):
        receive(record, inputs=(1, 2, 3, 5))
    with pytest.raises(SignalError, match="out of order"):
        receive(replace(record, times_ps=record.times_ps[::-1].copy()))


def test_a_short_flood_is_noticed():
    """Blinding for one millisecond hardly moves the mean rate of the record."""
    record, _ = tags(TABLE, BRIGHT)
    flood = np.arange(10**9, 2 * 10**9, 20_000, dtype=np.int64)
    times = np.concatenate([record.times_ps, flood])
    order = np.argsort(times, kind="stable")
    channels = np.concatenate([record.channels, np.full(flood.size, 3, np.uint8)])
    with pytest.raises(SignalError, match="input 3"):
        receive(replace(record, times_ps=times[order], channels=channels[order]))


def test_skews_are_taken_out():
    record, _ = tags(TABLE, BRIGHT)
    skew_s = (0.0, 7e-10, -4e-10, 3e-10)
    late = np.rint(1e12 * np.array([0.0, *skew_s])).astype(np.int64)[record.channels]
    times = np.clip(record.times_ps + late, 0, record.duration_ps)
    got = receive(replace(record, times_ps=times), skew_s=skew_s)
    plain = receive(record)
    np.testing.assert_array_equal(got.detections.slots, plain.detections.slots)
    np.testing.assert_array_equal(got.detections.bits, plain.detections.bits)


def test_unequal_detectors_do_not_turn_the_fringe():
    """Half the efficiency on z1: visibility and phase stay, only the counts change."""
    scene = replace(BRIGHT, rate_hz=4e6, error_rad=(0.5, 0.0), seed=4)
    record, _ = tags(TABLE, scene)
    rng = np.random.default_rng(2)
    kept = (record.channels != 2) | (rng.random(record.channels.size) < 0.5)
    got = receive(
        replace(record, times_ps=record.times_ps[kept], channels=record.channels[kept])
    )
    fringe = got.report.fringes[0]
    assert abs(fringe.phase_error_rad - 0.5) < 5 * fringe.sigma_rad
    assert abs(fringe.visibility - 0.98) < 5 * fringe.sigma_rad
    z0, z1 = got.report.efficiencies[:2]
    assert z1 / z0 == pytest.approx(0.5, rel=0.1)


def brute_force(a, b, window, width):
    counts = np.zeros(2 * window // width, dtype=int)
    for x in a.tolist():
        for y in b.tolist():
            if -window <= y - x < window:
                counts[(y - x + window) // width] += 1
    return counts


@pytest.mark.parametrize(("window", "width"), [(500, 1), (700, 7), (3000, 300)])
def test_coincidences_are_exact(window, width):
    rng = np.random.default_rng(4)
    a, b = (np.sort(rng.integers(0, 20_000, n)) for n in (300, 400))
    np.testing.assert_array_equal(
        coincidences(a, b, window, width), brute_force(a, b, window, width)
    )


def test_independent_records_have_a_flat_g2():
    rng = np.random.default_rng(5)
    a, b = (np.sort(rng.integers(0, 10**12, 300_000)) for _ in range(2))
    found = g2(coincidences(a, b, 50_000, 1000), (3e5, 3e5), (1.0, 1e-9))
    sigma = 1.0 / math.sqrt(3e5 * 3e5 * 1e-9)
    assert np.all(np.abs(found - 1.0) < 5 * sigma)
    with pytest.raises(SignalError, match="multiple"):
        coincidences(a, b, 50_000, 3000)


def test_afterpulses_are_counted():
    rng = np.random.default_rng(6)
    first = np.sort(rng.integers(0, 10**13, 400_000))
    again = first[rng.random(first.size) < 0.03]
    again = again + 20_000 + rng.exponential(1e5, again.size).astype(np.int64)
    times = np.sort(np.concatenate([first, again]))
    found = afterpulsing(times, 4_000_000)
    share = (times.size - first.size) / times.size
    assert abs(found.probability - share) < 5 * found.sigma
    none = afterpulsing(first, 4_000_000)
    assert abs(none.probability) < 5 * none.sigma


def test_small_laws():
    assert dead_time_corrected(1e6 / 1.05, 50e-9) == pytest.approx(1e6)
    with pytest.raises(SignalError, match="limit"):
        dead_time_corrected(3e7, 50e-9)
    phases = np.array([[30, 30], [20, 20], [5, 5], [5, 5]])
    np.testing.assert_allclose(relative_efficiencies(phases), [1.2, 0.8, 1.0, 1.0])


def test_the_next_burst_uses_the_last_clock():
    first = receive(tags(TABLE, BRIGHT)[0])
    record, _ = tags(TABLE, replace(BRIGHT, seed=3, delay_s=1.7e-3))
    got = receive(record, prior=first.clock)
    assert got.clock.delay_s == pytest.approx(1.7e-3, abs=0.1e-9)
