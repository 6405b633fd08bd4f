"""Large sweeps: grids of points in chunks, on all cores or a cluster, resumable.

A sweep is a scenario and a grid of some of its numbers. The grid is cut into
chunks; the result of every chunk is a file whose name is the hash of what it rests
on: the scenario, the grid, the task's code version and the chunk's number. A sweep
that was killed finds the finished files and computes the rest only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydantic import Field

from scqc.core.errors import (
    CaptureError,
    ConfigProblem,
    ModelRangeError,
    PlanSettingsError,
)
from scqc.core.provenance import software_version
from scqc.core.settings import Settings
from scqc.plan.evaluate import evaluate_points
from scqc.plan.optimise import check_variables, optimise_points
from scqc.plan.overrides import settings_of
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, Sweep, block_label, numeric_names
from scqc.plan.workers import Workers, run_chunks
from scqc.store.plan_tables import read_plan_table, write_plan_table

#: Counts up with every change of what a point means; old results are not reused.
MODEL_VERSION = 1
_DONE = "points"


class Grid(Settings):
    """A scenario and the axes of a grid around it."""

    scenario: Scenario
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
            "model": MODEL_VERSION,
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

    Raises
    ------
    PlanSettingsError
        If the preset has no key, or an axis or a variable is unknown.
    """
    settings, _, _ = settings_of(name, changes)
    if not isinstance(settings, Scenario):
        limit = "has no points to sweep; take one with a channel and a scheme"
        raise PlanSettingsError([ConfigProblem("sweep", "", "preset", name, limit)])
    known = numeric_names(settings)
    read = [read_axis(axis) for axis in axes]
    named = [
        axis.model_copy(update={"variable": full_name(axis.variable, known)})
        for axis in read
    ]
    grid = Grid(
        scenario=settings,
        axes=tuple(named),
        optimise=tuple(full_name(one, known) for one in optimise),
    )
    check_grid(grid)
    if grid.optimise:
        check_variables(settings, grid.optimise)
    return grid


def full_name(name: str, known: Sequence[str]) -> str:
    """Return the dotted name that ends with `name`, if only one does."""
    ends = [one for one in known if one.rpartition(".")[2] == name]
    return ends[0] if len(ends) == 1 else name


def check_grid(grid: Grid) -> None:
    """Refuse axes that the scenario does not have.

    Raises
    ------
    PlanSettingsError
        Naming every such axis.
    """
    known = numeric_names(grid.scenario)
    problems = [
        ConfigProblem("sweep", "axes", axis.variable, "axis", "no number of this plan")
        for axis in grid.axes
        if axis.variable not in known
    ]
    if problems:
        raise PlanSettingsError(problems)


def compute_chunk(grid: Grid, chunk: int) -> dict[str, Floats]:
    """Evaluate one chunk.

    Parameters
    ----------
    grid : Grid
    chunk : int

    Returns
    -------
    dict of str to ndarray, shape (n,), float64 [unit in the name]
        Coordinates, key per block size, and the other columns. Points outside a
        model have NaN.
    """
    points = grid.points(chunk)
    sizes = tuple(dict.fromkeys((0.0, *grid.scenario.block_sizes)))
    if grid.optimise:
        return points | optimise_points(grid.scenario, points, sizes, grid.optimise)
    try:
        return points | columns_of(grid.scenario, points, sizes)
    except ModelRangeError:
        return points | _one_by_one(grid.scenario, points, sizes)


def columns_of(
    scenario: Scenario, points: dict[str, Floats], sizes: tuple[float, ...]
) -> dict[str, Floats]:
    """Evaluate points and flatten the result into columns.

    Parameters
    ----------
    scenario : Scenario
    points : dict of str to ndarray, shape (n,), float64
    sizes : tuple of float
        Block sizes, 0 for the endless one.

    Returns
    -------
    dict of str to ndarray, shape (n,), float64 [unit in the name]
    """
    found = evaluate_points(scenario, points, sizes)
    keys = {
        f"key_bits_per_use_{block_label(n)}": np.maximum(bits, 0.0)
        for n, bits in found.balance_bits.items()
    }
    rest = {"transmittance": found.channel.transmittance, **found.columns}
    return {name: np.array(v, dtype=np.float64) for name, v in (keys | rest).items()}


def _one_by_one(
    scenario: Scenario, points: dict[str, Floats], sizes: tuple[float, ...]
) -> dict[str, Floats]:
    """Evaluate points by themselves: one outside a model must not cost the others."""
    n = next(iter(points.values())).size
    out: dict[str, Floats] = {}
    for i in range(n):
        one = {name: values[i : i + 1] for name, values in points.items()}
        try:
            found = columns_of(scenario, one, sizes)
        except ModelRangeError:
            continue
        for name, values in found.items():
            out.setdefault(name, np.full(n, np.nan))[i] = values[0]
    return out


@dataclass(slots=True)
class SweepState:
    """How far a sweep has come.

    Parameters
    ----------
    done, reused, total : int
        Chunks.
    files : list of Path
    """

    total: int
    done: int = 0
    reused: int = 0
    files: list[Path] = field(default_factory=list)


def run_sweep(grid: Grid, folder: Path, workers: Workers) -> Iterator[SweepState]:
    """Compute what is missing of a sweep; yield after every chunk.

    Parameters
    ----------
    grid : Grid
    folder : Path
        Of the results; made if it is not there. Several sweeps may share it.
    workers : Workers

    Raises
    ------
    PlanSettingsError
        If the grid does not fit the scenario.
    CaptureError
        If a file cannot be written.
    """
    check_grid(grid)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaptureError(f"{folder}: no folder can be made there: {error}") from error
    state = SweepState(grid.n_chunks)
    missing = []
    for chunk in range(grid.n_chunks):
        path = chunk_path(grid, folder, chunk)
        if path.exists():
            state.done, state.reused = state.done + 1, state.reused + 1
        else:
            missing.append((grid, chunk, path))
        state.files.append(path)
    yield state
    for _ in run_chunks(_store_chunk, missing, workers):
        state.done += 1
        yield state


def chunk_path(grid: Grid, folder: Path, chunk: int) -> Path:
    """Return the file of a chunk's result."""
    return folder / f"{grid.digest(chunk)}.h5"


def read_sweep(grid: Grid, folder: Path) -> dict[str, Floats]:
    """Return all points of a finished sweep, in the grid's order.

    Returns
    -------
    dict of str to ndarray, shape (n,), float64 [unit in the name]

    Raises
    ------
    CaptureError
        If a chunk is missing or damaged.
    """
    parts = [
        read_plan_table(chunk_path(grid, folder, c))[_DONE]
        for c in range(grid.n_chunks)
    ]
    names = dict.fromkeys(n for part in parts for n in part)
    sizes = [next(iter(part.values())).size for part in parts]
    return {
        name: np.concatenate(
            [
                part.get(name, np.full(n, np.nan))
                for part, n in zip(parts, sizes, strict=True)
            ]
        )
        for name in names
    }


def store_sweep(grid: Grid, folder: Path) -> Path:
    """Write all points of a finished sweep into one table; return its path.

    Raises
    ------
    CaptureError
        If a chunk is missing, or the table cannot be written.
    """
    path = folder / f"sweep-{grid.digest(grid.n_chunks)}.h5"
    facts = {"grid": grid.model_dump_json(), "shape": json.dumps(grid.shape)}
    write_plan_table(path, {_DONE: read_sweep(grid, folder)}, facts)
    return path


def _store_chunk(task: tuple[Grid, int, Path]) -> Path:
    grid, chunk, path = task
    facts = {"grid": grid.model_dump_json(), "chunk": str(chunk)}
    write_plan_table(path, {_DONE: compute_chunk(grid, chunk)}, facts)
    return path
