"""Verification tags of reconciled frames.

Both sides hash every frame with a key drawn *after* reconciliation and sent in
the clear; equal tags mean equal frames except with the collision probability.
Every tag bit that is sent counts as leaked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.authentication import polynomial_hash
from scqc.core.errors import ProtocolAbort

#: Default length of a tag per frame [bit].
TAG_BITS = 64


def tags(
    words: NDArray[np.uint8], key: bytes, tag_bits: int = TAG_BITS
) -> NDArray[np.uint8]:
    """Hash every frame.

    Parameters
    ----------
    words : ndarray, shape (frames, n), uint8 [bit]
    key : bytes, 16 bytes
        Public, fresh and uniform; one per block.
    tag_bits : int
        Multiple of 8, at most 128 [bit].

    Returns
    -------
    ndarray, shape (frames, tag_bits / 8), uint8 [byte]

    Raises
    ------
    ProtocolAbort
        If `tag_bits` is not covered.
    """
    if tag_bits % 8 or not 8 <= tag_bits <= 128:
        raise ProtocolAbort(f"verification tag: {tag_bits} bits, wanted 8, 16 .. 128")
    function = polynomial_hash.PolynomialHash(key)
    packed = np.packbits(words, axis=1)
    rows = [function.digest(row.data)[: tag_bits // 8] for row in packed]
    joined = np.frombuffer(b"".join(rows), dtype=np.uint8)
    return joined.reshape(words.shape[0], tag_bits // 8)


def collision_probability(n_bits: int, tag_bits: int = TAG_BITS) -> float:
    """Bound on the probability that different frames get the same tag.

    Parameters
    ----------
    n_bits : int
        Length of a frame [bit].
    tag_bits : int
        Length of a tag [bit].

    Returns
    -------
    float
        [1]; for several frames, add them up.
    """
    return polynomial_hash.collision_probability(-(-n_bits // 8), tag_bits)
