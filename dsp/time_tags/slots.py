"""What one slot carries, packed into a byte.

A slot is a pair of weak pulses, early and late, of one mean photon number. The
phase between the two carries a bit in one of two bases: ``pi * bit`` in the
message basis Z, ``pi * bit + pi / 2`` in the check basis X.

==========  =====================================================
bits        meaning
==========  =====================================================
0           bit value
1           basis: 0 is Z (message), 1 is X (check)
2 to 3      intensity: 0 signal, 1 decoy, 2 vacuum
4           1: a public synchronisation slot, never used for a key
==========  =====================================================
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Z, X = 0, 1
SIGNAL, DECOY, VACUUM = 0, 1, 2
INTENSITIES = ("signal", "decoy", "vacuum")
BASIS_SHIFT, INTENSITY_SHIFT = 1, 2
SYNC_FLAG = 0x10


def pack(
    bit: NDArray[np.uint8], basis: NDArray[np.uint8], intensity: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Put the three parts of each slot into its byte.

    Parameters
    ----------
    bit : ndarray, shape (n,), uint8 [bit]
    basis : ndarray, shape (n,), uint8 [0 for Z, 1 for X]
    intensity : ndarray, shape (n,), uint8 [0 signal, 1 decoy, 2 vacuum]

    Returns
    -------
    ndarray, shape (n,), uint8 [code]
    """
    packed: NDArray[np.uint8] = (
        bit
        | (basis << np.uint8(BASIS_SHIFT))
        | (intensity << np.uint8(INTENSITY_SHIFT))
    )
    return packed


def bit(slots: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bit values.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]

    Returns
    -------
    ndarray, shape (n,), uint8 [bit]
    """
    found: NDArray[np.uint8] = slots & np.uint8(1)
    return found


def basis(slots: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bases.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]

    Returns
    -------
    ndarray, shape (n,), uint8 [0 for Z, 1 for X]
    """
    found: NDArray[np.uint8] = (slots >> np.uint8(BASIS_SHIFT)) & np.uint8(1)
    return found


def intensity(slots: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the intensities.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]

    Returns
    -------
    ndarray, shape (n,), uint8 [0 signal, 1 decoy, 2 vacuum]
    """
    found: NDArray[np.uint8] = (slots >> np.uint8(INTENSITY_SHIFT)) & np.uint8(3)
    return found


def is_sync(slots: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which slots are public.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]

    Returns
    -------
    ndarray, shape (n,), bool
    """
    found: NDArray[np.bool_] = (slots & np.uint8(SYNC_FLAG)) != 0
    return found
