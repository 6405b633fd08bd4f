"""Symbol timing from the phase difference of the two pilots.

The difference grows by ``2 pi (f2 - f1)`` per second of the *transmitter's*
clock; the laser's phase is common and drops out. A two-state Kalman filter
follows offset and rate, one measurement per block.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# Random walk of the clock's rate per block [symbol/symbol]: a good oscillator
# drifts less than 1e-10 in a fraction of a millisecond.
_RATE_WALK = 1e-10


class TimingTracker:
    """Follows how many symbol periods of the transmitter have passed.

    Parameters
    ----------
    symbols_per_sample : float
        Nominal, corrected by the acquired clock error [symbol/sample].
    first_symbol_sample : float
        Instant of symbol 0 from the preamble [sample].
    rate_sigma : float
        Relative uncertainty of `symbols_per_sample` [1].
    """

    def __init__(
        self, symbols_per_sample: float, first_symbol_sample: float, rate_sigma: float
    ) -> None:
        self.symbols_per_sample = symbols_per_sample
        self._origin = first_symbol_sample
        # State: deviation from the linear clock [symbol] and its slope [1].
        self._state = np.zeros(2)
        self._covariance = np.diag([1e-6, max(rate_sigma, 1e-9) ** 2])
        self._at = 0.0

    def predicted(self, sample: float) -> float:
        """Return the transmitter time [symbol] expected at `sample`."""
        linear = (sample - self._origin) * self.symbols_per_sample
        ahead = linear - self._at
        return float(linear + self._state[0] + self._state[1] * ahead)

    def update(self, sample: float, symbols: float, variance: float) -> None:
        """Take one measurement of the transmitter time.

        Parameters
        ----------
        sample : float
            Centre of the measured block [sample].
        symbols : float
            Measured transmitter time [symbol].
        variance : float
            Of the measurement [symbol^2].
        """
        linear = (sample - self._origin) * self.symbols_per_sample
        ahead = linear - self._at
        move = np.array([[1.0, ahead], [0.0, 1.0]])
        walk = np.diag([0.0, _RATE_WALK**2])
        self._state = move @ self._state
        self._covariance = move @ self._covariance @ move.T + walk
        innovation = symbols - linear - self._state[0]
        spread = self._covariance[0, 0] + variance
        gain = self._covariance[:, 0] / spread
        self._state = self._state + gain * innovation
        self._covariance = self._covariance - np.outer(gain, self._covariance[0])
        self._at = linear

    def count_before(self, sample: float, symbol: int, last: int) -> int:
        """Count the symbols from `symbol` to `last` with centres before `sample`."""
        reached = math.floor(self.predicted(sample)) + 1 - symbol
        return max(0, min(last - symbol, reached))

    @property
    def rate_correction(self) -> float:
        """Relative correction of the acquired clock rate [1]."""
        return float(self._state[1])

    def instants(self, first: int, count: int) -> NDArray[np.float64]:
        """Return the instants of `count` symbols from `first` on.

        Returns
        -------
        ndarray, shape (count,), float64 [sample]
        """
        index = np.arange(first, first + count, dtype=np.float64)
        # Invert u = linear + state0 + state1 * (linear - at) exactly: it is affine.
        slope = 1.0 + self._state[1]
        linear = (index - self._state[0] + self._state[1] * self._at) / slope
        out: NDArray[np.float64] = self._origin + linear / self.symbols_per_sample
        return out
