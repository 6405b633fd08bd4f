"""Figures of two parties: what their sinks, their link and their delivery can do.

    python -m benchmarks.parties [PART ...] [--json] [--quick] [--seconds N]

Without a part: all of them. Each part says in its own module what it measures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from benchmarks import delivery, link, sink, steady
from benchmarks.table import print_table

Rows = list[dict[str, Any]]
#: Title and figures by part; the figures are told whether to be quick about it.
PARTS: dict[str, tuple[str, Callable[[bool], Rows]]] = {
    "delivery": (
        "key requests over mutual TLS",
        lambda quick: delivery.figures(500 if quick else 5000),
    ),
    "link": (
        "messages between the two programs",
        lambda quick: link.figures(10_000 if quick else 100_000),
    ),
    "sink": (
        "bits out of a key sink, on the disk before they are handed out",
        lambda quick: sink.figures(20_000 if quick else 200_000),
    ),
    "steady": (
        "the two programs in steady state",
        lambda quick: steady.figures(20.0 if quick else 60.0),
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--seconds", type=float, help="of each run of `steady`")
    options = parser.parse_args()
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {', '.join(unknown)}; known: {', '.join(PARTS)}")
    found = {}
    for name in options.parts or PARTS:
        if name == "steady" and options.seconds is not None:
            found[name] = steady.figures(options.seconds)
        else:
            found[name] = PARTS[name][1](options.quick)
    if options.json:
        print(json.dumps(found))
        return
    for name, rows in found.items():
        print_table(f"{name}: {PARTS[name][0]}", rows)


if __name__ == "__main__":
    main()
