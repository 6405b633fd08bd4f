r"""Single-photon detectors: what they click at, and when they are dead.

Photons, dark counts, stray light and an attacker's blinding pulses compete for
one avalanche at a time. A click makes a detector dead for a time tau, during
which nothing is seen and nothing prolongs it (non-paralysable): events at rate
n give clicks at rate m = n / (1 + n tau). A click leaves a trapped carrier with
probability p, released tau plus an exponential delay later (afterpulse).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.rng import stream
from sim_backends.optics.counter_random import stream_keys, uniform
from sim_backends.optics.slow_drift import Cells

PHOTON, DARK, BACKGROUND, AFTERPULSE, BLINDING = range(5)


@dataclass(frozen=True)
class Events:
    """What could make one detector click, or what did.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), float64 [ps]
        Since the acquisition began, by bench time; rising.
    causes : ndarray, shape (n,), uint8 [code]
        PHOTON, DARK, BACKGROUND, AFTERPULSE or BLINDING.
    origins : ndarray, shape (n,), int64 [1]
        Index of the photon event behind it; -1 for none.
    """

    times_ps: NDArray[np.float64]
    causes: NDArray[np.uint8]
    origins: NDArray[np.int64]


def poisson_events(
    random: np.random.Generator, rate_hz: NDArray[np.float64], cells: Cells, cause: int
) -> Events:
    """Draw events at a rate that is constant within cells, in no order.

    Parameters
    ----------
    random : numpy.random.Generator
    rate_hz : ndarray, shape (n_cells,), float64 [Hz]
    cells : Cells
    cause : int
    """
    counts = random.poisson(rate_hz * cells.cell_s)
    at = np.repeat(np.arange(cells.count), counts) + random.random(int(counts.sum()))
    n = at.size
    return Events(
        1e12 * cells.cell_s * at,
        np.full(n, cause, dtype=np.uint8),
        np.full(n, -1, dtype=np.int64),
    )


def merge(parts: list[Events]) -> Events:
    """Merge events into one rising series."""
    times_ps = np.concatenate([part.times_ps for part in parts])
    order = np.argsort(times_ps, kind="stable")
    return Events(
        times_ps[order],
        np.concatenate([part.causes for part in parts])[order],
        np.concatenate([part.origins for part in parts])[order],
    )


@dataclass(frozen=True)
class Recovery:
    """How a detector comes back after a click.

    Parameters
    ----------
    dead_ps : float
        Dead time [ps].
    afterpulse_probability : float
        Per click, afterpulses included [1].
    decay_ps : float
        Mean delay of an afterpulse beyond the dead time [ps].
    """

    dead_ps: float
    afterpulse_probability: float
    decay_ps: float


def clicks(events: Events, recovery: Recovery, seed: int, name: str) -> Events:
    """Return the events that a detector sees, and its afterpulses.

    Parameters
    ----------
    events : Events
        In rising order.
    recovery : Recovery
    seed : int
    name : str
        Stream of the afterpulses' random numbers.
    """
    key = stream_keys(seed, name, 1)[0]
    parameters = (
        recovery.dead_ps,
        recovery.afterpulse_probability,
        recovery.decay_ps,
    )
    times_ps, sources = _walk_clicks(events.times_ps, parameters, key)
    from_events = sources >= 0
    causes = np.full(sources.size, AFTERPULSE, dtype=np.uint8)
    origins = np.full(sources.size, -1, dtype=np.int64)
    causes[from_events] = events.causes[sources[from_events]]
    origins[from_events] = events.origins[sources[from_events]]
    return Events(times_ps, causes, origins)


@numba.njit(cache=True, nogil=True)
def _walk_clicks(
    times_ps: NDArray[np.float64],
    parameters: tuple[float, float, float],
    key: np.uint64,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Walk through events and afterpulses in order of time.

    Returns the clicks' times and, of each, the event's index or -1.
    """
    dead_ps, probability, decay_ps = parameters
    out_ps = np.empty(2 * times_ps.size + 16)
    sources = np.empty(out_ps.size, dtype=np.int64)
    pending = np.empty(16)  # releases to come, in falling order
    n_pending, n, i = 0, 0, 0
    ready_ps = -math.inf
    while i < times_ps.size or n_pending > 0:
        if n_pending == 0 or (
            i < times_ps.size and times_ps[i] <= pending[n_pending - 1]
        ):
            t, source = times_ps[i], i
            i += 1
        else:
            n_pending -= 1
            t, source = pending[n_pending], -1
        if t < ready_ps:
            continue
        if n == out_ps.size:
            out_ps = np.append(out_ps, np.empty(n))
            sources = np.append(sources, np.empty(n, dtype=np.int64))
        out_ps[n], sources[n] = t, source
        ready_ps = t + dead_ps
        if uniform(key, 2 * n) < probability:
            delay_ps = -decay_ps * math.log(1.0 - uniform(key, 2 * n + 1))
            if n_pending == pending.size:
                pending = np.append(pending, np.empty(n_pending))
            at = n_pending
            while at > 0 and pending[at - 1] < ready_ps + delay_ps:
                pending[at] = pending[at - 1]
                at -= 1
            pending[at] = ready_ps + delay_ps
            n_pending += 1
        n += 1
    return out_ps[:n], sources[:n]


def jitter(
    events: Events, sigma_ps: float, seed: int, name: str
) -> NDArray[np.float64]:
    """Return when the clicks' electrical pulses come, shape (n,), float64 [ps]."""
    noise = stream(seed, name).standard_normal(events.times_ps.size)
    late: NDArray[np.float64] = events.times_ps + sigma_ps * noise
    return late


@numba.njit(cache=True, nogil=True)
def _split(
    times_ps: NDArray[np.int64],
    detectors: NDArray[np.uint8],
    starts: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    for k in range(times_ps.size):
        detector = detectors[k]
        out[starts[detector]] = times_ps[k]
        starts[detector] += 1


def by_detector(
    times_ps: NDArray[np.int64], detectors: NDArray[np.uint8], count: int
) -> list[NDArray[np.int64]]:
    """Return the times of each detector, in the order they came.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
    detectors : ndarray, shape (n,), uint8 [1]
        Below `count`.
    count : int

    Returns
    -------
    list of ndarray, shape (n_i,), int64 [ps]
    """
    sizes = np.bincount(detectors, minlength=count)
    ends = np.cumsum(sizes)
    out = np.empty(times_ps.size, dtype=np.int64)
    _split(times_ps, detectors, ends - sizes, out)
    return np.split(out, ends[:-1])
