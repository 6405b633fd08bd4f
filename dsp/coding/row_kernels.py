"""Soft-decision row updates shared by every layered decoder of the project.

`beliefs` holds the running log-likelihood ratios (LLR > 0 means bit 0), one
row of `size` contiguous floats per base column; `messages` holds what each
edge said last. A layer takes one base row: subtract the edge's old message,
combine, add the new one. All loops run over slices: an index computed as
``(z + shift) % size`` would keep the compiler from using vector instructions,
and so would the test for a zero divisor that ``error_model="numpy"`` leaves out.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

#: |LLR| / 2 beyond which the rational tanh stops; tanh(4.97) = 1 - 1e-4.
_TANH_LIMIT = np.float32(4.97)


@numba.njit(cache=True, nogil=True)
def gather(
    belief: NDArray[np.float32],
    shift: int,
    message: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write ``belief`` rotated by `shift` minus `message` to `out`.

    Parameters
    ----------
    belief, message, out : ndarray, shape (size,), float32 [1]
    shift : int
        Rotation [positions], below ``size``.
    """
    size = belief.size
    head, tail = belief[shift:size], belief[0:shift]
    split = size - shift
    m0, m1 = message[0:split], message[split:size]
    o0, o1 = out[0:split], out[split:size]
    for z in range(split):
        o0[z] = head[z] - m0[z]
    for z in range(shift):
        o1[z] = tail[z] - m1[z]


@numba.njit(cache=True, nogil=True)
def scatter(
    value: NDArray[np.float32],
    message: NDArray[np.float32],
    shift: int,
    belief: NDArray[np.float32],
) -> None:
    """Write ``value + message`` back to ``belief``, undoing the rotation.

    Parameters
    ----------
    value, message, belief : ndarray, shape (size,), float32 [1]
    shift : int
        Rotation [positions], below ``size``.
    """
    size = belief.size
    head, tail = belief[shift:size], belief[0:shift]
    split = size - shift
    v0, v1 = value[0:split], value[split:size]
    m0, m1 = message[0:split], message[split:size]
    for z in range(split):
        head[z] = v0[z] + m0[z]
    for z in range(shift):
        tail[z] = v1[z] + m1[z]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def half_tanh(x: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """Write tanh(x/2), from its continued fraction (relative error < 1e-4).

    Parameters
    ----------
    x, out : ndarray, shape (size,), float32 [1]
    """
    limit = _TANH_LIMIT
    for z in range(x.size):
        h = np.float32(0.5) * x[z]
        h = min(max(h, -limit), limit)
        q = h * h
        top = np.float32(135135) + q * (np.float32(17325) + q * (np.float32(378) + q))
        low = np.float32(135135) + q * (
            np.float32(62370) + q * (np.float32(3150) + q * np.float32(28))
        )
        out[z] = h * top / low


@numba.njit(cache=True, nogil=True, error_model="numpy")
def double_atanh(p: NDArray[np.float32], work: NDArray[np.float32]) -> None:
    """Replace `p` by ``2 atanh(p) = ln((1+p)/(1-p))`` (absolute error < 1e-5).

    The logarithm splits off the binary exponent and takes the rest from the
    odd series in ``(m-1)/(m+1)``; a library call would not be vectorised.

    Parameters
    ----------
    p, work : ndarray, shape (size,), float32 [1]
    """
    bits = work.view(np.int32)
    for z in range(p.size):
        x = min(max(p[z], np.float32(-0.999999)), np.float32(0.999999))
        work[z] = (np.float32(1) + x) / (np.float32(1) - x)
    for z in range(p.size):
        # centre the mantissa on 1: 0x3F3504F3 is 1/sqrt(2)
        shifted = bits[z] - np.int32(0x3F3504F3)
        exponent = shifted >> np.int32(23)
        p[z] = np.float32(exponent)
        bits[z] = (shifted & np.int32(0x007FFFFF)) + np.int32(0x3F3504F3)
    for z in range(p.size):
        m = work[z]
        f = (m - np.float32(1)) / (m + np.float32(1))
        q = f * f
        series = np.float32(2) + q * (
            np.float32(2 / 3) + q * (np.float32(2 / 5) + q * np.float32(2 / 7))
        )
        p[z] = p[z] * np.float32(0.6931471805599453) + f * series


@numba.njit(cache=True, nogil=True)
def min_sum(
    values: NDArray[np.float32],
    scale: float,
    work: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Normalised min-sum of one base row.

    Parameters
    ----------
    values : ndarray, shape (degree, size), float32 [1]
    scale : float
        Normalisation [1], about 0.8.
    work : ndarray, shape (3, size), float32 [1]
    out : ndarray, shape (degree, size), float32 [1]
    """
    degree, size = values.shape
    low, second, sign = work[0], work[1], work[2]
    factor = np.float32(scale)
    low[:] = np.float32(1e30)
    second[:] = np.float32(1e30)
    sign[:] = factor
    for d in range(degree):
        v = values[d]
        for z in range(size):
            a = abs(v[z])
            second[z] = min(second[z], max(low[z], a))
            low[z] = min(low[z], a)
            sign[z] = -sign[z] if v[z] < 0 else sign[z]
    for d in range(degree):
        v, o = values[d], out[d]
        for z in range(size):
            m = second[z] if abs(v[z]) == low[z] else low[z]
            m = m * sign[z]
            o[z] = -m if v[z] < 0 else m


@numba.njit(cache=True, nogil=True, error_model="numpy")
def sum_product(
    tanhs: NDArray[np.float32],
    first: NDArray[np.float32],
    work: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Sum-product of one base row by forward and backward products.

    Parameters
    ----------
    tanhs : ndarray, shape (degree, size), float32 [1]
        tanh(LLR/2) of the incoming values.
    first : ndarray, shape (size,), float32 [1]
        Constant factor: the sign asked for by the syndrome, times tanh of
        the degree-one (leaf) variable where the row has one.
    work : ndarray, shape (2, size), float32 [1]
    out : ndarray, shape (degree, size), float32 [1]
        Outgoing LLRs.
    """
    degree, size = tanhs.shape
    product, scratch = work[0], work[1]
    product[:] = first
    for d in range(degree):
        t, o = tanhs[d], out[d]
        for z in range(size):
            o[z] = product[z]
            product[z] = product[z] * t[z]
    product[:] = np.float32(1)
    for d in range(degree - 1, -1, -1):
        t, o = tanhs[d], out[d]
        for z in range(size):
            o[z] = o[z] * product[z]
            product[z] = product[z] * t[z]
        double_atanh(o, scratch)
