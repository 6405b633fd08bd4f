"""Put the tags of several inputs in order of time.

Every input comes as a run of its own that is nearly sorted: a tagger may swap
neighbours within a small window. Each run is looked through in one pass, set
straight if it must be, then all are merged in one pass, from the pieces in which
they came. Nothing is sorted as a whole, and no byte of memory is touched more
often than it must be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import numba
import numpy as np
from numpy.typing import NDArray

_INPUTS = 4
_NOTHING = np.zeros(0, dtype=np.int64)


@numba.njit(cache=True, nogil=True)
def largest_step_back(times: NDArray[np.int64], high: int) -> tuple[int, int]:
    """Return how far the worst tag lies behind an earlier one.

    Parameters
    ----------
    times : ndarray, shape (n,), int64 [ps]
    high : int
        The latest tag before these [ps].

    Returns
    -------
    back, high : int
        The largest step back, and the latest tag so far [ps].
    """
    back = 0
    for k in range(times.size):
        if times[k] < high:
            back = max(back, high - times[k])
        else:
            high = times[k]
    return back, high


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
    runs: tuple[NDArray[np.int64], ...],
    at: NDArray[np.int64],
    more: NDArray[np.bool_],
    times: NDArray[np.int64],
    rows: NDArray[np.uint8],
) -> int:
    """Merge four runs until all are used up, or one of which there is more.

    Parameters
    ----------
    runs : tuple of four ndarrays, shape (n_i,), int64 [ps]
    at : ndarray, shape (4,), int64 [1]
        Where each goes on; where it stopped on return.
    more : ndarray, shape (4,), bool
        Whether another piece of a run follows.
    times : ndarray, shape (n,), int64 [ps]
    rows : ndarray, shape (n,), uint8 [1]
        From 0.

    Returns
    -------
    int
        How many tags were merged [1].
    """
    end = np.int64(np.iinfo(np.int64).max)
    first, second, third, fourth = runs
    i, j, k, m = at[0], at[1], at[2], at[3]
    a = first[i] if i < first.size else end
    b = second[j] if j < second.size else end
    c = third[k] if k < third.size else end
    d = fourth[m] if m < fourth.size else end
    done = 0
    while done < times.size:
        # Of equal times the input with the lower number comes first.
        if a <= b and a <= c and a <= d:
            times[done], rows[done] = a, 0
            done, i, a = done + 1, i + 1, end
            if i < first.size:
                a = first[i]
            elif more[0]:
                break
        elif b <= c and b <= d:
            times[done], rows[done] = b, 1
            done, j, b = done + 1, j + 1, end
            if j < second.size:
                b = second[j]
            elif more[1]:
                break
        elif c <= d:
            times[done], rows[done] = c, 2
            done, k, c = done + 1, k + 1, end
            if k < third.size:
                c = third[k]
            elif more[2]:
                break
        else:
            times[done], rows[done] = d, 3
            done, m, d = done + 1, m + 1, end
            if m < fourth.size:
                d = fourth[m]
            elif more[3]:
                break
    at[0], at[1], at[2], at[3] = i, j, k, m
    return done


def merge_tags(
    times: Mapping[int, Sequence[NDArray[np.int64]]],
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Merge the sorted tags of up to four inputs by time, then by input.

    Parameters
    ----------
    times : mapping of int to sequence of ndarray, shape (n_i,), int64 [ps]
        By number of the input: the pieces its tags came in, sorted throughout.

    Returns
    -------
    tuple
        Times, shape (n,), int64 [ps], and inputs, shape (n,), uint8 [1].
    """
    inputs = sorted(times)
    waiting = [deque(times[n]) for n in inputs]
    waiting += [deque[NDArray[np.int64]]() for _ in range(_INPUTS - len(inputs))]
    size = sum(piece.size for pieces in waiting for piece in pieces)
    merged, channels = np.empty(size, np.int64), np.empty(size, np.uint8)
    runs = [_NOTHING] * _INPUTS
    at = np.zeros(_INPUTS, dtype=np.int64)
    done = 0
    while done < size:
        for row, pieces in enumerate(waiting):
            while pieces and at[row] == runs[row].size:
                runs[row], at[row] = pieces.popleft(), 0
        more = np.array([bool(pieces) for pieces in waiting])
        done += _merge(tuple(runs), at, more, merged[done:], channels[done:])
    names = np.zeros(_INPUTS, dtype=np.uint8)
    names[: len(inputs)] = inputs
    if inputs == [1, 2, 3, 4]:
        channels += 1
        return merged, channels
    return merged, names[channels]
