"""Compile the kernels by small runs: ``python -m scqc.runs.warm CONFIG ...``.

The compiled code is cached beside the sources, for every process from then on.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from scqc.core.errors import ScqcError
from scqc.runs.lab_config import load_config
from scqc.runs.live import run_live
from scqc.runs.progress import Silent


def warm(config: Path) -> None:
    """Run a simulated bench once and throw the result away.

    Parameters
    ----------
    config : Path
        Lab config of a small simulated bench.

    Raises
    ------
    ScqcError
        As any run does.
    """
    with tempfile.TemporaryDirectory(prefix="scqc-warm-") as folder:
        run_live(load_config(config), b"warm", Path(folder), Silent())


def main(arguments: list[str]) -> int:
    """Warm the cache; return the exit code."""
    try:
        for config in arguments:
            warm(Path(config))
    except ScqcError as error:
        sys.stderr.write(f"the kernels were not all compiled: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
