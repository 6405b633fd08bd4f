r"""From the generator's volts to detected photons, slot by slot.

Slot k is a pair of weak pulses half a slot apart. With T_E, T_L the intensity
modulator's transmissions at the centres of the two halves and F the source's
full scale, the slot has a mean of mu = F (T_E + T_L) / 2 photons at Alice's
exit. Its global phase is random, so the photon number is Poissonian and each
photon meets its fate on its own: it is lost, or found at one of Bob's four
detectors at one of three times. In an interferometer of delay half a slot

.. math:: P(\text{early}) = a_E^2 / 2, \quad P(\text{late}) = a_L^2 / 2, \quad
          P(\text{centre, port } \pm) = [1 \pm 2 V a_E a_L \cos\Delta] / 4

with a_E^2 = T_E / (T_E + T_L), a_L^2 = 1 - a_E^2 and Delta the phase between
Alice's pulses less Bob's. Thinning makes that cheap and exact: the photons
found are Poisson(mu p), those lost are Poisson(mu (1 - p)), independently, p
being the probability that a photon is found. One uniform settles most slots.

Slots before and after the waveform have 0 V on both modulators.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from sim_backends.optics.counter_random import normal, poisson, uniform, word

# An outcome is 3 * detector + window.
EARLY, CENTRE, LATE = 0, 1, 2
N_OUTCOMES = 12
# `normal` never exceeds this; it bounds the intensity of a slot.
NORMAL_BOUND = 8.6


class Pulses(NamedTuple):
    """The waveform that is played.

    Parameters
    ----------
    im_v, pm_v : ndarray, shape (n,), float32 [V]
        Intensity and phase modulator's signal at the generator.
    samples_per_slot : float
        Generator samples per laser pulse [1].
    n_slots : int
        Slots of the waveform; the first is slot 0 [1].
    start_s : float
        When slot 0 begins, after the acquisition began [s].
    slot_s : float
        Length of a slot [s].
    """

    im_v: NDArray[np.float32]
    pm_v: NDArray[np.float32]
    samples_per_slot: float
    n_slots: int
    start_s: float
    slot_s: float


class Optics(NamedTuple):
    """What does not change during an acquisition.

    Parameters
    ----------
    full_scale_photons : float
    fluctuation : float
        Relative standard deviation of a slot's mean [1].
    im_rad_per_v, pm_rad_per_v : float
        Half the phase between the intensity modulator's arms, and the phase
        modulator's phase, per volt at the generator [rad/V].
    leak : float
        Extinction: transmission at null [1].
    pattern : float
        Fraction of the step from the previous slot's voltage still missing [1].
    visibility : float
    efficiency : ndarray, shape (4,), float64 [1]
        From Bob's input to a click: insertion loss, splitting by basis and the
        detector's own, for z0, z1, x0, x1.
    keys : ndarray, shape (4,), uint64 [1]
        Streams of: photons found, photons lost, their fates, intensity.
    """

    full_scale_photons: float
    fluctuation: float
    im_rad_per_v: float
    pm_rad_per_v: float
    leak: float
    pattern: float
    visibility: float
    efficiency: NDArray[np.float64]
    keys: NDArray[np.uint64]


class SlowState(NamedTuple):
    """What changes from cell to cell.

    Parameters
    ----------
    cell_s : float
        Length of a cell [s].
    transmittance : ndarray, shape (n_cells,), float64 [1]
        From Alice's exit to Bob's input, shutter included.
    bias_rad : ndarray, shape (n_cells,), float64 [rad]
        Of the intensity modulator.
    phase_z_rad, phase_x_rad : ndarray, shape (n_cells,), float64 [rad]
        Phase errors of the two bases, Alice's modulator included.
    """

    cell_s: float
    transmittance: NDArray[np.float64]
    bias_rad: NDArray[np.float64]
    phase_z_rad: NDArray[np.float64]
    phase_x_rad: NDArray[np.float64]


@numba.njit(cache=True, nogil=True)
def cell_of(slot: int, pulses: Pulses, slow: SlowState) -> int:
    """Return the cell in which the centre of `slot` lies, the nearest there is."""
    cell = math.floor((pulses.start_s + (slot + 0.5) * pulses.slot_s) / slow.cell_s)
    return min(max(cell, 0), slow.transmittance.size - 1)


@numba.njit(cache=True, nogil=True)
def cells_of(
    slots: NDArray[np.int64], pulses: Pulses, slow: SlowState
) -> NDArray[np.int64]:
    """Return the cells of many slots.

    Parameters
    ----------
    slots : ndarray, shape (n,), int64 [1]
    pulses : Pulses
    slow : SlowState

    Returns
    -------
    ndarray, shape (n,), int64 [1]
    """
    out = np.empty(slots.size, dtype=np.int64)
    for i in range(slots.size):
        out[i] = cell_of(slots[i], pulses, slow)
    return out


@numba.njit(cache=True, nogil=True)
def _drive_v(
    volts: NDArray[np.float32], pulses: Pulses, slot: int, within: float
) -> float:
    """Return the voltage at the fraction `within` of a slot; 0 V outside."""
    if slot < 0 or slot >= pulses.n_slots:
        return 0.0
    return np.float64(volts[int((slot + within) * pulses.samples_per_slot)])


@numba.njit(cache=True, nogil=True)
def _transmission(im_v: float, bias_rad: float, optics: Optics) -> float:
    """Return the intensity modulator's transmission [1]."""
    arm = math.sin(optics.im_rad_per_v * im_v + bias_rad)
    return optics.leak + (1.0 - optics.leak) * arm * arm


@numba.njit(cache=True, nogil=True)
def slot_light(
    slot: int,
    pulses: Pulses,
    optics: Optics,
    slow: SlowState,
    fates: NDArray[np.float64],
) -> float:
    """Return a slot's mean photon number at Alice's exit and fill its fates.

    Parameters
    ----------
    slot : int
    pulses : Pulses
    optics : Optics
    slow : SlowState
    fates : ndarray, shape (12,), float64 [1]
        Receives the probability of every outcome for one emitted photon.
    """
    cell = cell_of(slot, pulses, slow)
    bias = slow.bias_rad[cell]
    before = _drive_v(pulses.im_v, pulses, slot - 1, 0.75)
    early = _drive_v(pulses.im_v, pulses, slot, 0.25)
    late = _drive_v(pulses.im_v, pulses, slot, 0.75)
    t_early = _transmission(early + optics.pattern * (before - early), bias, optics)
    t_late = _transmission(late + optics.pattern * (before - late), bias, optics)
    both = t_early + t_late
    if both <= 0.0:
        fates[:] = 0.0
        return 0.0
    phase_v = _drive_v(pulses.pm_v, pulses, slot, 0.75) - _drive_v(
        pulses.pm_v, pulses, slot, 0.25
    )
    phase = optics.pm_rad_per_v * phase_v
    contrast = 2.0 * optics.visibility * math.sqrt(t_early * t_late) / both
    cos_z = contrast * math.cos(phase + slow.phase_z_rad[cell])
    # The check interferometer's own phase is pi / 2: cos(a - pi / 2) = sin a.
    cos_x = contrast * math.sin(phase + slow.phase_x_rad[cell])
    channel = slow.transmittance[cell]
    for detector in range(4):
        found = channel * optics.efficiency[detector]
        swing = cos_z if detector < 2 else cos_x
        sign = 1.0 if detector % 2 == 0 else -1.0
        fates[3 * detector + EARLY] = found * 0.25 * t_early / both
        fates[3 * detector + CENTRE] = found * 0.25 * (1.0 + sign * swing)
        fates[3 * detector + LATE] = found * 0.25 * t_late / both
    mean = 0.5 * optics.full_scale_photons * both
    if optics.fluctuation > 0.0:
        mean *= 1.0 + optics.fluctuation * normal(optics.keys[3], slot)
    return mean


@numba.njit(cache=True, nogil=True)
def _found(slot: int, mean: float, fates: NDArray[np.float64], optics: Optics) -> int:
    """Return how many photons of a slot are found."""
    return poisson(uniform(optics.keys[0], slot), mean * fates.sum())


@numba.njit(cache=True, nogil=True)
def emitted_photons(
    slots: NDArray[np.int64], pulses: Pulses, optics: Optics, slow: SlowState
) -> NDArray[np.int64]:
    """Return the photon numbers that left Alice in given slots.

    Parameters
    ----------
    slots : ndarray, shape (n,), int64 [1]
    pulses : Pulses
    optics : Optics
    slow : SlowState

    Returns
    -------
    ndarray, shape (n,), int64 [photon]
        Photons found and photons lost, the same ones that `detect` drew.
    """
    fates = np.empty(N_OUTCOMES)
    out = np.empty(slots.size, dtype=np.int64)
    for i in range(slots.size):
        mean = slot_light(slots[i], pulses, optics, slow, fates)
        lost = poisson(uniform(optics.keys[1], slots[i]), mean * (1.0 - fates.sum()))
        out[i] = _found(slots[i], mean, fates, optics) + lost
    return out


@numba.njit(cache=True, nogil=True)
def _pick(u: float, fates: NDArray[np.float64]) -> int:
    """Return the outcome that a uniform selects, given that there is one."""
    left = u * fates.sum()
    chosen = 0
    for outcome in range(fates.size):
        if fates[outcome] > 0.0:
            chosen = outcome
            left -= fates[outcome]
            if left < 0.0:
                break
    return chosen


@numba.njit(cache=True, nogil=True)
def _run_end(slot: int, last: int, pulses: Pulses, slow: SlowState) -> int:
    """Return the first slot beyond the stretch of `slot`, at most `last`.

    A stretch lies in one cell, and either within the waveform or outside; the
    slot after the waveform's last still has a rest of voltage and counts to it.
    """
    for edge_slot in (0, pulses.n_slots + 1):
        if slot < edge_slot:
            last = min(last, edge_slot)
    cell = cell_of(slot, pulses, slow)
    if cell == slow.transmittance.size - 1:
        return last
    edge = ((cell + 1) * slow.cell_s - pulses.start_s) / pulses.slot_s - 0.5
    end = max(slot + 1, math.floor(edge) - 1)
    while end < last and cell_of(end, pulses, slow) == cell:
        end += 1
    return min(end, last)


@numba.njit(cache=True, nogil=True)
def _most_found(slot: int, pulses: Pulses, optics: Optics, slow: SlowState) -> float:
    """Return a bound on the mean number of photons found, for a slot's stretch."""
    cell = cell_of(slot, pulses, slow)
    resting = slot < 0 or slot > pulses.n_slots
    peak = _transmission(0.0, slow.bias_rad[cell], optics) if resting else 1.0
    z0, z1, x0, x1 = optics.efficiency
    best = np.float64(slow.transmittance[cell] * (max(z0, z1) + max(x0, x1)))
    brightest = optics.full_scale_photons * (1.0 + NORMAL_BOUND * optics.fluctuation)
    return brightest * peak * best


@numba.njit(cache=True, nogil=True)
def detect(
    span: tuple[int, int],
    pulses: Pulses,
    optics: Optics,
    slow: SlowState,
    out: tuple[NDArray[np.int64], NDArray[np.uint8]],
) -> tuple[int, int]:
    """Find the photons of slots [span[0], span[1]).

    Photons of one slot in the same detector and window are one event.

    Parameters
    ----------
    span : tuple of int
    pulses : Pulses
    optics : Optics
    slow : SlowState
    out : tuple of ndarrays, shape (n,), int64 [1] and uint8 [1]
        Receive slot and outcome of every event, in order of slots.

    Returns
    -------
    tuple of int
        Events written, and the slot to go on from: less than `span[1]` when
        `out` had no room for another slot.
    """
    slots, outcomes = out
    fates = np.empty(N_OUTCOMES)
    count, slot = 0, span[0]
    while slot < span[1]:
        end = _run_end(slot, span[1], pulses, slow)
        # No slot of this stretch exceeds the bound (rounding included), so that a
        # word above it means no photon whatever the modulators do.
        chance = -math.expm1(-_most_found(slot, pulses, optics, slow)) * (1.0 + 1e-9)
        if chance == 0.0:
            slot = end
            continue
        limit = np.uint64(min(chance * 2.0**53 + 1.0, 2.0**53 - 1.0)) << np.uint64(11)
        for k in range(slot, end):
            if chance < 1.0 and word(optics.keys[0], k) >= limit:
                continue
            mean = slot_light(k, pulses, optics, slow, fates)
            photons = _found(k, mean, fates, optics)
            if photons == 0:
                continue
            if count + N_OUTCOMES > slots.size:
                return count, k
            seen = 0
            for photon in range(photons):
                u = uniform(word(optics.keys[2], k), photon)
                seen |= 1 << _pick(u, fates)
            for outcome in range(N_OUTCOMES):
                if seen >> outcome & 1:
                    slots[count] = k
                    outcomes[count] = outcome
                    count += 1
        slot = end
    return count, span[1]
