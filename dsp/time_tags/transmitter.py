"""From slot bytes to the voltages of the intensity and the phase modulator.

A modulator biased at its null transmits ``sin^2(pi v / (2 Vpi))``; both pulses of
a slot get the same level. The phase modulator rests during the early half of a
slot and turns the late half by ``pi * bit + pi / 2 * basis``, wrapped into
(-pi, pi], so that the swing is smallest.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.settings import PulseSettings, SlotLayout
from dsp.time_tags.slots import INTENSITIES
from scqc.core.errors import SignalError
from scqc.core.records import Waveform

# Phases of the codes bit + 2 * basis: Z0, Z1, X0, X1.
PHASES_RAD = (0.0, math.pi, 0.5 * math.pi, -0.5 * math.pi)


def intensity_volts(settings: PulseSettings) -> NDArray[np.float32]:
    """Return the generator's level per intensity, shape (3,), float32 [V].

    Raises
    ------
    SignalError
        A level is outside the generator's range.
    """
    ratio = np.array(settings.mean_photons) / settings.full_photons
    # Transmission of a real modulator: leak + (1 - leak) sin^2.
    ratio = np.maximum((ratio - settings.leak) / (1.0 - settings.leak), 0.0)
    drive = 2.0 * settings.intensity_vpi_v / math.pi * np.arcsin(np.sqrt(ratio))
    return _within(drive / settings.intensity_gain, settings, "intensity")


def phase_volts(settings: PulseSettings) -> NDArray[np.float32]:
    """Return the generator's level per phase code, shape (4,), float32 [V].

    Raises
    ------
    SignalError
        A level is outside the generator's range.
    """
    drive = np.array(PHASES_RAD) * settings.phase_vpi_v / math.pi
    return _within(drive / settings.phase_gain, settings, "phase")


def _within(
    volts: NDArray[np.float64], settings: PulseSettings, what: str
) -> NDArray[np.float32]:
    largest = float(np.max(np.abs(volts)))
    if largest > settings.awg_limit_v * (1.0 + 1e-9):
        raise SignalError(
            f"{what} modulator: needs {largest:.3g} V from the generator, limit "
            f"{settings.awg_limit_v:g} V; raise its driver's gain"
        )
    return volts.astype(np.float32)


def pulse_waveform(
    slots: NDArray[np.uint8], layout: SlotLayout, settings: PulseSettings
) -> Waveform:
    """Return what the generator plays for a burst.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]
    layout : SlotLayout
    settings : PulseSettings

    Returns
    -------
    Waveform
        Row 0 drives the intensity, row 1 the phase;
        ``n * layout.samples_per_slot`` samples.

    Raises
    ------
    SignalError
        A slot has no valid intensity, or a level is outside the range.
    """
    levels = np.full(4, np.nan, dtype=np.float32)
    levels[: len(INTENSITIES)] = intensity_volts(settings)
    per_slot = layout.samples_per_slot
    samples = np.empty((2, slots.size * per_slot), dtype=np.float32)
    bad = draw_pulses(slots, levels, phase_volts(settings), samples, per_slot)
    if bad >= 0:
        raise SignalError(
            f"slot {bad}: intensity code 3, limit {len(INTENSITIES) - 1}: not a slot "
            "byte"
        )
    return Waveform(samples, layout.slot_rate_hz * per_slot)


@numba.njit(cache=True, nogil=True)
def draw_pulses(
    slots: NDArray[np.uint8],
    levels: NDArray[np.float32],
    phases: NDArray[np.float32],
    out: NDArray[np.float32],
    per_slot: int,
) -> int:
    """Write the levels of every slot; return the first bad slot, or -1.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]
    levels : ndarray, shape (4,), float32 [V]
    phases : ndarray, shape (4,), float32 [V]
    out : ndarray, shape (2, n * per_slot), float32 [V]
        Written.
    per_slot : int
        Samples per slot, even.
    """
    half = per_slot // 2
    for s in range(slots.size):
        intensity = (slots[s] >> 2) & 3
        if intensity == 3:
            return s
        level, phase = levels[intensity], phases[slots[s] & 3]
        start = s * per_slot
        for i in range(start, start + per_slot):
            out[0, i] = level
        for i in range(start, start + half):
            out[1, i] = np.float32(0.0)
        for i in range(start + half, start + per_slot):
            out[1, i] = phase
    return -1


def read_back(
    samples: NDArray[np.float32], layout: SlotLayout, settings: PulseSettings
) -> NDArray[np.uint8]:
    """Return which slots a waveform carries: the inverse of `pulse_waveform`.

    Parameters
    ----------
    samples : ndarray, shape (2, n * samples_per_slot), float32 [V]

    Returns
    -------
    ndarray, shape (n,), uint8 [code]
        Slot bytes of the nearest levels; the public flag is not on the wire.

    Raises
    ------
    SignalError
        The samples are no whole number of slots, or a slot's level is not steady.
    """
    per_slot = layout.samples_per_slot
    if samples.shape[0] != 2 or samples.shape[1] % per_slot:
        raise SignalError(
            f"waveform: shape {samples.shape}, wanted (2, n * {per_slot})"
        )
    im, pm = samples.reshape(2, -1, per_slot)
    late = pm[:, per_slot // 2 :]
    found = []
    for name, part, levels in (
        ("intensity", im, intensity_volts(settings)),
        ("phase", late, phase_volts(settings)),
    ):
        codes = np.argmin(np.abs(part[:, :1] - levels), axis=1).astype(np.uint8)
        tolerance = 0.5 * float(np.min(np.diff(np.sort(levels))))
        wrong = np.any(np.abs(part - levels[codes][:, None]) > tolerance, axis=1)
        if wrong.any():
            raise SignalError(
                f"slot {int(np.argmax(wrong))}: {name} is off its levels by more than "
                f"{tolerance:.3g} V"
            )
        found.append(codes)
    slots: NDArray[np.uint8] = (found[0] << 2) | found[1]
    return slots
