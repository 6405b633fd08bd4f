"""From symbols to generator voltages.

The burst is built as a complex base band around the carrier, in sqrt(SNU) per
sample at the channel input: a unit-energy matched filter turns it back into
the symbols. Pulses, pilots and preamble are added first; the modulator's sine
is inverted last, sample by sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.framing import PULSE_SPAN_SYMBOLS, preamble_symbols
from dsp.pulse import finite_pulse
from dsp.settings import FrameLayout, QpskPreamble
from scqc.core.errors import ConfigError, ConfigProblem, SignalError
from scqc.core.records import Waveform

LEAD_SYMBOLS = PULSE_SPAN_SYMBOLS


@dataclass(frozen=True, slots=True)
class Modulator:
    """What the transmitter must know of its IQ modulator.

    Parameters
    ----------
    v_pi_v : float
        Half-wave voltage of each arm [V].
    driver_gain : float
        Voltage gain between generator and modulator [1].
    full_scale_sqrt_snu : float
        Field amplitude at the channel input with one arm fully on
        [sqrt(SNU) per sample].
    """

    v_pi_v: float
    driver_gain: float
    full_scale_sqrt_snu: float


@numba.njit(cache=True, nogil=True)
def _shape_and_shift(
    symbols: NDArray[np.complex64],
    pulse: NDArray[np.float32],
    turns: tuple[float, float, float],
    pilots: tuple[float, float],
    first_sample: int,
    out: NDArray[np.float32],
) -> None:
    """Superpose pulses on the centre frequency and both pilots; out is (2, n)."""
    sps, span = pulse.shape
    two_pi = 2.0 * math.pi
    centre, strong, weak = turns
    for n in range(out.shape[1]):
        phase_index = n % sps
        newest = n // sps
        re = np.float32(0.0)
        im = np.float32(0.0)
        for j in range(span):
            k = newest - j
            if 0 <= k < symbols.size:
                weight = pulse[phase_index, j]
                re += symbols[k].real * weight
                im += symbols[k].imag * weight
        t = n + first_sample
        angle = two_pi * (centre * t - math.floor(centre * t))
        c, s = math.cos(angle), math.sin(angle)
        a1 = two_pi * (strong * t - math.floor(strong * t))
        a2 = two_pi * (weak * t - math.floor(weak * t))
        out[0, n] = (
            re * c - im * s + pilots[0] * math.cos(a1) + pilots[1] * math.cos(a2)
        )
        out[1, n] = (
            re * s + im * c + pilots[0] * math.sin(a1) + pilots[1] * math.sin(a2)
        )


def baseband(
    symbols: NDArray[np.complex64],
    layout: FrameLayout,
    rate_hz: float,
    pilots_sqrt_snu: tuple[float, float],
) -> NDArray[np.float32]:
    """Build the burst around the carrier.

    Parameters
    ----------
    symbols : ndarray, shape (layout.symbols,), complex64 [sqrt(SNU)]
        Displacement plus Gaussian variable, at the channel input.
    layout : FrameLayout
        With a QPSK preamble.
    rate_hz : float
        Generator rate [Sa/s], an integer multiple of the symbol rate.
    pilots_sqrt_snu : tuple of float
        Amplitudes of strong and weak pilot [sqrt(SNU) per sample].

    Returns
    -------
    ndarray, shape (2, n), float32 [sqrt(SNU) per sample]
        In-phase and quadrature part.

    Raises
    ------
    SignalError
        If the number of symbols is not the layout's.
    """
    preamble = layout.preamble
    if not isinstance(preamble, QpskPreamble):
        raise SignalError(
            f"transmitter: preamble {preamble.kind!r} is read by the receiver but not "
            "sent by this transmitter; use 'qpsk'"
        )
    if symbols.shape != (layout.symbols,):
        raise SignalError(
            f"transmitter: {symbols.shape} symbols for a layout of {layout.symbols}"
        )
    sps = samples_per_symbol(layout, rate_hz)
    span = PULSE_SPAN_SYMBOLS
    # Row i holds the pulse at delays i/sps, i/sps + 1, ...: newest symbol first.
    delay = np.arange(sps)[:, None] / sps + np.arange(span)[None, :] - span / 2
    pulse = finite_pulse(delay.ravel(), layout.roll_off, span).reshape(delay.shape)
    # The windowed pulse gets unit energy: a symbol's amplitude is that of its mode.
    pulse /= math.sqrt(float(np.sum(pulse**2)))
    table = np.ascontiguousarray(pulse, dtype=np.float32)
    known = (preamble.amplitude_sqrt_snu * preamble_symbols(preamble)).astype(
        np.complex64
    )
    padding = np.zeros(LEAD_SYMBOLS, dtype=np.complex64)
    train = np.concatenate([padding, known, symbols, padding])
    out = np.empty((2, train.size * sps), dtype=np.float32)
    first_symbol_at = first_symbol_sample(layout, sps)
    turns = (
        layout.centre_hz / rate_hz,
        layout.pilots_hz[0] / rate_hz,
        layout.pilots_hz[1] / rate_hz,
    )
    _shape_and_shift(train, table, turns, pilots_sqrt_snu, -first_symbol_at, out)
    return out


def first_symbol_sample(layout: FrameLayout, sps: int) -> int:
    """Return the sample of the waveform at the centre of data symbol 0.

    Raises
    ------
    SignalError
        If the preamble is not one that `baseband` sends.
    """
    preamble = layout.preamble
    if not isinstance(preamble, QpskPreamble):
        raise SignalError(
            f"transmitter: preamble {preamble.kind!r} is not one that it sends"
        )
    return (LEAD_SYMBOLS + preamble.symbols + PULSE_SPAN_SYMBOLS // 2) * sps


def samples_per_symbol(layout: FrameLayout, rate_hz: float) -> int:
    """Return the integer number of generator samples per symbol.

    Raises
    ------
    ConfigError
        If the rates do not divide.
    """
    ratio = rate_hz / layout.symbol_rate_hz
    if abs(ratio - round(ratio)) > 1e-9 or round(ratio) < 2:
        raise ConfigError(
            [
                ConfigProblem(
                    "lab config",
                    "alice.transmitter",
                    "rate_hz",
                    f"{rate_hz:g}",
                    f"must be an integer multiple (at least 2) of the symbol rate "
                    f"{layout.symbol_rate_hz:g} Hz",
                )
            ]
        )
    return round(ratio)


def drive(
    field: NDArray[np.float32], modulator: Modulator, rate_hz: float, granularity: int
) -> Waveform:
    """Invert the modulator's sine and pad to the generator's granularity.

    Parameters
    ----------
    field : ndarray, shape (2, n), float32 [sqrt(SNU) per sample]
    modulator : Modulator
    rate_hz : float
        [Sa/s]
    granularity : int
        The length must be a multiple of this [sample].

    Returns
    -------
    Waveform
        Volts at the generator's outputs, both channels.

    Raises
    ------
    SignalError
        If the field asks for more light than the modulator passes.
    """
    relative = field / np.float32(modulator.full_scale_sqrt_snu)
    peak = float(np.max(np.abs(relative)))
    if peak > 0.9:
        raise SignalError(
            f"modulator: the waveform's peak is {peak:.2f} of full transmission, limit "
            "0.9; lower pilots or displacement, or raise the launch power"
        )
    scale = 2.0 * modulator.v_pi_v / (math.pi * modulator.driver_gain)
    n = -(-field.shape[1] // granularity) * granularity
    volts = np.zeros((2, n), dtype=np.float32)
    np.arcsin(relative, out=volts[:, : field.shape[1]])
    volts *= np.float32(scale)
    return Waveform(volts, rate_hz)


def pilot_amplitudes(
    snr_db: float, weak_db: float, gain: float, noise_snu: float, sps: int
) -> tuple[float, float]:
    """Return pilot amplitudes at the channel input for a target SNR at Bob.

    Parameters
    ----------
    snr_db : float
        Strong pilot over complex noise, per symbol, at Bob [dB].
    weak_db : float
        Weak pilot relative to the strong one [dB].
    gain : float
        Power gain from channel input to one quadrature, ``eta T / 2`` [1].
    noise_snu : float
        Noise variance per quadrature at Bob [SNU].
    sps : int
        Samples per symbol [1].

    Returns
    -------
    tuple of float
        Strong and weak [sqrt(SNU) per sample].
    """
    energy = 10.0 ** (snr_db / 10.0) * 2.0 * noise_snu / gain
    strong = math.sqrt(energy / sps)
    return strong, strong * 10.0 ** (weak_db / 20.0)
