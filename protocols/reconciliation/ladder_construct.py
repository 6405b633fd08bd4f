"""Construction of the ladder of binary codes, the same on both sides.

A code has 800 base columns and any number of base rows in `BASE_ROWS`. The last
columns are parity columns: number `j` has an unshifted circulant in row `j` and
nothing above it, so the code is encoded row by row, has full rank by
construction, and what it discloses is exactly its number of rows. Parity columns
have the lowest degrees; as those of degree 2 form one chain, no short cycle of
them exists, and with it no word of low weight.

References
----------
.. [1] H. Jin, A. Khandekar and R. McEliece, Irregular repeat-accumulate codes
   (2000): the triangular parity part.
.. [2] T. Richardson, A. Shokrollahi and R. Urbanke, Design of capacity-approaching
   irregular low-density parity-check codes, IEEE Trans. Inf. Theory 47 (2001):
   density evolution, and the linear programme that `DESIGNS` comes from.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

#: Base columns of every code.
COLUMNS = 800
#: Column degrees that occur.
DEGREES = (2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 30)
#: Base rows, and how many base columns have each of the `DEGREES`; linear in
#: between. From density evolution for the binary symmetric channel (message grid
#: 0.08, up to 150 iterations, at most as many columns of degree 2 as the chain
#: holds); its thresholds lie 53, 13, 8, 7, 6, 5, 5, 4.5, 7 and 7 % above the
#: Shannon limit.
DESIGNS: dict[int, tuple[int, ...]] = {
    12: (0, 520, 0, 0, 0, 3, 25, 132, 120, 0, 0),
    24: (8, 451, 0, 0, 64, 65, 48, 83, 50, 0, 31),
    40: (39, 433, 0, 0, 0, 161, 88, 0, 0, 38, 41),
    80: (79, 441, 0, 0, 0, 85, 134, 0, 0, 5, 56),
    120: (119, 428, 0, 0, 0, 70, 129, 0, 0, 3, 51),
    160: (159, 398, 0, 0, 0, 111, 70, 0, 0, 0, 62),
    200: (199, 376, 0, 0, 0, 97, 78, 0, 0, 12, 38),
    260: (259, 322, 0, 0, 0, 149, 15, 0, 0, 0, 55),
    340: (337, 228, 0, 71, 11, 47, 64, 4, 0, 0, 38),
    440: (378, 218, 0, 56, 4, 80, 29, 0, 0, 0, 35),
}
#: Smallest and largest number of base rows.
BASE_ROWS = (min(DESIGNS), max(DESIGNS))
_TRIES = 60


def column_degrees(n_rows: int) -> NDArray[np.int64]:
    """Return the degree of every base column, information columns first.

    Parameters
    ----------
    n_rows : int
        Base rows, within `BASE_ROWS`.

    Returns
    -------
    ndarray, shape (800,), int64 [1]
    """
    knots = np.array(list(DESIGNS))
    table = np.array(list(DESIGNS.values()), dtype=np.float64)
    exact = np.array([np.interp(n_rows, knots, column) for column in table.T])
    counts = np.floor(exact).astype(np.int64)
    rounded_most = np.argsort(counts - exact, kind="stable")
    counts[rounded_most[: COLUMNS - counts.sum()]] += 1
    # More columns of degree 2 than the chain holds would close short cycles.
    surplus = max(0, counts[0] - (n_rows - 1))
    counts[:2] += (-surplus, surplus)
    rising = np.repeat(DEGREES, counts)
    parity, information = rising[:n_rows], rising[n_rows:]
    return np.concatenate([information, parity]).astype(np.int64)


def build_edges(
    n_rows: int, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Place all edges of a code.

    Parameters
    ----------
    n_rows : int
        Base rows, within `BASE_ROWS`.
    size : int
        Lifting size.

    Returns
    -------
    row, column, shift : ndarray, shape (n_edges,), int32 [1]
        Sorted by row, then column.
    """
    degrees = column_degrees(n_rows)
    # The generator is only a fixed table of arbitrary choices.
    generator = np.random.Generator(np.random.Philox(key=[n_rows, size]))
    priorities = generator.random((COLUMNS, n_rows))
    shifts = generator.integers(0, size, (int(degrees.sum()), _TRIES))
    row, column, shift = _place(degrees, n_rows, size, priorities, shifts)
    order = np.lexsort((column, row))
    return row[order], column[order], shift[order]


@numba.njit(cache=True)
def _place(
    degrees: NDArray[np.int64],
    n_rows: int,
    size: int,
    priorities: NDArray[np.float64],
    tries: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Give every column its rows and shifts; see `build_edges`."""
    n_columns = degrees.size
    n_edges = degrees.sum()
    rows = np.empty(n_edges, dtype=np.int32)
    columns = np.empty(n_edges, dtype=np.int32)
    shifts = np.empty(n_edges, dtype=np.int32)
    load = np.zeros(n_rows, dtype=np.int64)
    # Differences of shifts that a pair of rows has seen: the same again is a
    # cycle of length four.
    words = (size + 7) // 8
    seen = np.zeros((n_rows, n_rows, words), dtype=np.uint8)
    count = 0
    first_parity = n_columns - n_rows
    for step in range(n_columns):
        # Parity columns first, then information columns by rising degree.
        c = first_parity + step if step < n_rows else step - n_rows
        start, top = count, 0
        if c >= first_parity:
            top = c - first_parity
            rows[count], columns[count], shifts[count] = top, c, 0
            load[top] += 1
            count += 1
        wanted = min(degrees[c], n_rows - top)
        while count - start < wanted:
            if c >= first_parity and count - start == 1:
                r = top + 1
            else:
                r = _least_loaded(load, rows[start:count], top, priorities[c])
            best, fewest = 0, 1 << 30
            for t in range(tries.shape[1]):
                s = tries[count, t]
                clashes = 0
                for e in range(start, count):
                    d = (s - shifts[e]) % size
                    clashes += (seen[r, rows[e], d >> 3] >> (d & 7)) & 1
                if clashes < fewest:
                    best, fewest = s, clashes
                if fewest == 0:
                    break
            for e in range(start, count):
                d = (best - shifts[e]) % size
                seen[r, rows[e], d >> 3] |= np.uint8(1 << (d & 7))
                d = (shifts[e] - best) % size
                seen[rows[e], r, d >> 3] |= np.uint8(1 << (d & 7))
            rows[count], columns[count], shifts[count] = r, c, best
            load[r] += 1
            count += 1
    return rows[:count].copy(), columns[:count].copy(), shifts[:count].copy()


@numba.njit(cache=True)
def _least_loaded(
    load: NDArray[np.int64],
    taken: NDArray[np.int32],
    top: int,
    priority: NDArray[np.float64],
) -> int:
    """Return a row below `top` that the column does not meet yet."""
    best, value = -1, 1e30
    for r in range(top, load.size):
        free = True
        for e in range(taken.size):
            if taken[e] == r:
                free = False
        if free and load[r] + priority[r] < value:
            best, value = r, load[r] + priority[r]
    return best
