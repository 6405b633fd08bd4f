"""Figures of link planning, measured on this machine.

    python -m benchmarks.plan [PART ...] [--json] [--itur PYTHON]

- gas: absorption along slant paths, beside itur;
- coupling: apertures under a wandering beam, exact and fast;
- orbit: a day of a satellite over a station;
- rates: points per second of the rate engine;
- presets: every preset of `scqc plan`, with its secure limits;
- sweep: a sweep of a minute and more on one core, on two, and resumed (not part of
  "all"; --dask ADDRESS adds a cluster);
- bench: plans beside the simulated runs of their lab configs (minutes, not part of
  "all");
- without a part: all of them.

``--itur`` is the Python of a separate environment that has itur 0.4.0 (a separate
process, never a dependency).
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from typing import Any

from benchmarks.table import print_table

#: Part and its module, which has ``measure(arguments) -> {title: rows}``.
PARTS = {
    "rates": "benchmarks.plan_rates",
    "gas": "benchmarks.plan_gas",
    "coupling": "benchmarks.plan_coupling",
    "orbit": "benchmarks.plan_orbit",
    "presets": "benchmarks.plan_presets",
    "sweep": "benchmarks.plan_sweep",
    "bench": "benchmarks.plan_bench",
}
#: Minutes long: only when it is named.
LONG = {"sweep", "bench"}


def main() -> None:
    """Print the figures as tables or as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--itur", metavar="PYTHON")
    parser.add_argument("--dask", metavar="ADDRESS", default="")
    arguments = parser.parse_args()
    wanted = arguments.parts or [part for part in PARTS if part not in LONG]
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    for part in wanted:
        found[part] = importlib.import_module(PARTS[part]).measure(arguments)
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
        return
    for tables in found.values():
        for title, rows in tables.items():
            print_table(title, rows)


if __name__ == "__main__":
    main()
