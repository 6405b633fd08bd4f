"""Power spectral density: level, place and refusal."""

import math

import numpy as np
import pytest

from dsp.spectrum import frequencies_hz, power_density
from scqc.core.errors import SignalError

RATE_HZ = 400e6
N_FFT = 1024


def white(rng, n, deviation=300.0):
    return np.round(rng.normal(0.0, deviation, n)).astype(np.int16)


def test_density_sums_to_the_variance():
    n = 1 << 18
    samples = white(np.random.default_rng(1), n)
    density = power_density(samples, RATE_HZ, N_FFT)
    total = float(np.sum(density)) * RATE_HZ / N_FFT
    variance = float(np.var(samples.astype(float)))
    # Of white noise, overlapping windowed segments use nearly all the power; what
    # the window leaves out at both ends is half a segment each.
    five_sigma = 5.0 * variance * math.sqrt(2.0 / n)
    assert total == pytest.approx(variance, abs=five_sigma + variance * N_FFT / n)


def test_white_noise_is_flat_within_the_error_of_its_averages():
    n, deviation = 1 << 19, 300.0
    samples = white(np.random.default_rng(2), n, deviation)
    density = power_density(samples, RATE_HZ, N_FFT)[2:-1]
    expected = (deviation**2 + 1.0 / 12.0) / (RATE_HZ / 2.0)
    # Welch: overlap by half under a Hann window has 11/9 times the variance of
    # as many independent segments, each of relative variance one.
    segments = 2 * n // N_FFT - 1
    sigma = expected * math.sqrt(11.0 / 9.0 / segments)
    # 510 bins: five standard deviations are one chance in 3000.
    assert np.max(np.abs(density - expected)) < 5.0 * sigma


@pytest.mark.parametrize("bin_number", [40, 300, 509])
def test_tone_appears_in_its_bin_with_its_power(bin_number):
    n, amplitude = 1 << 14, 8000.0
    phase = 2.0 * np.pi * bin_number / N_FFT * np.arange(n)
    samples = np.round(amplitude * np.cos(phase)).astype(np.int16)
    density = power_density(samples, RATE_HZ, N_FFT)
    assert int(np.argmax(density)) == bin_number
    assert frequencies_hz(N_FFT, RATE_HZ)[bin_number] == bin_number * RATE_HZ / N_FFT
    # A Hann window spreads a tone over three bins.
    near = density[bin_number - 1 : bin_number + 2].sum() * RATE_HZ / N_FFT
    # Rounding to codes moves the power by at most 1/(2 A) of itself and its own.
    assert near == pytest.approx(amplitude**2 / 2.0, rel=2.0 / amplitude)


def test_offset_is_taken_off():
    samples = white(np.random.default_rng(3), 1 << 14)
    moved = (samples + 5000).astype(np.int16)
    np.testing.assert_allclose(
        power_density(samples, RATE_HZ, N_FFT),
        power_density(moved, RATE_HZ, N_FFT),
        rtol=1e-6,
    )


def test_agrees_with_the_textbook_sum():
    """A slow periodogram, segment by segment and frequency by frequency."""
    n_fft, n = 16, 64
    samples = white(np.random.default_rng(4), n)
    values = samples - samples.mean()
    window = [math.sin(math.pi * i / n_fft) ** 2 for i in range(n_fft)]
    starts = range(0, n - n_fft + 1, n_fft // 2)
    for k in range(n_fft // 2 + 1):
        power = 0.0
        for start in starts:
            turn = np.exp(-2j * np.pi * k * np.arange(n_fft) / n_fft)
            power += abs(np.sum(values[start : start + n_fft] * window * turn)) ** 2
        power /= len(starts) * RATE_HZ * sum(w * w for w in window)
        both_sides = 1.0 if k in (0, n_fft // 2) else 2.0
        found = power_density(samples, RATE_HZ, n_fft)[k]
        assert found == pytest.approx(both_sides * power, rel=1e-9, abs=1e-20)


def test_too_short_or_odd_is_refused():
    samples = np.zeros(100, dtype=np.int16)
    with pytest.raises(SignalError, match="at least 128"):
        power_density(samples, RATE_HZ, 128)
    with pytest.raises(SignalError, match="even"):
        power_density(samples, RATE_HZ, 63)
