"""Error correction of binary keys: a ladder of codes with further checks on call.

A code discloses `rows` checks of a word: pairs of its rows are merged at first
and part one by one when a frame does not decode, so that what is disclosed fits
the error rate in fine steps. The words whose checks are all zero are a linear
code of dimension ``n_bits - rows`` that can be encoded: a codeword XORed with
the key publishes the key's checks and carries ``n_bits - rows`` further bits.

References
----------
.. [1] E. O. Kiktenko et al., arXiv:1612.03673 (symmetric blind reconciliation).
"""

from __future__ import annotations

import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dsp.coding import qc_ldpc
from protocols.reconciliation import ladder_construct, ladder_decoder
from protocols.security.decoy import binary_entropy
from scqc.core.errors import PeerError, ProtocolAbort

#: Share of the rows that one further round discloses.
STEP_SHARE = 0.02
#: Error rates, and what the first attempt discloses over the Shannon limit there.
FIRST_EFFICIENCY = ((0.01, 0.015, 0.02, 0.03, 0.05), (1.19, 1.16, 1.13, 1.10, 1.08))
#: Smallest and largest lifting size; shorter vectors and cycles are of no use.
SIZES = (16, 2048)
#: Standard deviations of the expected error rate that the code must still cover.
RESERVE_SIGMAS = 4.0


@dataclass(frozen=True, slots=True)
class Corrected:
    """What the decoder found.

    Parameters
    ----------
    errors : ndarray, shape (frames, n_bits), uint8 [bit]
        Error pattern with the wanted checks, where `converged`.
    converged : ndarray, shape (frames,), bool
    iterations : ndarray, shape (frames,), int64 [1]
    """

    errors: NDArray[np.uint8]
    converged: NDArray[np.bool_]
    iterations: NDArray[np.int64]


class LadderCode:
    """One code of the ladder at one lifting size.

    Parameters
    ----------
    base_rows : int
        Which mother code.
    size : int
        Lifting size; a frame has ``800 * size`` bits.
    """

    def __init__(self, base_rows: int, size: int) -> None:
        self.name = f"ladder-{base_rows}-{size}"
        self.size, self._base_rows = size, base_rows
        row, column, shift = ladder_construct.build_edges(base_rows, size)
        self._graph = qc_ldpc.QcCode(
            row, column, shift, base_rows, ladder_construct.COLUMNS, size
        )
        self._pairs: NDArray[np.int64] = ladder_construct.merged_pairs(
            base_rows, row, column
        )
        single = np.ones(base_rows, dtype=np.bool_)
        single[self._pairs.ravel()] = False
        self._single = np.flatnonzero(single)
        self._graphs: dict[int, qc_ldpc.QcCode] = {}
        self.n_bits = ladder_construct.COLUMNS * size
        digest = self._graph.sha256 + self._pairs.astype("<i8").tobytes().hex()
        self.sha256 = hashlib.sha256(digest.encode()).hexdigest()

    @property
    def max_rows(self) -> int:
        """Checks with all pairs parted [bit]."""
        return self._base_rows * self.size

    @property
    def min_rows(self) -> int:
        """Checks with all pairs merged [bit]."""
        return (self._base_rows - len(self._pairs)) * self.size

    def next_rows(self, rows: int) -> int:
        """Return how many checks the next round brings it to [bit]."""
        step = max(1, round(STEP_SHARE * self._base_rows)) * self.size
        return min(self.max_rows, rows + step)

    def encode(self, information: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
        """Return the codewords of `information`.

        Parameters
        ----------
        information : ndarray, shape (frames, n_bits - rows), uint8 [bit]
        rows : int
            Checks that are zero [bit].

        Returns
        -------
        ndarray, shape (frames, n_bits), uint8 [bit]
        """
        self._check_shape(information.shape, self.n_bits - rows, "information")
        merged = self._pairs[self._parted(rows) :]
        places = self._information_columns(rows)
        words = np.zeros(
            (information.shape[0], ladder_construct.COLUMNS, self.size), dtype=np.uint8
        )
        words[:, places] = information.reshape(-1, places.size, self.size)
        role = np.full(self._base_rows, -1, dtype=np.int64)
        role[merged[:, 0]], role[merged[:, 1]] = -2, merged[:, 0]
        for word in words:
            ladder_decoder.encode_frame(self._edges(self._graph), role, word)
        return words.reshape(-1, self.n_bits)

    def information(self, words: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
        """Return the information bits of codewords; the inverse of `encode`."""
        self._check_shape(words.shape, self.n_bits, "words")
        grid = words.reshape(-1, ladder_construct.COLUMNS, self.size)
        found: NDArray[np.uint8] = grid[:, self._information_columns(rows)]
        return found.reshape(words.shape[0], -1)

    def checks(self, words: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
        """Return the checks of any words.

        Returns
        -------
        ndarray, shape (frames, rows), uint8 [bit]
            Sums of the pairs, single rows, then the rows of the parted pairs;
            more rows only append.
        """
        single = self._row_checks(words)
        first, second = self._pairs.T
        parted = first[: self._parted(rows)]
        parts = [single[:, first] ^ single[:, second], single[:, self._single]]
        joined = np.concatenate([*parts, single[:, parted]], axis=1)
        return joined.reshape(words.shape[0], -1)

    def further_checks(
        self, words: NDArray[np.uint8], rows: int, upto: int
    ) -> NDArray[np.uint8]:
        """Return the checks that `upto` rows have beyond `rows`.

        Returns
        -------
        ndarray, shape (frames, upto - rows), uint8 [bit]
        """
        parted = self._pairs[self._parted(rows) : self._parted(upto), 0]
        return self._row_checks(words)[:, parted].reshape(words.shape[0], -1)

    def decode(
        self,
        syndromes: NDArray[np.uint8],
        error_rate: float,
        max_iterations: int,
        n_threads: int = 1,
    ) -> Corrected:
        """Find the error patterns with the given checks.

        Parameters
        ----------
        syndromes : ndarray, shape (frames, rows), uint8 [bit]
            As `checks` orders them.
        error_rate : float
            Expected share of ones in the pattern [1].
        max_iterations, n_threads : int

        Returns
        -------
        Corrected

        Raises
        ------
        ProtocolAbort
            If the shape or the error rate is out of range.
        """
        if not 0.0 < error_rate < 0.5:
            raise ProtocolAbort(
                f"reconciliation: error rate {error_rate}, wanted 0..0.5"
            )
        frames, rows = syndromes.shape
        parted = self._parted(rows)
        graph = self._merged_graph(parted)
        wanted = self._wanted(syndromes, parted)
        errors = np.zeros((frames, graph.n_columns, self.size), dtype=np.uint8)
        used = np.zeros(frames, dtype=np.int64)
        prior = np.float32(np.log((1.0 - error_rate) / error_rate))

        def one(f: int) -> None:
            used[f] = ladder_decoder.decode_frame(
                self._edges(graph), wanted[f], prior, max_iterations, errors[f]
            )

        with ThreadPoolExecutor(max_workers=n_threads) as pool:
            list(pool.map(one, range(frames)))
        return Corrected(errors.reshape(frames, -1), used > 0, np.abs(used))

    def _parted(self, rows: int) -> int:
        """Return how many pairs are parted when `rows` checks are disclosed."""
        base, rest = divmod(rows, self.size)
        parted = base - (self._base_rows - len(self._pairs))
        if rest or not 0 <= parted <= len(self._pairs):
            raise ProtocolAbort(
                f"code {self.name}: {rows} rows, has {self.min_rows} to "
                f"{self.max_rows} in steps of {self.size}"
            )
        return parted

    def _information_columns(self, rows: int) -> NDArray[np.int64]:
        """Return which base columns carry information, in order."""
        n_free = ladder_construct.COLUMNS - self._base_rows
        merged = self._pairs[self._parted(rows) :, 0]
        return np.concatenate([np.arange(n_free), n_free + np.sort(merged)])

    def _row_checks(self, words: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return every row's checks, shape (frames, base_rows, size)."""
        self._check_shape(words.shape, self.n_bits, "words")
        flat = qc_ldpc.syndrome(self._graph, words)
        return flat.reshape(words.shape[0], self._base_rows, self.size)

    def _wanted(self, syndromes: NDArray[np.uint8], parted: int) -> NDArray[np.uint8]:
        """Return the checks in the order of the merged graph's rows."""
        grid = syndromes.reshape(syndromes.shape[0], -1, self.size).copy()
        n_disjoint = self._base_rows - len(self._pairs)
        # A pair's second row is the sum without the first.
        grid[:, :parted] ^= grid[:, n_disjoint:]
        return grid

    def _merged_graph(self, parted: int) -> qc_ldpc.QcCode:
        """Return the graph whose rows are the disclosed checks."""
        if parted not in self._graphs:
            self._graphs[parted] = self._merge(parted)
        return self._graphs[parted]

    def _merge(self, parted: int) -> qc_ldpc.QcCode:
        graph, start = self._graph, self._graph.row_start

        def row(r: int) -> list[tuple[int, int]]:
            span = slice(start[r], start[r + 1])
            columns, shifts = graph.edge_column[span], graph.edge_shift[span]
            return [(int(c), int(s)) for c, s in zip(columns, shifts, strict=True)]

        rows = [
            row(b) if p < parted else row(a) + row(b)
            for p, (a, b) in enumerate(self._pairs.tolist())
        ]
        rows += [row(r) for r in self._single.tolist()]
        rows += [row(a) for a in self._pairs[:parted, 0].tolist()]
        return qc_ldpc.from_rows(rows, graph.n_columns, self.size)

    @staticmethod
    def _edges(graph: qc_ldpc.QcCode) -> ladder_decoder.Edges:
        return graph.row_start, graph.edge_column, graph.edge_shift

    def _check_shape(self, shape: tuple[int, ...], width: int, name: str) -> None:
        if len(shape) != 2 or shape[1] != width:
            raise ProtocolAbort(
                f"reconciliation {name}: shape {shape}, wanted (frames, {width})"
            )


@dataclass(frozen=True, slots=True)
class FramePlan:
    """How a block is cut into frames.

    Parameters
    ----------
    code : LadderCode
    n_frames : int
    rows : int
        Checks disclosed at first, per frame [bit].
    """

    code: LadderCode
    n_frames: int
    rows: int


def plan_frames(
    n_key: int, error_rate: float, n_sampled: int, frame_bits: int
) -> FramePlan:
    """Cut `n_key` bits into frames of about `frame_bits`, wasting next to none.

    Parameters
    ----------
    n_key : int
        Sifted key bits [bit].
    error_rate : float
        Expected [1].
    n_sampled : int
        Bits it was counted over: the code keeps rows in reserve for its error.
    frame_bits : int
        Wanted length of a frame [bit].

    Raises
    ------
    ProtocolAbort
        If there are too few bits for one frame, or too many errors.
    """
    columns = ladder_construct.COLUMNS
    n_frames = max(1, round(n_key / frame_bits))
    size = n_key // (n_frames * columns)
    if not SIZES[0] <= size <= SIZES[1]:
        raise ProtocolAbort(
            f"reconciliation: {n_key} sifted bits, frames of {size * columns}, limits "
            f"are {SIZES[0] * columns} to {SIZES[1] * columns}; a longer run is needed"
        )
    rate = max(error_rate, 1e-3)
    sigma = math.sqrt(rate * (1.0 - rate) / max(n_sampled, 1))
    wanted = _rows(rate)
    worst = _rows(min(rate + RESERVE_SIGMAS * sigma, 0.5))
    fitting = [rows for rows in sorted(ladder_construct.LADDER) if rows >= worst]
    if not fitting:
        raise ProtocolAbort(
            f"reconciliation: error rate {error_rate:.2%} over {n_sampled} bits may "
            f"need {worst / columns:.2f} checks per bit, more than the ladder has"
        )
    code = load_code(f"ladder-{fitting[0]}-{size}")
    return FramePlan(code, n_frames, max(code.min_rows, round(wanted) * size))


def _rows(error_rate: float) -> float:
    """Return the base rows that the first attempt needs at an error rate [1]."""
    efficiency = float(np.interp(error_rate, *FIRST_EFFICIENCY))
    return efficiency * binary_entropy(error_rate) * ladder_construct.COLUMNS


@lru_cache(maxsize=4)
def load_code(name: str) -> LadderCode:
    """Return the code that `LadderCode.name` names.

    Raises
    ------
    PeerError
        If there is no such code.
    """
    kind, _, rest = name.partition("-")
    rows, _, size = rest.partition("-")
    known = kind == "ladder" and rows.isdecimal() and size.isdecimal()
    if not known or int(rows) not in ladder_construct.LADDER:
        raise PeerError(f"reconciliation: no code is called {name!r}")
    if not SIZES[0] <= int(size) <= SIZES[1]:
        raise PeerError(
            f"reconciliation: code {name!r}, sizes are {SIZES[0]} to {SIZES[1]}"
        )
    return LadderCode(int(rows), int(size))
