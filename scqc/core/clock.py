"""Bench time and wall-clock deadlines.

On hardware, bench time is the wall clock. In simulation it advances with what
is acquired, so that an hour of drift takes seconds. Deadlines on input and
output are always wall clock.
"""

from __future__ import annotations

import time


class SimulatedClock:
    """Bench time that moves only when the virtual laboratory is used."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> float:
        """Return the bench time [s]."""
        return self._now_s

    def advance(self, duration_s: float) -> None:
        """Move bench time forward by `duration_s` [s]; it never runs backwards."""
        if duration_s < 0.0:
            raise ValueError(f"bench clock: cannot advance by {duration_s} s (< 0)")
        self._now_s += duration_s


class Deadline:
    """A point on the monotonic wall clock that a sequence of calls shares."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._end_s = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self._end_s - time.monotonic())

    @property
    def expired(self) -> bool:
        """Whether no time is left."""
        return time.monotonic() >= self._end_s
