"""The clock of the emulated time tagger."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_backends.photon_settings import TaggerSettings


def tagger_ps(
    bench_ps: NDArray[np.float64], t0_s: float, tagger: TaggerSettings
) -> NDArray[np.int64]:
    """Read the tagger's clock at instants of an acquisition.

    Parameters
    ----------
    bench_ps : ndarray, shape (n,), float64 [ps]
        Since the acquisition began, by bench time.
    t0_s : float
        When it began, by bench time [s].
    tagger : TaggerSettings

    Returns
    -------
    ndarray, shape (n,), int64 [ps]
        Since the acquisition began, by the tagger's clock.
    """
    drift = 1e-6 * tagger.clock_drift_ppm_per_s
    rate = 1e-6 * tagger.clock_error_ppm + drift * t0_s
    read_ps = bench_ps + bench_ps * (rate + 0.5e-12 * drift * bench_ps)
    steps = np.rint(read_ps / tagger.resolution_ps).astype(np.int64)
    times_ps: NDArray[np.int64] = steps * tagger.resolution_ps
    return times_ps


def tagger_seconds(t0_s: float, tagger: TaggerSettings) -> float:
    """Return tagger seconds per bench second at a bench time [1]."""
    ppm = tagger.clock_error_ppm + tagger.clock_drift_ppm_per_s * t0_s
    return 1.0 + 1e-6 * ppm
