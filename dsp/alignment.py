r"""Skew between the arms of the modulator, from a burst that is no secret.

When a record starts is not known to better than microseconds, so both arms are
measured within one record. The test burst is an ordinary frame whose symbols come
in segments: the same pseudo-random sequence once with the in-phase arm alone and once
with the quadrature arm alone, in the order I Q Q I, which cancels whatever drifts
linearly. Pilots and preamble use both arms, as ever. One arm alone carries half of
the symbol in the signal's band, whichever it is; the other half is its image.

Every segment is cyclic: with sequence X and received segment Y, both in the
frequency domain,

.. math:: Y_k(f) = X_k(f)\,G(f)\,a\,e^{-2\pi i f \tau} + W,

where the receiver's response G is common to both arms. Least squares over the
segments give :math:`R = G a e^{-2\pi i f\tau}` of each arm, and the slope of the
phase of :math:`R_Q R_I^*` their skew. Weighted with the noise of every frequency that
reaches the bound of Cramér and Rao,

.. math:: \sigma_\tau = \frac{1}{2\pi B_\mathrm{rms}\sqrt{2\,\mathrm{SNR}\,N}},

for each arm. Frequencies within the roll-off are left out: sampled once per symbol,
they fold.

References
----------
.. [1] A. H. Quazi, IEEE Trans. ASSP 29, 527 (1981).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from dsp.settings import FrameLayout
from dsp.transmitter import baseband, first_symbol_sample, samples_per_symbol
from scqc.core.errors import SignalError
from scqc.core.rng import stream

# A segment: its core, and as much before and after it as a pulse is long.
CORE_SYMBOLS, GUARD_SYMBOLS = 448, 32
SEGMENT_SYMBOLS = CORE_SYMBOLS + 2 * GUARD_SYMBOLS
#: The arm of each segment of a group: 0 is I, 1 is Q.
GROUP = (0, 1, 1, 0)
GROUP_SYMBOLS = len(GROUP) * SEGMENT_SYMBOLS
_LIMIT_SIGMA = 5.0


@dataclass(frozen=True, slots=True)
class Skew:
    """By how much the quadrature arm is late.

    Parameters
    ----------
    delay_s : float
        Delay of Q minus that of I [s].
    sigma_s : float
        Its standard deviation, from the noise that was seen [s].
    snr : float
        Energy of a symbol over the noise, of one arm [1].
    """

    delay_s: float
    sigma_s: float
    snr: float


def n_groups(layout: FrameLayout) -> int:
    """Return how many groups of segments a frame holds.

    Raises
    ------
    SignalError
        If there is no room for one.
    """
    count = layout.symbols // GROUP_SYMBOLS
    if count == 0:
        raise SignalError(
            f"alignment: a frame of {layout.symbols} symbols, at least "
            f"{GROUP_SYMBOLS} are needed"
        )
    return count


def skew_sequence(layout: FrameLayout) -> NDArray[np.complex128]:
    """Return the public sequences, one per pair of segments, both arms alike.

    Returns
    -------
    ndarray, shape (2 * n_groups, CORE_SYMBOLS), complex128 [1]
        Unit energy per symbol.
    """
    shape = (2 * n_groups(layout), CORE_SYMBOLS, 2)
    signs = 1.0 - 2.0 * stream(1, "alignment/skew").integers(0, 2, shape)
    symbols = np.empty(shape[:2], dtype=np.complex128)
    symbols.real, symbols.imag = signs[..., 0], signs[..., 1]
    symbols /= math.sqrt(2.0)
    return symbols


def _segments(layout: FrameLayout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return arm and sequence of every segment."""
    arms = np.tile(np.array(GROUP, dtype=np.int64), n_groups(layout))
    # I Q of one sequence, then Q I of the next.
    return arms, np.arange(arms.size, dtype=np.int64) // 2


def skew_field(
    layout: FrameLayout,
    rate_hz: float,
    pilots_sqrt_snu: tuple[float, float],
    amplitude_sqrt_snu: float,
) -> NDArray[np.float32]:
    """Build the test burst around the carrier.

    Parameters
    ----------
    layout : FrameLayout
    rate_hz : float
        Generator rate [Sa/s].
    pilots_sqrt_snu : tuple of float
        Amplitudes of strong and weak pilot [sqrt(SNU) per sample].
    amplitude_sqrt_snu : float
        Square root of the energy of a symbol if both arms carried it [sqrt(SNU)].

    Returns
    -------
    ndarray, shape (2, n), float32 [sqrt(SNU) per sample]

    Raises
    ------
    SignalError
        If the frame is too short.
    """
    sps = samples_per_symbol(layout, rate_hz)
    cores = amplitude_sqrt_snu * skew_sequence(layout)
    arms, sequence = _segments(layout)
    cyclic = np.concatenate(
        [cores[:, -GUARD_SYMBOLS:], cores, cores[:, :GUARD_SYMBOLS]], axis=1
    )[sequence]
    symbols = np.zeros(layout.symbols, dtype=np.complex64)
    symbols[: cyclic.size] = cyclic.ravel()
    silence = np.zeros_like(symbols)
    field = baseband(silence, layout, rate_hz, pilots_sqrt_snu)
    light = baseband(symbols, layout, rate_hz, pilots_sqrt_snu) - field
    at = first_symbol_sample(layout, sps)
    for arm in arms:
        # Hard cuts lie in the guards.
        light[1 - arm, at : at + SEGMENT_SYMBOLS * sps] = 0.0
        at += SEGMENT_SYMBOLS * sps
    total: NDArray[np.float32] = field + light
    return total


def measure_skew(symbols: NDArray[np.complex64], layout: FrameLayout) -> Skew:
    """Measure the skew in a received test burst.

    Parameters
    ----------
    symbols : ndarray, shape (layout.symbols,), complex64 [code]
        From symbol 0 on, on a steady phase, whichever.
    layout : FrameLayout
        The one that `skew_field` was made for.

    Raises
    ------
    SignalError
        If an arm carries nothing of the test.
    """
    arms, sequence = _segments(layout)
    size = arms.size * SEGMENT_SYMBOLS
    if symbols.size < size:
        raise SignalError(f"alignment: {symbols.size} symbols, wanted {size}")
    parts = symbols[:size].reshape(-1, SEGMENT_SYMBOLS)
    cores = parts[:, GUARD_SYMBOLS:-GUARD_SYMBOLS].astype(np.complex128)
    # Unitary: noise per frequency is noise per symbol.
    received = scipy.fft.fft(cores, axis=1, norm="ortho")
    sent = scipy.fft.fft(skew_sequence(layout), axis=1, norm="ortho")[sequence]
    frequency_hz = scipy.fft.fftfreq(CORE_SYMBOLS, 1.0 / layout.symbol_rate_hz)
    flat = np.abs(frequency_hz) < 0.5 * layout.symbol_rate_hz * (1.0 - layout.roll_off)
    found = [
        _response(received[arms == a][:, flat], sent[arms == a][:, flat])
        for a in (0, 1)
    ]
    for name, (response, variance, snr) in zip("IQ", found, strict=True):
        power = np.abs(response) ** 2
        if not float(power.sum()) > _LIMIT_SIGMA**2 * float(variance.sum()):
            raise SignalError(
                f"alignment: arm {name} carries nothing of the test burst, "
                f"{10.0 * math.log10(max(snr, 1e-12)):.1f} dB per symbol: is it "
                "connected?"
            )
    (in_phase, in_phase_var, snr_i), (quadrature, quadrature_var, snr_q) = found
    cross = quadrature * np.conj(in_phase)
    phase_var = 0.5 * (
        in_phase_var / np.abs(in_phase) ** 2 + quadrature_var / np.abs(quadrature) ** 2
    )
    delay_s, sigma_s = _slope(cross, 1.0 / phase_var, frequency_hz[flat])
    return Skew(delay_s, sigma_s, min(snr_i, snr_q))


def _response(
    received: NDArray[np.complex128], sent: NDArray[np.complex128]
) -> tuple[NDArray[np.complex128], NDArray[np.float64], float]:
    """Fit one arm: response and its variance per frequency, and symbol over noise."""
    energy = np.sum(np.abs(sent) ** 2, axis=0)
    response = np.sum(received * np.conj(sent), axis=0) / energy
    residual = np.abs(received - response * sent) ** 2
    # One complex parameter per frequency was fitted.
    noise = float(residual.sum()) / ((sent.shape[0] - 1) * sent.shape[1])
    snr = float(np.mean(np.abs(response) ** 2)) / noise if noise > 0.0 else math.inf
    return response, noise / energy, snr


def _slope(
    cross: NDArray[np.complex128],
    weight: NDArray[np.float64],
    frequency_hz: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the delay whose phase slope fits best, and its sigma [s]."""
    # Coarse: where all frequencies add up, on a grid of a tenth of the band's inverse,
    # as far as the guards keep the segments cyclic.
    span_hz = float(np.ptp(frequency_hz))
    reach = round(10 * 0.5 * GUARD_SYMBOLS)
    grid_s = np.arange(-reach, reach + 1) * (0.1 / span_hz)
    unit = weight * cross / np.abs(cross)
    sums = np.exp(2j * np.pi * np.outer(grid_s, frequency_hz)) @ unit
    coarse_s = float(grid_s[np.argmax(np.abs(sums))])
    # Fine: what is left is a fraction of a turn everywhere.
    turned = cross * np.exp(2j * np.pi * frequency_hz * coarse_s)
    common = np.sum(weight * turned / np.abs(turned))
    phase = np.angle(turned * np.conj(common))
    centred_hz = frequency_hz - np.average(frequency_hz, weights=weight)
    curvature = float(np.sum(weight * centred_hz**2))
    slope = float(np.sum(weight * centred_hz * phase)) / curvature
    sigma_s = 1.0 / (2.0 * math.pi * math.sqrt(curvature))
    return coarse_s - slope / (2.0 * math.pi), sigma_s
