"""Forward error correction of the classical bits: 5G NR base graph 1, Z = 384.

One systematic base graph serves every rate: a word is the first ``n`` bits of
the mother code, so a lower rate only adds parity. The first ``2 Z`` information
bits are never sent (they have the highest degree and are recovered first).

References
----------
.. [1] 3GPP TS 38.212, section 5.3.2 (LDPC coding), Table 5.3.2-2.
.. [2] J. Chen and M. P. C. Fossorier, IEEE Trans. Commun. 50, 406 (2002)
   (normalised min-sum).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib.resources import files

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.coding import qc_ldpc, row_kernels
from scqc.core.errors import PayloadError

#: Lifting size, information columns, columns that are never sent.
LIFTING = 384
INFORMATION_COLUMNS = 22
PUNCTURED_COLUMNS = 2
_CORE_ROWS = 4
#: LLR given to a bit that the receiver knows nothing about is 0.
_MIN_SUM_SCALE = 0.8


@dataclass(frozen=True, slots=True)
class DecodeResult:
    """What the decoder believes.

    Parameters
    ----------
    bits : ndarray, shape (frames, k), uint8 [bit]
    coded : ndarray, shape (frames, n), uint8 [bit]
        Decided code bits; a codeword where `converged`.
    converged : ndarray, shape (frames,), bool
    iterations : ndarray, shape (frames,), int32 [1]
    """

    bits: NDArray[np.uint8]
    coded: NDArray[np.uint8]
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int32]


@lru_cache(maxsize=1)
def mother_code() -> qc_ldpc.QcCode:
    """Return base graph 1 lifted by 384: 46 x 68 circulants."""
    table = files("dsp.coding").joinpath("nr_base_graph_1.csv")
    return qc_ldpc.from_rows(qc_ldpc.parse_table(table), n_columns=68, size=LIFTING)


@numba.njit(cache=True, nogil=True)
def _encode_frame(
    edges: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    n_rows: int,
    word: NDArray[np.uint8],
) -> None:
    """Fill the parity columns of `word`, shape (columns, size) [bit].

    The four core rows sum to ``p0``, because ``p0`` enters them with shifts 1,
    0, 1 and the other parities twice; the rest follows row by row.
    """
    size = word.shape[1]
    k = INFORMATION_COLUMNS
    parity = np.zeros((_CORE_ROWS, size), dtype=np.uint8)
    word[k:] = 0
    qc_ldpc.accumulate_parity(word, edges, (0, _CORE_ROWS), parity)
    for z in range(size):
        word[k, z] = parity[0, z] ^ parity[1, z] ^ parity[2, z] ^ parity[3, z]
    for z in range(size):
        after = z + 1 if z + 1 < size else 0
        word[k + 1, z] = parity[0, z] ^ word[k, after]
        word[k + 2, z] = parity[1, z] ^ word[k, z] ^ word[k + 1, z]
        word[k + 3, z] = parity[2, z] ^ word[k + 2, z]
    # Their own columns are still zero, so the parities are what fills them.
    extension = np.zeros((n_rows - _CORE_ROWS, size), dtype=np.uint8)
    qc_ldpc.accumulate_parity(word, edges, (_CORE_ROWS, n_rows), extension)
    word[k + _CORE_ROWS :] = extension


@numba.njit(cache=True, nogil=True)
def _satisfied(
    edges: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    hard: NDArray[np.uint8],
    n_rows: int,
    parity: NDArray[np.uint8],
) -> bool:
    """Whether every check holds, stopping at the first row that fails."""
    for r in range(n_rows):
        parity[:] = 0
        qc_ldpc.accumulate_parity(hard, edges, (r, r + 1), parity)
        if parity.any():
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _decide(beliefs: NDArray[np.float32], hard: NDArray[np.uint8]) -> None:
    for c in range(beliefs.shape[0]):
        b, h = beliefs[c], hard[c]
        for z in range(b.size):
            h[z] = 1 if b[z] < 0 else 0


@numba.njit(cache=True, nogil=True)
def _decode_frame(
    edges: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    beliefs: NDArray[np.float32],
    max_iterations: int,
    hard: NDArray[np.uint8],
) -> int:
    """Decode in place; return the iterations used, negative without success."""
    row_start, column, shift = edges
    n_rows, size = row_start.size - 1, beliefs.shape[1]
    degree = 0
    for r in range(n_rows):
        degree = max(degree, row_start[r + 1] - row_start[r])
    messages = np.zeros((column.size, size), dtype=np.float32)
    values = np.empty((degree, size), dtype=np.float32)
    work = np.empty((3, size), dtype=np.float32)
    parity = np.empty((1, size), dtype=np.uint8)
    for iteration in range(1, max_iterations + 1):
        for r in range(n_rows):
            lo, hi = row_start[r], row_start[r + 1]
            row = values[0 : hi - lo]
            for e in range(lo, hi):
                row_kernels.gather(
                    beliefs[column[e]], shift[e], messages[e], row[e - lo]
                )
            row_kernels.min_sum(row, _MIN_SUM_SCALE, work, messages[lo:hi])
            for e in range(lo, hi):
                row_kernels.scatter(
                    row[e - lo], messages[e], shift[e], beliefs[column[e]]
                )
        _decide(beliefs, hard)
        if _satisfied(edges, hard, n_rows, parity):
            return iteration
    return -max_iterations


class Fec:
    """The classical code at one rate.

    Parameters
    ----------
    rate : str or float
        Information bits per sent bit, ``"1/2"`` or 0.5, from 1/3 to 8/9.

    Raises
    ------
    PayloadError
        If the rate lies outside that range.
    """

    def __init__(self, rate: str | float) -> None:
        try:
            self.rate = float(Fraction(rate))
        except (ValueError, ZeroDivisionError) as cause:
            raise PayloadError(
                f"code rate {rate!r}: not a number or a fraction"
            ) from cause
        if not 1 / 3 <= self.rate <= 8 / 9 + 1e-9:
            raise PayloadError(f"code rate {rate}: outside 1/3 to 8/9")
        self.k_bits = INFORMATION_COLUMNS * LIFTING
        self.n_bits = 2 * round(self.k_bits / self.rate / 2)
        columns = -(-self.n_bits // LIFTING) + PUNCTURED_COLUMNS
        self.code = mother_code().prefix(columns - INFORMATION_COLUMNS, columns)
        self._edges = (self.code.row_start, self.code.edge_column, self.code.edge_shift)
        self._sent = slice(
            PUNCTURED_COLUMNS * LIFTING, PUNCTURED_COLUMNS * LIFTING + self.n_bits
        )

    def encode(self, bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Encode information bits.

        Parameters
        ----------
        bits : ndarray, shape (frames, k_bits), uint8 [bit]

        Returns
        -------
        ndarray, shape (frames, n_bits), uint8 [bit]

        Raises
        ------
        PayloadError
            If the shape is not (frames, k_bits).
        """
        self._check(bits.shape, self.k_bits)
        out = np.empty((bits.shape[0], self.n_bits), dtype=np.uint8)
        word = np.empty((self.code.n_columns, LIFTING), dtype=np.uint8)
        for f in range(bits.shape[0]):
            word[:INFORMATION_COLUMNS] = bits[f].reshape(INFORMATION_COLUMNS, LIFTING)
            _encode_frame(self._edges, self.code.n_rows, word)
            out[f] = word.reshape(-1)[self._sent]
        return out

    def decode(
        self, llr: NDArray[np.float32], max_iterations: int = 30
    ) -> DecodeResult:
        """Decode by layered normalised min-sum, stopping when all checks hold.

        Parameters
        ----------
        llr : ndarray, shape (frames, n_bits), float32 [1]
            ln(P(0)/P(1)) of every sent bit.
        max_iterations : int

        Returns
        -------
        DecodeResult

        Raises
        ------
        PayloadError
            If the shape is not (frames, n_bits).
        """
        self._check(llr.shape, self.n_bits)
        frames = llr.shape[0]
        bits = np.empty((frames, self.k_bits), dtype=np.uint8)
        coded = np.empty((frames, self.n_bits), dtype=np.uint8)
        used = np.empty(frames, dtype=np.int32)
        hard = np.empty((self.code.n_columns, LIFTING), dtype=np.uint8)
        for f in range(frames):
            beliefs = np.zeros((self.code.n_columns, LIFTING), dtype=np.float32)
            beliefs.reshape(-1)[self._sent] = llr[f]
            used[f] = _decode_frame(self._edges, beliefs, max_iterations, hard)
            bits[f] = hard[:INFORMATION_COLUMNS].reshape(-1)
            coded[f] = hard.reshape(-1)[self._sent]
        return DecodeResult(bits, coded, used > 0, np.abs(used))

    def _check(self, shape: tuple[int, ...], width: int) -> None:
        if len(shape) != 2 or shape[1] != width:
            raise PayloadError(
                f"code of rate {self.rate:.3f}: shape {shape}, wanted (frames, {width})"
            )
