"""Plans beside the runs of their benches: what was said, and what was found."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from scqc.plan.overrides import settings_of
from scqc.plan.scenario import Scenario
from scqc.runs.lab_config import load_config
from scqc.runs.live import run_live
from scqc.runs.plan_bench import expected_run, found_by_run, write_lab_config
from scqc.runs.progress import Silent

PAYLOAD = bytes(range(200))
#: Preset and changes.
CASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fiber-metro", ()),
    ("fiber-access", ()),
    ("fiber-decoy", ("block_sizes=[33554432]",)),
)


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Run every case once; one row per quantity."""
    return {" ".join((p, *c)): _compared(p, c) for p, c in CASES}


def _compared(preset: str, changes: tuple[str, ...]) -> list[dict[str, Any]]:
    scenario, _, _ = settings_of(preset, changes)
    if not isinstance(scenario, Scenario):
        raise SystemExit(f"{preset}: no scenario")
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lab.toml"
        write_lab_config(path, preset, changes)
        loaded = load_config(path)
        result = run_live(loaded, PAYLOAD, Path(folder) / "run", Silent())
        found = found_by_run(loaded.config, result.data)
        said = expected_run(scenario, loaded.config)
    rows: list[dict[str, Any]] = [
        {
            "quantity": name,
            "planned": interval.value,
            "low": interval.low,
            "high": interval.high,
            "found": found[name],
            "inside": interval.holds(found[name]),
        }
        for name, interval in said.items()
    ]
    rows[0]["run_s"] = round(time.perf_counter() - start, 1)
    return rows
