"""Construction of the multi-edge-type (MET) mother codes, reproducible by hash.

A code has a *core*, whose columns meet a few pre-code rows, and *leaves*: every
leaf row joins some core columns to one leaf of degree one. A leaf that is not
used takes its row away with it, so any prefix of the leaf rows is a code of rate
``40 / (core + leaves)``; the rows are ordered so that every prefix loads the
core columns in the same proportion. Two ensembles cover the rates: the published
one for 0.1, and one for 0.2 to 0.5 found by trial around rate 0.26, with fewer
pre-code rows, fewer columns of degree 2 and heavier leaf rows.

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
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

#: Information circulants per frame, in every ensemble.
INFORMATION_COLUMNS = 40


@dataclass(frozen=True)
class Ensemble:
    """Degrees of a mother code, in units of one circulant.

    Parameters
    ----------
    name : str
    core : tuple of (count, pre-code degree, weight in the leaf rows)
        Core columns; those of degree 2 come first.
    precode_rows : int
    leaf_rows : int
        Of the mother code, which has the lowest rate.
    leaf_degrees : tuple of (degree, share)
        Core columns per leaf row.
    """

    name: str
    core: tuple[tuple[int, int, int], ...]
    precode_rows: int
    leaf_rows: int
    leaf_degrees: tuple[tuple[int, float], ...]

    @property
    def core_columns(self) -> int:
        """Number of core columns."""
        return sum(count for count, _, _ in self.core)

    def degree_sequence(self) -> list[int]:
        """Degrees of the leaf rows, the shares spread evenly over every prefix."""
        credit = {degree: 0.0 for degree, _ in self.leaf_degrees}
        out = []
        for _ in range(self.leaf_rows):
            for degree, share in self.leaf_degrees:
                credit[degree] += share
            best = max(credit, key=lambda degree: (credit[degree], degree))
            credit[best] -= 1
            out.append(best)
        return out


LOW = Ensemble(
    name="low",
    core=((31, 2, 20), (19, 3, 22)),
    precode_rows=10,
    leaf_rows=350,
    leaf_degrees=((2, 12 / 350), (3, 338 / 350)),
)
HIGH = Ensemble(
    name="high",
    core=((20, 2, 20), (24, 3, 22)),
    precode_rows=4,
    leaf_rows=156,
    leaf_degrees=((3, 0.2), (4, 0.8)),
)
ENSEMBLES = (LOW, HIGH)
#: Lifting sizes with shipped tables, and the seed of each.
SIZES = {256: 1, 1024: 1, 2560: 1}

Row = list[tuple[int, int]]


@numba.njit(cache=True)
def _check_distances(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    shifts: NDArray[np.int64],
    shape: tuple[int, int, int],
    start_column: int,
) -> NDArray[np.int32]:
    """Breadth-first distance from variable (start_column, 0) to every check.

    Returns
    -------
    ndarray, shape (precode_rows, size), int32 [edges]
        Largest int32 where the check cannot be reached.
    """
    n_rows, n_columns, size = shape
    far = np.int32(2**31 - 1)
    checks = np.full((n_rows, size), far, dtype=np.int32)
    seen = np.zeros((n_columns, size), dtype=np.bool_)
    queue = np.empty((n_columns * size, 3), dtype=np.int64)
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


def _best_place(
    edges: list[tuple[int, int, int]],
    shape: tuple[int, int, int],
    column: int,
    allowed: list[int],
    rng: random.Random,
) -> tuple[int, int]:
    """Return (row, shift) as far from (column, 0) as possible."""
    table = np.array(edges, dtype=np.int64).reshape(-1, 3)
    rows_in, columns_in, shifts_in = table.T.copy()
    distance = _check_distances(rows_in, columns_in, shifts_in, shape, column)
    best = max(int(distance[r].max()) for r in allowed)
    places = [
        (r, int(-z % shape[2]))
        for r in allowed
        for z in np.flatnonzero(distance[r] == best)
    ]
    return _pick(rng, places)


def build_precode(ensemble: Ensemble, size: int, rng: random.Random) -> list[Row]:
    """Place the pre-code edges by progressive edge growth.

    Returns
    -------
    list of rows, each a list of ``(column, shift)``
    """
    n_rows = ensemble.precode_rows
    load = [0] * n_rows
    edges: list[tuple[int, int, int]] = []
    used_pairs: dict[frozenset[int], int] = {}
    degrees = [d for count, d, _ in ensemble.core for _ in range(count)]
    for column, degree in enumerate(degrees):
        mine: list[int] = []
        for _ in range(degree):
            others = [r for r in range(n_rows) if r not in mine]
            if degree == 2 and mine:
                # many degree-2 columns on one pair of rows close short cycles
                uses = {r: used_pairs.get(frozenset((mine[0], r)), 0) for r in others}
                others = [r for r in others if uses[r] == min(uses.values())]
            least = min(load[r] for r in others)
            allowed = [r for r in others if load[r] == least]
            shape = (n_rows, ensemble.core_columns, size)
            row, shift = _best_place(edges, shape, column, allowed, rng)
            edges.append((row, column, shift))
            load[row] += 1
            mine.append(row)
        if degree == 2:
            pair = frozenset(mine)
            used_pairs[pair] = used_pairs.get(pair, 0) + 1
    return [sorted((c, s) for r, c, s in edges if r == k) for k in range(n_rows)]


def build_leaf_rows(
    ensemble: Ensemble, precode: list[Row], size: int, rng: random.Random
) -> list[Row]:
    """Choose core columns and shifts of the leaf rows (leaf edge included last)."""
    weights = [w for count, _, w in ensemble.core for _ in range(count)]
    total, n_core = sum(weights), ensemble.core_columns
    gaps: dict[tuple[int, int], set[int]] = {}
    for row in precode:
        _remember(row, size, gaps)
    load = [0] * n_core
    rows: list[Row] = []
    sockets = 0
    for index, degree in enumerate(ensemble.degree_sequence()):
        sockets += degree
        excess = [
            (load[c] - weights[c] * sockets / total + 0.5 * rng.random(), c)
            for c in range(n_core)
        ]
        columns = sorted(c for _, c in sorted(excess)[:degree])
        while True:
            row = [(c, int(rng.random() * size)) for c in columns]
            if _is_new(row, size, gaps):
                break
        _remember(row, size, gaps)
        for c in columns:
            load[c] += 1
        rows.append([*row, (n_core + index, 0)])
    return rows


def build_retry_row(
    ensemble: Ensemble, rows: list[Row], size: int, rng: random.Random
) -> Row:
    """Choose the row that is disclosed only for frames that failed.

    It meets every degree-2 column once, so the short cycles of those columns,
    which make the error floor, are no codewords any more.
    """
    gaps: dict[tuple[int, int], set[int]] = {}
    for known in rows:
        _remember(known, size, gaps)
    row: Row = []
    for column in range(ensemble.core[0][0]):
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


def build(ensemble: Ensemble, size: int, seed: int) -> list[Row]:
    """Build a table: pre-code rows, leaf rows in order, the retry row last."""
    rng = random.Random(seed)
    rows = build_precode(ensemble, size, rng)
    rows += build_leaf_rows(ensemble, rows, size, rng)
    return [*rows, build_retry_row(ensemble, rows, size, rng)]


def table_name(ensemble: Ensemble, size: int) -> str:
    """Return the file name of a shipped table."""
    return f"met_{ensemble.name}_{size}.txt"


def to_text(rows: list[Row], ensemble: Ensemble, size: int, seed: int) -> str:
    """Format a table, one check row per line."""
    title = f"# QC-MET mother code {ensemble.name!r}, size {size}, seed {seed}"
    lines = [f"{title}; column:shift, retry row last"]
    lines += [" ".join(f"{c}:{s}" for c, s in row) for row in rows]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the shipped tables next to this module."""
    for ensemble in ENSEMBLES:
        for size, seed in SIZES.items():
            text = to_text(build(ensemble, size, seed), ensemble, size, seed)
            path = Path(__file__).with_name(table_name(ensemble, size))
            path.write_text(text, encoding="ascii")
            sys.stdout.write(f"{path.name}: {len(text)} characters\n")


if __name__ == "__main__":
    main()
