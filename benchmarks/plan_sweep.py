"""A sweep with finite blocks, fading and optimisation, on one core and on two."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from scqc.plan.grids import Grid, grid_of
from scqc.plan.sweeps import run_sweep
from scqc.plan.workers import Workers

AXES = ["altitude_km=200:2000:60", "zenith_deg=0:75:12"]
CHANGES = ["block_sizes=[1e9]", "fading_nodes=16"]
OPTIMISED = ["signal_photons", "decoy_photons", "z_share"]
CHUNK_POINTS = 8


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Time the same sweep in several places, and resumed."""
    whole = grid_of("satellite-dv", CHANGES, AXES, OPTIMISED)
    grid = Grid.model_validate(whole.model_dump() | {"chunk_points": CHUNK_POINTS})
    places = {"one process": Workers(1), "two processes": Workers(2)}
    if arguments.dask:
        places["dask"] = Workers(dask=arguments.dask)
    rows: list[dict[str, Any]] = []
    for name, workers in places.items():
        with tempfile.TemporaryDirectory() as folder:
            row = {"where": name, "points": grid.n_points}
            before = _cpu_s()
            row["time_s"] = _time(grid, Path(folder), workers)
            # Tells how much of the time went to other work. Not for Dask: its workers
            # are no children of this process.
            row["cpu_s"] = _cpu_s() - before
            row["resumed_s"] = _time(grid, Path(folder), workers)
            rows.append(row)
            row["times_faster"] = rows[0]["time_s"] / row["time_s"]
    return {"sweep: decoy states, finite, fading, three settings optimised": rows}


def _cpu_s() -> float:
    """Return the CPU time [s] of this process and of its workers that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _time(grid: Grid, folder: Path, workers: Workers) -> float:
    start = time.perf_counter()
    for _ in run_sweep(grid, folder, workers):
        pass
    return time.perf_counter() - start
