"""Phase smoother against the bound, and the estimate of its parameters."""

import math

import numpy as np
import pytest

from dsp.kernels import smooth_wiener, unwrapped_angle
from dsp.phase import PhaseNoise, estimate_phase_noise


def _wiener(noise, n, seed):
    rng = np.random.default_rng([seed, 3])
    theta = np.cumsum(math.sqrt(noise.step_rad2) * rng.standard_normal(n))
    measured = theta + math.sqrt(noise.measurement_rad2) * rng.standard_normal(n)
    return theta, measured


CASES = [PhaseNoise(1e-6, 1e-4), PhaseNoise(1e-4, 1e-2), PhaseNoise(1e-2, 1e-2)]


@pytest.mark.parametrize("noise", CASES)
def test_smoother_reaches_the_two_sided_bound(noise):
    n = 200_000
    theta, measured = _wiener(noise, n, 1)
    smoothed = np.empty(n)
    smooth_wiener(measured, noise.gain, 0.0, n - 1, smoothed)
    edge = math.ceil(20.0 / noise.gain)
    error = (smoothed - theta)[edge:-edge]
    # Errors are correlated over about 1/gain steps on both sides.
    independent = error.size * noise.gain / 2.0
    sigma = noise.smoothed_rad2 * math.sqrt(2.0 / independent)
    assert float(np.mean(error**2)) == pytest.approx(noise.smoothed_rad2, abs=5 * sigma)


@pytest.mark.parametrize("noise", CASES)
def test_bounds_obey_the_riccati_equation(noise):
    q, r, gain = noise.step_rad2, noise.measurement_rad2, noise.gain
    filtered = noise.filtered_rad2
    predicted = filtered + q
    assert gain == pytest.approx(predicted / (predicted + r))
    assert filtered == pytest.approx((1 - gain) * predicted)
    # Two-sided: information of the filter and of the backward prediction add.
    assert 1 / noise.smoothed_rad2 == pytest.approx(1 / filtered + 1 / predicted)


@pytest.mark.parametrize("gain_factor", [0.3, 3.0])
def test_another_gain_is_worse(gain_factor):
    noise, n = CASES[1], 200_000
    theta, measured = _wiener(noise, n, 2)
    mse = []
    for gain in (noise.gain, gain_factor * noise.gain):
        smoothed = np.empty(n)
        smooth_wiener(measured, gain, 0.0, n - 1, smoothed)
        mse.append(float(np.mean((smoothed - theta)[2000:-2000] ** 2)))
    assert mse[1] > 1.1 * mse[0]


def test_smoother_in_pieces_carries_its_filter_state():
    noise, n, cut = CASES[1], 4000, 1500
    _, measured = _wiener(noise, n, 3)
    whole, part = np.empty(n), np.empty(n - cut)
    state = smooth_wiener(measured, noise.gain, measured[0], cut - 1, whole)
    smooth_wiener(measured[cut:], noise.gain, state, 0, part)
    np.testing.assert_allclose(part, whole[cut:], atol=1e-12)


@pytest.mark.parametrize("noise", CASES[:2])
@pytest.mark.parametrize("slope", [0.0, 1e-3])
def test_parameters_are_recovered_from_a_measured_phase(noise, slope):
    n = 200_000
    _, measured = _wiener(noise, n, 4)
    seen = estimate_phase_noise(measured + slope * np.arange(n))
    # Structure functions of lag L average n/L independent increments.
    near, far = (lag * noise.step_rad2 + 2 * noise.measurement_rad2 for lag in (4, 32))
    sigma_near, sigma_far = near * math.sqrt(2 * 4 / n), far * math.sqrt(2 * 32 / n)
    sigma_step = math.hypot(sigma_near, sigma_far) / 28
    sigma_noise = 0.5 * (sigma_near + 4 * sigma_step)
    assert seen.step_rad2 == pytest.approx(noise.step_rad2, abs=5 * sigma_step)
    assert seen.measurement_rad2 == pytest.approx(
        noise.measurement_rad2, abs=5 * sigma_noise
    )


def test_parameters_ignore_measurement_noise_correlated_over_a_filter():
    noise, n = PhaseNoise(1e-5, 1e-3), 200_000
    theta, measured = _wiener(noise, n, 5)
    kernel = np.array([0.25, 0.5, 0.25])
    smeared = theta + np.convolve(measured - theta, kernel, mode="same")
    seen = estimate_phase_noise(smeared)
    assert seen.step_rad2 == pytest.approx(1e-5, rel=0.2)
    assert seen.measurement_rad2 == pytest.approx(
        1e-3 * float(kernel @ kernel), rel=0.1
    )


def test_noiseless_phase_gives_finite_gain():
    for phase in (np.zeros(5000), 1e-3 * np.arange(5000)):
        assert 0.0 < estimate_phase_noise(phase).gain < 1.0


def test_unwrapping_agrees_with_numpy_and_continues():
    rng = np.random.default_rng(6)
    phase = np.cumsum(0.8 * rng.standard_normal(5000))
    z = (3.0 * np.exp(1j * phase)).astype(np.complex64)
    out = np.empty(z.size)
    unwrapped_angle(z, phase[0], out)
    np.testing.assert_allclose(out, phase, atol=1e-5)
    rest = np.empty(2000)
    unwrapped_angle(z[3000:], out[2999], rest)
    np.testing.assert_array_equal(rest, out[3000:])
