"""The hot loops of the receiver, compiled with numba.

Real samples are never mixed at full rate: the carrier sits in the taps, and a
filter is evaluated only where its output is needed.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

# Summation order may change (that is what vectorises a dot product); NaN and
# infinity keep their meaning, so a corrupt sample cannot vanish.
_DOT = {"reassoc", "contract", "nsz"}


@numba.njit(cache=True, nogil=True, fastmath=_DOT)
def filter_and_decimate(
    x: NDArray[np.float32],
    taps_re: NDArray[np.float32],
    taps_im: NDArray[np.float32],
    hop: int,
    out: NDArray[np.complex64],
) -> None:
    """Evaluate a complex filter on real samples every `hop` samples.

    Parameters
    ----------
    x : ndarray, shape (>= (n_out - 1) * hop + n_taps,), float32 [code]
    taps_re, taps_im : ndarray, shape (n_taps,), float32 [1]
    hop : int
        Distance of two outputs [sample].
    out : ndarray, shape (n_out,), complex64 [code]
        Written; ``out[m] = sum_i x[m*hop + i] * taps[i]``.
    """
    n_taps = taps_re.size
    for m in range(out.size):
        part = x[m * hop : m * hop + n_taps]
        re = np.float32(0.0)
        im = np.float32(0.0)
        for i in range(n_taps):
            re += part[i] * taps_re[i]
            im += part[i] * taps_im[i]
        out[m] = complex(re, im)


@numba.njit(cache=True, nogil=True, fastmath=_DOT)
def matched_filter(
    x: NDArray[np.float32],
    instants: NDArray[np.float64],
    bank_re: NDArray[np.float32],
    bank_im: NDArray[np.float32],
    out: NDArray[np.complex64],
) -> None:
    """Evaluate a fractional-delay matched filter at the symbol instants.

    Parameters
    ----------
    x : ndarray, shape (n,), float32 [code]
    instants : ndarray, shape (n_symbols,), float64 [sample]
        Symbol centres minus ``n_taps // 2 - 1``, relative to ``x[0]``.
    bank_re, bank_im : ndarray, shape (n_phases, n_taps), float32 [1]
        Taps for each fraction of a sample.
    out : ndarray, shape (n_symbols,), complex64 [code]
        Written; carrier phase zero at each row's own instant.
    """
    n_phases, n_taps = bank_re.shape
    for k in range(instants.size):
        position = instants[k]
        first = math.floor(position)
        row = int((position - first) * n_phases + 0.5)
        if row == n_phases:
            row = 0
            first += 1
        part = x[first : first + n_taps]
        taps_re = bank_re[row]
        taps_im = bank_im[row]
        re = np.float32(0.0)
        im = np.float32(0.0)
        for i in range(n_taps):
            re += part[i] * taps_re[i]
            im += part[i] * taps_im[i]
        out[k] = complex(re, im)


@numba.njit(cache=True, nogil=True)
def derotate(
    symbols: NDArray[np.complex64],
    instants: NDArray[np.float64],
    first_symbol: int,
    turns: tuple[float, float, float],
    n_phases: int,
    hop_phase_rad: NDArray[np.float64],
    hop_grid: tuple[float, float],
) -> None:
    r"""Rotate matched-filter outputs by the carrier the pilot measured, in place.

    The phase of symbol `k` at instant :math:`n_k`, in turns, is

    .. math:: f_p n_k + \hat\varphi(n_k)/2\pi + \Delta k + f_s (n'_k - n_k)

    with the pilot's frequency :math:`f_p` and the signal's :math:`f_s` per sample,
    their distance :math:`\Delta` per symbol, the smoothed pilot phase interpolated
    between two hops, and :math:`n'_k` the instant on the filter bank's grid.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [code]
    instants : ndarray, shape (n,), float64 [sample]
    first_symbol : int
    turns : tuple of float
        ``(f_p, f_s, delta)`` [1].
    n_phases : int
        Rows of the filter bank [1].
    hop_phase_rad : ndarray, shape (n_hops,), float64 [rad]
    hop_grid : tuple of float
        Instant of the first hop and distance of two hops [sample].
    """
    pilot_turns, signal_turns, delta_turns = turns
    hop_start, hop = hop_grid
    two_pi = 2.0 * math.pi
    for k in range(symbols.size):
        position = instants[k]
        at = (position - hop_start) / hop
        left = math.floor(at)
        weight = at - left
        pilot = (1.0 - weight) * hop_phase_rad[left] + weight * hop_phase_rad[left + 1]
        rounded = math.floor(position * n_phases + 0.5) / n_phases
        turn = pilot_turns * position
        turn -= math.floor(turn)
        turn += delta_turns * (first_symbol + k)
        turn += signal_turns * (rounded - position)
        phase = two_pi * (turn - math.floor(turn)) + pilot
        re = np.float32(math.cos(phase))
        im = np.float32(-math.sin(phase))
        a = symbols[k].real
        b = symbols[k].imag
        symbols[k] = complex(a * re - b * im, a * im + b * re)


@numba.njit(cache=True, nogil=True)
def unwrapped_angle(
    z: NDArray[np.complex64], previous_rad: float, out: NDArray[np.float64]
) -> None:
    """Write the unwrapped angle of `z`, continuing from `previous_rad`.

    Parameters
    ----------
    z : ndarray, shape (n,), complex64 [code]
    previous_rad : float
        Last angle before `z` [rad].
    out : ndarray, shape (n,), float64 [rad]
    """
    two_pi = 2.0 * math.pi
    last = previous_rad
    for m in range(z.size):
        angle = math.atan2(z[m].imag, z[m].real)
        last = angle + two_pi * math.floor((last - angle) / two_pi + 0.5)
        out[m] = last


@numba.njit(cache=True, nogil=True)
def smooth_wiener(
    measured_rad: NDArray[np.float64],
    gain: float,
    state_rad: float,
    keep: int,
    out: NDArray[np.float64],
) -> float:
    """Run the stationary two-sided smoother over one stretch of phase.

    Forward: a Kalman filter with constant gain. Backward: the Rauch-Tung-
    Striebel recursion, started at the end of the stretch.

    Parameters
    ----------
    measured_rad : ndarray, shape (n,), float64 [rad]
    gain : float
        Stationary Kalman gain [1].
    state_rad : float
        Filtered phase before the stretch [rad].
    keep : int
        Index whose filtered phase is returned [1].
    out : ndarray, shape (n,), float64 [rad]
        Smoothed phase, written.

    Returns
    -------
    float
        Filtered phase at `keep`: the state before the next stretch [rad].
    """
    filtered = state_rad
    kept: float = state_rad
    for m in range(measured_rad.size):
        filtered += gain * (measured_rad[m] - filtered)
        out[m] = filtered
        if m == keep:
            kept = filtered
    smoothed = out[out.size - 1]
    for m in range(out.size - 2, -1, -1):
        smoothed = out[m] + (1.0 - gain) * (smoothed - out[m])
        out[m] = smoothed
    return kept
