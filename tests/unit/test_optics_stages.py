"""Each stage of the light path against a slow reference or a formula."""

import cmath
import math

import numpy as np
import pytest

from sim_backends.optics import filters
from sim_backends.optics.modulator import (
    IqModulator,
    add_intensity_noise,
    field_amplitude,
    full_scale_field,
    relative_intensity_rms,
)
from sim_backends.optics.normals import NormalStream
from sim_backends.optics.receiver import lo_noise_rms
from sim_backends.optics.trigonometry import rotate
from sim_backends.optics.waveform import (
    PlayedWaveform,
    SamplingInstants,
    interpolation_table,
)
from sim_backends.settings import SimSettings

RATE_HZ = 4e8


def response(taps, f):
    k = np.arange(-taps.pre, taps.post + 1)
    h = taps.reversed_[::-1].astype(complex)
    return np.exp(-2j * np.pi * np.outer(f, k)) @ h


@pytest.mark.parametrize("bandwidth_hz", [2e7, 1.5e8, 1.2e9, 5e9])
def test_low_pass_is_first_order(bandwidth_hz):
    f = np.linspace(0, 0.4, 200)
    ideal = 1 / (1 + 1j * f * RATE_HZ / bandwidth_hz)
    taps = filters.low_pass(bandwidth_hz, RATE_HZ)
    assert np.max(np.abs(response(taps, f) - ideal)) < 1e-4


@pytest.mark.parametrize("phase_s2", [1.4e-20, -3e-18, 4e-17])
def test_dispersion_taps_have_the_phase_of_the_fibre(phase_s2):
    f = np.linspace(-0.4, 0.4, 201)
    ideal = np.exp(1j * phase_s2 * (f * RATE_HZ) ** 2)
    got = response(filters.dispersion(phase_s2, RATE_HZ), f)
    # A thousandth of the effect itself.
    assert np.max(np.abs(got - ideal)) < 1e-3 * abs(phase_s2) * (0.4 * RATE_HZ) ** 2


def test_dispersion_phase_of_standard_fibre():
    # beta_2 = -21.68 ps^2/km at 17 ps/nm/km and 1550 nm; phase = beta_2/2 w^2 L.
    w = 2 * math.pi * 1e8
    expected = 21.68e-27 / 2 * w**2 * 10_000
    got = filters.dispersion_phase_s2(17.0, 10.0, 1550.0) * 1e16
    assert got == pytest.approx(expected, rel=1e-3)


def test_filters_match_a_convolution():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((2, 5000)).astype(np.float32)
    taps = filters.low_pass(1e8, RATE_HZ)
    h = taps.reversed_[::-1].astype(float)
    slow = np.convolve(x[0].astype(float), h)[h.size - 1 : x.shape[1]]
    assert np.allclose(filters.filter_real(x[0], taps), slow, atol=1e-5)
    taps = filters.dispersion(3e-17, RATE_HZ)
    h = taps.reversed_[::-1].astype(complex)
    slow = np.convolve((x[0] + 1j * x[1]).astype(complex), h)[h.size - 1 : x.shape[1]]
    re, im = filters.filter_complex(x[0], x[1], taps)
    assert np.allclose(re + 1j * im, slow, atol=1e-5)


def evaluate(samples, instants, start, n, bandwidth=0.0):
    wave = PlayedWaveform(samples.astype(np.float32), interpolation_table(bandwidth))
    out = np.full(n, np.nan, np.float32)
    wave.fill(instants, start, out)
    return out


@pytest.mark.parametrize("f", [0.0, 0.05, 0.2, 0.3, 0.36])
@pytest.mark.parametrize("step", [1.0, 1 + 3e-6, 1 - 1e-4, 0.73, 2.5])
def test_interpolation_is_flat_to_072_of_nyquist(f, step):
    m = np.arange(9000)
    p = 100.37 + step * np.arange(3000)
    out = evaluate(
        np.cos(2 * np.pi * f * m + 0.3), SamplingInstants(100.37, step, 0), 0, 3000
    )
    assert np.max(np.abs(out - np.cos(2 * np.pi * f * p + 0.3))) < 1e-4


def test_a_drifting_clock_samples_on_a_parabola():
    m = np.arange(60_000)
    i = np.arange(50_000.0)
    p = 50.2 + (1 + 1e-5) * i + 1e-9 * i * i
    out = evaluate(
        np.sin(2 * np.pi * 0.21 * m), SamplingInstants(50.2, 1 + 1e-5, 1e-9), 0, i.size
    )
    assert np.max(np.abs(out - np.sin(2 * np.pi * 0.21 * p))) < 1e-4


def test_output_is_zero_outside_the_waveform():
    out = evaluate(np.ones(100), SamplingInstants(-200.0, 1.0, 0.0), -300, 900)
    assert np.array_equal(np.flatnonzero(np.abs(out) > 1e-6), np.arange(500, 600))


def test_interpolation_does_not_depend_on_the_piece():
    samples = np.random.default_rng(2).standard_normal(5000)
    where = SamplingInstants(-100.3, 1 + 2e-5, 1e-10)
    whole = evaluate(samples, where, -20, 6000)
    parts = [evaluate(samples, where, -20 + low, 750) for low in range(0, 6000, 750)]
    assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("bandwidth", [0.3, 2.0, 12.5])
def test_generator_bandwidth_is_a_first_order_low_pass(bandwidth):
    m, f = np.arange(4000), 0.25
    out = evaluate(
        np.cos(2 * np.pi * f * m),
        SamplingInstants(1000.4, 1.0, 0.0),
        0,
        2000,
        bandwidth,
    )
    h = 1 / (1 + 1j * f / bandwidth)
    ideal = (h * np.exp(2j * np.pi * f * (1000.4 + np.arange(2000)))).real
    assert np.max(np.abs(out - ideal)) < 2e-3 / bandwidth * 0.3 + 1e-4


def slow_modulator(v_i, v_q, b_i, b_q, s, scale):
    m = s.modulator
    half = 10 ** (m.imbalance_db / 40)
    gain = 10 ** (m.driver_gain_db / 20)
    a = math.sin(math.pi * v_i * gain * half / (2 * m.v_pi_v) + b_i)
    b = math.sin(math.pi * v_q * gain / half / (2 * m.v_pi_v) + b_q)
    leak = 10 ** (-m.extinction_ratio_db / 20) if m.extinction_ratio_db else 0
    return scale * (a + 1j * cmath.exp(1j * m.quadrature_error_rad) * b + leak)


@pytest.mark.parametrize("extinction_db", [0.0, 30.0])
def test_modulator_matches_the_formula(extinction_db):
    s = SimSettings(
        modulator={"imbalance_db": 0.7, "quadrature_error_rad": 0.1}
        | {"extinction_ratio_db": extinction_db}
    )
    scale = full_scale_field(s, RATE_HZ)
    rng = np.random.default_rng(3)
    v = rng.uniform(-3, 3, (2, 500)).astype(np.float32)
    b = rng.uniform(-0.3, 0.3, (2, 500)).astype(np.float32)
    slow = [
        slow_modulator(*map(float, row), s, scale) for row in zip(*v, *b, strict=True)
    ]
    IqModulator(s, RATE_HZ).modulate((v[0], v[1]), (b[0], b[1]))
    assert np.allclose(v[0] + 1j * v[1], slow, atol=2e-6 * scale)


def test_default_launch_power_with_one_arm_on():
    scale = full_scale_field(SimSettings(), RATE_HZ)
    photons_per_s = (scale / 2) ** 2 * RATE_HZ
    power_w = photons_per_s * 6.62607015e-34 * 299792458 / 1550e-9
    assert 10 * math.log10(power_w / 1e-3) == pytest.approx(-23.4, abs=1e-9)
    assert field_amplitude(power_w, 1550.0, RATE_HZ) == pytest.approx(scale)


def test_intensity_noise_modulates_the_amplitude_by_half():
    n, rms = 1 << 18, relative_intensity_rms(-110.0, RATE_HZ)
    assert rms == pytest.approx(math.sqrt(1e-11 * 2e8))
    re, im = np.full((2, n), 3.0, np.float32)
    noise = NormalStream(1, "r").fill(0, np.empty(n, np.float32))
    add_intensity_noise(re, im, noise, rms)
    power = (re.astype(float) ** 2 + im.astype(float) ** 2) / 18
    tolerance = 5 * math.sqrt(2 / n)
    assert power.std() / rms == pytest.approx(1, abs=tolerance + rms)
    assert relative_intensity_rms(0.0, RATE_HZ) == 0.0


def test_lo_intensity_noise_is_reduced_by_the_common_mode_rejection():
    s = SimSettings(lo={"power_dbm": 10, "rin_db_per_hz": -150})
    photons = 1e-2 / (6.62607015e-34 * 299792458 / 1550e-9) / RATE_HZ * 0.85
    expected = math.sqrt(photons) * math.sqrt(1e-15 * 2e8) * 10 ** (-30 / 20)
    assert lo_noise_rms(s, RATE_HZ) == pytest.approx(expected, rel=1e-6)
    assert lo_noise_rms(SimSettings(receiver={"cmrr_db": 0}), RATE_HZ) == 0.0


def test_default_lo_noise_stays_below_a_thousandth_of_shot_noise():
    assert lo_noise_rms(SimSettings(), RATE_HZ) ** 2 < 1e-3


def test_carrier_is_a_chirped_phasor():
    n = 5000
    c, s = np.empty((2, n), np.float32)
    phase = np.random.default_rng(4).normal(size=n).cumsum()
    rotate((0.2, 0.377, 1e-7), -70, phase, (c, s))
    i = np.arange(n) - 70.0
    ideal = np.exp(1j * (2 * np.pi * (0.2 + 0.377 * i + 1e-7 * i * i) + phase))
    assert np.max(np.abs(c + 1j * s - ideal)) < 1e-6
