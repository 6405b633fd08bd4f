"""Follow the slot clock over a record, and smooth it.

A second-order loop (phase and frequency; the Kalman form, whose gain is high at
first and settles) runs over blocks of detections. Each block is demodulated with
the frequency that the loop then has, so that a drifting clock does not smear it.
Where light is missing the loop holds over. It starts where the line was found and
runs to both ends of the record; with every cycle counted, a linear pass over the
blocks, smoothed backwards, gives the clock.

References
----------
.. [1] H. E. Rauch, F. Tung, C. T. Striebel, AIAA J. 3, 1445 (1965).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from scqc.core.errors import LockError

BLOCK_DETECTIONS = 100
# A block whose line is below this many times the noise is dark.
BLOCK_LINE = 6.0
# Largest uncertainty of the phase when light returns, largest innovation, and how
# many blocks in a row may exceed it.
MAX_SIGMA_CYCLES, MAX_INNOVATION, MAX_MISSES = 0.12, 6.0, 4


@dataclass(frozen=True, slots=True)
class Line:
    """The line at twice the slot rate, in one segment of the record.

    Parameters
    ----------
    cycles_per_ps : float
        Its frequency in the tagger's clock.
    sigma_hz : float
        Uncertainty of that frequency.
    power : float
        Height over the noise's mean [1].
    threshold : float
        Height that was needed [1].
    segment_ps : tuple of int
        First and last detection of the segment [ps].
    """

    cycles_per_ps: float
    sigma_hz: float
    power: float
    threshold: float
    segment_ps: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LoopModel:
    """What the loop assumes of the clocks.

    Parameters
    ----------
    block_s : float
        Time between two updates [s].
    sigma_hz : float
        Uncertainty of the line's frequency at the start.
    ramp_hz_per_s : float
        Fastest drift of the line.
    """

    block_s: float
    sigma_hz: float
    ramp_hz_per_s: float

    @property
    def process(self) -> NDArray[np.float64]:
        """Covariance that one block of drift adds, shape (2, 2) [cycle, Hz]."""
        dt = self.block_s
        shape = np.array([[dt**2 / 3.0, dt / 2.0], [dt / 2.0, 1.0]])
        return (self.ramp_hz_per_s * dt) ** 2 * shape


def track(
    times_ps: NDArray[np.int64],
    line: Line,
    layout: SlotLayout,
    settings: TagSettings,
) -> SlotClock:
    """Follow the line over the whole record.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
        In order.
    line : Line
    layout : SlotLayout
    settings : TagSettings

    Returns
    -------
    SlotClock
        Position 0 is arbitrary, and may be half a slot off.

    Raises
    ------
    LockError
        The loop slipped, or too little of the record has light.
    """
    model = _model(times_ps, line, layout, settings)
    n_blocks = math.ceil(1e-12 * float(times_ps[-1] - times_ps[0] + 1) / model.block_s)
    block_ps = 1e12 * model.block_s
    centres_ps = block_ps * (np.arange(n_blocks) + 0.5)
    edges = np.searchsorted(
        times_ps, times_ps[0] + block_ps * np.arange(n_blocks + 1)
    ).astype(np.int64)
    edges[-1] = times_ps.size
    measured, noise = np.zeros(n_blocks), np.full(n_blocks, np.inf)
    start, phase = _brightest(times_ps, edges, line)
    for way in (1, -1):
        bad = follow(
            times_ps,
            edges,
            (line.cycles_per_ps, model.block_s, model.sigma_hz),
            (start, way, phase),
            model.process,
            measured,
            noise,
        )
        if bad >= 0:
            raise LockError(
                f"slot clock: lost at {1e-12 * centres_ps[bad]:.3g} s (phase more than "
                f"{MAX_INNOVATION:g} sigma off, or unknown to {MAX_SIGMA_CYCLES:g} "
                "cycles after a gap): do the clocks drift more than "
                f"{settings.max_clock_drift_ppm_per_s:g} ppm/s?"
            )
    if np.isfinite(noise).sum() < 3:
        raise LockError(
            f"slot clock: {np.isfinite(noise).sum()} of {n_blocks} blocks of "
            f"{model.block_s:.3g} s carry light, at least 3 are needed"
        )
    phases, variances = smoothed(measured, noise, model.block_s, model.process)
    # Cycles of the line are half slots.
    positions = 0.5 * (centres_ps * line.cycles_per_ps + phases)
    residual_s = math.sqrt(float(np.median(variances))) / (2.0 * layout.slot_rate_hz)
    return SlotClock(
        times_ps[0] + centres_ps, positions, layout.slot_rate_hz, residual_s
    )


def _model(
    times_ps: NDArray[np.int64], line: Line, layout: SlotLayout, settings: TagSettings
) -> LoopModel:
    ramp_hz_per_s = 2e-6 * settings.max_clock_drift_ppm_per_s * layout.slot_rate_hz
    whole_s = 1e-12 * float(times_ps[-1] - times_ps[0] + 1)
    block_s = min(
        whole_s / 8.0,
        whole_s * BLOCK_DETECTIONS / times_ps.size,
        math.sqrt(0.2 / ramp_hz_per_s),
    )
    return LoopModel(block_s, line.sigma_hz, ramp_hz_per_s)


def _brightest(
    times_ps: NDArray[np.int64], edges: NDArray[np.int64], line: Line
) -> tuple[int, float]:
    """Return the block of the segment with the strongest line, and its phase."""
    early, late = np.searchsorted(times_ps, line.segment_ps)
    first = int(np.searchsorted(edges, early, side="right")) - 1
    last = int(np.searchsorted(edges, late, side="left"))
    best, found = -1.0, (first, 0.0)
    for block in range(max(first, 0), min(last, edges.size - 1)):
        part = times_ps[edges[block] : edges[block + 1]]
        if part.size == 0:
            continue
        turns = ((part - times_ps[0]) * line.cycles_per_ps) % 1.0
        total = complex(np.exp(-2j * np.pi * turns).sum())
        if abs(total) ** 2 / part.size > best:
            best = abs(total) ** 2 / part.size
            found = block, math.atan2(total.imag, total.real) / (2.0 * math.pi)
    return found


@numba.njit(cache=True, nogil=True)
def _predict(
    x: NDArray[np.float64],
    p: NDArray[np.float64],
    step_s: float,
    process: NDArray[np.float64],
) -> None:
    x[0] += step_s * x[1]
    p[0, 0] += step_s * (2.0 * p[0, 1] + step_s * p[1, 1]) + process[0, 0]
    # Running backwards, phase and frequency correlate the other way.
    p[0, 1] += step_s * p[1, 1] + math.copysign(process[0, 1], step_s)
    p[1, 0] = p[0, 1]
    p[1, 1] += process[1, 1]


@numba.njit(cache=True, nogil=True)
def _correct(
    x: NDArray[np.float64], p: NDArray[np.float64], off: float, noise: float
) -> None:
    total = p[0, 0] + noise
    gain0, gain1 = p[0, 0] / total, p[0, 1] / total
    x[0] += gain0 * off
    x[1] += gain1 * off
    p[1, 1] -= gain1 * p[0, 1]
    p[0, 1] -= gain0 * p[0, 1]
    p[1, 0] = p[0, 1]
    p[0, 0] -= gain0 * p[0, 0]


@numba.njit(cache=True, nogil=True)
def follow(
    times_ps: NDArray[np.int64],
    edges: NDArray[np.int64],
    line: tuple[float, float, float],
    start: tuple[int, int, float],
    process: NDArray[np.float64],
    measured: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> int:
    """Run the loop one way; return the block where it broke, or -1.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
    edges : ndarray, shape (n_blocks + 1,), int64 [1]
        Index of each block's first detection.
    line : (float, float, float)
        Frequency [cycle/ps], length of a block [s], frequency's uncertainty [Hz].
    start : (int, int, float)
        First block, way (1 or -1), and phase there [cycle].
    process : ndarray, shape (2, 2), float64 [cycle^2, cycle^2/s, cycle^2/s^2]
    measured : ndarray, shape (n_blocks,), float64 [cycle]
        Written: phase of each lit block against the line, cycles counted.
    noise : ndarray, shape (n_blocks,), float64 [cycle^2]
        Written: its variance; left alone where it is dark.
    """
    cycles_per_ps, block_s, sigma_hz = line
    block, way, phase = start
    x = np.array([phase, 0.0])
    p = np.array([[0.05, 0.0], [0.0, sigma_hz * sigma_hz]])
    misses, met = 0, 0
    while 0 <= block < noise.size:
        if block != start[0]:
            _predict(x, p, way * block_s, process)
        centre_ps = 1e12 * block_s * (block + 0.5)
        real, imag = 0.0, 0.0
        for k in range(edges[block], edges[block + 1]):
            since_ps = float(times_ps[k] - times_ps[0])
            cycles = since_ps * cycles_per_ps + 1e-12 * (since_ps - centre_ps) * x[1]
            turn = 2.0 * math.pi * (cycles % 1.0)
            real += math.cos(turn)
            imag -= math.sin(turn)
        clicks = edges[block + 1] - edges[block]
        power = real * real + imag * imag
        if power > BLOCK_LINE * max(clicks, 1):
            if met >= 3 and p[0, 0] > MAX_SIGMA_CYCLES**2:
                return block
            off = math.atan2(imag, real) / (2.0 * math.pi) - x[0]
            off -= np.rint(off)
            # Half of a sum's noise is across it.
            spread = clicks / (2.0 * power) / (2.0 * math.pi) ** 2
            far = met >= 3 and off * off > MAX_INNOVATION**2 * (p[0, 0] + spread)
            misses = misses + 1 if far else 0
            if misses >= MAX_MISSES:
                return block
            if not far:
                measured[block], noise[block] = x[0] + off, spread
                _correct(x, p, off, spread)
                met += 1
        block += way
    return -1


@numba.njit(cache=True, nogil=True)
def smoothed(
    measured: NDArray[np.float64],
    noise: NDArray[np.float64],
    block_s: float,
    process: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the best phase of every block, and its variance.

    Parameters
    ----------
    measured : ndarray, shape (n,), float64 [cycle]
    noise : ndarray, shape (n,), float64 [cycle^2]
        Infinite where nothing was measured.
    block_s : float
    process : ndarray, shape (2, 2), float64 [cycle^2, cycle^2/s, cycle^2/s^2]

    Returns
    -------
    tuple of ndarray, shape (n,), float64 [cycle], and (n,), float64 [cycle^2]
    """
    n = measured.size
    states, covariances = np.zeros((n, 2)), np.zeros((n, 2, 2))
    # Nothing is known before the first measurement but that one.
    first = int(np.argmax(np.isfinite(noise)))
    x = np.array([measured[first], 0.0])
    p = np.array([[1.0 + float(first) ** 2, 0.0], [0.0, 1.0 / block_s**2]])
    for k in range(n):
        if k > 0:
            _predict(x, p, block_s, process)
        if np.isfinite(noise[k]):
            _correct(x, p, measured[k] - x[0], noise[k])
        states[k], covariances[k] = x, p
    move = np.array([[1.0, block_s], [0.0, 1.0]])
    for k in range(n - 2, -1, -1):
        ahead = move @ covariances[k] @ move.T + process
        gain = covariances[k] @ move.T @ np.linalg.inv(ahead)
        states[k] += gain @ (states[k + 1] - move @ states[k])
        covariances[k] += gain @ (covariances[k + 1] - ahead) @ gain.T
    return states[:, 0].copy(), covariances[:, 0, 0].copy()
