"""Quasi-cyclic parity-check codes: the description and the syndrome.

A base graph lists edges (row, column, shift). Lifting by `size` replaces each
edge by a circulant: check ``z`` of the row meets variable ``(z + shift) mod
size`` of the column. Words are stored column after column, so every base edge
is an operation on two contiguous slices, which compiles to vector code.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources.abc import Traversable

import numba
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class QcCode:
    """A lifted base graph; edges are sorted by row.

    Parameters
    ----------
    edge_row, edge_column, edge_shift : ndarray, shape (n_edges,), int32 [1]
    n_rows, n_columns : int
        Size of the base graph [1].
    size : int
        Lifting (circulant) size [1].
    """

    edge_row: NDArray[np.int32]
    edge_column: NDArray[np.int32]
    edge_shift: NDArray[np.int32]
    n_rows: int
    n_columns: int
    size: int
    row_start: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        if np.any(np.diff(self.edge_row) < 0):
            raise ValueError("QC code: edges must be sorted by row")
        if np.any(self.edge_shift < 0) or np.any(self.edge_shift >= self.size):
            raise ValueError(f"QC code: a shift lies outside 0..{self.size - 1}")
        if self.edge_row.size and (
            self.edge_row[-1] >= self.n_rows or self.edge_column.max() >= self.n_columns
        ):
            raise ValueError("QC code: an edge lies outside the base graph")
        starts = np.searchsorted(self.edge_row, np.arange(self.n_rows + 1))
        object.__setattr__(self, "row_start", starts.astype(np.int32))
        for array in (self.edge_row, self.edge_column, self.edge_shift):
            array.flags.writeable = False

    @cached_property
    def sha256(self) -> str:
        """Digest of everything both sides must agree on."""
        head = np.array([self.n_rows, self.n_columns, self.size], dtype="<i4")
        edges = np.stack([self.edge_row, self.edge_column, self.edge_shift])
        body = edges.astype("<i4").tobytes()
        return hashlib.sha256(head.tobytes() + body).hexdigest()

    def prefix(self, n_rows: int, n_columns: int) -> QcCode:
        """Keep the first rows and columns (edges leaving them are an error)."""
        keep = self.edge_row < n_rows
        return QcCode(
            self.edge_row[keep].copy(),
            self.edge_column[keep].copy(),
            self.edge_shift[keep].copy(),
            n_rows,
            n_columns,
            self.size,
        )


def from_rows(rows: list[list[tuple[int, int]]], n_columns: int, size: int) -> QcCode:
    """Build a code from ``(column, shift)`` lists, one per row."""
    edges = [(r, c, s) for r, row in enumerate(rows) for c, s in row]
    table = np.array(edges, dtype=np.int32).reshape(-1, 3).T.copy()
    return QcCode(
        table[0].copy(), table[1].copy(), table[2].copy(), len(rows), n_columns, size
    )


def parse_table(file: Traversable) -> list[list[tuple[int, int]]]:
    """Read a table with one check row per line, ``column:shift`` words."""
    rows = []
    for line in file.read_text(encoding="ascii").splitlines():
        words = line.split("#")[0].split()
        if words:
            pairs = (word.split(":") for word in words)
            rows.append([(int(column), int(shift)) for column, shift in pairs])
    return rows


@numba.njit(cache=True, nogil=True)
def accumulate_parity(
    word: NDArray[np.uint8],
    edges: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    rows: tuple[int, int],
    parity: NDArray[np.uint8],
) -> None:
    """Add (mod 2) the parities of base rows ``rows[0] <= r < rows[1]``.

    Parameters
    ----------
    word : ndarray, shape (n_columns, size), uint8 [bit]
    edges : row_start, edge_column, edge_shift
    rows : first and one past the last base row
    parity : ndarray, shape (rows[1] - rows[0], size), uint8 [bit]
        Changed in place.
    """
    row_start, column, shift = edges
    size = word.shape[1]
    for r in range(rows[0], rows[1]):
        out = parity[r - rows[0]]
        for e in range(row_start[r], row_start[r + 1]):
            s = shift[e]
            source = word[column[e]]
            head, tail = source[s:size], source[0:s]
            first, last = out[0 : size - s], out[size - s : size]
            for z in range(first.size):
                first[z] ^= head[z]
            for z in range(last.size):
                last[z] ^= tail[z]


def syndrome(code: QcCode, words: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute ``H c`` (mod 2).

    Parameters
    ----------
    words : ndarray, shape (frames, n_columns * size), uint8 [bit]

    Returns
    -------
    ndarray, shape (frames, n_rows * size), uint8 [bit]
    """
    frames = words.shape[0]
    grid = words.reshape(frames, code.n_columns, code.size)
    out = np.zeros((frames, code.n_rows, code.size), dtype=np.uint8)
    edges = (code.row_start, code.edge_column, code.edge_shift)
    for f in range(frames):
        accumulate_parity(
            np.ascontiguousarray(grid[f]), edges, (0, code.n_rows), out[f]
        )
    return out.reshape(frames, -1)
