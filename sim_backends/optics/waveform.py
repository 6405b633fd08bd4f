r"""What the generator's output is at the instants the digitiser samples.

The two instruments have clocks of their own. Between the generator's samples
the voltage is the band-limited interpolation

.. math:: v(p) = \sum_m x_m k(p - m), \qquad k(u) = \mathrm{sinc}(u)\, w(u),

with a Kaiser window w of 32 samples, tabulated at 256 phases per sample and
interpolated linearly between phases: flat to 1e-4 up to 0.72 of Nyquist. A
generator bandwidth is folded into k, exactly, as a first-order low-pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

N_PHASES = 256
_TAPS = 32
_KAISER_BETA = 10.0
_BLOCK = 2048


@dataclass(frozen=True)
class SamplingInstants:
    """Positions p(i) = p0 + step i + curve i^2 on the generator's sample axis.

    Parameters
    ----------
    p0 : float
        Position of sample 0 of the record [generator samples].
    step : float
        Generator samples per digitiser sample [1].
    curve : float
        Half its growth per digitiser sample: a drifting clock [1].
    """

    p0: float
    step: float
    curve: float


def interpolation_table(bandwidth: float) -> NDArray[np.float32]:
    """Tabulate the interpolation kernel.

    Parameters
    ----------
    bandwidth : float
        Corner of the first-order low-pass [cycles/sample]; 0 for none.

    Returns
    -------
    ndarray, shape (257, n_taps), float32 [1]
        Row c, tap t: weight of sample floor(p) - n_taps / 2 + 1 + t (for a
        kernel without low-pass) at the fraction c / 256.
    """
    u = np.arange(-_TAPS // 2 * N_PHASES, _TAPS // 2 * N_PHASES + 1) / N_PHASES
    window = np.i0(_KAISER_BETA * np.sqrt(np.maximum(0.0, 1 - (2 * u / _TAPS) ** 2)))
    kernel = np.sinc(u) * window / np.i0(_KAISER_BETA)
    extra = 0
    if bandwidth > 0.0:
        extra = 4 * math.ceil(12.0 / (2.0 * math.pi * bandwidth) / 4.0)
        size = 4 * (kernel.size + extra * N_PHASES)
        f = np.fft.rfftfreq(size, 1.0 / N_PHASES)
        spectrum = np.fft.rfft(kernel, size) / (1.0 + 1j * f / bandwidth)
        kernel = np.fft.irfft(spectrum, size)[: kernel.size + extra * N_PHASES]
    # k(u) at u = fraction - (t - 15) falls with t: take the table backwards.
    n_taps = _TAPS + extra
    table = np.empty((N_PHASES + 1, n_taps))
    for c in range(N_PHASES + 1):
        for t in range(n_taps):
            at = c + (n_taps - 1 - t) * N_PHASES
            table[c, t] = kernel[at]
    table /= table.sum(axis=1, keepdims=True)
    return table.astype(np.float32)


class PlayedWaveform:
    """One generator channel, ready to be evaluated anywhere.

    Parameters
    ----------
    samples_v : ndarray, shape (n,), float32 [V]
    table : ndarray, shape (257, n_taps), float32 [1]
        From `interpolation_table`.
    """

    def __init__(
        self, samples_v: NDArray[np.float32], table: NDArray[np.float32]
    ) -> None:
        self._pad = table.shape[1]
        self._table = table
        self._steps = np.diff(table, axis=0)
        self._samples = np.zeros(samples_v.size + 2 * self._pad, dtype=np.float32)
        self._samples[self._pad : self._pad + samples_v.size] = samples_v

    def fill(
        self, instants: SamplingInstants, start: int, out: NDArray[np.float32]
    ) -> None:
        """Write the voltage at record samples ``start, start + 1, ...``.

        Parameters
        ----------
        instants : SamplingInstants
        start : int
            First sample of the record wanted; may be negative [1].
        out : ndarray, shape (n,), float32 [V]
            Zero before the waveform starts and after it ends.
        """
        # Sample floor(p) sits at tap 15 + extra of the table's row.
        first = self._pad - (_TAPS // 2 - 1) - (self._pad - _TAPS)
        p0 = instants.p0 + first
        _evaluate(
            self._samples,
            (self._table, self._steps),
            (p0, instants.step, instants.curve),
            start,
            out,
        )


@numba.njit(cache=True, nogil=True)
def _cell(where: tuple[float, float, float], i: int) -> int:
    """Return which of the 256 cells per sample record sample `i` falls in."""
    return math.floor((where[0] + i * where[1] + where[2] * i * i) * N_PHASES)


@numba.njit(cache=True, nogil=True)
def _run_length(where: tuple[float, float, float], i: int, limit: int) -> int:
    """Return for how many samples from `i` the phase cell stays the same."""
    cell = _cell(where, i)
    if limit < 2 or _cell(where, i + 1) != cell + N_PHASES:
        return 1
    length = limit
    while length > 1:
        if _cell(where, i + length - 1) == cell + (length - 1) * N_PHASES:
            return length
        length = (length + 1) // 2 if length < 64 else (3 * length) // 4
    return 1


@numba.njit(cache=True, nogil=True)
def _evaluate(
    x: NDArray[np.float32],
    tables: tuple[NDArray[np.float32], NDArray[np.float32]],
    where: tuple[float, float, float],
    start: int,
    out: NDArray[np.float32],
) -> None:
    """Interpolate; samples that share a phase cell are done together."""
    table, steps = tables
    n_taps = table.shape[1]
    at = 0
    slope = np.empty(_BLOCK, dtype=np.float32)
    while at < out.size:
        i = start + at
        cell = _cell(where, i)
        n = _run_length(where, i, min(_BLOCK, out.size - at))
        row = cell % N_PHASES
        first = (cell - row) // N_PHASES
        y = out[at : at + n]
        d = slope[:n]
        y[:] = np.float32(0.0)
        d[:] = np.float32(0.0)
        skip = 0
        if first < 0:
            skip = min(n, -first)
        stop = min(n, x.size - n_taps + 1 - first)
        if stop > skip:
            low = first + skip
            _convolve(x[low:], table[row], y[skip:stop])
            _convolve(x[low:], steps[row], d[skip:stop])
            for k in range(skip, stop):
                p = where[0] + (i + k) * where[1] + where[2] * (i + k) * (i + k)
                part = np.float32(p * N_PHASES - (cell + k * N_PHASES))
                y[k] += part * d[k]
        at += n


@numba.njit(cache=True, nogil=True)
def _convolve(
    x: NDArray[np.float32], taps: NDArray[np.float32], y: NDArray[np.float32]
) -> None:
    """Add sum over t of taps[t] x[k + t] to y[k]; taps in fours."""
    n = y.size
    for t in range(0, taps.size, 4):
        t0, t1, t2, t3 = taps[t], taps[t + 1], taps[t + 2], taps[t + 3]
        x0, x1 = x[t : t + n], x[t + 1 : t + 1 + n]
        x2, x3 = x[t + 2 : t + 2 + n], x[t + 3 : t + 3 + n]
        for k in range(n):
            y[k] += (t0 * x0[k] + t1 * x1[k]) + (t2 * x2[k] + t3 * x3[k])
