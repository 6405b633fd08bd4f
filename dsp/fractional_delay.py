"""Move the samples of a band-limited signal by a part of a sample."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

# A Kaiser-windowed sine cardinal: 80 dB up to nine tenths of the Nyquist frequency.
_HALF_TAPS, _BETA = 32, 8.0


def delayed(samples: NDArray[np.float32], delay_samples: float) -> NDArray[np.float32]:
    """Delay a signal; it is 0 before its first and after its last sample.

    Parameters
    ----------
    samples : ndarray, shape (n,), float32 [any]
        Nothing above nine tenths of the Nyquist frequency.
    delay_samples : float
        Negative: earlier [sample].

    Returns
    -------
    ndarray, shape (n,), float32 [as given]
        `samples` itself for a delay of 0.
    """
    if delay_samples == 0.0 or samples.size == 0:
        return samples
    whole = math.floor(delay_samples)
    fraction = delay_samples - whole
    at = np.arange(1 - _HALF_TAPS, 1 + _HALF_TAPS) - fraction
    window = np.i0(_BETA * np.sqrt(np.maximum(1.0 - (at / _HALF_TAPS) ** 2, 0.0)))
    taps = np.sinc(at) * window
    taps /= taps.sum()
    full = np.convolve(samples, taps.astype(np.float32))
    # Output k of the convolution stands at k + whole - (half - 1).
    first = _HALF_TAPS - 1 - whole
    out = np.zeros_like(samples)
    low, high = max(0, -first), min(samples.size, full.size - first)
    if high > low:
        out[low:high] = full[first + low : first + high]
    return out


def with_arms_apart(
    field: NDArray[np.float32], delays_samples: tuple[float, float]
) -> NDArray[np.float32]:
    """Delay the in-phase and the quadrature part of a field, each by its own.

    Parameters
    ----------
    field : ndarray, shape (2, n), float32 [sqrt(SNU) per sample]
    delays_samples : tuple of float
        [sample]

    Returns
    -------
    ndarray, shape (2, n), float32 [sqrt(SNU) per sample]
        `field` itself if neither moves.
    """
    if delays_samples == (0.0, 0.0):
        return field
    rows = zip(field, delays_samples, strict=True)
    return np.stack([delayed(row, delay) for row, delay in rows])
