"""Large sweeps: grids of points in chunks, on all cores or a cluster, resumable.

A sweep is a scenario and a grid of some of its numbers. The grid is cut into
chunks; the result of every chunk is a file whose name is the hash of what it rests
on: the scenario, the grid, the task's code version and the chunk's number. A sweep
that was killed finds the finished files and computes the rest only.

`run_chunks` knows nothing of plans: it maps a function over items in processes, or
on a Dask cluster, and yields results as they come. Processing a folder of captures
is the same thing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

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
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, Sweep, block_label, numeric_names
from scqc.store.plan_tables import read_plan_table, write_plan_table

#: Counts up with every change of what a point means; old results are not reused.
MODEL_VERSION = 1
_DONE = "points"

Item = TypeVar("Item")
Found = TypeVar("Found")


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
        from scqc.plan.optimise import optimise_points

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


@dataclass(frozen=True, slots=True)
class Workers:
    """Where chunks are computed.

    Parameters
    ----------
    processes : int
        Of this computer; 0 is one per core, 1 computes here.
    dask : str
        Address of a Dask scheduler instead; empty for none.
    """

    processes: int = 0
    dask: str = ""

    @property
    def count(self) -> int:
        """Processes that are started."""
        return self.processes or os.cpu_count() or 1


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


def _store_chunk(task: tuple[Grid, int, Path]) -> Path:
    grid, chunk, path = task
    facts = {"grid": grid.model_dump_json(), "chunk": str(chunk)}
    write_plan_table(path, {_DONE: compute_chunk(grid, chunk)}, facts)
    return path


def run_chunks(
    function: Callable[[Item], Found], items: Sequence[Item], workers: Workers
) -> Iterator[Found]:
    """Map a function over items, in whatever order they are finished.

    Parameters
    ----------
    function : callable
        At the top level of a module: it is sent to other processes by name.
    items : sequence
    workers : Workers

    Raises
    ------
    PlanSettingsError
        If the Dask cluster is not installed or does not answer.
    """
    if workers.dask:
        yield from _on_dask(function, items, workers.dask)
    elif workers.count == 1 or len(items) < 2:
        yield from map(function, items)
    else:
        yield from _in_processes(function, items, workers.count)


def _in_processes(
    function: Callable[[Item], Found], items: Sequence[Item], count: int
) -> Iterator[Found]:
    # Spawned, not forked: threads of numba and zmq do not survive a fork.
    context = get_context("spawn")
    with ProcessPoolExecutor(min(count, len(items)), mp_context=context) as pool:
        waiting = [pool.submit(function, item) for item in items]
        try:
            for one in as_completed(waiting):
                yield one.result()
        finally:
            # A reader that stops early must not wait for all that is queued.
            pool.shutdown(wait=True, cancel_futures=True)


def _on_dask(
    function: Callable[[Item], Found], items: Sequence[Item], address: str
) -> Iterator[Found]:
    client = _dask_client(address)
    try:
        from distributed import as_completed as as_done

        waiting = client.map(function, list(items), pure=False)
        for one in as_done(waiting):
            yield one.result()
    finally:
        client.close()


def _dask_client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        limit = "needs the extra: pip install 'scqc[dask]'"
        problem = ConfigProblem("plan", "", "--dask", address, limit)
        raise PlanSettingsError([problem]) from error
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        problem = ConfigProblem("plan", "", "--dask", address, f"no cluster: {error}")
        raise PlanSettingsError([problem]) from error
