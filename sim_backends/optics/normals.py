r"""Gaussian noise that depends only on a key and an index.

A stream is a function (key, n) -> variate, not a machine with a state: any
piece of a record can be made on its own, in any order and by any thread, with
the same result. Each 64-bit word is SplitMix64 [1]_ of a counter; its halves
give the radius and the angle of one Box-Muller pair [2]_. Words become
normals 512 at a time, in loops the compiler turns into vector code; the
logarithm, sine and cosine are polynomials good to 1e-7.

References
----------
.. [1] G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014, 453.
.. [2] G. E. P. Box and M. E. Muller, Ann. Math. Stat. 29, 610 (1958).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.rng import stream

_F = np.float32
_PAIRS = 512
_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)

# ln(1 + t) = t P(t) for -1/4 <= t <= 1/2, least squares, error 7e-9.
_L0, _L1, _L2 = _F(0.99999999), _F(-0.50000101), _F(0.33333558)
_L3, _L4, _L5 = _F(-0.2499139), _F(0.1997596), _F(-0.168529)
_L6, _L7, _L8 = _F(0.15017081), _F(-0.11941743), _F(0.05226681)
# sin and cos of (pi/4) g, |g| <= 1; errors 1e-9 and 5e-11.
_S0, _S1, _S2, _S3 = (
    _F(7.85398153e-01),
    _F(-8.07453672e-02),
    _F(2.48987178e-03),
    _F(-3.58771500e-05),
)
_C1, _C2, _C3, _C4 = (
    _F(-3.08425135e-01),
    _F(1.58543252e-02),
    _F(-3.25938600e-04),
    _F(3.52980424e-06),
)
_ONE = _F(1.0)
_SCALE31 = _F(2.0**-31)
_SCALE29 = _F(2.0**-29)
_LN2 = _F(0.6931471805599453)
_MINUS2 = _F(-2.0)
_HALF_ROOT = _F(0.7071067811865476)


@numba.njit(cache=True, nogil=True)
def _words(
    key: np.uint64,
    block: int,
    uniform: NDArray[np.float32],
    angle: NDArray[np.int32],
    signs: NDArray[np.int32],
) -> None:
    """Fill the uniforms in (0, 1], the angle in its quadrant, and two signs."""
    base = key + np.uint64(block) * np.uint64(_PAIRS) * _GAMMA
    for k in range(_PAIRS):
        z = base + np.uint64(k) * _GAMMA
        z = (z ^ (z >> np.uint64(30))) * _MIX1
        z = (z ^ (z >> np.uint64(27))) * _MIX2
        z = z ^ (z >> np.uint64(31))
        uniform[k] = (_F(np.int32(z >> np.uint64(33))) + _ONE) * _SCALE31
        angle[k] = np.int32(z & np.uint64(0x3FFFFFFF))
        signs[k] = np.int32((z >> np.uint64(30)) & np.uint64(3))


@numba.njit(cache=True, nogil=True)
def _pairs(
    uniform: NDArray[np.float32],
    angle: NDArray[np.int32],
    signs: NDArray[np.int32],
    out: NDArray[np.float32],
) -> None:
    """Box-Muller: normals k and k + 512 of the block come from word k."""
    bits = uniform.view(np.int32)
    mantissa = np.empty(_PAIRS, dtype=np.float32)
    raw = mantissa.view(np.int32)
    for k in range(_PAIRS):
        # Split u = m 2**e with 0.75 <= m < 1.5.
        raw[k] = bits[k] - ((bits[k] - np.int32(0x3F400000)) & np.int32(-0x800000))
    first = out[:_PAIRS]
    second = out[_PAIRS:]
    for k in range(_PAIRS):
        exponent = _F((bits[k] - raw[k]) >> np.int32(23))
        t = mantissa[k] - _ONE
        p = ((_L8 * t + _L7) * t + _L6) * t + _L5
        p = (((p * t + _L4) * t + _L3) * t + _L2) * t + _L1
        log = (p * t + _L0) * t + exponent * _LN2
        radius = np.sqrt(max(_MINUS2 * log, _F(0.0))) * _HALF_ROOT
        g = _F(angle[k]) * _SCALE29 - _ONE
        x = g * g
        s = (((_S3 * x + _S2) * x + _S1) * x + _S0) * g
        c = (((_C4 * x + _C3) * x + _C2) * x + _C1) * x + _ONE
        a = radius * (_ONE - _F((signs[k] & np.int32(1)) << np.int32(1)))
        b = radius * (_ONE - _F(signs[k] & np.int32(2)))
        first[k] = (c - s) * a
        second[k] = (c + s) * b


@numba.njit(cache=True, nogil=True)
def fill_normals(key: np.uint64, start: int, out: NDArray[np.float32]) -> None:
    """Write variates ``start, start + 1, ...`` of the stream `key`.

    Parameters
    ----------
    key : uint64
        Names the stream.
    start : int
        Index of the first variate, not negative [1].
    out : ndarray, shape (n,), float32 [1]
        Receives the variates, unit variance.
    """
    size = 2 * _PAIRS
    uniform = np.empty(_PAIRS, dtype=np.float32)
    angle = np.empty(_PAIRS, dtype=np.int32)
    signs = np.empty(_PAIRS, dtype=np.int32)
    scratch = np.empty(size, dtype=np.float32)
    n = out.size
    for block in range(start // size, (start + n + size - 1) // size):
        _words(key, block, uniform, angle, signs)
        at = block * size - start
        if at >= 0 and at + size <= n:
            _pairs(uniform, angle, signs, out[at : at + size])
        else:
            _pairs(uniform, angle, signs, scratch)
            low, high = max(at, 0), min(at + size, n)
            out[low:high] = scratch[low - at : high - at]


class NormalStream:
    """Gaussian variates of unit variance, addressed by index.

    Parameters
    ----------
    seed : int
        The run's seed.
    name : str
        Purpose of the stream; streams of different names are independent.
    """

    def __init__(self, seed: int, name: str) -> None:
        word = stream(seed, name).integers(0, 2**64, dtype=np.uint64)
        self._key = np.uint64(word)

    def fill(self, start: int, out: NDArray[np.float32]) -> NDArray[np.float32]:
        """Write the variates from index `start` [1] on into `out` and return it.

        Parameters
        ----------
        start : int
            Index of the first variate [1].
        out : ndarray, shape (n,), float32 [1]
        """
        fill_normals(self._key, start, out)
        return out
