"""Grids of a scenario's numbers, cut into chunks that have names.

The name of a chunk's result is the hash of what it rests on: the scenario, the grid,
the sources of the models and the chunk's number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import product

import numpy as np
from pydantic import Field

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.provenance import software_version
from scqc.core.settings import Settings
from scqc.plan.optimise import check_variables
from scqc.plan.overrides import settings_of
from scqc.plan.pass_sweeps import pass_names, refused_pass
from scqc.plan.passes import PassPlan
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, Sweep, numeric_names, refused
from scqc.plan.sources import model_digest

#: Every process of a cluster gets some chunks, and a kill loses few points.
_LEAST_CHUNKS = 32
#: Chunks smaller than this are mostly files, larger ones take too long: points that
#: are evaluated, points that are optimised, days of passes.
_CHUNK_POINTS = {"points": (50, 2000), "optimised": (1, 16), "passes": (1, 4)}


class Grid(Settings):
    """A scenario and the axes of a grid around it."""

    scenario: Scenario | PassPlan
    axes: tuple[Sweep, ...] = Field(min_length=1)
    chunk_points: int = Field(default=2000, ge=1, le=1_000_000)
    optimise: tuple[str, ...] = Field(
        default=(), description="numbers to optimise at every point"
    )

    @property
    def shape(self) -> tuple[int, ...]:
        """Points along every axis."""
        return tuple(axis.points for axis in self.axes)

    @property
    def n_points(self) -> int:
        """Points of the grid."""
        return int(np.prod(self.shape))

    @property
    def n_chunks(self) -> int:
        """Files that the grid ends up in."""
        return -(-self.n_points // self.chunk_points)

    @property
    def fitting_chunk_points(self) -> int:
        """Points per chunk, by their number and by what one costs."""
        kind = "optimised" if self.optimise else "points"
        if isinstance(self.scenario, PassPlan):
            kind = "passes"
        least, most = _CHUNK_POINTS[kind]
        return min(max(-(-self.n_points // _LEAST_CHUNKS), least), most)

    def points(self, chunk: int) -> dict[str, Floats]:
        """Return the coordinates of a chunk's points, by dotted name."""
        start = chunk * self.chunk_points
        flat = np.arange(start, min(start + self.chunk_points, self.n_points))
        where = np.unravel_index(flat, self.shape)
        return {
            axis.variable: axis.values[i]
            for axis, i in zip(self.axes, where, strict=True)
        }

    def digest(self, chunk: int) -> str:
        """Return the name of a chunk's result: a hash of all it rests on."""
        whole = {
            "grid": self.model_dump(mode="json"),
            "chunk": chunk,
            "model": model_digest(),
            "software": software_version(),
        }
        text = json.dumps(whole, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_axis(text: str) -> Sweep:
    """Read an axis: ``variable=start:stop:points``, and ``:log`` if wanted.

    Raises
    ------
    PlanSettingsError
        If the text says something else.
    """
    variable, _, rest = text.partition("=")
    start, stop, points, *spacing = (*rest.split(":"), "", "", "")[:4]
    try:
        return Sweep.model_validate(
            {
                "variable": variable.strip(),
                "start": float(start),
                "stop": float(stop),
                "points": int(points),
                "spacing": spacing[0] or "linear",
            }
        )
    except ValueError as error:
        limit = "write variable=start:stop:points, and :log for even ratios"
        problem = ConfigProblem("sweep", "", "--grid", text, limit)
        raise PlanSettingsError([problem]) from error


def grid_of(
    name: str,
    changes: Sequence[str],
    axes: Sequence[str],
    optimise: Sequence[str] = (),
    chunk_points: int = 0,
) -> Grid:
    """Return the grid around a preset.

    Parameters
    ----------
    name : str
    changes : sequence of str
        ``key=value``.
    axes : sequence of str
        As `read_axis` takes them; the last part of a name is enough.
    optimise : sequence of str
        Names of numbers to optimise at every point.
    chunk_points : int
        Points per file; 0: by their number and cost.

    Raises
    ------
    PlanSettingsError
        If the preset has no key, or an axis or a variable is unknown.
    """
    settings, _, _ = settings_of(name, changes)
    if not isinstance(settings, Scenario | PassPlan):
        limit = "has no points to sweep; take one with a channel and a scheme"
        raise PlanSettingsError([ConfigProblem("sweep", "", "preset", name, limit)])
    known = names_of(settings)
    read = [read_axis(axis) for axis in axes]
    named = [
        axis.model_copy(update={"variable": full_name(axis.variable, known)})
        for axis in read
    ]
    wanted = tuple(full_name(one, known) for one in optimise)
    grid = Grid(scenario=settings, axes=tuple(named), optimise=wanted)
    size = chunk_points or grid.fitting_chunk_points
    grid = grid.model_copy(update={"chunk_points": size})
    check_grid(grid)
    return grid


def names_of(settings: Scenario | PassPlan) -> list[str]:
    """Return the dotted names of the numbers that may vary."""
    if isinstance(settings, PassPlan):
        return pass_names(settings)
    return numeric_names(settings)


def full_name(name: str, known: Sequence[str]) -> str:
    """Return the dotted name that ends with `name`, if only one does."""
    ends = [one for one in known if one.rpartition(".")[2] == name]
    return ends[0] if len(ends) == 1 else name


def check_grid(grid: Grid) -> None:
    """Refuse axes that the scenario does not have, and values that none may have.

    Raises
    ------
    PlanSettingsError
        Naming every such axis, and every end of one that is out of range.
    """
    known = names_of(grid.scenario)
    problems = [
        ConfigProblem("sweep", "axes", axis.variable, "axis", "no number of this plan")
        for axis in grid.axes
        if axis.variable not in known
    ]
    if not problems:
        problems = _ends_out_of_range(grid)
    if problems:
        raise PlanSettingsError(problems)
    if grid.optimise:
        check_variables(grid.scenario, grid.optimise)


def _ends_out_of_range(grid: Grid) -> list[ConfigProblem]:
    """Return ends beyond the range of their number, or all if none fits another."""
    problems = []
    for axis in grid.axes:
        for end in dict.fromkeys((axis.start, axis.stop)):
            why = _refused(grid, {axis.variable: end}, rules=False)
            if why:
                problems.append(
                    ConfigProblem("sweep", "axes", axis.variable, f"{end:g}", why)
                )
    if problems:
        return problems
    names = [axis.variable for axis in grid.axes]
    corners = product(*((axis.start, axis.stop) for axis in grid.axes))
    reasons = [
        _refused(grid, dict(zip(names, corner, strict=True)), rules=True)
        for corner in corners
    ]
    if all(reasons):
        return [ConfigProblem("sweep", "axes", ", ".join(names), "grid", reasons[0])]
    return []


def _refused(grid: Grid, numbers: dict[str, float], rules: bool) -> str:
    if isinstance(grid.scenario, PassPlan):
        return refused_pass(grid.scenario, numbers, rules)
    return refused(grid.scenario, numbers, rules)
