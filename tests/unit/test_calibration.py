import math

import numpy as np
import pytest
from light_kit import RATE_HZ, Scene, light, receiver, some_lock

from dsp.calibration import NoiseVariance, noise_variance, shot_noise_unit
from dsp.demodulator import Demodulator
from scqc.core.errors import CalibrationError


def _variance(value, n=10_000):
    return NoiseVariance(value * n, value * n, n)


def _chain():
    return Demodulator(light(Scene()).layout, receiver(), RATE_HZ, some_lock())


def test_scale_and_electronic_noise_are_exact():
    unit = shot_noise_unit(_variance(105.0, 4000), _variance(5.0, 1000))
    assert unit.scale == pytest.approx(10.0)
    assert unit.electronic_snu == pytest.approx(0.05)
    assert (unit.n_shot, unit.n_electronic) == (8000, 2000)


def test_quadratures_are_averaged():
    assert NoiseVariance(30.0, 10.0, 10).variance == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("shot", "electronic"),
    [
        (5.0, 105.0),  # swapped
        (5.0, 5.0),  # the oscillator never came on
        (5.4, 5.0),  # hardly on
        (0.0, 0.0),  # no signal at all
        (math.nan, 5.0),
        (math.inf, 5.0),
    ],
)
def test_swapped_or_missing_traces_are_refused(shot, electronic):
    with pytest.raises(CalibrationError, match="swapped"):
        shot_noise_unit(_variance(shot), _variance(electronic))


@pytest.mark.parametrize("n", [0, 100, 8200])
def test_a_trace_too_short_is_refused(n):
    with pytest.raises(CalibrationError, match="at least 1000"):
        noise_variance(_chain(), [np.ones(n, dtype=np.int16)])


def test_a_missing_trace_is_refused():
    with pytest.raises(CalibrationError, match="0 symbols"):
        noise_variance(_chain(), [])


def test_measured_variance_is_that_of_white_noise_and_scales_exactly():
    rng = np.random.default_rng(1)
    trace = np.round(30.0 * rng.standard_normal(400_000)).astype(np.int16)
    one = noise_variance(_chain(), [trace])
    # Rounding adds 1/12 of a code squared.
    expected = 900.0 + 1.0 / 12.0
    # Neighbouring symbols are independent up to the pulse's small leakage.
    assert one.variance == pytest.approx(
        expected, rel=5 * math.sqrt(1.0 / one.n_symbols) + 1e-4
    )
    double = noise_variance(_chain(), [2 * trace])
    assert double.variance == pytest.approx(4.0 * one.variance, rel=1e-6)
