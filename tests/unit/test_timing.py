import math

import numpy as np
import pytest

from dsp.timing import TimingTracker


def _track(ppm, noise, blocks=40, seed=1, acquired_ppm=0.0, start=1000.0):
    """Feed measurements of a linear clock; return the tracker and its errors."""
    rng = np.random.default_rng([seed, 4])
    rate = 0.125 * (1 + 1e-6 * ppm)
    tracker = TimingTracker(0.125 * (1 + 1e-6 * acquired_ppm), start, 1e-6)
    errors = []
    for block in range(blocks):
        sample = start + 65_536 * (block + 0.5)
        truth = rate * (sample - start)
        errors.append(tracker.predicted(sample) - truth)
        tracker.update(sample, truth + noise * rng.standard_normal(), noise**2)
    return tracker, np.array(errors), rate


def test_a_perfect_clock_needs_no_correction():
    tracker, errors, _ = _track(0.0, 1e-9)
    assert np.max(np.abs(errors)) < 1e-6
    assert abs(tracker.rate_correction) < 1e-9
    np.testing.assert_allclose(
        tracker.instants(0, 5), 1000.0 + 8.0 * np.arange(5), atol=1e-5
    )


def test_a_wrong_acquired_rate_is_followed():
    tracker, errors, rate = _track(ppm=3.0, noise=1e-4, acquired_ppm=2.0)
    assert tracker.rate_correction == pytest.approx(1e-6, abs=2e-9)
    # At the end the prediction one block ahead is as good as a line through all.
    assert abs(errors[-1]) < 5e-4
    np.testing.assert_allclose(
        np.diff(tracker.instants(300_000, 3)), 1.0 / rate, rtol=1e-8
    )


def test_error_is_that_of_a_line_fit():
    """Prediction of the next block: variance 4 sigma^2 / n for a fitted line."""
    noise, blocks = 1e-3, 30
    last = [_track(0.3, noise, blocks, seed)[1][-1] for seed in range(150)]
    expected = noise * math.sqrt(4.0 / (blocks - 1))
    # The prior on the rate helps a little; 150 tries give 6 % of a sigma.
    assert 0.5 * expected < np.std(last) < expected * (1 + 5 / math.sqrt(300))
    assert abs(np.mean(last)) < 5 * expected / math.sqrt(150)


def test_instants_invert_the_prediction():
    tracker, _, _ = _track(5.0, 1e-4, acquired_ppm=4.0)
    for symbol in (0, 17, 250_000):
        (sample,) = tracker.instants(symbol, 1)
        assert tracker.predicted(sample) == pytest.approx(symbol, abs=1e-6)


def test_count_before_counts_every_symbol_once():
    tracker, _, _ = _track(5.0, 1e-4, acquired_ppm=4.0)
    instants = tracker.instants(0, 2000)
    for sample in (1000.0, 1004.0, 5555.5, 16_900.0):
        expected = int(np.count_nonzero(instants < sample + 1e-6))
        assert abs(tracker.count_before(sample, 0, 2000) - expected) <= (
            1 if np.min(np.abs(instants - sample)) < 1e-3 else 0
        )
    assert tracker.count_before(0.0, 0, 2000) == 0
    assert tracker.count_before(1e9, 0, 2000) == 2000
    assert tracker.count_before(1e9, 1990, 2000) == 10
