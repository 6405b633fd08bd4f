"""What a burst looks like in time: preambles as complex base-band replicas."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout, QpskPreamble, ZadoffChuPreamble
from scqc.core.rng import stream

PULSE_SPAN_SYMBOLS = 32


def zadoff_chu(root: int, length: int) -> NDArray[np.complex128]:
    """Return a Zadoff-Chu sequence.

    Returns
    -------
    ndarray, shape (length,), complex128 [1]

    References
    ----------
    D. C. Chu, IEEE Trans. Inf. Theory 18, 531 (1972).
    """
    n = np.arange(length, dtype=np.int64)
    parity = length % 2
    # The exponent is reduced in integers, where it is exact.
    turns = (root * n * (n + parity)) % (2 * length)
    sequence: NDArray[np.complex128] = np.exp(-1j * np.pi * turns / length)
    return sequence


def preamble_symbols(preamble: QpskPreamble) -> NDArray[np.complex128]:
    """Return the known QPSK symbols, unit amplitude per quadrature.

    Returns
    -------
    ndarray, shape (symbols,), complex128 [1]
    """
    bits = stream(preamble.seed, "preamble").integers(0, 2, (preamble.symbols, 2))
    signs = 1.0 - 2.0 * bits
    symbols: NDArray[np.complex128] = signs[:, 0] + 1j * signs[:, 1]
    return symbols


def preamble_span_s(layout: FrameLayout) -> tuple[float, float]:
    """Return start and end of the preamble [s], relative to the first symbol."""
    preamble = layout.preamble
    if isinstance(preamble, ZadoffChuPreamble):
        start_s = -preamble.first_symbol_s
        return start_s, start_s + preamble.duration_s
    half_s = 0.5 * PULSE_SPAN_SYMBOLS / layout.symbol_rate_hz
    return -preamble.symbols / layout.symbol_rate_hz - half_s, half_s


def preamble_replica(
    layout: FrameLayout, time_s: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Evaluate the preamble around the carrier at given times.

    Parameters
    ----------
    layout : FrameLayout
    time_s : ndarray, shape (n,), float64 [s]
        Transmitter time relative to the centre of the first data symbol,
        evenly spaced.

    Returns
    -------
    ndarray, shape (n,), complex128 [1]
        Includes the shift to the signal's centre frequency where it has one.
    """
    preamble = layout.preamble
    if isinstance(preamble, ZadoffChuPreamble):
        sequence = zadoff_chu(preamble.root, preamble.length)
        sample = (time_s + preamble.first_symbol_s) * preamble.rate_hz
        return _interpolate(sequence, sample)
    position = time_s * layout.symbol_rate_hz + preamble.symbols
    baseband = _pulse_train(preamble_symbols(preamble), position, layout.roll_off)
    shift = np.exp(2j * np.pi * layout.centre_hz * time_s)
    shifted: NDArray[np.complex128] = baseband * shift
    return shifted


def _interpolate(
    sequence: NDArray[np.complex128], sample: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Band-limited interpolation of a sequence at fractional samples."""
    half = 16
    first = np.floor(sample).astype(np.int64)
    fraction = sample - first
    out = np.zeros(sample.size, dtype=np.complex128)
    for offset in range(-half + 1, half + 1):
        index = first + offset
        inside = (index >= 0) & (index < sequence.size)
        distance = fraction - offset
        weight = np.sinc(distance) * np.cos(0.5 * np.pi * distance / (half + 0.5)) ** 2
        out[inside] += sequence[index[inside]] * weight[inside]
    return out


def _pulse_train(
    symbols: NDArray[np.complex128], position: NDArray[np.float64], roll_off: float
) -> NDArray[np.complex128]:
    """Superpose pulses at integer positions, evaluated at `position` [symbol]."""
    half = PULSE_SPAN_SYMBOLS // 2
    first = np.floor(position).astype(np.int64)
    fraction = position - first
    out = np.zeros(position.size, dtype=np.complex128)
    for offset in range(-half + 1, half + 1):
        index = first + offset
        inside = (index >= 0) & (index < symbols.size)
        pulse = finite_pulse(fraction - offset, roll_off, PULSE_SPAN_SYMBOLS)
        out[inside] += symbols[index[inside]] * pulse[inside]
    return out
