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
    HIGH,
    INFORMATION_COLUMNS,
    LOW,
    SIZES,
    Ensemble,
    table_name,
)
from scqc.core.errors import ProtocolAbort

#: Range of rates; above the crossover the second ensemble is the better one.
LOWEST_RATE, CROSSOVER_RATE, HIGHEST_RATE = 0.1, 0.2, 0.5


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


@lru_cache
def table(ensemble: Ensemble, size: int) -> list[list[tuple[int, int]]]:
    """Return the rows of a shipped mother code, the retry row last.

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
    folder = files("protocols.reconciliation")
    return qc_ldpc.parse_table(folder.joinpath(table_name(ensemble, size)))


class ReconciliationCode:
    """The MET code cut to one rate.

    Parameters
    ----------
    rate : float
        Wanted rate, 0.1 to 0.5; the next lower one of the grid
        ``40 / (core + leaves)`` is taken.
    size : int
        Circulant size: 256, 1024 or 2560.

    Raises
    ------
    ProtocolAbort
        If the rate or the size is not covered.
    """

    def __init__(self, rate: float, size: int = 1024) -> None:
        if not LOWEST_RATE - 1e-9 <= rate <= HIGHEST_RATE + 1e-9:
            raise ProtocolAbort(
                f"reconciliation code: rate {rate} outside {LOWEST_RATE} to "
                f"{HIGHEST_RATE}"
            )
        ensemble = HIGH if rate > CROSSOVER_RATE else LOW
        columns = int(np.ceil(INFORMATION_COLUMNS / rate - 1e-9))
        self.leaf_rows = columns - ensemble.core_columns
        self._core, self._precode = ensemble.core_columns, ensemble.precode_rows
        rows = table(ensemble, size)
        first, retry = rows[: self._precode + self.leaf_rows], rows[-1]
        with_retry = [*first[: self._precode], retry, *first[self._precode :]]
        self.graph = qc_ldpc.from_rows(first, columns, size)
        self._retry_row = qc_ldpc.from_rows([retry], columns, size)
        self._retry_graph = qc_ldpc.from_rows(with_retry, columns, size)
        self.retry_leak_bits = size
        self.size = size
        self.n = columns * size
        self.k = INFORMATION_COLUMNS * size
        self.rate = self.k / self.n
        self.leak_bits = self.n - self.k

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
        llr : ndarray, shape (frames, n), float32 [1]
        syndromes : ndarray, shape (frames, leak_bits), uint8 [bit]
            As for `decode`.
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
        cut = self._precode * self.size
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
                edges, grid[f], checks[f], self._core, max_iterations, words[f]
            )

        with ThreadPoolExecutor(max_workers=n_threads) as pool:
            list(pool.map(one, range(frames)))
        return Decoded(words.reshape(frames, -1), used > 0, np.abs(used))

    def _check(self, shape: tuple[int, ...], width: int, name: str) -> None:
        if len(shape) != 2 or shape[1] != width:
            raise ProtocolAbort(
                f"reconciliation {name}: shape {shape}, wanted (frames, {width})"
            )
