r"""Optional: let the decoded displacement help the pilot with the phase.

After error correction the displacement is known, so every symbol measures the
phase that the pilot left: :math:`m_k = \mathrm{Im}(s_k^* y_k)/(2A)`, with variance
:math:`V/(2A^2)`. The pilot's error is close to a first-order Gauss-Markov process
of variance `P`, so two recursions, one from each side, predict it at symbol `k`
from all *other* symbols.

The symbol itself is left out: an estimate that contains the sample it corrects
subtracts noise from the key's quadratures and reports too little excess noise.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.decision import DecisionScale
from dsp.phase import PhaseNoise


@numba.njit(cache=True, nogil=True)
def _predict(
    measured: NDArray[np.float64],
    memory: float,
    prior: float,
    noise: float,
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> None:
    """Kalman predictions of a Gauss-Markov process, each before its own sample."""
    state, spread = 0.0, prior
    for k in range(measured.size):
        mean[k], variance[k] = state, spread
        gain = spread / (spread + noise)
        state = memory * (state + gain * (measured[k] - state))
        spread = memory * memory * spread * (1.0 - gain) + prior * (
            1.0 - memory * memory
        )


def leave_one_out(
    measured_rad: NDArray[np.float64],
    memory: float,
    prior_rad2: float,
    noise_rad2: float,
) -> NDArray[np.float64]:
    """Estimate a Gauss-Markov phase at each sample from all the others.

    Parameters
    ----------
    measured_rad : ndarray, shape (n,), float64 [rad]
    memory : float
        Correlation of two neighbours [1].
    prior_rad2 : float
        Variance of the process [rad^2].
    noise_rad2 : float
        Variance of one measurement [rad^2].

    Returns
    -------
    ndarray, shape (n,), float64 [rad]
    """
    n = measured_rad.size
    ahead, ahead_variance = np.empty(n), np.empty(n)
    back, back_variance = np.empty(n), np.empty(n)
    _predict(measured_rad, memory, prior_rad2, noise_rad2, ahead, ahead_variance)
    backwards = np.ascontiguousarray(measured_rad[::-1])
    _predict(backwards, memory, prior_rad2, noise_rad2, back, back_variance)
    back, back_variance = back[::-1], back_variance[::-1]
    # Both sides contain the prior; it must count once.
    weight = 1.0 / ahead_variance + 1.0 / back_variance - 1.0 / prior_rad2
    estimate: NDArray[np.float64] = (
        ahead / ahead_variance + back / back_variance
    ) / weight
    return estimate


def refine_phase(
    symbols: NDArray[np.complex64],
    directions: NDArray[np.complex64],
    scale: DecisionScale,
    pilot: PhaseNoise,
    hops_per_symbol: float,
) -> NDArray[np.complex64]:
    """Turn every symbol by the phase its neighbours' displacements show.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [code or sqrt(SNU)]
    directions : ndarray, shape (n,), complex64 [1]
        Error-corrected, components +-1.
    scale : DecisionScale
        Displacement and noise per quadrature, in the unit of `symbols`.
    pilot : PhaseNoise
        Per hop of the pilot filter.
    hops_per_symbol : float
        [1]

    Returns
    -------
    ndarray, shape (n,), complex64 [as given]
    """
    projected = symbols.astype(np.complex128) * np.conj(directions)
    offset = math.atan2(float(projected.imag.mean()), float(projected.real.mean()))
    measured = (projected * np.exp(-1j * offset)).imag / (2.0 * scale.amplitude)
    memory = (1.0 - pilot.gain) ** hops_per_symbol
    noise_rad2 = scale.variance / (2.0 * scale.amplitude**2)
    phase = leave_one_out(measured, memory, pilot.smoothed_rad2, noise_rad2)
    turned: NDArray[np.complex64] = symbols * np.exp(-1j * phase).astype(np.complex64)
    return turned
