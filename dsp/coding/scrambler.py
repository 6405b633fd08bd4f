"""Additive scrambler: whitens the coded bits so that every symbol is as likely.

The sequence is PRBS31 (ITU-T O.150: x^31 + x^28 + 1), started from a state
derived from the frame number; applying it twice gives the input back. It hides
nothing: it is public.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_STATE_MASK = 0x7FFFFFFF


def start_state(frame_index: int) -> int:
    """Return the non-zero 31-bit register a frame starts from."""
    # A bijective 64-bit mixer (SplitMix64's finaliser) separates neighbours.
    x = (frame_index + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return ((x ^ (x >> 31)) & _STATE_MASK) or 1


@numba.njit(cache=True, nogil=True)
def _prbs31(state: int, out: NDArray[np.uint8]) -> None:
    for k in range(out.size):
        bit = ((state >> 30) ^ (state >> 27)) & 1
        state = ((state << 1) | bit) & 0x7FFFFFFF
        out[k] = bit


def sequence(frame_index: int, n_bits: int) -> NDArray[np.uint8]:
    """Return the scrambling bits of one frame.

    Returns
    -------
    ndarray, shape (n_bits,), uint8 [bit]
    """
    out = np.empty(n_bits, dtype=np.uint8)
    _prbs31(start_state(frame_index), out)
    return out


def scramble(bits: NDArray[np.uint8], first_index: int) -> NDArray[np.uint8]:
    """Scramble (or descramble) consecutive frames.

    Parameters
    ----------
    bits : ndarray, shape (frames, n), uint8 [bit]
    first_index : int
        Number of the first frame [1].

    Returns
    -------
    ndarray, shape (frames, n), uint8 [bit]
    """
    out = np.empty_like(bits)
    for f in range(bits.shape[0]):
        out[f] = bits[f] ^ sequence(first_index + f, bits.shape[1])
    return out


def descramble_llr(llr: NDArray[np.float32], first_index: int) -> NDArray[np.float32]:
    """Undo the scrambler on soft values: a scrambling bit 1 flips the sign.

    Parameters
    ----------
    llr : ndarray, shape (frames, n), float32 [1]
    first_index : int
        Number of the first frame [1].

    Returns
    -------
    ndarray, shape (frames, n), float32 [1]
    """
    out = np.empty(llr.shape, dtype=np.float32)
    for f in range(llr.shape[0]):
        flips = sequence(first_index + f, llr.shape[1])
        out[f] = np.where(flips == 1, -llr[f], llr[f])
    return out
