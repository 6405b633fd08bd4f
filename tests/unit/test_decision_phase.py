"""Decision-directed refinement: helps a weak pilot, never hides noise."""

import numpy as np
import pytest

from dsp.decision import DecisionScale
from dsp.decision_phase import leave_one_out, refine_phase
from dsp.phase import PhaseNoise


def gauss_markov(rng, n, memory, variance):
    steps = rng.standard_normal(n) * np.sqrt(variance * (1 - memory**2))
    out = np.empty(n)
    state = rng.standard_normal() * np.sqrt(variance)
    for k in range(n):
        state = memory * state + steps[k]
        out[k] = state
    return out


def test_leave_one_out_is_the_conditional_mean():
    """Against the dense Gaussian conditional, sample by sample."""
    n, memory, prior, noise = 12, 0.8, 0.3, 0.5
    rng = np.random.default_rng(3)
    measured = rng.standard_normal(n)
    lag = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    process = prior * memory**lag
    found = leave_one_out(measured, memory, prior, noise)
    for k in range(n):
        other = np.arange(n) != k
        observed = process[np.ix_(other, other)] + noise * np.eye(n - 1)
        expected = process[k, other] @ np.linalg.solve(observed, measured[other])
        assert found[k] == pytest.approx(expected, abs=1e-12)


def test_own_sample_has_no_influence():
    rng = np.random.default_rng(4)
    measured = rng.standard_normal(50)
    changed = measured.copy()
    changed[20] += 100.0
    before = leave_one_out(measured, 0.9, 0.2, 0.4)
    after = leave_one_out(changed, 0.9, 0.2, 0.4)
    assert after[20] == before[20]
    assert abs(after[21] - before[21]) > 1e-3


@pytest.mark.parametrize("xi", [0.0, 0.3])
def test_weak_pilot_gains_and_noise_is_not_hidden(xi):
    """Residual phase shrinks; the noise that is left never falls below the true one.

    The noise across the displacement is V + A^2 P for a residual variance P, so
    a reported variance below V would be noise taken away with the phase: 4 sigma
    of a variance estimate from n samples is 4 sqrt(2/n) V.
    """
    rng = np.random.default_rng(5)
    n, amplitude, variance = 200_000, 6.0, 1.0 + xi
    pilot = PhaseNoise(2e-3, 2e-2)
    memory = 1.0 - pilot.gain
    phase = gauss_markov(rng, n, memory, pilot.smoothed_rad2)
    signs = rng.choice([-1.0, 1.0], (n, 2))
    s = (signs[:, 0] + 1j * signs[:, 1]).astype(np.complex64)
    noise = np.sqrt(variance) * (rng.standard_normal(n) + 1j * rng.standard_normal(n))
    y = (amplitude * s * np.exp(1j * phase) + noise).astype(np.complex64)
    scale = DecisionScale(amplitude, variance)
    refined = refine_phase(y, s, scale, pilot, 1.0)
    across = np.var((y * np.conj(s)).imag) / 2
    across_refined = np.var((refined * np.conj(s)).imag) / 2
    assert across_refined < across
    assert across_refined > variance * (1 - 4 * np.sqrt(2 / n))
