"""Large sweeps: grids of points in chunks, on all cores or a cluster, resumable.

A sweep that was killed finds the finished chunks and computes the rest only. A chunk
is some seconds of work, so that little is lost and all cores have something to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from scqc.core.errors import CaptureError, ConfigProblem, PlanSettingsError
from scqc.plan.evaluate import evaluate_points
from scqc.plan.grids import Grid, check_grid
from scqc.plan.optimise import optimise_points
from scqc.plan.outside import answered
from scqc.plan.pass_sweeps import pass_columns
from scqc.plan.passes import PassPlan
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, block_label
from scqc.plan.workers import Workers, run_chunks
from scqc.store.plan_tables import read_plan_table, write_plan_table

_DONE = "points"


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
    points, scenario = grid.points(chunk), grid.scenario
    if isinstance(scenario, PassPlan):
        return points | pass_columns(scenario, points)
    sizes = tuple(dict.fromkeys((0.0, *scenario.block_sizes)))
    if grid.optimise:
        return points | optimise_points(scenario, points, sizes, grid.optimise)
    n = next(iter(points.values())).size
    out: dict[str, Floats] = {}

    def some(part: slice) -> dict[str, Floats]:
        inside = {name: values[part] for name, values in points.items()}
        return columns_of(scenario, inside, sizes)

    for part, found in answered(some, n):
        for name, values in found.items():
            out.setdefault(name, np.full(n, np.nan))[part] = values
    return points | out


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
        If the grid does not fit the scenario, or there cannot be such a folder.
    CaptureError
        If a file cannot be written.
    """
    check_grid(grid)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        limit = f"no folder can be made there: {error}"
        problem = ConfigProblem("plan", "", "--results", str(folder), limit)
        raise PlanSettingsError([problem]) from error
    state = SweepState(grid.n_chunks)
    missing = []
    for chunk in range(grid.n_chunks):
        path = chunk_path(grid, folder, chunk)
        if _is_finished(grid, chunk, path):
            state.done, state.reused = state.done + 1, state.reused + 1
        else:
            # Workers of a cluster run in other directories.
            missing.append((grid, chunk, path.resolve()))
        state.files.append(path)
    yield state
    for _ in run_chunks(_store_chunk, missing, workers):
        state.done += 1
        yield state


def _is_finished(grid: Grid, chunk: int, path: Path) -> bool:
    """Return whether a chunk's file is whole; one that is damaged is made anew."""
    if not path.exists():
        return False
    points = grid.points(chunk)
    try:
        found = read_plan_table(path, tuple(points)).get(_DONE, {})
    except CaptureError:
        return False
    return all(
        name in found and np.array_equal(found[name], values)
        for name, values in points.items()
    )


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


def without_answer(points: dict[str, Floats]) -> int:
    """Return how many points lie outside a model.

    Parameters
    ----------
    points : dict of str to ndarray, shape (n,), float64 [unit in the name]
        As `read_sweep` returns them.
    """
    keys = [values for name, values in points.items() if name.startswith("key_bits")]
    if not keys:
        return next(iter(points.values())).size
    return int(np.count_nonzero(np.isnan(keys[0])))


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
