"""A day of a satellite over a station, second by second; the target is 0.2 s."""

from __future__ import annotations

import argparse
import math
import time
from datetime import UTC, datetime
from typing import Any

from sim_backends.propagation.earth_frame import (
    Station,
    UtcGrid,
)
from sim_backends.propagation.orbit import (
    CircularOrbit,
    Orbit,
    TwoLineElements,
    ground_track,
    view,
)
from sim_backends.propagation.passes import passes

# The example of the documentation of sgp4.
LINES = (
    "1 25544U 98067A   19343.69339541  .00001764  00000-0  38792-4 0  9991",
    "2 25544  51.6439 211.2001 0007417  17.6667  85.6398 15.50103472202482",
)


def measure(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the table."""
    day = datetime(2019, 12, 9, tzinfo=UTC)
    circle = CircularOrbit(500e3, math.radians(97.4), 0.0, day)
    orbits = {"two-line elements": TwoLineElements(*LINES), "circular": circle}
    rows = [_row(name, orbit, UtcGrid(day)) for name, orbit in orbits.items()]
    return {"86 400 points over a station": rows}


def _row(name: str, orbit: Orbit, grid: UtcGrid) -> dict[str, Any]:
    station, spent = Station(55.9, -3.2, 50.0), []
    for _ in range(3):
        start = time.process_time()
        seen = view(orbit, station, grid)
        spent.append(time.process_time() - start)
    start = time.process_time()
    found = passes(seen, grid, math.radians(10.0))
    searched = time.process_time() - start
    start = time.process_time()
    ground_track(orbit, grid)
    return {
        "orbit": name,
        "view_s": min(spent),
        "passes_s": searched,
        "track_s": time.process_time() - start,
        "passes_above_10_deg": len(found),
        "longest_s": max((p.duration_s for p in found), default=0.0),
    }
