"""The root-raised cosine against its definition in the frequency domain."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0

from dsp.pulse import KAISER_BETA, finite_pulse, root_raised_cosine


def _from_spectrum(t, roll_off):
    """Inverse Fourier integral of the square root of the raised-cosine spectrum."""

    def amplitude(f):
        low, high = 0.5 * (1 - roll_off), 0.5 * (1 + roll_off)
        if f <= low:
            return 1.0
        if f >= high:
            return 0.0
        return math.cos(0.5 * math.pi * (f - low) / roll_off)

    value, _ = quad(
        lambda f: 2.0 * amplitude(f) * math.cos(2 * math.pi * f * t),
        0.0,
        0.5 * (1 + roll_off),
        points=[0.5 * (1 - roll_off)],
        limit=400,
        epsabs=1e-11,
    )
    return value


@pytest.mark.parametrize("roll_off", [0.1, 0.2, 0.5, 1.0])
def test_pulse_is_the_transform_of_its_spectrum(roll_off):
    # The two removable singularities are among the instants.
    t = np.array([0.0, 0.25 / roll_off, -0.25 / roll_off, 0.3, 1.0, 2.7, -5.25])
    expected = [_from_spectrum(x, roll_off) for x in t]
    np.testing.assert_allclose(root_raised_cosine(t, roll_off), expected, atol=1e-9)


@pytest.mark.parametrize("roll_off", [0.2, 0.25, 1.0])
def test_pulse_is_continuous_at_its_removable_singularities(roll_off):
    for at in (0.0, 0.25 / roll_off):
        near = at + np.array([-1e-6, 0.0, 1e-6])
        left, centre, right = root_raised_cosine(near, roll_off)
        assert left == pytest.approx(centre, abs=1e-5)
        assert right == pytest.approx(centre, abs=1e-5)


def test_pulse_and_matched_filter_meet_nyquist():
    """The unwindowed pulse correlates with its own shifts to a Kronecker delta."""
    sps, half = 8, 400
    t = np.arange(-half * sps, half * sps + 1) / sps
    pulse = root_raised_cosine(t, 0.2)
    for shift in range(6):
        moved = root_raised_cosine(t - shift, 0.2)
        # The tails beyond 400 symbols fall like 1/t^2: below 1e-6 of the energy.
        assert pulse @ moved / sps == pytest.approx(float(shift == 0), abs=1e-5)


def test_window_is_kaiser_and_ends_at_half_the_span():
    t = np.linspace(-17.0, 17.0, 341)
    windowed = finite_pulse(t, 0.2, 32)
    assert not windowed[np.abs(t) > 16.0].any()
    inside = np.abs(t) <= 16.0
    window = i0(KAISER_BETA * np.sqrt(1 - (t[inside] / 16.0) ** 2)) / i0(KAISER_BETA)
    np.testing.assert_allclose(
        windowed[inside], root_raised_cosine(t[inside], 0.2) * window, atol=1e-12
    )


def test_leakage_of_the_windowed_pulse_is_harmless():
    """Budget: 1e-4 SNU at Bob, a tenth of the smallest penalty of the link."""
    sps = 8
    t = np.arange(-32 * sps, 32 * sps + 1) / sps
    pulse = finite_pulse(t, 0.2, 32)
    energy = pulse @ pulse
    leaks = [finite_pulse(t - k, 0.2, 32) @ pulse / energy for k in range(1, 31)]
    power = 2 * np.square(leaks)
    gaussian_snu = 0.27 * 2.0  # eta T V_A / 2 of the default bench
    displacement_snu = 2.33**2 * (1.05 + gaussian_snu)
    # The Gaussian leakage stays; of the displacement's, 13 taps remove +-6 symbols.
    assert gaussian_snu * float(power.sum()) < 1e-4
    assert displacement_snu * float(power[6:].sum()) < 1e-4
