"""Construction of the ladder of binary codes, the same on both sides.

Every code has 800 base columns. The last `n_rows` of them are parity columns:
number `j` has an unshifted circulant in row `j` and nothing above it, so the
code is encoded row by row, has full rank by construction, and what it discloses
is exactly its number of rows. Parity columns have the lowest degrees; as those
of degree 2 form one chain, no short cycle of them exists, and with it no word of
low weight.

References
----------
.. [1] H. Jin, A. Khandekar and R. McEliece, Irregular repeat-accumulate codes
   (2000): the triangular parity part.
.. [2] D. Elkouss, A. Leverrier, R. Alleaume and J. Boutros, arXiv:0901.2140:
   degree distributions for the binary symmetric channel.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

#: Base columns of every code.
COLUMNS = 800

Degrees = tuple[tuple[int, int], ...]

#: Degrees above 3 of the mother codes up to 143 base rows, and how many columns.
_HEAVY: Degrees = ((4, 70), (5, 88), (6, 67), (9, 34), (21, 112))


def _low(n_rows: int) -> Degrees:
    n_heavy = sum(count for _, count in _HEAVY)
    return ((2, n_rows - 1), (3, COLUMNS - n_heavy - n_rows + 1), *_HEAVY)


#: Base rows of every mother code, and how many columns have which degree.
LADDER: dict[int, Degrees] = {
    **{rows: _low(rows) for rows in (40, 48, 58, 69, 83, 99, 119, 143)},
    171: ((2, 170), (3, 400), (6, 110), (16, 120)),
    206: ((2, 200), (3, 370), (6, 120), (18, 110)),
    247: ((2, 235), (3, 350), (7, 115), (20, 100)),
    296: ((2, 265), (3, 335), (8, 110), (24, 90)),
    355: ((2, 300), (3, 300), (8, 110), (26, 90)),
    440: ((2, 340), (3, 270), (8, 105), (28, 85)),
}

#: Share of the rows that can be merged in pairs, to disclose less at first.
MERGED_SHARE = 0.25
_TRIES = 60


def column_degrees(n_rows: int) -> NDArray[np.int64]:
    """Return the degree of every base column, information columns first.

    Returns
    -------
    ndarray, shape (800,), int64 [1]
    """
    rising = np.repeat(*np.array(LADDER[n_rows]).T)
    parity, information = rising[:n_rows], rising[n_rows:]
    return np.concatenate([information, parity]).astype(np.int64)


def build_edges(
    n_rows: int, size: int
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Place all edges of a mother code.

    Parameters
    ----------
    n_rows : int
        A key of `LADDER`.
    size : int
        Lifting size [1].

    Returns
    -------
    row, column, shift : ndarray, shape (n_edges,), int32 [1]
        Sorted by row.
    """
    degrees = column_degrees(n_rows)
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


def merged_pairs(
    n_rows: int, rows: NDArray[np.int32], columns: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Choose rows that may be disclosed as one sum, in the order they part.

    Each pair joins a row of the first half with one of the second that shares
    no column with it, where there is one.

    Returns
    -------
    ndarray, shape (n_pairs, 2), int64 [row]
        The row of the first half comes first.
    """
    meets = np.zeros((n_rows, COLUMNS), dtype=np.int64)
    meets[rows, columns] = 1
    shared = meets @ meets.T
    half, n_pairs = n_rows // 2, int(MERGED_SHARE * n_rows)
    first = np.linspace(0, half - 1, n_pairs).astype(np.int64)
    free = np.ones(n_rows, dtype=np.bool_)
    free[:half] = False
    pairs = []
    for a in first:
        # Far apart first: the chain of parities must not close on itself.
        candidates = np.flatnonzero(free)
        cost = shared[a, candidates] * 1000 + np.abs(candidates - a - half)
        b = candidates[np.argmin(cost)]
        free[b] = False
        pairs.append((a, b))
    generator = np.random.Generator(np.random.Philox(key=[n_rows, 0]))
    return np.array(pairs, dtype=np.int64)[generator.permutation(n_pairs)]
