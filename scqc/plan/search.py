"""A search for the best of many variables, for many points at once.

Each point starts from the best of many places spread evenly between all bounds. From
there one variable after the other is moved; then all of them once more as far as the
round has moved them together (Hooke and Jeeves, J. ACM 8, 212 (1961)); then all of them
to places spread evenly around, as good places may form ridges. The steps become finer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scqc.plan.records import Floats

#: Starts per variable, spread evenly.
_SPREAD = 16
#: Steps of the rounds, as shares of the bounds, and what of a step is tried.
_STEPS = 0.25 * 0.75 ** np.arange(13)
_PARTS = np.array([-1.0, -0.5, 0.5, 1.0])
#: How often the movement of a round is repeated.
_REPEATS = np.array([1.0, 2.0])
#: Places per variable around the best, at which all of them change.
_AROUND = 8
#: Half-widths of the combs [share of the bounds], and tries.
_COMBS = ((0.04, 33), (0.0025, 17))


class Search:
    """The best places so far, of all points at once.

    Parameters
    ----------
    merit_of : callable
        Of shares of the bounds, shape (m, variables, n); returns what is to be
        highest, shape (m, n).
    own : ndarray, shape (variables,), float64 [1]
        A first place, in shares of the bounds.
    n : int
        Points.
    """

    def __init__(
        self, merit_of: Callable[[Floats], Floats], own: Floats, n: int
    ) -> None:
        self._merit_of, self._own = merit_of, own
        d = own.size
        #: Best shares of the bounds, shape (variables, n) [1].
        self.shares = np.repeat(own[:, np.newaxis], n, axis=1)
        self._merit = np.full(n, -np.inf)
        starts = np.vstack([own, np.full(d, 0.5), spread(_SPREAD * d, d)])
        self._try(np.repeat(starts[:, :, np.newaxis], n, axis=2))

    def run(self) -> None:
        """Move towards the best, with finer and finer steps."""
        d = self.shares.shape[0]
        around = 2.0 * spread(_STEPS.size * _AROUND * d, d) - 1.0
        for step, places in zip(_STEPS, np.split(around, _STEPS.size), strict=True):
            before = self.shares
            self._move_each(step * _PARTS)
            moved = self.shares - before
            if np.any(moved):
                self._try(self.shares + _REPEATS[:, np.newaxis, np.newaxis] * moved)
            if d > 1:
                self._try(self.shares + step * places[:, :, np.newaxis])

    def comb(self) -> None:
        """Find the tip of the highest tooth, where what is sought has teeth."""
        for width, tries in _COMBS:
            self._move_each(np.linspace(-width, width, tries))

    def settle(self) -> None:
        """Put back what does not matter to its first place."""
        for i, first in enumerate(self._own):
            tried = self.shares.copy()
            tried[i] = first
            same = self._merit_of(tried[np.newaxis])[0] >= self._merit
            self.shares = np.where(same, tried, self.shares)

    def _move_each(self, steps: Floats) -> None:
        """Move one variable after the other by each of the steps, shape (m,) [1]."""
        for i in range(self.shares.shape[0]):
            tried = np.repeat(self.shares[np.newaxis], steps.size, axis=0)
            tried[:, i] += steps[:, np.newaxis]
            self._try(tried)

    def _try(self, tried: Floats) -> None:
        """Take what is better of candidates, shape (m, variables, n)."""
        tried = np.clip(tried, 0.0, 1.0)
        merit = self._merit_of(tried)
        top = np.argmax(merit, axis=0)[np.newaxis]
        highest = np.take_along_axis(merit, top, axis=0)[0]
        better = highest > self._merit
        found = np.take_along_axis(tried, top[:, np.newaxis], axis=0)[0]
        self.shares = np.where(better, found, self.shares)
        self._merit = np.where(better, highest, self._merit)


def spread(n: int, dimensions: int) -> Floats:
    """Return points spread evenly in the unit cube, shape (n, dimensions) [1].

    The additive recurrence of the generalised golden ratio: x^(d + 1) = x + 1.

    Parameters
    ----------
    n : int
        Points.
    dimensions : int
    """
    ratio = 2.0
    for _ in range(64):
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1.0)
    return np.asarray((0.5 + np.outer(np.arange(1.0, n + 1.0), steps)) % 1.0)
