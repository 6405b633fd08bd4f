"""Multidimensional reconciliation in dimension 8 (octonions), reverse direction.

Bob's eight normalised values are a point on the 7-sphere. He draws a random
corner ``u`` of the hypercube and publishes the rotation that carries his point
there. Octonions make that rotation explicit: ``alpha = u conj(y/|y|)``, so
``alpha (y/|y|) = u``, and the published ``alpha`` is uniform on the sphere,
independent of ``u``. Alice applies the same rotation to her noisy copy and sees
``u`` through a Gaussian channel with binary input.

References
----------
.. [1] A. Leverrier, R. Alleaume, J. Boutros, G. Zemor, P. Grangier,
   Phys. Rev. A 77, 042325 (2008).
.. [2] J. C. Baez, Bull. Am. Math. Soc. 39, 145 (2002) (Cayley-Dickson).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import ProtocolAbort

#: Counts per unit of the published rotation; |alpha| <= 1.
ALPHA_SCALE = 32767
_DIMENSION = 8


@dataclass(frozen=True, slots=True)
class SideInfo:
    """What Bob publishes besides the syndrome.

    Parameters
    ----------
    alpha : ndarray, shape (n / 8, 8), int16 [1/32767]
        Rotation of each group of eight.
    norm : ndarray, shape (n / 8,), float32 [sqrt(SNU)]
        Length of each group.
    """

    alpha: NDArray[np.int16]
    norm: NDArray[np.float32]


def _product_signs() -> NDArray[np.float64]:
    """Return s with ``e_i e_j = s[i, j] e_(i xor j)``, by Cayley-Dickson doubling."""
    signs = np.ones((1, 1))
    while signs.shape[0] < _DIMENSION:
        half = signs.shape[0]
        conj = np.where(np.arange(half) == 0, 1.0, -1.0)
        bigger = np.empty((2 * half, 2 * half))
        # (a, b)(c, d) = (a c - conj(d) b, d a + b conj(c))
        bigger[:half, :half] = signs
        bigger[half:, half:] = -(conj[:, None] * signs).T
        bigger[:half, half:] = signs.T
        bigger[half:, :half] = signs * conj[None, :]
        signs = bigger
    return signs


_SIGNS = _product_signs().astype(np.float32)
_CORNER = np.float32(1 / math.sqrt(_DIMENSION))


@numba.njit(cache=True, nogil=True)
def _multiply(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    signs: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    out[:] = np.float32(0)
    for i in range(8):
        for j in range(8):
            out[i ^ j] += signs[i, j] * a[i] * b[j]


@numba.njit(cache=True, nogil=True)
def _encode(
    y: NDArray[np.float32],
    u: NDArray[np.uint8],
    signs: NDArray[np.float32],
    alpha: NDArray[np.int16],
    norm: NDArray[np.float32],
) -> None:
    point = np.empty(8, dtype=np.float32)
    corner = np.empty(8, dtype=np.float32)
    turn = np.empty(8, dtype=np.float32)
    for g in range(norm.size):
        total = 0.0
        for k in range(8):
            value = y[8 * g + k]
            total += value * value
            corner[k] = -_CORNER if u[8 * g + k] == 1 else _CORNER
            point[k] = value if k == 0 else -value
        length = math.sqrt(total)
        norm[g] = length
        _multiply(corner, point, signs, turn)
        for k in range(8):
            alpha[g, k] = round(turn[k] / length * ALPHA_SCALE)


@numba.njit(cache=True, nogil=True)
def _rotate(
    x: NDArray[np.float32],
    alpha: NDArray[np.int16],
    scale: NDArray[np.float32],
    signs: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write ``scale[g] * alpha[g] x[g]``."""
    turn = np.empty(8, dtype=np.float32)
    rotated = np.empty(8, dtype=np.float32)
    for g in range(scale.size):
        for k in range(8):
            turn[k] = alpha[g, k] * np.float32(1 / ALPHA_SCALE)
        _multiply(turn, x[8 * g : 8 * g + 8], signs, rotated)
        for k in range(8):
            out[8 * g + k] = scale[g] * rotated[k]


@numba.njit(cache=True, nogil=True)
def _recover(
    u: NDArray[np.uint8],
    alpha: NDArray[np.int16],
    norm: NDArray[np.float32],
    signs: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    turn = np.empty(8, dtype=np.float32)
    corner = np.empty(8, dtype=np.float32)
    point = np.empty(8, dtype=np.float32)
    for g in range(norm.size):
        total = 0.0
        for k in range(8):
            value = float(alpha[g, k])
            total += value * value
            turn[k] = value if k == 0 else -value
            corner[k] = -_CORNER if u[8 * g + k] == 1 else _CORNER
        _multiply(turn, corner, signs, point)
        # dividing by the length of the rounded alpha keeps the norm exact
        length = math.sqrt(total)
        for k in range(8):
            out[8 * g + k] = norm[g] * point[k] / length


def encode(y: NDArray[np.float32], u: NDArray[np.uint8]) -> SideInfo:
    """Bob: the rotation that carries his data to the corners given by `u`.

    Parameters
    ----------
    y : ndarray, shape (n,), float32 [sqrt(SNU)]
        Residual quadratures; both quadratures scaled to the same variance.
    u : ndarray, shape (n,), uint8 [bit]
        Fresh uniform bits: the raw key.

    Returns
    -------
    SideInfo

    Raises
    ------
    ProtocolAbort
        If the lengths differ, are no multiple of 8, or a group of `y` is zero
        or not finite.
    """
    _check_length(y.size, u.size)
    groups = y.size // _DIMENSION
    alpha = np.empty((groups, _DIMENSION), dtype=np.int16)
    norm = np.empty(groups, dtype=np.float32)
    if not np.isfinite(y).all() or not y.reshape(-1, _DIMENSION).any(axis=1).all():
        raise ProtocolAbort("reconciliation: a group of quadratures is zero or NaN")
    _encode(y, u, _SIGNS, alpha, norm)
    return SideInfo(alpha, norm)


def llr(
    x: NDArray[np.float32], side: SideInfo, kappa: float, sigma2: float
) -> NDArray[np.float32]:
    """Alice: log-likelihood ratios of Bob's bits.

    Parameters
    ----------
    x : ndarray, shape (n,), float32 [sqrt(SNU)]
        Her values, ``x = kappa y + z``.
    side : SideInfo
    kappa : float
        ``Cov(x, y) / Var(y)`` [1].
    sigma2 : float
        Variance of ``z`` [SNU].

    Returns
    -------
    ndarray, shape (n,), float32 [1]
        ``ln(P(0)/P(1)) = 2 kappa |y| v / (sqrt(8) sigma2)``.

    Raises
    ------
    ProtocolAbort
        If the lengths disagree or `sigma2` is not positive.
    """
    _check_length(x.size, side.alpha.size)
    if not sigma2 > 0:
        raise ProtocolAbort(f"reconciliation: noise variance {sigma2} is not positive")
    gain = np.float32(2 * kappa / (math.sqrt(_DIMENSION) * sigma2))
    out = np.empty(x.size, dtype=np.float32)
    _rotate(x, side.alpha, gain * side.norm, _SIGNS, out)
    return out


def recover_y(u: NDArray[np.uint8], side: SideInfo) -> NDArray[np.float32]:
    """Alice: Bob's data from the decoded bits and what he published.

    Exact up to the rounding of `alpha`: the error per value is about
    ``|y| / (32767 sqrt(12))``, five orders below the vacuum noise.

    Parameters
    ----------
    u : ndarray, shape (n,), uint8 [bit]
    side : SideInfo

    Returns
    -------
    ndarray, shape (n,), float32 [sqrt(SNU)]

    Raises
    ------
    ProtocolAbort
        If the lengths disagree.
    """
    _check_length(u.size, side.alpha.size)
    out = np.empty(u.size, dtype=np.float32)
    _recover(u, side.alpha, side.norm, _SIGNS, out)
    return out


def _check_length(a: int, b: int) -> None:
    if a != b or a % _DIMENSION:
        raise ProtocolAbort(
            f"reconciliation: lengths {a} and {b} must be equal multiples of 8"
        )
