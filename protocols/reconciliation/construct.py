"""Construction of the multi-edge-type (MET) mother code, reproducible by hash.

Ensemble of rate 0.1: per 400 base columns, a *core* of 50 (31 of degree 2 and
19 of degree 3 in the 10 pre-code rows) and 350 *leaves*. Every leaf row joins
two or three core columns to one leaf of degree one. A leaf that is not used
takes its row away with it, so any prefix of the leaf rows is a code of rate
``40 / (50 + leaves)``; the rows are ordered so that every prefix loads the core
columns in the same proportion.

Pre-code edges are placed by progressive edge growth in the *lifted* graph:
cycles of degree-2 columns are codewords of low weight, and their length decides
where the error floor lies. Shifts of the leaf rows exclude four-cycles.

One more row is kept for frames that fail; see `build_retry_row`.

Run ``python -m protocols.reconciliation.construct`` to rebuild the tables.

References
----------
.. [1] T. Richardson and R. Urbanke, Multi-edge type LDPC codes (2004).
.. [2] P. Jouguet, S. Kunz-Jacques, A. Leverrier, Phys. Rev. A 84, 062317 (2011).
.. [3] X.-Y. Hu et al., IEEE Trans. Inf. Theory 51, 386 (2005) (PEG).
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

#: Base graph: columns of the core, pre-code rows, leaf rows of the mother code.
CORE_COLUMNS = 50
PRECODE_ROWS = 10
LEAF_ROWS = 350
#: Pre-code degree, wanted leaf-row degree and count of the two core types.
_CORE_TYPES = ((31, 2, 20), (19, 3, 22))
_PRECODE_SOCKETS = (11, *[12] * 9)
_LEAF_ROWS_OF_DEGREE_2 = 12
#: Lifting sizes with a shipped table, and the seed of each.
SIZES = {256: 1, 1024: 1, 2560: 1}

Row = list[tuple[int, int]]


@numba.njit(cache=True)
def _check_distances(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    shifts: NDArray[np.int64],
    size: int,
    start_column: int,
) -> NDArray[np.int32]:
    """Breadth-first distance from variable (start_column, 0) to every check.

    Returns
    -------
    ndarray, shape (PRECODE_ROWS, size), int32 [edges]
        Largest int32 where the check cannot be reached.
    """
    far = np.int32(2**31 - 1)
    checks = np.full((PRECODE_ROWS, size), far, dtype=np.int32)
    seen = np.zeros((CORE_COLUMNS, size), dtype=np.bool_)
    queue = np.empty((CORE_COLUMNS * size, 3), dtype=np.int64)
    queue[0] = (start_column, 0, 0)
    seen[start_column, 0] = True
    head, tail = 0, 1
    while head < tail:
        c, v, depth = queue[head]
        head += 1
        for e in range(rows.size):
            if columns[e] != c:
                continue
            r, z = rows[e], (v - shifts[e]) % size
            if checks[r, z] != far:
                continue
            checks[r, z] = depth + 1
            for g in range(rows.size):
                if rows[g] == r:
                    w = (z + shifts[g]) % size
                    if not seen[columns[g], w]:
                        seen[columns[g], w] = True
                        queue[tail] = (columns[g], w, depth + 2)
                        tail += 1
    return checks


def _pick(rng: random.Random, items: list[tuple[int, int]]) -> tuple[int, int]:
    # random() is the one method whose stream Python promises to keep
    return items[int(rng.random() * len(items))]


def build_precode(size: int, rng: random.Random) -> list[Row]:
    """Place the pre-code edges by progressive edge growth.

    Returns
    -------
    list of rows, each a list of ``(column, shift)``
    """
    free = list(_PRECODE_SOCKETS)
    edges: list[tuple[int, int, int]] = []
    used_pairs: set[frozenset[int]] = set()
    degrees = [d for count, d, _ in _CORE_TYPES for _ in range(count)]
    for column, degree in enumerate(degrees):
        mine: list[int] = []
        for _ in range(degree):
            table = np.array(edges, dtype=np.int64).reshape(-1, 3)
            rows_in, columns_in, shifts_in = table.T.copy()
            distance = _check_distances(rows_in, columns_in, shifts_in, size, column)
            # two degree-2 columns on the same pair of rows would close short cycles
            allowed = [
                r
                for r in range(PRECODE_ROWS)
                if free[r] > 0
                and r not in mine
                and not (degree == 2 and mine and frozenset((mine[0], r)) in used_pairs)
            ] or [r for r in range(PRECODE_ROWS) if free[r] > 0 and r not in mine]
            best = max(int(distance[r].max()) for r in allowed)
            rows = [r for r in allowed if int(distance[r].max()) == best]
            most = max(free[r] for r in rows)
            places = [
                (r, int(z))
                for r in rows
                if free[r] == most
                for z in np.flatnonzero(distance[r] == best)
            ]
            row, z = _pick(rng, places)
            edges.append((row, column, -z % size))
            free[row] -= 1
            mine.append(row)
        if degree == 2:
            used_pairs.add(frozenset(mine))
    return [sorted((c, s) for r, c, s in edges if r == k) for k in range(PRECODE_ROWS)]


def build_leaf_rows(precode: list[Row], size: int, rng: random.Random) -> list[Row]:
    """Choose core columns and shifts of the leaf rows (leaf edge included last)."""
    targets = [d for count, _, d in _CORE_TYPES for _ in range(count)]
    total = sum(targets)
    gaps: dict[tuple[int, int], set[int]] = {}
    for row in precode:
        _remember(row, size, gaps)
    load = [0] * CORE_COLUMNS
    spacing = LEAF_ROWS / _LEAF_ROWS_OF_DEGREE_2
    short = {int((k + 0.5) * spacing) for k in range(_LEAF_ROWS_OF_DEGREE_2)}
    rows: list[Row] = []
    sockets = 0
    for index in range(LEAF_ROWS):
        degree = 2 if index in short else 3
        sockets += degree
        wanted = [(load[c] - targets[c] * sockets / total, c) for c in range(50)]
        order = sorted(wanted, key=lambda item: (item[0] + 0.5 * rng.random(), item[1]))
        columns = sorted(c for _, c in order[:degree])
        while True:
            row = [(c, int(rng.random() * size)) for c in columns]
            if _is_new(row, size, gaps):
                break
        _remember(row, size, gaps)
        for c in columns:
            load[c] += 1
        rows.append([*row, (CORE_COLUMNS + index, 0)])
    return rows


def build_retry_row(rows: list[Row], size: int, rng: random.Random) -> Row:
    """Choose the row that is disclosed only for frames that failed.

    It meets every degree-2 column once, so the short cycles of those columns,
    which make the error floor, are no codewords any more.
    """
    gaps: dict[tuple[int, int], set[int]] = {}
    for known in rows:
        _remember(known, size, gaps)
    row: Row = []
    for column in range(_CORE_TYPES[0][0]):
        while True:
            edge = (column, int(rng.random() * size))
            if all(_is_new([other, edge], size, gaps) for other in row):
                break
        row.append(edge)
    return row


def _gaps_of(row: Row, size: int) -> list[tuple[tuple[int, int], int]]:
    ordered = sorted(row)
    return [
        ((a[0], b[0]), (a[1] - b[1]) % size)
        for i, a in enumerate(ordered)
        for b in ordered[i + 1 :]
    ]


def _is_new(row: Row, size: int, gaps: dict[tuple[int, int], set[int]]) -> bool:
    return all(gap not in gaps.get(pair, ()) for pair, gap in _gaps_of(row, size))


def _remember(row: Row, size: int, gaps: dict[tuple[int, int], set[int]]) -> None:
    for pair, gap in _gaps_of(row, size):
        gaps.setdefault(pair, set()).add(gap)


def build(size: int, seed: int) -> list[Row]:
    """Build a table: pre-code rows, leaf rows in order, the retry row last."""
    rng = random.Random(seed)
    rows = build_precode(size, rng)
    rows += build_leaf_rows(rows, size, rng)
    return [*rows, build_retry_row(rows, size, rng)]


def to_text(rows: list[Row], size: int, seed: int) -> str:
    """Format a table, one check row per line."""
    lines = [f"# QC-MET mother code, rate 0.1: size {size}, seed {seed}, column:shift"]
    lines += [" ".join(f"{c}:{s}" for c, s in row) for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the shipped tables next to this module."""
    for size, seed in SIZES.items():
        text = to_text(build(size, seed), size, seed)
        path = Path(__file__).with_name(f"met_{size}.txt")
        path.write_text(text, encoding="ascii")
        sys.stdout.write(f"{path.name}: {len(text)} characters\n")


if __name__ == "__main__":
    main()
