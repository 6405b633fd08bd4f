"""Coincidence histograms: pairs of tags by their time difference."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import SignalError


def coincidences(
    a_ps: NDArray[np.int64],
    b_ps: NDArray[np.int64],
    window_ps: int,
    bin_ps: int,
) -> NDArray[np.int64]:
    """Count all pairs by ``b - a``.

    Parameters
    ----------
    a_ps, b_ps : ndarray, shape (n,) and (m,), int64 [ps]
        Each in order.
    window_ps : int
        Largest difference counted, both ways: ``-window <= b - a < window``.
    bin_ps : int
        Width of a bin; divides the window.

    Returns
    -------
    ndarray, shape (2 * window_ps / bin_ps,), int64 [1]

    Raises
    ------
    SignalError
        The window is no whole number of bins.
    """
    if bin_ps < 1 or window_ps < bin_ps or window_ps % bin_ps:
        raise SignalError(
            f"coincidences: window {window_ps} ps, limit a multiple of the bin "
            f"{bin_ps} ps"
        )
    histogram = np.zeros(2 * window_ps // bin_ps, dtype=np.int64)
    add_coincidences(a_ps, b_ps, window_ps, bin_ps, histogram)
    return histogram


@numba.njit(cache=True, nogil=True)
def add_coincidences(
    a_ps: NDArray[np.int64],
    b_ps: NDArray[np.int64],
    window_ps: int,
    bin_ps: int,
    histogram: NDArray[np.int64],
) -> None:
    """Add the pairs of two ordered records to a histogram.

    Parameters
    ----------
    a_ps, b_ps : ndarray, shape (n,) and (m,), int64 [ps]
    window_ps, bin_ps : int
    histogram : ndarray, shape (2 * window_ps / bin_ps,), int64 [1]
        Added to.
    """
    # A division by a known reciprocal; exact, see the test, for windows below 2^50.
    scale = 1.0 / bin_ps
    first, size = 0, b_ps.size
    for k in range(a_ps.size):
        low = a_ps[k] - window_ps
        while first < size and b_ps[first] < low:
            first += 1
        j = first
        while j < size and b_ps[j] < low + 2 * window_ps:
            since = b_ps[j] - low
            place = np.int64(since * scale)
            # The product may be off by one unit in the last place, either way.
            place -= np.int64(place * bin_ps > since)
            place += np.int64((place + 1) * bin_ps <= since)
            histogram[np.uint64(place)] += 1
            j += 1


def g2(
    histogram: NDArray[np.int64],
    rates_hz: tuple[float, float],
    times_s: tuple[float, float],
) -> NDArray[np.float64]:
    """Return the second-order correlation, 1 for independent tags.

    Parameters
    ----------
    histogram : ndarray, shape (n,), int64 [1]
        Of `coincidences`.
    rates_hz : (float, float)
        Mean rates of the two records.
    times_s : (float, float)
        Length of the record, width of a bin [s].

    Returns
    -------
    ndarray, shape (n,), float64 [1]

    Raises
    ------
    SignalError
        One of the records is empty.
    """
    expected = rates_hz[0] * rates_hz[1] * times_s[0] * times_s[1]
    if expected <= 0.0:
        raise SignalError(
            f"g2: rates {rates_hz} Hz over {times_s[0]:g} s, limit more than 0"
        )
    found: NDArray[np.float64] = histogram / expected
    return found
