"""Gas absorption: the grid of loss against frequency and distance, beside itur."""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sim_backends.propagation.gas_absorption import dry_air, specific_attenuation
from sim_backends.propagation.refraction import SlantPath
from sim_backends.propagation.slant_path import (
    cumulative_attenuation_db,
    slant_attenuation_db,
)

PEER = Path(__file__).parent / "peers" / "itur_gas.py"
#: ITU-R validation examples CG-3M3J-13 Rev 8.3.0: 28 GHz, 30 degrees, sea level.
ITU_EXAMPLE_DB = 0.47081173472870474
FREQUENCIES_HZ = np.linspace(1e9, 1e12, 1000)
DISTANCES_KM = np.linspace(0.5, 140.0, 60)
FULL = SlantPath(math.radians(45.0))
FAST = SlantPath(math.radians(45.0), fast=True)


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Measure our own and, if there is an environment with it, itur."""
    rows = [_ours("scqc", FULL), _ours("scqc fast", FAST)]
    full = cumulative_attenuation_db(FREQUENCIES_HZ, DISTANCES_KM, FULL)
    fast = cumulative_attenuation_db(FREQUENCIES_HZ, DISTANCES_KM, FAST)
    rows[0]["worst_against_922_layers"] = 0.0
    rows[1]["worst_against_922_layers"] = float(np.abs(fast / full - 1.0).max())
    rows.append(_itur(arguments.itur))
    return {"gas absorption, 1 to 1000 GHz, from sea level": rows}


def _ours(name: str, path: SlantPath) -> dict[str, Any]:
    example = SlantPath(math.radians(30.0), fast=path.fast)
    air = dry_air(1013.25, 288.15, 7.5)
    error = float(slant_attenuation_db(28e9, example)) / ITU_EXAMPLE_DB - 1.0
    return {
        "program": name,
        "gamma_1000_s": _best(lambda: specific_attenuation(FREQUENCIES_HZ, air)),
        "zenith_1000_s": _best(lambda: slant_attenuation_db(FREQUENCIES_HZ, path)),
        "grid_1000x60_s": _best(
            lambda: cumulative_attenuation_db(FREQUENCIES_HZ, DISTANCES_KM, path)
        ),
        "itu_example_relative_error": error,
    }


def _itur(python: str | None) -> dict[str, Any]:
    """Run itur in its own environment."""
    row: dict[str, Any] = {"program": "itur"}
    if python is None:
        return row | {"note": "skipped, no --itur PYTHON"}
    done = subprocess.run(
        [python, str(PEER)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return row | {"note": (done.stderr.strip().splitlines() or ["failed"])[-1]}
    found = json.loads(done.stdout.splitlines()[-1])
    row["program"] = f"itur {found['version']}"
    row["gamma_1000_s"] = found["gamma_1000_s"]
    # One frequency costs what another does: 20 are timed, and named as what they are.
    row["zenith_1000_s"] = 50.0 * found["slant_20_s"]
    row["itu_example_relative_error"] = found["example_db"] / ITU_EXAMPLE_DB - 1.0
    air = dry_air(1013.25, 288.15, 7.5)
    ours = specific_attenuation(1e9 * np.arange(1, 351), air).total_db_per_km
    theirs = np.array(found["gamma_1_to_350_ghz"])
    row["gamma_350_rows_apart"] = float(np.abs(ours / theirs - 1.0).max())
    return row | {"note": "no distance axis; slant time from 20 frequencies"}


def _best(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the best of three, after one to warm up."""
    work()
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)
