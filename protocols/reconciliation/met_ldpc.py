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
    return qc_ldpc.from_rows(_table(size)[:-1], CORE_COLUMNS + LEAF_ROWS, size)


@lru_cache(maxsize=len(SIZES))
def _table(size: int) -> list[list[tuple[int, int]]]:
    file = files("protocols.reconciliation").joinpath(f"met_{size}.txt")
    return qc_ldpc.parse_table(file)


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
        rows = _table(size)
        first, retry = rows[: PRECODE_ROWS + self.leaf_rows], rows[-1]
        with_retry = [*first[:PRECODE_ROWS], retry, *first[PRECODE_ROWS:]]
        self._retry_row = qc_ldpc.from_rows([retry], columns, size)
        self._retry_graph = qc_ldpc.from_rows(with_retry, columns, size)
        self.retry_leak_bits = size

    @property
    def sha256(self) -> str:
        """Digest of the code; both sides compare it before the first frame."""
        return self._retry_graph.sha256

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

    def retry_syndrome(self, words: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Compute the further bits disclosed for frames that failed.

        Parameters
        ----------
        words : ndarray, shape (frames, n), uint8 [bit]

        Returns
        -------
        ndarray, shape (frames, retry_leak_bits), uint8 [bit]
            All of them count as leaked.
        """
        self._check(words.shape, self.n, "words")
        return qc_ldpc.syndrome(self._retry_row, words)

    def decode_again(
        self,
        llr: NDArray[np.float32],
        syndromes: NDArray[np.uint8],
        retry: NDArray[np.uint8],
        max_iterations: int = 200,
        n_threads: int = 1,
    ) -> Decoded:
        """Decode frames that failed, with the bits of `retry_syndrome`.

        Parameters
        ----------
        llr, syndromes : as for `decode`
        retry : ndarray, shape (frames, retry_leak_bits), uint8 [bit]
        max_iterations, n_threads : int

        Returns
        -------
        Decoded

        Raises
        ------
        ProtocolAbort
            If a shape is wrong or an LLR is not finite.
        """
        self._check(syndromes.shape, self.leak_bits, "syndromes")
        self._check(retry.shape, self.retry_leak_bits, "retry syndromes")
        cut = PRECODE_ROWS * self.size
        checks = np.concatenate([syndromes[:, :cut], retry, syndromes[:, cut:]], axis=1)
        return self._decode(self._retry_graph, llr, checks, max_iterations, n_threads)

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
        self._check(syndromes.shape, self.leak_bits, "syndromes")
        return self._decode(self.graph, llr, syndromes, max_iterations, n_threads)

    def _decode(
        self,
        graph: qc_ldpc.QcCode,
        llr: NDArray[np.float32],
        syndromes: NDArray[np.uint8],
        max_iterations: int,
        n_threads: int,
    ) -> Decoded:
        self._check(llr.shape, self.n, "LLRs")
        if not np.isfinite(llr).all():
            raise ProtocolAbort("reconciliation: an LLR is not finite")
        frames = llr.shape[0]
        grid = np.ascontiguousarray(llr, dtype=np.float32)
        grid = grid.reshape(frames, -1, self.size)
        checks = np.ascontiguousarray(syndromes).reshape(frames, -1, self.size)
        words = np.empty(grid.shape, dtype=np.uint8)
        used = np.empty(frames, dtype=np.int32)
        edges = (graph.row_start, graph.edge_column, graph.edge_shift)

        def one(f: int) -> None:
            used[f] = decoder.decode_core(
                edges, grid[f], checks[f], CORE_COLUMNS, max_iterations, words[f]
            )

        with ThreadPoolExecutor(max_workers=n_threads) as pool:
            list(pool.map(one, range(frames)))
        return Decoded(words.reshape(frames, -1), used > 0, np.abs(used))

    def _check(self, shape: tuple[int, ...], width: int, name: str) -> None:
        if len(shape) != 2 or shape[1] != width:
            raise ProtocolAbort(
                f"reconciliation {name}: shape {shape}, wanted (frames, {width})"
            )
