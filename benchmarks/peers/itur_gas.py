"""Gas absorption with itur, as `benchmarks.plan gas` sets it beside ours.

    PYTHON benchmarks/peers/itur_gas.py

itur brings 170 MB of maps and astropy, so it lives in an environment of its own, this
script runs under that environment's Python, and nothing of it is imported anywhere
else. To make the environment::

    python3 -m venv itur-venv
    itur-venv/bin/pip install itur==0.4.0

and then ``python -m benchmarks.plan gas --itur itur-venv/bin/python``.

The last line of standard output is one JSON object: CPU seconds, the best of three,
and the values.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np


def best(work: Callable[[], object]) -> float:
    """Return the CPU seconds of the best of three."""
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return min(spent)


def main() -> None:
    """Measure and print."""
    warnings.simplefilter("ignore")
    import itur
    from itur.models.itu676 import gamma_exact, gaseous_attenuation_slant_path

    def gamma(ghz: np.ndarray) -> np.ndarray:
        found = gamma_exact(ghz, 1013.25, 7.5, 288.15)
        return np.asarray(getattr(found, "value", found), dtype=float)

    def slant(ghz: np.ndarray, degrees: float) -> np.ndarray:
        found = gaseous_attenuation_slant_path(
            ghz, degrees, 7.5, 1013.25, 288.15, mode="exact"
        )
        return np.asarray(found.value, dtype=float)

    some = np.linspace(1.0, 340.0, 20)
    found = {
        "version": itur.__version__,
        "gamma_1000_s": best(lambda: gamma(np.linspace(1.0, 1000.0, 1000))),
        "gamma_1_to_350_ghz": gamma(np.arange(1.0, 351.0)).tolist(),
        "slant_20_s": best(lambda: slant(some, 90.0)),
        "example_db": float(slant(np.array([28.0]), 30.0).flat[0]),
    }
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
