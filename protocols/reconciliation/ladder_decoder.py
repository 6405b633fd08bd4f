"""Encoding and layered sum-product decoding of the ladder's codes."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.coding import qc_ldpc, row_kernels

Edges = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


#: Iterations without fewer wrong checks than ever before: the decoder is stuck.
PATIENCE = 10


@numba.njit(cache=True, nogil=True)
def encode_frame(edges: Edges, word: NDArray[np.uint8]) -> None:
    """Fill in the parity columns of one word, row by row, in place.

    Parameters
    ----------
    edges : row_start, edge_column, edge_shift
    word : ndarray, shape (n_columns, size), uint8 [bit]
        Information columns set, parity columns zero.
    """
    n_rows = edges[0].size - 1
    first_parity = word.shape[0] - n_rows
    check = np.empty((1, word.shape[1]), dtype=np.uint8)
    for r in range(n_rows):
        # The row meets no later parity column, and its own is zero so far.
        check[:] = 0
        qc_ldpc.accumulate_parity(word, edges, (r, r + 1), check)
        word[first_parity + r] = check[0]


@numba.njit(cache=True, nogil=True)
def _decide(beliefs: NDArray[np.float32], hard: NDArray[np.uint8]) -> None:
    for c in range(beliefs.shape[0]):
        b, h = beliefs[c], hard[c]
        for z in range(b.size):
            h[z] = np.uint8(1) if b[z] < 0 else np.uint8(0)


@numba.njit(cache=True, nogil=True)
def _count_wrong(
    errors: NDArray[np.uint8],
    edges: Edges,
    wanted: NDArray[np.uint8],
    parity: NDArray[np.uint8],
) -> int:
    """Return how many checks of `errors` are not the wanted ones."""
    parity[:] = wanted
    qc_ldpc.accumulate_parity(errors, edges, (0, wanted.shape[0]), parity)
    total = 0
    for r in range(parity.shape[0]):
        for bit in parity[r]:
            total += bit
    return total


@numba.njit(cache=True, nogil=True)
def decode_frame(
    edges: Edges,
    wanted: NDArray[np.uint8],
    prior: np.float32,
    max_iterations: int,
    errors: NDArray[np.uint8],
) -> int:
    """Find the sparsest-looking error pattern with the wanted checks.

    Parameters
    ----------
    edges : row_start, edge_column, edge_shift
    wanted : ndarray, shape (n_rows, size), uint8 [bit]
    prior : float
        ln(P(0)/P(1)) of every bit of the pattern [1].
    max_iterations : int
    errors : ndarray, shape (n_columns, size), uint8 [bit]
        Receives the pattern.

    Returns
    -------
    int
        Iterations used [1]; negative when it gave up before the checks were met.
    """
    row_start, column, shift = edges
    n_rows, size = wanted.shape
    beliefs = np.full(errors.shape, prior, dtype=np.float32)
    messages = np.zeros((column.size, size), dtype=np.float32)
    widest = np.diff(row_start).max()
    values = np.empty((widest, size), dtype=np.float32)
    tanhs = np.empty((widest, size), dtype=np.float32)
    scratch = np.empty((2, size), dtype=np.float32)
    factor = np.empty(size, dtype=np.float32)
    parity = np.empty(wanted.shape, dtype=np.uint8)
    fewest, last_progress = wanted.size + 1, 0
    for iteration in range(1, max_iterations + 1):
        for r in range(n_rows):
            lo, hi = row_start[r], row_start[r + 1]
            for e in range(lo, hi):
                v, t = values[e - lo], tanhs[e - lo]
                row_kernels.gather(beliefs[column[e]], shift[e], messages[e], v)
                row_kernels.half_tanh(v, t)
            w = wanted[r]
            for z in range(size):
                factor[z] = np.float32(-1) if w[z] == 1 else np.float32(1)
            row_kernels.sum_product(
                tanhs[0 : hi - lo], factor, scratch, messages[lo:hi]
            )
            for e in range(lo, hi):
                row_kernels.scatter(
                    values[e - lo], messages[e], shift[e], beliefs[column[e]]
                )
        _decide(beliefs, errors)
        wrong = _count_wrong(errors, edges, wanted, parity)
        if wrong == 0:
            return iteration
        if wrong < fewest:
            fewest, last_progress = wrong, iteration
        elif iteration - last_progress >= PATIENCE:
            return -iteration
    return -max_iterations
