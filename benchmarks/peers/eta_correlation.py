"""ETA's shipped correlation recipe on a PTU file: a figure to set beside ours.

    PYTHON benchmarks/peers/eta_correlation.py FILE WINDOW_PS BIN_PS

ETA (etabackend 0.9.9) wants an older numpy, so it lives in an environment of its
own, this script runs under that environment's Python, and nothing of it is imported
anywhere else. To make the environment::

    python3 -m venv eta-venv
    eta-venv/bin/pip install "numpy<2" etabackend

and then ``python -m benchmarks.timetags --eta eta-venv/bin/python``.

The last line of standard output is one JSON object: CPU seconds of one run after one
to warm up, reading the file included (ETA decodes and analyses in one pass), and the
number of pairs that it counted within the window.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def main() -> None:
    """Run the recipe twice and print the second run's figures."""
    import etabackend.eta

    path, window_ps, bin_ps = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    recipes = Path(etabackend.eta.__file__).parent / "static" / "recipes"
    engine = etabackend.eta.ETA()
    engine.load_recipe(
        json.loads((recipes / "Correlation-hydraharp.eta").read_text(encoding="utf-8"))
    )
    engine.recipe.set_parameter("bins", str(window_ps // bin_ps))
    engine.recipe.set_parameter("binsize", str(bin_ps))
    engine.load_recipe()
    for _ in range(2):
        start = time.process_time()
        result = engine.run({"timetagger1": engine.clips(path)}, group="T2")
        spent = time.process_time() - start
    pairs = int(result["h3"].sum() + result["h4"].sum() + result["h4_zero"].sum())
    sys.stdout.write("\n" + json.dumps({"cpu_s": spent, "pairs": pairs}) + "\n")


if __name__ == "__main__":
    main()
