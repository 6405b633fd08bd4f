"""Emulated instruments around light that costs nothing, for timing the wire.

    python -m benchmarks.trivial_lab TAGS

serves a generator, two digitisers (raw TCP and HiSLIP) and a time tagger in a
process of its own, prints their endpoints as one line of JSON, and ends with
its standard input. Every acquisition of the tagger gives TAGS tags.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from numpy.typing import NDArray

from sim_backends.serve import EmulatedInstrument, EmulatedLab, ServeRequest
from sim_backends.settings import SimSettings, Switch

WIRING = {
    "tx.i": "awg:1",
    "rx.rf": "scope:1",
    "rx.z0": "tagger:1",
    "rx.z1": "tagger:2",
    "rx.x0": "tagger:3",
    "rx.x1": "tagger:4",
}
INSTRUMENTS = {
    "awg": "keysight.m8190a",
    "scope": "keysight.infiniium",
    "hislip": "keysight.infiniium",
    "tagger": "idq.id900",
}


class TrivialLight:
    """The same noise and the same clicks, whatever is played.

    Parameters
    ----------
    n_tags : int
    """

    def __init__(self, n_tags: int) -> None:
        self._n_tags = n_tags
        self._noise = np.zeros(0, dtype=np.float32)
        self._times = np.zeros(0, dtype=np.int64)
        self._detectors = np.zeros(0, dtype=np.uint8)

    def play(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def set_level(self, switch: Switch, volts: float) -> None:
        """Do nothing."""

    def record(self, n_samples: int, rate_hz: float) -> NDArray[np.float32]:
        """Return noise, shape (n,), float32 [V]."""
        if self._noise.size != n_samples:
            random = np.random.default_rng(1)
            self._noise = 0.05 * random.standard_normal(n_samples, dtype=np.float32)
        return self._noise

    def tags(self, duration_s: float) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return evenly spread clicks of four detectors in turn."""
        if self._times.size != self._n_tags:
            self._times = np.arange(self._n_tags, dtype=np.int64)
            self._times *= int(1e12 * duration_s) // (self._n_tags + 1)
            self._detectors = np.arange(self._n_tags, dtype=np.uint8) % 4
        return self._times, self._detectors

    def play_basis(self, samples_v: NDArray[np.float32], rate_hz: float) -> None:
        """Do nothing."""

    def set_phase_v(self, volts: float) -> None:
        """Do nothing."""


def main() -> None:
    """Serve until standard input ends."""
    request = ServeRequest(
        sim=SimSettings(transports={"hislip": "hislip"}),
        instruments={n: EmulatedInstrument(driver=d) for n, d in INSTRUMENTS.items()},
        wiring=WIRING,
    )
    lab = EmulatedLab(request, TrivialLight(int(sys.argv[1])))
    try:
        print(json.dumps(lab.endpoints), flush=True)
        sys.stdin.read()
    finally:
        lab.close()


if __name__ == "__main__":
    main()
