"""One rate of the multi-edge-type code: syndromes and decoding of frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from dsp.coding import qc_ldpc
from protocols.reconciliation import decoder
from protocols.reconciliation.construct import (
    CORE_COLUMNS,
    LEAF_ROWS,
    PRECODE_ROWS,
    SIZES,
)
from scqc.core.errors import ProtocolAbort

#: Information circulants per frame, at every rate.
_INFORMATION_COLUMNS = CORE_COLUMNS - PRECODE_ROWS
#: Fewest leaf rows with a use: rate 0.5.
_MIN_LEAF_ROWS = 30


@dataclass(frozen=True, slots=True)
class Decoded:
    """Words found by the decoder; verify them by hash before use.

    Parameters
    ----------
    words : ndarray, shape (frames, n), uint8 [bit]
    converged : ndarray, shape (frames,), bool
        Stop rule met: syndrome right and no decision moving.
    iterations : ndarray, shape (frames,), int32 [1]
    """

    words: NDArray[np.uint8]
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int32]


@lru_cache(maxsize=len(SIZES))
def mother_code(size: int) -> qc_ldpc.QcCode:
    """Return the shipped rate-0.1 mother code with circulants of `size`.

    Raises
    ------
    ProtocolAbort
        If no table of that size is shipped.
    """
    if size not in SIZES:
        raise ProtocolAbort(
            f"reconciliation code: no table of circulant size {size}, "
            f"only {', '.join(map(str, SIZES))}"
        )
    table = files("protocols.reconciliation").joinpath(f"met_{size}.txt")
    rows = qc_ldpc.parse_table(table)
    return qc_ldpc.from_rows(rows, CORE_COLUMNS + LEAF_ROWS, size)


class ReconciliationCode:
    """The MET code cut to one rate.

    Parameters
    ----------
    rate : float
        Wanted rate, 0.1 to 0.5; the next lower one of the grid
        ``40 / (50 + leaves)`` is taken.
    size : int
        Circulant size: 256, 1024 or 2560.

    Raises
    ------
    ProtocolAbort
        If the rate or the size is not covered.
    """

    def __init__(self, rate: float, size: int = 1024) -> None:
        highest = _INFORMATION_COLUMNS / (CORE_COLUMNS + _MIN_LEAF_ROWS)
        if not 0.1 - 1e-9 <= rate <= highest + 1e-9:
            raise ProtocolAbort(
                f"reconciliation code: rate {rate} outside 0.1 to {highest}"
            )
        wanted = int(np.ceil(_INFORMATION_COLUMNS / rate - 1e-9))
        self.leaf_rows = min(wanted - CORE_COLUMNS, LEAF_ROWS)
        columns = CORE_COLUMNS + self.leaf_rows
        mother = mother_code(size)
        self.graph = mother.prefix(PRECODE_ROWS + self.leaf_rows, columns)
        self.size = size
        self.n = columns * size
        self.k = _INFORMATION_COLUMNS * size
        self.rate = self.k / self.n
        self.leak_bits = self.n - self.k
        self._edges = (
            self.graph.row_start,
            self.graph.edge_column,
            self.graph.edge_shift,
        )

    @property
    def sha256(self) -> str:
        """Digest of the code; both sides compare it before the first frame."""
        return self.graph.sha256

    def syndrome(self, words: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Compute the disclosed syndromes.

        Parameters
        ----------
        words : ndarray, shape (frames, n), uint8 [bit]

        Returns
        -------
        ndarray, shape (frames, leak_bits), uint8 [bit]
        """
        self._check(words.shape, self.n, "words")
        return qc_ldpc.syndrome(self.graph, words)

    def decode(
        self,
        llr: NDArray[np.float32],
        syndromes: NDArray[np.uint8],
        max_iterations: int = 200,
        n_threads: int = 1,
    ) -> Decoded:
        """Decode frames to the words with the given syndromes.

        Parameters
        ----------
        llr : ndarray, shape (frames, n), float32 [1]
            ln(P(0)/P(1)); positive means bit 0.
        syndromes : ndarray, shape (frames, leak_bits), uint8 [bit]
        max_iterations : int
        n_threads : int
            Frames decoded at the same time.

        Returns
        -------
        Decoded

        Raises
        ------
        ProtocolAbort
            If a shape is wrong or an LLR is not finite.
        """
        self._check(llr.shape, self.n, "LLRs")
        self._check(syndromes.shape, self.leak_bits, "syndromes")
        if not np.isfinite(llr).all():
            raise ProtocolAbort("reconciliation: an LLR is not finite")
        frames = llr.shape[0]
        grid = np.ascontiguousarray(llr, dtype=np.float32)
        grid = grid.reshape(frames, -1, self.size)
        checks = np.ascontiguousarray(syndromes).reshape(frames, -1, self.size)
        words = np.empty(grid.shape, dtype=np.uint8)
        used = np.empty(frames, dtype=np.int32)

        def one(f: int) -> None:
            used[f] = decoder.decode_core(
                self._edges, grid[f], checks[f], CORE_COLUMNS, max_iterations, words[f]
            )

        with ThreadPoolExecutor(max_workers=n_threads) as pool:
            list(pool.map(one, range(frames)))
        return Decoded(words.reshape(frames, -1), used > 0, np.abs(used))

    def _check(self, shape: tuple[int, ...], width: int, name: str) -> None:
        if len(shape) != 2 or shape[1] != width:
            raise ProtocolAbort(
                f"reconciliation {name}: shape {shape}, wanted (frames, {width})"
            )
