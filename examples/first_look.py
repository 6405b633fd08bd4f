"""Drive a simulated bench by hand: one shot-noise record and its spectrum.

Run it with ``python examples/first_look.py``.
"""

from __future__ import annotations

import sys

import numpy as np

import scqc
from driver.capture import record
from driver.hal import DigitizerConfig


def main(lab_config: str = "lab_configs/cv_quick.toml") -> float:
    """Return the clearance of shot noise over electronic noise [dB]."""
    with scqc.open_bench(lab_config) as bench:
        config = DigitizerConfig(rate_hz=400e6, n_samples=200_000, range_v={1: 0.5})
        shot = record(bench, "shot", config, timeout_s=10.0)
        dark = record(bench, "electronic", config, timeout_s=10.0)
    ratio = np.var(shot.codes[0].astype(float)) / np.var(dark.codes[0].astype(float))
    clearance_db = float(10.0 * np.log10(ratio))
    print(f"shot noise is {clearance_db:.1f} dB above the electronic noise")
    return clearance_db


if __name__ == "__main__":
    main(*sys.argv[1:2])
