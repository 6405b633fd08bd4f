"""Noise with memory: band-limited, Wiener phase, slow drift."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.rng import stream
from sim_backends.optics.filters import correlate_add
from sim_backends.optics.normals import NormalStream

KNOT_SAMPLES = 1 << 14
_ATTENUATION_DB = 66.0


class BandNoise:
    """Complex Gaussian noise, flat over a band around zero frequency.

    White variates at a low rate, about 1.25 times the band, are raised to the
    sample rate by a polyphase filter: flat to `width_hz` / 2, gone at 1.25
    times that. A band too wide to be cut off is white.

    Parameters
    ----------
    seed : int
    name : str
        Stream of the variates.
    width_hz, rate_hz : float
        Width of the flat band and sample rate [Hz].
    """

    def __init__(self, seed: int, name: str, width_hz: float, rate_hz: float) -> None:
        self._streams = tuple(NormalStream(seed, f"{name}/{p}") for p in ("re", "im"))
        self.factor = max(1, int(rate_hz / (1.25 * width_hz)))
        if 1.25 * width_hz >= rate_hz:
            prototype = np.ones(1)
        else:
            prototype = self.factor * _low_pass(
                0.5625 * width_hz / rate_hz, 0.125 * width_hz / rate_hz
            )
        per_phase = 4 * math.ceil(prototype.size / (4 * self.factor))
        padded = np.zeros(per_phase * self.factor)
        padded[: prototype.size] = prototype
        # A low-rate variance of 1 / factor gives unit density in the band.
        padded /= math.sqrt(self.factor)
        phases = padded.reshape(per_phase, self.factor).T[:, ::-1]
        self.phases = np.ascontiguousarray(phases, dtype=np.float32)

    def fill(
        self, start: int, re: NDArray[np.float32], im: NDArray[np.float32]
    ) -> None:
        """Write noise of unit density per part, from sample `start` [1] on.

        Parameters
        ----------
        start : int
            Index of the first sample on the stream's own axis [1].
        re, im : ndarray, shape (n,), float32 [sqrt(SNU)]
        """
        factor, per_phase = self.phases.shape
        first = start // factor
        count = (start + re.size - 1) // factor - first + 1
        # Early variates of the stream belong to the filter's start-up.
        low = np.empty(count + per_phase - 1, dtype=np.float32)
        for source, out in zip(self._streams, (re, im), strict=True):
            source.fill(first, low)
            _interpolate(low, self.phases, start - first * factor, out)


def _low_pass(cut: float, transition: float) -> NDArray[np.float64]:
    """Return a Kaiser-windowed sinc of unit gain at zero frequency.

    Length and window follow J. F. Kaiser, Proc. IEEE ISCAS, 20 (1974).

    Parameters
    ----------
    cut, transition : float
        Middle and width of the band edge [cycles per sample].

    Returns
    -------
    ndarray, shape (n_taps,), float64 [1]
    """
    beta = 0.1102 * (_ATTENUATION_DB - 8.7)
    span = (_ATTENUATION_DB - 7.95) / (2.285 * 2.0 * math.pi * transition)
    count = math.ceil(span + 1.0)
    at = np.arange(count) - 0.5 * (count - 1)
    taps = np.sinc(2.0 * cut * at) * np.kaiser(count, beta)
    return np.asarray(taps / taps.sum(), dtype=np.float64)


@numba.njit(cache=True, nogil=True)
def _interpolate(
    low: NDArray[np.float32],
    phases: NDArray[np.float32],
    skip: int,
    out: NDArray[np.float32],
) -> None:
    """Raise the rate: output n = factor q + r uses row r of `phases` at q."""
    factor, per_phase = phases.shape
    count = low.size - per_phase + 1
    row = np.empty(count, dtype=np.float32)
    for r in range(factor):
        row[:] = np.float32(0.0)
        correlate_add(low, phases[r], row)
        q = 0 if r >= skip else 1
        at = factor * q + r - skip
        while at < out.size:
            out[at] = row[q]
            at += factor
            q += 1


class Wander:
    """A random walk in bench time: bias or polarisation drift.

    Parameters
    ----------
    seed : int
    name : str
    rate_per_sqrt_s : float
        Standard deviation after one second [unit of the quantity].
    start : float
        Value at bench time zero.
    """

    def __init__(
        self, seed: int, name: str, rate_per_sqrt_s: float, start: float = 0.0
    ) -> None:
        self._random = stream(seed, name)
        self._rate = rate_per_sqrt_s
        self._value, self._time_s = start, 0.0

    def knots(self, t0_s: float, n_samples: int, rate_hz: float) -> NDArray[np.float64]:
        """Return the walk every `KNOT_SAMPLES` samples of a record.

        Parameters
        ----------
        t0_s : float
            Bench time of the record's first sample [s].
        n_samples : int
        rate_hz : float

        Returns
        -------
        ndarray, shape (n_knots,), float64 [unit of the quantity]
        """
        count = n_samples // KNOT_SAMPLES + 2
        step_s = KNOT_SAMPLES / rate_hz
        gaps_s = np.full(count, step_s)
        gaps_s[0] = max(0.0, t0_s - self._time_s)
        steps = self._random.standard_normal(count) * self._rate * np.sqrt(gaps_s)
        walk = self._value + np.cumsum(steps)
        inside = (n_samples - 1) // KNOT_SAMPLES
        self._value = float(walk[inside])
        self._time_s = t0_s + inside * step_s
        return walk


@numba.njit(cache=True, nogil=True)
def ramp(knots: NDArray[np.float64], start: int, out: NDArray[np.float32]) -> None:
    """Interpolate linearly between knots.

    Parameters
    ----------
    knots : ndarray, shape (n_knots,), float64 [any]
        Values every `KNOT_SAMPLES` samples.
    start : int
        Sample of the first output; samples before the first knot take its value.
    out : ndarray, shape (n,), float32 [any]
    """
    at = 0
    while at < out.size:
        knot = max(0, (start + at) // KNOT_SAMPLES)
        stop = min(out.size, (knot + 1) * KNOT_SAMPLES - start)
        last = min(knot + 1, knots.size - 1)
        slope = (knots[last] - knots[min(knot, last)]) / KNOT_SAMPLES
        base = knots[min(knot, last)]
        for i in range(at, stop):
            out[i] = base + slope * max(0, start + i - knot * KNOT_SAMPLES)
        at = stop


class WienerPhase:
    """The phase of one laser, continuous from record to record.

    Parameters
    ----------
    seed : int
    name : str
    linewidth_hz : float
        Lorentzian full width [Hz]: increments have variance 2 pi linewidth dt.
    """

    def __init__(self, seed: int, name: str, linewidth_hz: float) -> None:
        self.linewidth_hz = linewidth_hz
        self._increments = NormalStream(seed, name)
        self._gaps = stream(seed, f"{name}/gap")
        self._phase_rad = 0.0
        self._end_s = 0.0
        self._step_rad = 0.0

    def begin(self, t0_s: float, rate_hz: float) -> None:
        """Let the phase wander since the last record, up to bench time `t0_s`."""
        gap_s = max(0.0, t0_s - self._end_s)
        width = math.sqrt(2.0 * math.pi * self.linewidth_hz * gap_s)
        self._phase_rad += width * float(self._gaps.standard_normal())
        self._end_s = max(self._end_s, t0_s)
        self._step_rad = math.sqrt(2.0 * math.pi * self.linewidth_hz / rate_hz)

    def add(self, cursor: int, sign: float, out: NDArray[np.float64]) -> None:
        """Add `sign` times the phase of the next samples, in order.

        Parameters
        ----------
        cursor : int
            Index of the first sample's increment [1].
        sign : float
            +1 or -1 [1].
        out : ndarray, shape (n,), float64 [rad]
        """
        if self.linewidth_hz > 0.0:
            steps = self._increments.fill(cursor, np.empty(out.size, np.float32))
            self._phase_rad = _walk(steps, self._step_rad, self._phase_rad, sign, out)
        else:
            out += sign * self._phase_rad

    def end(self, t_s: float) -> None:
        """Note that the phase has been followed up to bench time `t_s` [s]."""
        self._end_s = t_s


@numba.njit(cache=True, nogil=True)
def _walk(
    steps: NDArray[np.float32],
    step_rad: float,
    phase_rad: float,
    sign: float,
    out: NDArray[np.float64],
) -> float:
    """Add the running sum of `steps`; return where it ends."""
    for i in range(steps.size):
        phase_rad += step_rad * steps[i]
        out[i] += sign * phase_rad
    return phase_rad
