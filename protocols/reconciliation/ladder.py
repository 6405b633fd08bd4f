"""Error correction of binary keys: a ladder of codes with further checks on call.

A code first discloses `min_rows` checks of a word; when a frame does not decode,
rows part in two and one half is told, so that what is disclosed grows in fine
steps. The words whose first checks are all zero are a linear code of dimension
``n_bits - min_rows`` that can be encoded: a codeword XORed with the key publishes
the key's checks and carries ``n_bits - min_rows`` further bits.

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

#: A further round discloses this share of the rows of the first attempt, or this
#: share of what was disclosed beyond them, whichever is more.
STEP_SHARE, STEP_GROWTH = 0.01, 0.35
#: Error rates, and what the first attempt discloses over the Shannon limit there.
#: Measured, with frames of 102 400 bits: one in four to one in eight needs more.
FIRST_EFFICIENCY = (
    (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.09),
    (1.45, 1.21, 1.14, 1.11, 1.09, 1.08, 1.07, 1.065, 1.08),
)
#: Smallest and largest lifting size; shorter vectors and cycles are of no use.
SIZES = (16, 2048)
#: Standard deviations of the expected error rate that the code must still cover.
RESERVE_SIGMAS = 4.0
#: By how much parted rows may raise what is disclosed before it becomes wasteful.
RESERVE_FACTOR = 1.6
#: Power of the inverse size that the excess over the Shannon limit grows with,
#: below 128 and above, where the codes' own thresholds come close.
SIZE_EXPONENTS = (0.25, 0.1)
#: Longest name of a code.
MAX_NAME = 24


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

    Its checks come in rows of `size`. To tell more, rows part into two halves
    one after the other, of which the first is told: halves involve fewer bits,
    which is what a decoder that is stuck can use.

    Parameters
    ----------
    base_rows : int
        Rows of the first attempt, of 800 base columns.
    size : int
        Lifting size; a frame has ``800 * size`` bits.
    """

    def __init__(self, base_rows: int, size: int) -> None:
        self.name = f"ladder-{base_rows}-{size}"
        self.size, self._base_rows = size, base_rows
        row, column, shift = ladder_construct.build_edges(base_rows, size)
        # Every other edge of a row: both halves get columns of all degrees.
        starts = np.searchsorted(row, np.arange(base_rows))
        half = 2 * row + ((np.arange(row.size) - starts[row]) % 2).astype(np.int32)
        order = np.argsort(half, kind="stable")
        self._halves = qc_ldpc.QcCode(
            half[order],
            column[order],
            shift[order],
            2 * base_rows,
            ladder_construct.COLUMNS,
            size,
        )
        # Rows part evenly over the code: 0.618... of a turn each time.
        turns = np.arange(base_rows) * ((math.sqrt(5.0) - 1.0) / 2.0) % 1.0
        self._parting: NDArray[np.int64] = np.argsort(np.argsort(turns)).astype(
            np.int64
        )
        self.n_bits = ladder_construct.COLUMNS * size
        digest = self._halves.sha256 + self._parting.astype("<i8").tobytes().hex()
        self.sha256 = hashlib.sha256(digest.encode()).hexdigest()

    @property
    def min_rows(self) -> int:
        """Checks of the first attempt [bit]."""
        return self._base_rows * self.size

    @property
    def max_rows(self) -> int:
        """Checks with all rows parted [bit]."""
        return 2 * self.min_rows

    def next_rows(self, rows: int) -> int:
        """Return how many checks the next round brings it to [bit].

        The steps grow with what was told already: an error rate far above the
        estimate is reached in few rounds.
        """
        told = rows // self.size - self._base_rows
        step = max(STEP_SHARE * self._base_rows, STEP_GROWTH * told)
        return min(self.max_rows, rows + max(1, round(step)) * self.size)

    def encode(self, information: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the codewords of `information`: their `min_rows` checks are zero.

        Parameters
        ----------
        information : ndarray, shape (frames, n_bits - min_rows), uint8 [bit]

        Returns
        -------
        ndarray, shape (frames, n_bits), uint8 [bit]
        """
        n_free = self.n_bits - self.min_rows
        self._check_shape(information.shape, n_free, "information")
        words = np.zeros((information.shape[0], self.n_bits), dtype=np.uint8)
        words[:, :n_free] = information
        grid = words.reshape(-1, ladder_construct.COLUMNS, self.size)
        for word in grid:
            ladder_decoder.encode_frame(self._edges(0), word)
        return words

    def information(self, words: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the information bits of codewords; the inverse of `encode`.

        Parameters
        ----------
        words : ndarray, shape (frames, n_bits), uint8 [bit]

        Returns
        -------
        ndarray, shape (frames, n_bits - min_rows), uint8 [bit]
        """
        self._check_shape(words.shape, self.n_bits, "words")
        return words[:, : self.n_bits - self.min_rows]

    def checks(self, words: NDArray[np.uint8], rows: int) -> NDArray[np.uint8]:
        """Return the checks of any words.

        Parameters
        ----------
        words : ndarray, shape (frames, n_bits), uint8 [bit]
        rows : int
            From `min_rows` to `max_rows`, in steps of `size` [bit].

        Returns
        -------
        ndarray, shape (frames, rows), uint8 [bit]
            Whole rows, then first halves; more rows only append.
        """
        halves = self._half_checks(words)
        told = halves[:, self._parting[: self._parted(rows)], 0]
        joined = np.concatenate([halves[:, :, 0] ^ halves[:, :, 1], told], axis=1)
        return joined.reshape(words.shape[0], -1)

    def further_checks(
        self, words: NDArray[np.uint8], rows: int, upto: int
    ) -> NDArray[np.uint8]:
        """Return the checks that `upto` rows have beyond `rows`.

        Parameters
        ----------
        words : ndarray, shape (frames, n_bits), uint8 [bit]
        rows, upto : int

        Returns
        -------
        ndarray, shape (frames, upto - rows), uint8 [bit]
        """
        parted = self._parting[self._parted(rows) : self._parted(upto)]
        return self._half_checks(words)[:, parted, 0].reshape(words.shape[0], -1)

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
        edges, wanted = self._edges(parted), self._wanted(syndromes, parted)
        shape = (frames, ladder_construct.COLUMNS, self.size)
        errors = np.zeros(shape, dtype=np.uint8)
        used = np.zeros(frames, dtype=np.int64)
        prior = np.float32(np.log((1.0 - error_rate) / error_rate))

        def one(f: int) -> None:
            used[f] = ladder_decoder.decode_frame(
                edges, wanted[f], prior, max_iterations, errors[f]
            )

        with ThreadPoolExecutor(max_workers=n_threads) as pool:
            list(pool.map(one, range(frames)))
        return Corrected(errors.reshape(frames, -1), used > 0, np.abs(used))

    def _parted(self, rows: int) -> int:
        """Return how many rows are parted when `rows` checks are disclosed."""
        base, rest = divmod(rows, self.size)
        if rest or not self._base_rows <= base <= 2 * self._base_rows:
            raise ProtocolAbort(
                f"code {self.name}: {rows} rows, has {self.min_rows} to "
                f"{self.max_rows} in steps of {self.size}"
            )
        return base - self._base_rows

    def _half_checks(self, words: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return every half row's checks, shape (frames, base_rows, 2, size)."""
        self._check_shape(words.shape, self.n_bits, "words")
        flat = qc_ldpc.syndrome(self._halves, words)
        return flat.reshape(words.shape[0], self._base_rows, 2, self.size)

    def _kept(self, parted: int) -> NDArray[np.bool_]:
        """Return where rows of the graph begin, shape (base_rows, 2)."""
        kept = np.zeros((self._base_rows, 2), dtype=np.bool_)
        kept[:, 0] = True
        kept[self._parting[:parted], 1] = True
        return kept

    def _wanted(self, syndromes: NDArray[np.uint8], parted: int) -> NDArray[np.uint8]:
        """Return the checks in the order of the graph's rows."""
        grid = syndromes.reshape(syndromes.shape[0], -1, self.size)
        whole, told = grid[:, : self._base_rows], grid[:, self._base_rows :]
        rows = self._parting[:parted]
        halves = np.stack([whole, whole], axis=2)
        halves[:, rows, 0] = told
        # The second half is the whole row without the first.
        halves[:, rows, 1] ^= told
        return halves[:, self._kept(parted)]

    def _edges(self, parted: int) -> ladder_decoder.Edges:
        """Return the graph whose rows are the disclosed checks."""
        halves = self._halves
        starts = halves.row_start[:-1][self._kept(parted).ravel()]
        row_start = np.append(starts, halves.row_start[-1])
        return row_start, halves.edge_column, halves.edge_shift

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
        Its `min_rows` are what is disclosed at first, per frame.
    n_frames : int
    """

    code: LadderCode
    n_frames: int


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
    # Frames longer than wanted, rather than too short for any code.
    n_frames = min(round(n_key / frame_bits), n_key // (columns * SIZES[0]))
    n_frames = max(1, n_frames)
    size = n_key // (n_frames * columns)
    if not SIZES[0] <= size <= SIZES[1]:
        raise ProtocolAbort(
            f"reconciliation: {n_key} sifted bits, frames of {size * columns}, limits "
            f"are {SIZES[0] * columns} to {SIZES[1] * columns}; a longer run is needed"
        )
    rate = max(error_rate, 1e-3)
    sigma = math.sqrt(rate * (1.0 - rate) / max(n_sampled, 1))
    worst = _rows(min(rate + RESERVE_SIGMAS * sigma, 0.5), size)
    wanted = max(_rows(rate, size), worst / RESERVE_FACTOR)
    low, high = ladder_construct.BASE_ROWS
    if wanted > high:
        raise ProtocolAbort(
            f"reconciliation: error rate {error_rate:.2%} over {n_sampled} bits needs "
            f"{wanted / columns:.2f} checks per bit, the ladder ends at "
            f"{high / columns:.2f}"
        )
    return FramePlan(
        load_code(f"ladder-{max(low, math.ceil(wanted))}-{size}"), n_frames
    )


def first_efficiency(error_rate: float, size: int) -> float:
    """Return what the first attempt discloses over the Shannon limit [1].

    Parameters
    ----------
    error_rate : float
        [1]
    size : int
        Lifting size.
    """
    excess = float(np.interp(error_rate, *FIRST_EFFICIENCY)) - 1.0
    power = SIZE_EXPONENTS[0] if size < 128 else SIZE_EXPONENTS[1]
    return 1.0 + excess * math.pow(128 / size, power)


def _rows(error_rate: float, size: int) -> float:
    """Return the base rows that the first attempt needs at an error rate [1]."""
    efficiency = first_efficiency(error_rate, size)
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
    # Short decimal numbers only: int() takes much more.
    known = all(text.isascii() and text.isdecimal() for text in (rows, size))
    if kind != "ladder" or not known or len(name) > MAX_NAME:
        raise PeerError(f"reconciliation: no code is called {name[:MAX_NAME]!r}")
    for value, what, limits in (
        (int(rows), "rows", ladder_construct.BASE_ROWS),
        (int(size), "sizes", SIZES),
    ):
        if not limits[0] <= value <= limits[1]:
            raise PeerError(
                f"reconciliation: code {name!r}, {what} are {limits[0]} to {limits[1]}"
            )
    return LadderCode(int(rows), int(size))
