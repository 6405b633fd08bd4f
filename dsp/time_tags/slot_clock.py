"""The slot clock: which slot, and where in it, a tag of the tagger belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SlotClock:
    """Position in slots as a piecewise linear function of the tagger's time.

    Parameters
    ----------
    knots_ps : ndarray, shape (n,), float64 [ps]
        Rising times since the start of the acquisition, at least two.
    positions : ndarray, shape (n,), float64 [slot]
        Position at each knot; whole numbers are the centres of slots. The first
        and last stretch go on beyond the knots.
    slot_rate_hz : float
        Nominal.
    residual_s : float
        Standard deviation of the clock's own error [s].
    """

    knots_ps: NDArray[np.float64]
    positions: NDArray[np.float64]
    slot_rate_hz: float
    residual_s: float

    @property
    def df(self) -> float:
        """Relative excess of the slot rate over nominal, by the tagger's clock [1]."""
        measured = (self.positions[-1] - self.positions[0]) / (
            self.knots_ps[-1] - self.knots_ps[0]
        )
        return float(measured / (1e-12 * self.slot_rate_hz) - 1.0)

    @property
    def delay_s(self) -> float:
        """Tagger time of the centre of slot 0 [s]."""
        slopes = np.diff(self.positions) / np.diff(self.knots_ps)
        part = int(np.searchsorted(self.positions, 0.0)) - 1
        part = min(max(part, 0), slopes.size - 1)
        at_ps = self.knots_ps[part] - self.positions[part] / slopes[part]
        return 1e-12 * float(at_ps)

    def at(self, times_ps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the position of each time.

        Parameters
        ----------
        times_ps : ndarray, shape (n,), int64 [ps]

        Returns
        -------
        ndarray, shape (n,), float64 [slot]
        """
        slopes = np.diff(self.positions) / np.diff(self.knots_ps)
        part = np.searchsorted(self.knots_ps, times_ps, side="right") - 1
        part = np.clip(part, 0, slopes.size - 1)
        found: NDArray[np.float64] = (
            self.positions[part] + (times_ps - self.knots_ps[part]) * slopes[part]
        )
        return found

    def moved(self, slots: float) -> SlotClock:
        """Return the same clock with `slots` subtracted from every position."""
        return SlotClock(
            self.knots_ps, self.positions - slots, self.slot_rate_hz, self.residual_s
        )
