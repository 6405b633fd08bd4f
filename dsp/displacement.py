r"""Removal of the classical displacement, after error correction.

The displaced waveform is tens of decibels above the accuracy the key needs, so
not only the symbol itself but the small leakage of its neighbours is removed:
a few complex taps are fitted to the known bits and subtracted.

The fit is leave-block-out: the taps used on a block come from all the *other*
blocks. A self-inclusive fit would subtract part of the noise with the signal
and report too little excess noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import SignalError

BLOCK_SYMBOLS = 1 << 14


@dataclass(frozen=True, slots=True)
class Removal:
    """Symbols without displacement, and what was removed.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [as given]
        Rotated so that the displacement's main tap was real.
    amplitude : float
        Mean displacement per quadrature at Bob [as given].
    rotation_rad : float
        Mean phase of the main tap [rad].
    taps : ndarray, shape (n_taps,), complex128 [as given]
        Fit over all blocks, for the report only.
    """

    symbols: NDArray[np.complex64]
    amplitude: float
    rotation_rad: float
    taps: NDArray[np.complex128]


@numba.njit(cache=True, nogil=True)
def _normal_equations(
    received: NDArray[np.complex64],
    known: NDArray[np.complex64],
    n_taps: int,
    start: int,
    stop: int,
    gram: NDArray[np.complex128],
    cross: NDArray[np.complex128],
) -> None:
    """Sum over ``start:stop``; `known` is padded by ``n_taps // 2`` on both sides."""
    for k in range(start, stop):
        for a in range(n_taps):
            sa = known[k + a]
            conj = complex(sa.real, -sa.imag)
            cross[a] += conj * received[k]
            for b in range(a, n_taps):
                gram[a, b] += conj * known[k + b]
    for a in range(n_taps):
        for b in range(a):
            gram[a, b] = gram[b, a].conjugate()


@numba.njit(cache=True, nogil=True)
def _subtract(
    received: NDArray[np.complex64],
    known: NDArray[np.complex64],
    taps: NDArray[np.complex64],
    turn: complex,
    start: int,
    stop: int,
    out: NDArray[np.complex64],
) -> None:
    for k in range(start, stop):
        re = received[k].real
        im = received[k].imag
        for a in range(taps.size):
            s = known[k + a]
            t = taps[a]
            re -= t.real * s.real - t.imag * s.imag
            im -= t.real * s.imag + t.imag * s.real
        out[k] = complex(
            re * turn.real - im * turn.imag, re * turn.imag + im * turn.real
        )


def remove_displacement(
    received: NDArray[np.complex64],
    directions: NDArray[np.complex64],
    before: NDArray[np.complex64],
    n_taps: int,
) -> Removal:
    """Subtract the known displacement and its inter-symbol leakage.

    Parameters
    ----------
    received : ndarray, shape (n,), complex64 [code or sqrt(SNU)]
    directions : ndarray, shape (n,), complex64 [1]
        Error-corrected displacement directions, components +-1.
    before : ndarray, shape (m,), complex64 [1]
        Known symbols sent before, in the same unit of displacement.
    n_taps : int
        Odd number of taps [symbol].

    Returns
    -------
    Removal

    Raises
    ------
    SignalError
        With fewer than two blocks (leave-block-out needs another one).
    """
    n, half = received.size, n_taps // 2
    size = min(BLOCK_SYMBOLS, n // 2)
    if size < 8 * n_taps:
        raise SignalError(
            f"displacement: {n} symbols are too few for leave-block-out with "
            f"{n_taps} taps (at least {16 * n_taps})"
        )
    lead = np.zeros(half, dtype=np.complex64)
    usable = min(half, before.size)
    if usable:
        lead[half - usable :] = before[before.size - usable :]
    # Tap a looks at symbol k + a - half.
    known = np.concatenate([lead, directions, np.zeros(half, dtype=np.complex64)])
    edges = list(range(0, n, size))
    if len(edges) > 1 and n - edges[-1] < size:
        edges.pop()
    spans = list(zip(edges, [*edges[1:], n], strict=True))
    grams = np.zeros((len(spans), n_taps, n_taps), dtype=np.complex128)
    crosses = np.zeros((len(spans), n_taps), dtype=np.complex128)
    for i, (start, stop) in enumerate(spans):
        _normal_equations(received, known, n_taps, start, stop, grams[i], crosses[i])
    gram, cross = grams.sum(axis=0), crosses.sum(axis=0)
    out = np.empty_like(received)
    for i, (start, stop) in enumerate(spans):
        taps = np.linalg.solve(gram - grams[i], cross - crosses[i])
        turn = complex(np.conj(taps[half]) / abs(taps[half]))
        _subtract(received, known, taps.astype(np.complex64), turn, start, stop, out)
    taps = np.linalg.solve(gram, cross)
    main = complex(taps[half])
    return Removal(out, abs(main), math.atan2(main.imag, main.real), taps)
