r"""Carrier phase from a pilot tone: theory and the stationary smoother.

A laser's phase is a Wiener process: it grows by a variance
:math:`Q = 2\pi\,\Delta\nu\,T` per step. A pilot measures it with variance
:math:`R = 1/(2\,\mathrm{SNR})` per step. The best estimate from past *and*
future leaves the variance :math:`P = QR/\sqrt{Q^2 + 4QR}`.

Only the pilot is used, never the symbols it corrects: an estimator that sees
the sample it corrects hides excess noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PhaseNoise:
    """Wiener step and measurement noise of a phase sequence.

    Parameters
    ----------
    step_rad2 : float
        Variance `Q` of the phase's increment per step [rad^2].
    measurement_rad2 : float
        Variance `R` of one measurement [rad^2].
    """

    step_rad2: float
    measurement_rad2: float

    @property
    def gain(self) -> float:
        """Stationary Kalman gain [1]."""
        q, r = self.step_rad2, self.measurement_rad2
        prediction = 0.5 * (math.sqrt(q * q + 4.0 * q * r) + q)
        return prediction / (prediction + r)

    @property
    def smoothed_rad2(self) -> float:
        """Variance left by the two-sided smoother [rad^2]."""
        q, r = self.step_rad2, self.measurement_rad2
        return q * r / math.sqrt(q * q + 4.0 * q * r)

    @property
    def filtered_rad2(self) -> float:
        """Variance left by the causal filter [rad^2]."""
        q, r = self.step_rad2, self.measurement_rad2
        return 0.5 * (math.sqrt(q * q + 4.0 * q * r) - q)


def estimate_phase_noise(
    phase_rad: NDArray[np.float64], correlation: int = 4
) -> PhaseNoise:
    r"""Estimate `Q` and `R` from the structure function of a measured phase.

    The variance of the increment over `L` steps is :math:`LQ + 2R` once `L`
    exceeds the correlation length of the measurement noise, so two lags give
    both. A constant frequency offset is removed first.

    Parameters
    ----------
    phase_rad : ndarray, shape (n,), float64 [rad]
        Unwrapped phase.
    correlation : int
        Steps over which the measurement noise is correlated [1].

    Returns
    -------
    PhaseNoise
        Floored at a millionth of each other: a noiseless simulation gives a
        finite gain.
    """

    def structure(lag: int) -> float:
        step = phase_rad[lag:] - phase_rad[:-lag]
        return float(np.var(step))

    short, long = correlation, 8 * correlation
    near, far = structure(short), structure(long)
    step = (far - near) / (long - short)
    noise = 0.5 * (near - short * step)
    floor = 1e-6 * max(near, 1e-18)
    return PhaseNoise(max(step, floor), max(noise, floor))
