"""Privacy amplification by a modified Toeplitz hash, exact to the last bit.

The matrix is ``[I | T]`` with an m x m identity and an m x (n - m) Toeplitz
part, ``T[i, j] = t[i - j + n - m - 1]``; it is 2-universal and needs a seed of
only n - 1 bits. The product with T is a convolution of integers, computed with
a real FFT in float64: sums are at most n, errors about 1e-8 at n = 1e8, and the
largest distance from an integer is checked in every run.

References
----------
.. [1] H. Krawczyk, CRYPTO 1994 (Toeplitz hashing).
.. [2] M. Hayashi and T. Tsurumaru, IEEE Trans. Inf. Theory 62, 2213 (2016)
   (modified Toeplitz).
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from scqc.core.errors import ProtocolAbort

#: Largest distance from an integer that is accepted; a wrong bit needs 0.5.
MAX_FRACTION = 0.1


def seed_length(n: int) -> int:
    """Return the number of seed bits for an input of `n` bits."""
    return n - 1


def hash_bits(
    bits: NDArray[np.uint8], seed_bits: NDArray[np.uint8], m: int
) -> NDArray[np.uint8]:
    """Compress `bits` to `m` bits.

    Parameters
    ----------
    bits : ndarray, shape (n,), uint8 [bit]
        Reconciled and verified key.
    seed_bits : ndarray, shape (n - 1,), uint8 [bit]
        Fresh and uniform; may be public once the input is fixed.
    m : int
        Output length, ``0 <= m <= n`` [bit].

    Returns
    -------
    ndarray, shape (m,), uint8 [bit]

    Raises
    ------
    ProtocolAbort
        If a length or a value is wrong, or the FFT was not exact enough.

    Notes
    -----
    Peak memory is about 24 bytes per input bit.
    """
    n = bits.size
    if not 0 <= m <= n:
        raise ProtocolAbort(f"privacy amplification: {m} output bits from {n}")
    if seed_bits.size != seed_length(n):
        raise ProtocolAbort(
            f"privacy amplification: {seed_bits.size} seed bits, wanted {n - 1}"
        )
    if bits.max(initial=0) > 1 or seed_bits.max(initial=0) > 1:
        raise ProtocolAbort("privacy amplification: an input is not 0 or 1")
    if m in (0, n):
        return bits[:m].copy()
    tail = bits[m:]
    sums = _circular_convolution(seed_bits, tail)[tail.size - 1 : n - 1]
    return bits[:m] ^ _parities(sums)


def compress(raw: NDArray[np.uint8], seed: bytes, n_bits: int) -> bytes:
    """Hash a reconciled raw key to a packed key.

    Parameters
    ----------
    raw : ndarray, shape (n,), uint8 [bit]
    seed : bytes
        Packed seed bits, at least `seed_length` of them.
    n_bits : int
        Length of the key [bit].

    Returns
    -------
    bytes
        Packed key, most significant bit first.
    """
    given = np.frombuffer(seed, dtype=np.uint8)
    seed_bits = np.unpackbits(given, count=seed_length(raw.size))
    return np.packbits(hash_bits(raw, seed_bits, n_bits)).tobytes()


def _circular_convolution(
    seed_bits: NDArray[np.uint8], tail: NDArray[np.uint8]
) -> NDArray[np.float64]:
    """Convolve; the outputs from ``tail.size - 1`` on are free of wrap-around."""
    length = scipy.fft.next_fast_len(seed_bits.size, real=True)
    spectrum = scipy.fft.rfft(seed_bits.astype(np.float64), length, overwrite_x=True)
    spectrum *= scipy.fft.rfft(tail.astype(np.float64), length, overwrite_x=True)
    sums: NDArray[np.float64] = scipy.fft.irfft(spectrum, length, overwrite_x=True)
    return sums


def _parities(sums: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Round to integers, checked, and keep the lowest bit; in pieces for memory."""
    out = np.empty(sums.size, dtype=np.uint8)
    step = 1 << 20
    for start in range(0, sums.size, step):
        part = sums[start : start + step]
        whole = np.rint(part)
        fraction = float(np.abs(part - whole).max())
        if not fraction < MAX_FRACTION:
            raise ProtocolAbort(
                f"privacy amplification: the FFT is {fraction:.3g} from an integer, "
                f"limit {MAX_FRACTION}"
            )
        out[start : start + step] = whole.astype(np.int64) & 1
    return out
