"""Layered sum-product decoding of a MET code, on its core only.

A leaf has degree one: it enters its row as the constant
``(-1)^syndrome tanh(L_leaf / 2)`` and never receives a message that matters, so
only the core columns carry beliefs. Once the core is known, each leaf bit is
its syndrome bit plus the parity of its core neighbours.

References
----------
.. [1] J. Chen et al., IEEE Trans. Commun. 53, 1288 (2005) (decoding schedules).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.coding import qc_ldpc, row_kernels

#: Consecutive clean iterations before a word is taken as decided: stopping at
#: the first one accepts wrong words that the next iteration would leave again.
_CLEAN_ITERATIONS = 3

Edges = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@numba.njit(cache=True, nogil=True)
def _sign_changes(beliefs: NDArray[np.float32], hard: NDArray[np.uint8]) -> int:
    """Store the hard decisions; return how many differ from the last ones."""
    changes = 0
    for c in range(beliefs.shape[0]):
        b, h = beliefs[c], hard[c]
        for z in range(b.size):
            bit = np.uint8(1) if b[z] < 0 else np.uint8(0)
            changes += bit ^ h[z]
            h[z] = bit
    return changes


@numba.njit(cache=True, nogil=True)
def _precode_satisfied(
    edges: Edges, hard: NDArray[np.uint8], wanted: NDArray[np.uint8]
) -> bool:
    parity = wanted.copy()
    qc_ldpc.accumulate_parity(hard, edges, (0, wanted.shape[0]), parity)
    return not parity.any()


@numba.njit(cache=True, nogil=True)
def _factors(
    llr: NDArray[np.float32], checks: NDArray[np.uint8], n_core: int
) -> NDArray[np.float32]:
    """Return the constant factor of every base row, shape (n_rows, size)."""
    n_rows, size = checks.shape
    n_precode = n_rows - (llr.shape[0] - n_core)
    out = np.ones((n_rows, size), dtype=np.float32)
    for r in range(n_rows):
        if r >= n_precode:
            row_kernels.half_tanh(llr[n_core + r - n_precode], out[r])
        f, s = out[r], checks[r]
        for z in range(size):
            f[z] = -f[z] if s[z] == 1 else f[z]
    return out


@numba.njit(cache=True, nogil=True)
def _layer(
    edges: Edges,
    span: tuple[int, int],
    factor: NDArray[np.float32],
    state: tuple[NDArray[np.float32], NDArray[np.float32]],
    work: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
) -> None:
    """Update one base row: edges ``span[0] <= e < span[1]``, leaf left out."""
    _, column, shift = edges
    beliefs, messages = state
    values, tanhs, scratch = work
    lo, hi = span
    for e in range(lo, hi):
        row_kernels.gather(beliefs[column[e]], shift[e], messages[e], values[e - lo])
        row_kernels.half_tanh(values[e - lo], tanhs[e - lo])
    row_kernels.sum_product(tanhs[0 : hi - lo], factor, scratch, messages[lo:hi])
    for e in range(lo, hi):
        row_kernels.scatter(values[e - lo], messages[e], shift[e], beliefs[column[e]])


@numba.njit(cache=True, nogil=True)
def _fill_leaves(
    edges: Edges, checks: NDArray[np.uint8], n_core: int, word: NDArray[np.uint8]
) -> None:
    """Set every leaf to its syndrome bit plus the parity of its core neighbours."""
    n_rows = checks.shape[0]
    n_precode = n_rows - (word.shape[0] - n_core)
    word[n_core:] = 0
    leaves = checks[n_precode:n_rows].copy()
    qc_ldpc.accumulate_parity(word, edges, (n_precode, n_rows), leaves)
    word[n_core:] = leaves


@numba.njit(cache=True, nogil=True)
def decode_core(
    edges: Edges,
    llr: NDArray[np.float32],
    checks: NDArray[np.uint8],
    n_core: int,
    max_iterations: int,
    word: NDArray[np.uint8],
) -> int:
    """Find the word with the wanted syndrome that the LLRs make most likely.

    Parameters
    ----------
    edges : row_start, edge_column, edge_shift
        Pre-code rows first; the last edge of every leaf row is its leaf.
    llr : ndarray, shape (n_columns, size), float32 [1]
        ln(P(0)/P(1)).
    checks : ndarray, shape (n_rows, size), uint8 [bit]
        Wanted syndrome.
    n_core : int
        Number of core columns; leaves follow.
    max_iterations : int
    word : ndarray, shape (n_columns, size), uint8 [bit]
        Receives the decided word; its syndrome is right in every leaf row.

    Returns
    -------
    int
        Iterations used [1]; negative when the stop rule was never met.
    """
    row_start, column, _ = edges
    n_rows, size = checks.shape
    n_precode = n_rows - (llr.shape[0] - n_core)
    factors = _factors(llr, checks, n_core)
    beliefs = llr[0:n_core].copy()
    messages = np.zeros((column.size, size), dtype=np.float32)
    widest = 3
    for r in range(n_rows):
        widest = max(widest, row_start[r + 1] - row_start[r])
    work = (
        np.empty((widest, size), dtype=np.float32),
        np.empty((widest, size), dtype=np.float32),
        np.empty((2, size), dtype=np.float32),
    )
    core = word[0:n_core]
    core[:] = 0
    clean, used = 0, -max_iterations
    for iteration in range(1, max_iterations + 1):
        for r in range(n_rows):
            hi = row_start[r + 1] - (1 if r >= n_precode else 0)
            _layer(edges, (row_start[r], hi), factors[r], (beliefs, messages), work)
        steady = _sign_changes(beliefs, core) == 0
        if steady and _precode_satisfied(edges, core, checks[0:n_precode]):
            clean += 1
        else:
            clean = 0
        if clean == _CLEAN_ITERATIONS:
            used = iteration
            break
    _fill_leaves(edges, checks, n_core, word)
    return used
