"""Random numbers addressed by (key, index), for compiled loops.

Word n of stream `key` is SplitMix64 of ``key + n * gamma`` (Steele, Lea and
Flood, OOPSLA 2014, 453): what happens in a slot depends on the slot's index
alone, never on where a piece of work began.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.rng import stream

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_SCALE = 2.0**-53


def stream_keys(seed: int, name: str, n: int) -> NDArray[np.uint64]:
    """Return `n` keys of independent streams, shape (n,), uint64 [1]."""
    return stream(seed, name).integers(0, 2**64, size=n, dtype=np.uint64)


@numba.njit(cache=True, nogil=True)
def word(key: np.uint64, index: int) -> np.uint64:
    """Return word `index` of stream `key`, 64 uniform bits."""
    z = key + np.uint64(index) * _GAMMA
    z = (z ^ (z >> np.uint64(30))) * _MIX1
    z = (z ^ (z >> np.uint64(27))) * _MIX2
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def uniform(key: np.uint64, index: int) -> float:
    """Return variate `index` of stream `key`, uniform in [0, 1)."""
    return np.float64(word(key, index) >> np.uint64(11)) * _SCALE


@numba.njit(cache=True, nogil=True)
def normal(key: np.uint64, index: int) -> float:
    """Return a Gaussian variate of unit variance; its magnitude is below 8.6.

    Box and Muller's transform of two uniforms of 53 bits: the radius cannot
    exceed sqrt(106 ln 2) = 8.572.
    """
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(key, 2 * index)))
    return radius * math.cos(2.0 * math.pi * uniform(key, 2 * index + 1))


@numba.njit(cache=True, nogil=True)
def poisson(u: float, mean: float) -> int:
    """Return the Poisson variate that the uniform `u` selects by inversion.

    Small `u` gives large counts: the count is 0 exactly when u >= 1 - exp(-mean).
    """
    tail = -math.expm1(-mean)
    count = 0
    term = math.exp(-mean)
    # tail = P(N > count); beyond 2**-53 a uniform cannot tell, and term ends it.
    while u < tail and count < 1000:
        count += 1
        term *= mean / count
        tail -= term
    return count
