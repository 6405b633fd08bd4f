"""Noise generators against theory; every tolerance is 5 sigma of the estimator."""

import math

import numpy as np
import pytest
from scipy import signal, stats

from sim_backends.optics.noise import KNOT_SAMPLES, BandNoise, Wander, WienerPhase, ramp
from sim_backends.optics.normals import NormalStream
from sim_backends.settings import FaultSettings, SimSettings

N = 1 << 21


def draw(seed, name, n=N, start=0):
    return NormalStream(seed, name).fill(start, np.empty(n, np.float32))


def test_normals_have_the_moments_of_a_gaussian():
    x = draw(3, "a").astype(float)
    assert abs(x.mean()) < 5 / math.sqrt(N)
    assert abs(x.var() - 1) < 5 * math.sqrt(2 / N)
    assert abs((x**3).mean()) < 5 * math.sqrt(15 / N)
    assert abs((x**4).mean() - 3) < 5 * math.sqrt(96 / N)
    for limit in (3.0, 4.0, 4.5):
        expected = N * math.erfc(limit / math.sqrt(2))
        assert abs(np.sum(np.abs(x) > limit) - expected) < 5 * math.sqrt(expected)


def test_normals_follow_the_distribution_function():
    assert stats.kstest(draw(4, "a", 200_000).astype(float), "norm").pvalue > 1e-6


def test_normals_are_white():
    x = draw(5, "a").astype(float)
    for lag in (1, 2, 7, 256, 511, 512, 513, 1024, 4096):
        assert abs(np.mean(x[lag:] * x[:-lag])) < 5 / math.sqrt(N - lag)
        squares = (x[lag:] ** 2 - 1) * (x[:-lag] ** 2 - 1)
        assert abs(squares.mean()) < 5 * 2 / math.sqrt(N - lag)


def test_streams_of_different_name_or_seed_are_independent():
    x = draw(5, "a").astype(float)
    for other in (draw(5, "b"), draw(6, "a")):
        assert abs(np.mean(x * other)) < 5 / math.sqrt(N)


@pytest.mark.parametrize("start", [0, 1, 511, 513, 1024, 99_999])
@pytest.mark.parametrize("n", [1, 2, 1023, 1025, 5000])
def test_a_variate_depends_on_its_index_alone(start, n):
    whole = draw(7, "a", 120_000)
    assert np.array_equal(draw(7, "a", n, start), whole[start : start + n])


def spectrum(re, im, size=4000):
    z = (re + 1j * im)[: re.size // size * size].reshape(-1, size)
    window = np.hanning(size)
    power = np.mean(np.abs(np.fft.fft(z * window)) ** 2, axis=0)
    return np.fft.fftfreq(size), power / np.sum(window**2) / 2


def test_band_noise_fills_the_band_and_nothing_else():
    noise = BandNoise(1, "x", 64e6, 400e6)
    re, im = np.empty((2, N), np.float32)
    noise.fill(50_000, re, im)
    f, power = spectrum(re, im)
    inside = np.abs(f) < 0.079
    outside = np.abs(f) > 0.101
    # Hann segments without overlap: each bin has n_seg degrees, bins correlate
    # over 1.5 of their width.
    count = (N // 4000) * inside.sum() / 1.5
    assert power[inside].mean() == pytest.approx(1, abs=5 / math.sqrt(count))
    assert power[inside].std() < 1.3 / math.sqrt(N // 4000)
    assert power[outside].mean() < 10 ** (-6.0)


@pytest.mark.parametrize(("width_hz", "rate_hz"), [(50e6, 400e6), (1e6, 1e9)])
def test_band_filter_is_scipys_kaiser_window(width_hz, rate_hz):
    """Made without scipy.signal, which takes a second to import."""
    noise = BandNoise(1, "band", width_hz, rate_hz)
    count, beta = signal.kaiserord(66.0, 0.125 * width_hz / (0.5 * rate_hz))
    taps = signal.firwin(count, 0.5625 * width_hz, window=("kaiser", beta), fs=rate_hz)
    made = noise.phases[:, ::-1].T.ravel() / math.sqrt(noise.factor)
    assert np.allclose(made[: taps.size], taps, rtol=0.0, atol=1e-7 * taps.max())
    assert not made[taps.size :].any()


def test_band_noise_does_not_depend_on_the_piece():
    noise = BandNoise(1, "x", 64e6, 400e6)
    whole = np.empty((2, 5000), np.float32)
    noise.fill(8192, *whole)
    for low, high in ((0, 1), (3, 77), (1234, 4999)):
        part = np.empty((2, high - low), np.float32)
        noise.fill(8192 + low, *part)
        assert np.array_equal(part, whole[:, low:high])


def test_too_wide_a_band_is_white():
    noise = BandNoise(1, "x", 400e6, 400e6)
    re, im = np.empty((2, 1 << 18), np.float32)
    noise.fill(8192, re, im)
    assert re.var() == pytest.approx(1, abs=5 * math.sqrt(2 / re.size))
    assert abs(np.mean(re[1:] * re[:-1])) < 5 / math.sqrt(re.size)


def test_wiener_phase_increments_have_the_lorentzian_variance():
    linewidth_hz, rate_hz = 2e4, 4e8
    laser = WienerPhase(1, "l", linewidth_hz)
    laser.begin(0.0, rate_hz)
    phase = np.zeros(1 << 20)
    laser.add(8192, 1.0, phase[:1000])
    laser.add(9192, 1.0, phase[1000:])
    steps = np.diff(phase)
    expected = 2 * math.pi * linewidth_hz / rate_hz
    tolerance = 5 * math.sqrt(2 / steps.size)
    assert steps.var() / expected == pytest.approx(1, abs=tolerance)
    lag = np.mean(steps[1:] * steps[:-1]) / expected
    assert abs(lag) < 5 / math.sqrt(steps.size)


def test_laser_phase_wanders_between_records():
    linewidth_hz, gap_s, jumps = 1e3, 1e-4, []
    laser = WienerPhase(2, "l", linewidth_hz)
    now_s = 0.0
    for _ in range(400):
        laser.begin(now_s, 4e8)
        before = laser._phase_rad
        laser.end(now_s)
        now_s += gap_s
        laser.begin(now_s, 4e8)
        jumps.append(laser._phase_rad - before)
    expected = 2 * math.pi * linewidth_hz * gap_s
    assert np.var(jumps) / expected == pytest.approx(1, abs=5 * math.sqrt(2 / 400))


def test_no_linewidth_no_phase():
    laser = WienerPhase(1, "l", 0.0)
    laser.begin(5.0, 4e8)
    phase = np.zeros(100)
    laser.add(0, 1.0, phase)
    assert not phase.any()


def test_wander_grows_with_the_root_of_bench_time():
    ends = []
    for seed in range(400):
        walk = Wander(seed, "b", 0.02, start=0.5)
        walk.knots(0.0, 10 * KNOT_SAMPLES, 1e6)
        ends.append(walk.knots(9.0, 1, 1e6)[0])
    tolerance = 5 * math.sqrt(2 / 400)
    assert np.mean(ends) == pytest.approx(0.5, abs=5 * 0.06 / 20)
    assert np.var(ends) / (0.02**2 * 9.0) == pytest.approx(1, abs=tolerance)


def test_ramp_is_linear_between_knots_for_any_piece():
    knots = np.array([0.0, 1.0, -1.0, 4.0])
    at = np.arange(-50, 3 * KNOT_SAMPLES - 50)
    slow = np.interp(at, np.arange(4) * KNOT_SAMPLES, knots)
    out = np.empty(at.size, np.float32)
    for low in range(0, at.size, 7001):
        ramp(knots, -50 + low, out[low : low + 7001])
    assert np.allclose(out, slow, atol=1e-6)


@pytest.mark.parametrize(
    "table",
    [
        {"laser": {"rin_db_per_hz": -50}},
        {"laser": {"linewidth_hz": -1}},
        {"receiver": {"efficiency": 1.2}},
        {"receiver": {"start_offset_s": (3e-6, 1e-6)}},
        {"channel": {"length": 3}},
        {"channel": {"excess_noise_snu": float("nan")}},
        {"awg": {"bits": 0}},
        {"seed": -1},
    ],
)
def test_wrong_settings_are_refused(table):
    with pytest.raises(ValueError):
        SimSettings(**table)


def test_faults_are_listed_per_instrument():
    settings = SimSettings(faults={"scope": [{"at": "fetch", "kind": "garbage"}]})
    expected = FaultSettings(at="fetch", kind="garbage", count=1)
    assert settings.faults["scope"] == [expected]
