"""The search of Cascade in one frame: which blocks are asked about, and found odd.

In every pass the bits, in the order of that pass, are cut into blocks of known
parity difference. A block is named by its first position; `blocks` holds how
often it was halved, and whether it is odd. Odd blocks of one pass are disjoint,
so all of them are searched at once, and never for the same error.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

#: Entries of `Search.status`: parities asked now, the pass they belong to, passes
#: begun, whether whole blocks of a new pass are asked rather than halves, and
#: whether the parities contradict each other.
N_QUESTIONS, ACTIVE, BEGUN, OPENING, CONTRADICTION = 0, 1, 2, 3, 4
_ODD = np.uint8(0x80)
_DEPTH = np.uint8(0x7F)

Orders = tuple[NDArray[np.int32], NDArray[np.int32]]


class Search(NamedTuple):
    """State of the search in one frame.

    Parameters
    ----------
    blocks : ndarray, shape (passes, n), uint8
        Where a block begins: how often it was halved, and 0x80 if it is odd.
    spans : ndarray, shape (n, 2), int32 [position]
        Begin and end of the blocks that are being halved.
    status : ndarray, shape (5,), int64
    """

    blocks: NDArray[np.uint8]
    spans: NDArray[np.int32]
    status: NDArray[np.int64]


def new_search(n: int, lengths: NDArray[np.int64]) -> Search:
    """Return the state before the first pass; its blocks are asked first.

    Parameters
    ----------
    n : int
        Bits of the frame [bit].
    lengths : ndarray, shape (passes,), int64 [bit]
        Length of the blocks of every pass.
    """
    blocks = np.zeros((lengths.size, n), dtype=np.uint8)
    spans = np.zeros((n, 2), dtype=np.int32)
    first = -(-n // int(lengths[0]))
    return Search(blocks, spans, np.array([first, 0, 1, 1, 0], dtype=np.int64))


@numba.njit(cache=True, nogil=True)
def ask(
    bits: NDArray[np.uint8],
    order: NDArray[np.int32],
    lengths: NDArray[np.int64],
    search: Search,
    out: NDArray[np.uint8],
) -> None:
    """Write this party's parities of the blocks asked about.

    Parameters
    ----------
    bits : ndarray, shape (n,), uint8 [bit]
        As corrected so far.
    order : ndarray, shape (passes, n), int32 [position]
    lengths : ndarray, shape (passes,), int64 [bit]
    search : Search
    out : ndarray, shape (n_questions,), uint8 [bit]
    """
    number = search.status[ACTIVE]
    own, length = order[number], lengths[number]
    for j in range(out.size):
        if search.status[OPENING]:
            low, high = j * length, min((j + 1) * length, bits.size)
        else:
            low, end = search.spans[j]
            high = (low + end) // 2
        parity = np.uint8(0)
        for x in range(low, high):
            parity ^= bits[own[x]]
        out[j] = parity


@numba.njit(cache=True, nogil=True)
def learn(
    different: NDArray[np.uint8],
    orders: Orders,
    lengths: NDArray[np.int64],
    search: Search,
    errors: NDArray[np.uint8],
) -> None:
    """Take in where the parities differ, and choose the next questions.

    Parameters
    ----------
    different : ndarray, shape (n_questions,), uint8 [bit]
    orders : ndarray, shape (passes, n), int32 [position]
        Order of the bits, and place of every bit in it.
    lengths : ndarray, shape (passes,), int64 [bit]
    search : Search
        Changed in place.
    errors : ndarray, shape (n,), uint8 [bit]
        Gets the errors found; changed in place.
    """
    status = search.status
    if status[OPENING]:
        _open_pass(different, lengths, search)
        n_open = 0
    else:
        n_open = _halve(different, orders, lengths, search, errors)
    if n_open == 0:
        n_open = _find_odd(orders, lengths, search, errors)
    if n_open == 0 and status[BEGUN] < lengths.size:
        # Nothing known is odd: open the next pass.
        number = status[BEGUN]
        status[ACTIVE], status[BEGUN], status[OPENING] = number, number + 1, 1
        # All blocks together are even by now, so the last one needs no question.
        n_open = -(-errors.size // lengths[number]) - 1
    status[N_QUESTIONS] = n_open


@numba.njit(cache=True, nogil=True)
def _open_pass(
    different: NDArray[np.uint8], lengths: NDArray[np.int64], search: Search
) -> None:
    """Note which blocks of a new pass are odd."""
    blocks = search.blocks[search.status[ACTIVE]]
    length = lengths[search.status[ACTIVE]]
    together = np.uint8(0)
    for j in range(different.size):
        blocks[j * length] = _ODD * different[j]
        together ^= different[j]
    last = different.size * length
    if last < blocks.size:
        blocks[last] = _ODD * together
    search.status[OPENING] = 0


@numba.njit(cache=True, nogil=True)
def _halve(
    different: NDArray[np.uint8],
    orders: Orders,
    lengths: NDArray[np.int64],
    search: Search,
    errors: NDArray[np.uint8],
) -> int:
    """Part the blocks asked about; correct bits found; return what is left."""
    number = search.status[ACTIVE]
    blocks, spans = search.blocks[number], search.spans
    left = 0
    for j in range(different.size):
        low, end = spans[j]
        middle = (low + end) // 2
        depth = (blocks[low] & _DEPTH) + np.uint8(1)
        blocks[low] = depth | (_ODD * different[j])
        blocks[middle] = depth | (_ODD * (different[j] ^ np.uint8(1)))
        if different[j]:
            end = middle
        else:
            low = middle
        if end - low == 1:
            _correct(orders[0][number, low], orders[1], lengths, search, errors)
        else:
            spans[left, 0], spans[left, 1] = low, end
            left += 1
    return left


@numba.njit(cache=True, nogil=True)
def _correct(
    bit: int,
    place: NDArray[np.int32],
    lengths: NDArray[np.int64],
    search: Search,
    errors: NDArray[np.uint8],
) -> None:
    """Correct a bit: its block in every pass begun changes its parity."""
    if errors[bit]:
        # True parities never ask for a bit twice, so that a search always ends.
        search.status[CONTRADICTION] = 1
    errors[bit] = np.uint8(1)
    for number in range(search.status[BEGUN]):
        blocks = search.blocks[number]
        low, _ = _block(blocks, place[number, bit], lengths[number])
        blocks[low] ^= _ODD


@numba.njit(cache=True, nogil=True)
def _block(blocks: NDArray[np.uint8], position: int, length: int) -> tuple[int, int]:
    """Return begin and end of the block of known parity around a position."""
    low = position // length * length
    end = min(low + length, blocks.size)
    depth = 0
    while blocks[low] & _DEPTH > depth:
        middle = (low + end) // 2
        if position < middle:
            end = middle
        else:
            low = middle
        depth += 1
    return low, end


@numba.njit(cache=True, nogil=True)
def _find_odd(
    orders: Orders,
    lengths: NDArray[np.int64],
    search: Search,
    errors: NDArray[np.uint8],
) -> int:
    """Collect all odd blocks of the first pass that has any; return how many."""
    number = 0
    while number < search.status[BEGUN] and not search.status[CONTRADICTION]:
        found, corrected = _odd_blocks(number, orders, lengths, search, errors)
        if found:
            search.status[ACTIVE] = number
            return found
        # A corrected bit may have turned a block of an earlier pass odd.
        number = 0 if corrected else number + 1
    return 0


@numba.njit(cache=True, nogil=True)
def _odd_blocks(
    number: int,
    orders: Orders,
    lengths: NDArray[np.int64],
    search: Search,
    errors: NDArray[np.uint8],
) -> tuple[int, bool]:
    """Collect the odd blocks of a pass; one of a single bit is its error."""
    blocks, found, corrected = search.blocks[number], 0, False
    for x in range(blocks.size):
        if blocks[x] & _ODD:
            low, end = _block(blocks, x, lengths[number])
            if end - low == 1:
                _correct(orders[0][number, low], orders[1], lengths, search, errors)
                corrected = True
            else:
                search.spans[found, 0], search.spans[found, 1] = low, end
                found += 1
    return found, corrected
