"""Power spectral density of a record, by Welch's method."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import SignalError

# Segments transformed at once: bounds the memory, whatever the record's length.
_SEGMENTS = 64


def frequencies_hz(n_fft: int, rate_hz: float) -> NDArray[np.float64]:
    """Return the frequencies that `power_density` speaks of.

    Returns
    -------
    ndarray, shape (n_fft // 2 + 1,), float64 [Hz]
    """
    return np.arange(n_fft // 2 + 1, dtype=np.float64) * (rate_hz / n_fft)


def power_density(
    samples: NDArray[np.int16], rate_hz: float, n_fft: int = 4096
) -> NDArray[np.float64]:
    """Return the one-sided power spectral density of a record.

    Segments of `n_fft` samples overlap by half under a Hann window; the mean of
    the whole record is taken off first, or the window would smear it over the
    lowest bins. The density times the bin width sums to the variance.

    Parameters
    ----------
    samples : ndarray, shape (n,), int16 [code]
    rate_hz : float
        [Sa/s]
    n_fft : int
        Even [sample].

    Returns
    -------
    ndarray, shape (n_fft // 2 + 1,), float64 [code^2/Hz]

    Raises
    ------
    SignalError
        If the record is shorter than one segment, or `n_fft` is no even number.

    References
    ----------
    P. D. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967).
    """
    if n_fft < 2 or n_fft % 2:
        raise SignalError(f"spectrum: segments of {n_fft} samples, must be even")
    if samples.size < n_fft:
        raise SignalError(
            f"spectrum: {samples.size} samples, at least {n_fft} are needed"
        )
    hop = n_fft // 2
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)
    mean = float(np.mean(samples, dtype=np.float64))
    segments = np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::hop]
    total = np.zeros(n_fft // 2 + 1)
    for start in range(0, len(segments), _SEGMENTS):
        piece = (segments[start : start + _SEGMENTS] - mean) * window
        total += np.sum(np.abs(np.fft.rfft(piece, axis=1)) ** 2, axis=0)
    density = total / (len(segments) * rate_hz * float(np.sum(window**2)))
    # Negative frequencies fold onto all but the first and the last bin.
    density[1:-1] *= 2.0
    return density
