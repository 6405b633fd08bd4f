"""Where a model holds: arguments outside its range are errors, never extrapolated."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import ArrayLike, NDArray

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
