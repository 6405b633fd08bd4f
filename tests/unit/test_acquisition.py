"""Acquisition: what it finds is where the record was written to have it."""

import math
from dataclasses import replace

import numpy as np
import pytest
from light_kit import RATE_HZ, Scene, light, receiver, small_layout

from dsp.acquisition import acquire, find_pilots
from scqc.core.errors import LockError, SignalError, SyncError

BASE = Scene(symbols=2048)


def _acquire(scene, layout=None, **settings):
    record = light(scene)
    samples = record.codes[: 1 << 16].astype(np.float32)
    return acquire(samples, RATE_HZ, layout or record.layout, receiver(**settings))


@pytest.mark.parametrize(
    ("start", "ppm", "offset_hz", "seed"),
    [
        (1500.0, 0.0, 0.0, 1),
        (1733.37, 100.0, 2.5e6, 2),
        (2901.81, -100.0, -2.5e6, 3),
        (4444.5, 37.0, 12_345.6, 4),
    ],
)
def test_start_beat_and_clock_are_found(start, ppm, offset_hz, seed):
    scene = replace(BASE, start=start, clock_ppm=ppm, offset_hz=offset_hz, seed=seed)
    # The clock may be at the edge of the search range, plus its own noise.
    lock = _acquire(scene, clock_search_ppm=102.0)
    assert abs(lock.clock_ppm - ppm) < 4.5 * lock.clock_sigma_ppm
    assert lock.clock_sigma_ppm < 0.2
    # Preamble timing bound 1 / sqrt(2 N Es/N0 (2 pi 0.29)^2) symbols, Es/N0 = 72.
    bound = 8.0 / math.sqrt(2 * 1024 * 72 * (2 * math.pi * 0.29) ** 2)
    clock = 8.0 * 1024 * 1e-6 * lock.clock_sigma_ppm
    assert lock.first_symbol_sample == pytest.approx(
        scene.first_symbol, abs=5 * bound + 5 * clock
    )
    strong_hz = 150e6 + offset_hz - 118e6 * (1 + 1e-6 * ppm)
    weak_hz = 150e6 + offset_hz - 12e6 * (1 + 1e-6 * ppm)
    np.testing.assert_allclose(lock.pilots_hz, (strong_hz, weak_hz), atol=60.0)


def test_pilot_quality_is_that_of_the_record():
    lock = _acquire(replace(BASE, pilot_db=35.0, seed=5))
    # About 2500 hops measure the noise: 3 % each way, the estimate triples it.
    assert lock.pilot_snr_db == pytest.approx(35.0, abs=0.7)


def test_phase_noise_is_measured():
    scene = replace(BASE, symbols=6000, linewidth_hz=20e3, seed=6)
    lock = _acquire(scene)
    hop = 14
    expected = 2 * math.pi * 20e3 * hop / RATE_HZ
    n_hops = (1 << 16) / hop
    # Increments over 32 hops, n / 32 of them independent.
    assert lock.phase_noise.step_rad2 == pytest.approx(
        expected, rel=5 * math.sqrt(2 * 32 / n_hops)
    )


def _record_without(what):
    """Noise plus one half of the scene."""
    record = light(BASE)
    layout = record.layout
    rng = np.random.default_rng(7)
    noise = 40.0 * rng.standard_normal(40_000)
    if what == "pilots":
        pilots_off = light(replace(BASE, pilot_db=-60.0, seed=8))
        return pilots_off.codes.astype(np.float32), layout
    t = np.arange(40_000) / RATE_HZ
    tones = sum(
        a * np.cos(2 * np.pi * (150e6 + hz) * t)
        for a, hz in zip((2800.0, 1400.0), layout.pilots_hz, strict=True)
    )
    return (noise + tones).astype(np.float32), layout


def test_no_pilots_is_a_lock_error():
    samples, layout = _record_without("pilots")
    with pytest.raises(LockError, match=r"strong pilot.*limit"):
        acquire(samples, RATE_HZ, layout, receiver())


def test_no_preamble_is_a_sync_error():
    samples, layout = _record_without("preamble")
    with pytest.raises(SyncError, match=r"correlation peak .* limit"):
        acquire(samples, RATE_HZ, layout, receiver())


@pytest.mark.parametrize(
    "changes",
    [
        {"pilots_hz": (-118e6, -20e6)},
        {"pilots_hz": (-110e6, -12e6)},
        {"pilots_hz": (-12e6, -118e6), "centre_hz": 30e6},
        {"centre_hz": -65e6},
        {"symbol_rate_hz": 40e6},
        {"preamble": 777},
    ],
)
def test_a_wrong_layout_never_locks(changes):
    preamble = changes.get("preamble", 1024)
    rest = {k: v for k, v in changes.items() if k != "preamble"}
    layout = small_layout(2048, preamble, **rest)
    if preamble != 1024:
        known = layout.preamble.model_copy(update={"seed": 9})
        layout = layout.model_copy(update={"preamble": known})
    with pytest.raises((SyncError, LockError)):
        _acquire(BASE, layout)


def test_another_preamble_of_the_same_length_never_locks():
    layout = light(BASE).layout
    other = layout.preamble.model_copy(update={"seed": 2})
    with pytest.raises(SyncError):
        _acquire(BASE, layout.model_copy(update={"preamble": other}))


def test_pure_noise_never_locks():
    layout, settings = light(BASE).layout, receiver()
    for seed in range(50):
        rng = np.random.default_rng([seed, 9])
        samples = (40.0 * rng.standard_normal(1 << 15)).astype(np.float32)
        with pytest.raises(LockError):
            acquire(samples, RATE_HZ, layout, settings)


@pytest.mark.parametrize("level", [0.0, 1.0, -32768.0])
def test_a_dead_record_is_a_lock_error(level):
    samples = np.full(1 << 15, level, dtype=np.float32)
    with pytest.raises(LockError):
        acquire(samples, RATE_HZ, light(BASE).layout, receiver())


@pytest.mark.parametrize("n", [0, 1, 100, 3000, 9000])
def test_a_record_too_short_is_a_signal_error(n):
    samples = light(BASE).codes[:n].astype(np.float32)
    with pytest.raises(SignalError):
        acquire(samples, RATE_HZ, light(BASE).layout, receiver())


def test_clock_outside_the_search_range_is_named():
    with pytest.raises(LockError, match=r"clock.*ppm, limit 20 ppm"):
        _acquire(replace(BASE, clock_ppm=60.0, seed=10), clock_search_ppm=20.0)


def test_pilot_outside_the_beat_search_is_a_lock_error():
    with pytest.raises(LockError):
        _acquire(replace(BASE, offset_hz=5e6, seed=11), beat_search_hz=1e6)


def test_pilot_outside_the_digitisers_band_is_named():
    with pytest.raises(LockError, match="outside the digitiser's band"):
        find_pilots(
            light(BASE).codes.astype(np.float32),
            RATE_HZ,
            light(BASE).layout,
            receiver(beat_hz=119e6),
        )


def test_weak_pilot_below_the_limit_is_named():
    with pytest.raises(LockError, match=r"dB over the noise per symbol, limit 50"):
        _acquire(BASE, min_pilot_snr_db=50.0)
