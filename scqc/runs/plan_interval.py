"""What a run must find: intervals, and the refusal of plans that no bench can run."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.stats import norm, poisson

from scqc.core.errors import ConfigProblem, PlanSettingsError

#: Half-width of an interval in standard deviations: one run in ten thousand.
SIGMAS = 3.9


@dataclass(frozen=True, slots=True)
class Interval:
    """What a run must find.

    Parameters
    ----------
    value, low, high : float
        In the unit of the quantity.
    """

    value: float
    low: float
    high: float

    def holds(self, found: float) -> bool:
        """Return whether a value lies within."""
        return self.low <= found <= self.high


def counted(rate: float, trials: float, off: float) -> Interval:
    """Return the interval of a rate that is counted.

    Parameters
    ----------
    rate : float
        Expected, per trial [1].
    trials : float
        [1]
    off : float
        How far the model of the rate may be off, relative [1].
    """
    tail = float(norm.sf(SIGMAS))
    low = float(poisson.ppf(tail, trials * rate * (1.0 - off)))
    high = float(poisson.isf(tail, trials * rate * (1.0 + off)))
    return Interval(rate, low / trials, high / trials)


def unfit(table: str, key: str, value: object, limit: str) -> PlanSettingsError:
    """Return the refusal of a setting that no bench can follow."""
    return PlanSettingsError([ConfigProblem("plan", table, key, str(value), limit)])
