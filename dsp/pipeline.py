"""The receiver of one burst: acquire, demodulate, calibrate.

The displacement stays on the symbols; it can only be removed once the bits are
corrected, which is the business of the parties (see `protocols.schemes`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from dsp.acquisition import acquire
from dsp.calibration import (
    NoiseVariance,
    ShotNoiseUnit,
    noise_variance,
    shot_noise_unit,
)
from dsp.demodulator import Demodulator, DemodulatorReport
from dsp.framing import preamble_symbols
from dsp.settings import FrameLayout, QpskPreamble, ReceiverSettings
from scqc.core.errors import ClippedError

Chunks = Iterable[NDArray[np.int16]]


@dataclass(frozen=True, slots=True)
class BurstRecords:
    """The three records of a burst; each call starts a new pass over one.

    Parameters
    ----------
    rate_hz : float
        [Sa/s]
    signal, shot, electronic : callable
        Return the record in chunks of int16 [code].
    clipped : int
        Samples of any record that hit the converter's rails [1].
    """

    rate_hz: float
    signal: Callable[[], Chunks]
    shot: Callable[[], Chunks]
    electronic: Callable[[], Chunks]
    clipped: int = 0


@dataclass(frozen=True, slots=True)
class ReceivedBurst:
    """Symbols of one burst on a steady phase, with their calibration.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [code]
        Still displaced.
    preamble_gain : float
        Code per sqrt(SNU) at the channel input, from the preamble; zero where the
        layout's preamble does not give it.
    shot, electronic : NoiseVariance
    unit : ShotNoiseUnit
    report : DemodulatorReport
    """

    symbols: NDArray[np.complex64]
    preamble_gain: float
    shot: NoiseVariance
    electronic: NoiseVariance
    unit: ShotNoiseUnit
    report: DemodulatorReport


def receive_burst(
    records: BurstRecords, layout: FrameLayout, settings: ReceiverSettings
) -> ReceivedBurst:
    """Run the receiver over one burst.

    Raises
    ------
    ClippedError
        If any sample hit the rails: a clipped quantum sample cannot be repaired,
        and leaving it out would be a selection.
    SignalError
        No pilots, no preamble, no lock, or implausible calibration.
    """
    if records.clipped:
        raise ClippedError(
            f"digitiser: {records.clipped} samples on the rails, limit 0; raise the "
            "range or lower the pilots. The block is refused"
        )
    demodulator, symbols = demodulate(
        records.signal(), records.rate_hz, layout, settings
    )
    shot = noise_variance(demodulator, records.shot())
    electronic = noise_variance(demodulator, records.electronic())
    gain, data = _turn_by_preamble(symbols, layout)
    return ReceivedBurst(
        data,
        gain,
        shot,
        electronic,
        shot_noise_unit(shot, electronic),
        demodulator.report,
    )


def demodulate(
    signal: Chunks, rate_hz: float, layout: FrameLayout, settings: ReceiverSettings
) -> tuple[Demodulator, NDArray[np.complex64]]:
    """Lock onto a burst and demodulate it; nothing is calibrated.

    Parameters
    ----------
    signal : iterable of ndarray, shape (n,), int16 [code]
        The record from its first sample.
    rate_hz : float
        [Sa/s]
    layout : FrameLayout
    settings : ReceiverSettings

    Returns
    -------
    demodulator : Demodulator
        Its report has the lock.
    symbols : ndarray, shape (n_symbols,), complex64 [code]
        From symbol ``demodulator.first_symbol`` on, on a steady phase.

    Raises
    ------
    SignalError
        No pilots, no preamble, no lock.
    """
    head: list[NDArray[np.int16]] = []
    chunks = iter(signal)
    while sum(c.size for c in head) < settings.acquisition_samples:
        chunk = next(chunks, None)
        if chunk is None:
            break
        head.append(chunk)
    first = np.concatenate([*head, np.empty(0, dtype=np.int16)])
    samples = first[: settings.acquisition_samples].astype(np.float32)
    lock = acquire(samples, rate_hz, layout, settings)
    demodulator = Demodulator(layout, settings, rate_hz, lock)
    symbols = np.concatenate(list(demodulator.run(chain(head, chunks))))
    return demodulator, symbols


def _turn_by_preamble(
    symbols: NDArray[np.complex64], layout: FrameLayout
) -> tuple[float, NDArray[np.complex64]]:
    """Rotate the data to the preamble's phase, which resolves the PSK ambiguity."""
    preamble = layout.preamble
    if not isinstance(preamble, QpskPreamble):
        return 0.0, symbols
    known = preamble_symbols(preamble)
    received = symbols[: preamble.symbols]
    gain = complex(np.vdot(known, received)) / (2.0 * preamble.symbols)
    turn = np.complex64(np.conj(gain) / abs(gain))
    return abs(gain) / preamble.amplitude_sqrt_snu, symbols[preamble.symbols :] * turn
