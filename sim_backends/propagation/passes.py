"""When a satellite can be seen: passes above a mask."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import OrbitError
from sim_backends.propagation.earth_frame import UtcGrid
from sim_backends.propagation.orbit import View
from sim_backends.propagation.ranges import within


@dataclass(frozen=True)
class Pass:
    """One pass; times are since the start of the grid.

    Parameters
    ----------
    rise_s, set_s : float
        When the elevation crosses the mask, or the grid begins or ends [s].
    culmination_s : float
        When it is highest [s].
    max_elevation_rad : float
    min_range_m : float
        Smallest of the points [m].
    points : slice
        Of the grid, above the mask.
    whole : bool
        Whether both crossings lie within the grid.
    """

    rise_s: float
    set_s: float
    culmination_s: float
    max_elevation_rad: float
    min_range_m: float
    points: slice
    whole: bool

    @property
    def duration_s(self) -> float:
        """Time above the mask [s]."""
        return self.set_s - self.rise_s


def passes(seen: View, grid: UtcGrid, mask_rad: float) -> list[Pass]:
    """Return the passes during which the elevation exceeds a mask.

    Crossings are interpolated linearly, culminations by a parabola: for steps of a
    second both are better than the orbit. A pass shorter than a step may be missed.

    Parameters
    ----------
    seen : View
        Of the same grid.
    grid : UtcGrid
    mask_rad : float
        Least elevation [rad].

    Returns
    -------
    list of Pass
        In order of time; empty if the satellite stays below the mask.

    Raises
    ------
    ModelRangeError
        If the mask is not within 0 to 90 degrees.
    OrbitError
        If the view is not of the grid.
    """
    within("mask of elevation [rad]", mask_rad, (0.0, 0.5 * math.pi))
    if seen.elevation_rad.shape != (grid.count,):
        shape = seen.elevation_rad.shape
        raise OrbitError(f"a view of shape {shape} for a grid of {grid.count} points")
    above = np.concatenate([[False], seen.elevation_rad > mask_rad, [False]])
    starts, ends = np.flatnonzero(np.diff(above.astype(np.int8))).reshape(-1, 2).T
    return [
        _pass(seen, grid, mask_rad, slice(int(start), int(end)))
        for start, end in zip(starts, ends, strict=True)
    ]


def _pass(seen: View, grid: UtcGrid, mask_rad: float, points: slice) -> Pass:
    height = seen.elevation_rad
    last = points.stop - 1
    top = points.start + int(np.argmax(height[points]))
    shift, highest = 0.0, float(height[top])
    if 0 < top < grid.count - 1:
        shift, highest = _vertex(height[top - 1 : top + 2])
    return Pass(
        grid.step_s * (points.start - _beyond(height, points.start, -1, mask_rad)),
        grid.step_s * (last + _beyond(height, last, 1, mask_rad)),
        grid.step_s * (top + shift),
        highest,
        float(seen.range_m[points].min()),
        points,
        points.start > 0 and points.stop < grid.count,
    )


def _beyond(
    height: NDArray[np.float64], inside: int, step: int, mask_rad: float
) -> float:
    """Return how far past the last point above it the mask is crossed [steps]."""
    outside = inside + step
    if not 0 <= outside < height.size:
        return 0.0
    return float((height[inside] - mask_rad) / (height[inside] - height[outside]))


def _vertex(three: NDArray[np.float64]) -> tuple[float, float]:
    """Return where the parabola through three points is highest, and how high."""
    before, middle, after = (float(value) for value in three)
    bend = before - 2.0 * middle + after
    # Straight overhead the elevation has a cusp, flat paths have no bend.
    if bend >= 0.0:
        return 0.0, middle
    shift = 0.5 * (before - after) / bend
    return shift, min(middle - 0.25 * (before - after) * shift, 0.5 * math.pi)
