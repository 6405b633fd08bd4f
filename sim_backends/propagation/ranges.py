"""Where a model holds: arguments outside its range are errors, never extrapolated.

And the nodes that integrals over its arguments share.
"""

from __future__ import annotations

import sys
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import roots_legendre

from scqc.core.errors import ModelRangeError

Floats = NDArray[np.float64]


def within(
    quantity: str, values: ArrayLike, limits: tuple[float, float], why: str = ""
) -> Floats:
    """Return `values` as numbers, all of them inside the closed range.

    Parameters
    ----------
    quantity : str
        Model and argument with its unit, for the message.
    values : array_like
        Any shape [unit of the quantity].
    limits : tuple of float
        The range, ends included [unit of the quantity].
    why : str
        What sets the limits, or what to do instead.

    Returns
    -------
    ndarray, shape of `values`, float64 [unit of the quantity]

    Raises
    ------
    ModelRangeError
        If a value is outside or no number; names the one farthest outside.
    """
    array = np.asarray(values, dtype=np.float64)
    low, high = limits
    inside = (array >= low) & (array <= high)
    if not inside.all():
        # NaN is farther out than anything.
        excess = np.nan_to_num(np.maximum(low - array, array - high), nan=np.inf)
        worst = float(array.flat[int(np.argmax(excess))])
        raise ModelRangeError(quantity, worst, limits, why)
    return array


def positive(quantity: str, values: ArrayLike) -> Floats:
    """Return `values` as finite numbers above zero.

    Parameters
    ----------
    quantity : str
        Model and argument with its unit, for the message.
    values : array_like
        Any shape [unit of the quantity].

    Returns
    -------
    ndarray, shape of `values`, float64 [unit of the quantity]

    Raises
    ------
    ModelRangeError
        If a value is zero, negative, infinite or no number.
    """
    return within(quantity, values, (sys.float_info.min, sys.float_info.max))


@lru_cache(maxsize=64)
def legendre_nodes(n_nodes: int) -> tuple[Floats, Floats]:
    """Return Gauss-Legendre nodes on -1 to 1 and their weights, kept for the next call.

    Nodes are eigenvalues: finding them takes longer than most integrals over them.

    Parameters
    ----------
    n_nodes : int

    Returns
    -------
    nodes, weights : ndarray, shape (n_nodes,), float64 [1]
        Read-only.
    """
    nodes, weights = (np.asarray(part) for part in roots_legendre(n_nodes))
    nodes.setflags(write=False)
    weights.setflags(write=False)
    return nodes, weights
