"""Put the tags of several inputs in order of time.

Every input comes as a run of its own that is nearly sorted: a tagger may swap
neighbours within a small window. Each run is set straight in one pass, then all
are merged in one pass; nothing is sorted as a whole, and no byte of memory is
touched more often than it must be.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True, nogil=True)
def largest_step_back(times: NDArray[np.int64]) -> int:
    """Return how far the worst tag lies behind an earlier one [ps].

    Parameters
    ----------
    times : ndarray, shape (n,), int64 [ps]
        With one tag at least.
    """
    high, back = times[0], 0
    for k in range(1, times.size):
        if times[k] < high:
            back = max(back, high - times[k])
        else:
            high = times[k]
    return back


@numba.njit(cache=True, nogil=True)
def settle(times: NDArray[np.int64]) -> None:
    """Sort a run in place by insertion: fast if no tag has far to go.

    Parameters
    ----------
    times : ndarray, shape (n,), int64 [ps]
    """
    for k in range(1, times.size):
        tag, at = times[k], k
        while at > 0 and times[at - 1] > tag:
            times[at] = times[at - 1]
            at -= 1
        times[at] = tag


@numba.njit(cache=True, nogil=True)
def _merge(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    third: NDArray[np.int64],
    fourth: NDArray[np.int64],
    times: NDArray[np.int64],
    rows: NDArray[np.uint8],
) -> None:
    end = np.int64(np.iinfo(np.int64).max)
    i = j = k = m = 0
    a = first[0] if first.size else end
    b = second[0] if second.size else end
    c = third[0] if third.size else end
    d = fourth[0] if fourth.size else end
    for at in range(times.size):
        # Of equal times the input with the lower number comes first.
        if a <= b and a <= c and a <= d:
            times[at], rows[at] = a, 0
            i += 1
            a = first[i] if i < first.size else end
        elif b <= c and b <= d:
            times[at], rows[at] = b, 1
            j += 1
            b = second[j] if j < second.size else end
        elif c <= d:
            times[at], rows[at] = c, 2
            k += 1
            c = third[k] if k < third.size else end
        else:
            times[at], rows[at] = d, 3
            m += 1
            d = fourth[m] if m < fourth.size else end


def merge_tags(
    times: dict[int, NDArray[np.int64]],
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Merge the sorted tags of up to four inputs by time, then by input.

    Parameters
    ----------
    times : dict of int to ndarray, shape (n_i,), int64 [ps]
        By number of the input; each sorted.

    Returns
    -------
    tuple
        Times, shape (n,), int64 [ps], and inputs, shape (n,), uint8 [1].
    """
    inputs = sorted(times)
    runs = [times[n] for n in inputs]
    runs += [np.zeros(0, dtype=np.int64)] * (4 - len(runs))
    size = sum(run.size for run in runs)
    merged, channels = np.empty(size, np.int64), np.empty(size, np.uint8)
    _merge(runs[0], runs[1], runs[2], runs[3], merged, channels)
    if inputs != [1, 2, 3, 4]:
        names = np.zeros(4, dtype=np.uint8)
        names[: len(inputs)] = inputs
        channels = names[channels]
    else:
        channels += 1
    return merged, channels
