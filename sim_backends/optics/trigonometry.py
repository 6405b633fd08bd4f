"""Sine and cosine of angles in turns, as loops the compiler vectorises."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_F = np.float32
_HALF, _QUARTER = _F(0.5), _F(0.25)
# sin(2 pi r) = r P(r^2), |r| <= 1/4, least squares, error 5e-9.
_P0, _P1, _P2 = _F(6.2831851), _F(-41.34164242), _F(81.60024441)
_P3, _P4 = _F(-76.53296282), _F(39.41327653)


@numba.njit(cache=True, nogil=True)
def sin_turns(x: float) -> float:
    """Return sin(2 pi x) of a float32 angle `x` [turn]; error below 2e-7 near 0."""
    r = x - np.floor(x + _HALF)
    # Fold the outer quarters back: sin(pi - a) = sin(a).
    if r > _QUARTER:
        r = _HALF - r
    elif r < -_QUARTER:
        r = -_HALF - r
    y = r * r
    value: float = ((((_P4 * y + _P3) * y + _P2) * y + _P1) * y + _P0) * r
    return value


@numba.njit(cache=True, nogil=True)
def rotate(
    turns: tuple[float, float, float],
    start: int,
    phase_rad: NDArray[np.float64],
    out: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Write cosine and sine of a chirped carrier with phase noise.

    Parameters
    ----------
    turns : tuple of float
        Phase, frequency and half the chirp: t0 + t1 i + t2 i^2
        [turn, turn/sample, turn/sample^2].
    start : int
        First i [sample].
    phase_rad : ndarray, shape (n,) or (0,), float64 [rad]
        Phase added to each sample; none when empty.
    out : tuple of two ndarrays, shape (n,), float32 [1]
    """
    cosine, sine = out
    t0, t1, t2 = turns
    per_turn = 1.0 / (2.0 * np.pi)
    fraction = np.empty(min(cosine.size, 1024), dtype=np.float32)
    for low in range(0, cosine.size, 1024):
        c, s = cosine[low : low + 1024], sine[low : low + 1024]
        part = fraction[: c.size]
        if phase_rad.size > 0:
            extra = phase_rad[low : low + 1024]
            for i in range(c.size):
                k = float(start + low + i)
                x = t0 + (t1 + t2 * k) * k + extra[i] * per_turn
                part[i] = x - np.floor(x)
        else:
            for i in range(c.size):
                k = float(start + low + i)
                x = t0 + (t1 + t2 * k) * k
                part[i] = x - np.floor(x)
        for i in range(c.size):
            s[i] = sin_turns(part[i])
            c[i] = sin_turns(part[i] + _QUARTER)
