"""Every preset: how long it takes, and where its keys end."""

from __future__ import annotations

import argparse
import time
from typing import Any

from scqc.plan.make import make_plan
from scqc.plan.presets import PRESETS


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Make every plan once, warm."""
    make_plan("fiber-metro", ["length_km=10"])
    rows = []
    for name in PRESETS:
        start = time.perf_counter()
        plan = make_plan(name)
        row: dict[str, Any] = {"preset": name, "time_s": time.perf_counter() - start}
        for curve in plan.curves[:4]:
            ends = {
                f"{key} {curve.label}": value
                for key, value in curve.derived.items()
                if key.startswith("secure_") and value is not None
            }
            row["ends"] = f"{row.get('ends', '')} " + ", ".join(
                f"{key}: {value:.6g}" for key, value in ends.items()
            )
        rows.append(row)
    return {"presets": rows}
