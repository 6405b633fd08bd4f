"""Polynomial hash over GF(2^128): one primitive for tags and for verification.

The message is cut into 16-byte blocks ``m_1 .. m_b`` (last one padded with
zeros), its length in bits is appended as block ``m_(b+1)``, and

    h_r(m) = m_1 r^(b+1) + m_2 r^b + ... + m_(b+1) r        in GF(2^128).

Two different messages and any constant ``c`` satisfy ``h_r(m) + h_r(m') = c``
for at most ``b + 1`` keys ``r`` out of 2^128 (a polynomial of that degree), so
the family is almost XOR-universal, also when cut to its low bits.

Elements are little-endian integers: bit ``i`` is the coefficient of ``x^i``,
modulo ``x^128 + x^7 + x^2 + x + 1``. Multiplication by ``r`` is linear, so it is
read from sixteen tables of 256 entries. Their addresses depend on secret data:
on a machine shared with an adversary, cache timing would have to be excluded.

References
----------
.. [1] M. N. Wegman and J. L. Carter, J. Comput. Syst. Sci. 22, 265 (1981).
.. [2] C. Bibak, B. Kapron, V. Srinivasan, EPJ Quantum Technol. 9:8 (2022).
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import ProtocolAbort

#: Bytes of a key, of a block and of a hash.
BLOCK_BYTES = 16
_REDUCTION = 0x87


@numba.njit(cache=True, nogil=True)
def _tables(low: np.uint64, high: np.uint64) -> NDArray[np.uint64]:
    """Return t[i, b] = (b x^(8 i)) r as (low, high), shape (16, 256, 2)."""
    one = np.uint64(1)
    out = np.zeros((16, 256, 2), dtype=np.uint64)
    for i in range(16):
        for k in range(8):
            bit = 1 << k
            for b in range(bit, 256):
                if b & bit:
                    out[i, b, 0] ^= low
                    out[i, b, 1] ^= high
            carry = high >> np.uint64(63)
            high = (high << one) | (low >> np.uint64(63))
            low = (low << one) ^ (carry * np.uint64(_REDUCTION))
    return out


@numba.njit(cache=True, nogil=True)
def _horner(
    words: NDArray[np.uint64], table: NDArray[np.uint64], state: NDArray[np.uint64]
) -> None:
    """Continue ``h = (h + m) r`` over the blocks in `words`, shape (2 blocks,)."""
    h0, h1 = state[0], state[1]
    mask = np.uint64(255)
    for b in range(words.size // 2):
        h0 ^= words[2 * b]
        h1 ^= words[2 * b + 1]
        n0, n1 = np.uint64(0), np.uint64(0)
        for i in range(8):
            shift = np.uint64(8 * i)
            low, high = (h0 >> shift) & mask, (h1 >> shift) & mask
            n0 ^= table[i, low, 0] ^ table[i + 8, high, 0]
            n1 ^= table[i, low, 1] ^ table[i + 8, high, 1]
        h0, h1 = n0, n1
    state[0], state[1] = h0, h1


class PolynomialHash:
    """The hash function chosen by one key.

    Parameters
    ----------
    key : bytes, 16 bytes
        Uniform; the point ``r``.

    Raises
    ------
    ProtocolAbort
        If the key has another length.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != BLOCK_BYTES:
            raise ProtocolAbort(f"hash key: {len(key)} bytes, wanted {BLOCK_BYTES}")
        low, high = np.frombuffer(key, dtype="<u8")
        self._table = _tables(low, high)

    def __repr__(self) -> str:
        return "PolynomialHash(key not shown)"

    def digest(self, message: bytes | memoryview) -> bytes:
        """Return the 16-byte hash of `message`, its length included."""
        view = memoryview(message).cast("B")
        whole = len(view) // BLOCK_BYTES * BLOCK_BYTES
        state = np.zeros(2, dtype=np.uint64)
        _horner(np.frombuffer(view[:whole], dtype="<u8"), self._table, state)
        rest = bytes(view[whole:])
        padded = rest.ljust(BLOCK_BYTES, b"\0") if rest else b""
        tail = padded + (8 * len(view)).to_bytes(BLOCK_BYTES, "little")
        _horner(np.frombuffer(tail, dtype="<u8"), self._table, state)
        return state.astype("<u8").tobytes()


def collision_probability(n_bytes: int, tag_bits: int = 128) -> float:
    """Bound on the probability that two messages differ by a given tag.

    Parameters
    ----------
    n_bytes : int
        Length of the longer message [byte].
    tag_bits : int
        Low bits of the hash that are used [bit].

    Returns
    -------
    float
        ``(blocks + 1) / 2^tag_bits`` [1].
    """
    blocks = -(-n_bytes // BLOCK_BYTES)
    return float((blocks + 1) * 2.0**-tag_bits)
