"""The truth tap of the photon-counting laboratory; only tests read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scqc.core.rng import stream
from sim_backends.optics.click_detectors import PHOTON, Events
from sim_backends.optics.pulse_pairs import (
    CENTRE,
    Optics,
    Pulses,
    SlowState,
    cells_of,
    emitted_photons,
)
from sim_backends.optics.slow_drift import Cells

Truth = dict[str, NDArray[Any]]
# A click belongs to a slot's centre within this fraction of the slot.
_HALF_GATE = 0.25


@dataclass
class Scene:
    """Everything that is fixed for one acquisition, and the photons found.

    Parameters
    ----------
    pulses : Pulses
    optics : Optics
    slow : SlowState
    cells : Cells
    seed : int
    slots : ndarray, shape (n,), int64 [1]
        Slot of every photon event.
    outcomes : ndarray, shape (n,), uint8 [code]
        Its outcome, 3 * detector + window.
    """

    pulses: Pulses
    optics: Optics
    slow: SlowState
    cells: Cells
    seed: int
    slots: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    outcomes: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))


def truth_of(
    scene: Scene,
    clicked: list[Events],
    bench_ps: NDArray[np.float64],
    tagged: tuple[NDArray[np.int64], NDArray[np.uint8]],
    clock_ratio: float,
) -> Truth:
    """Return what really happened in one acquisition.

    Parameters
    ----------
    scene : Scene
    clicked : list of Events
        Of each detector.
    bench_ps : ndarray, shape (n,), float64 [ps]
        When each click's pulse came, detector after detector, bench time.
    tagged : tuple of ndarrays
        Order of the tags as returned, shape (n_tags,), int64 [index], and the
        detector of every click, shape (n,), uint8 [code].
    clock_ratio : float
        Tagger seconds per bench second [1].

    Returns
    -------
    dict
        One row per tag, in the order of the tags: ``slot`` (in which it fell;
        the waveform's first is 0), ``detector``, ``in_gate`` (within a quarter
        slot of the centre), ``cause``, ``origin_slot`` and ``origin_window`` (of
        a photon; -1 for other causes, window 1 is the centre), ``emitted``
        (photons that left Alice in ``slot``), ``x_error`` (had Alice sent a
        random bit in the check basis and Bob measured it, whether this event
        had been an error). Besides: ``start_s``, ``clock_ratio``, ``t0_s``,
        ``n_slots``, ``cell_s`` (all 0-d), and per cell ``transmittance``,
        ``phase_z_rad``, ``phase_x_rad``, ``bias_rad``.
    """
    order, detectors = tagged
    pulses = scene.pulses
    at = (1e-12 * bench_ps[order] - pulses.start_s) / pulses.slot_s
    slot = np.floor(at).astype(np.int64)
    cause = np.concatenate([events.causes for events in clicked])[order]
    origin = np.concatenate([events.origins for events in clicked])[order]
    has = origin >= 0
    origin_slot = np.full(origin.size, -1, dtype=np.int64)
    window = np.full(origin.size, -1, dtype=np.int64)
    origin_slot[has] = scene.slots[origin[has]]
    window[has] = scene.outcomes[origin[has]] % 3
    genuine = (cause == PHOTON) & (window == CENTRE) & (origin_slot == slot)
    return {
        "slot": slot,
        "detector": detectors[order],
        "in_gate": np.abs(at - slot - 0.5) <= _HALF_GATE,
        "cause": cause,
        "origin_slot": origin_slot,
        "origin_window": window,
        "emitted": emitted_photons(slot, pulses, scene.optics, scene.slow),
        "x_error": _x_errors(scene, slot, genuine),
        "clock_ratio": np.array(clock_ratio),
        **_circumstances(scene),
    }


def _circumstances(scene: Scene) -> Truth:
    """Return what an acquisition's clicks have in common."""
    pulses, slow = scene.pulses, scene.slow
    return {
        "start_s": np.array(pulses.start_s),
        "t0_s": np.array(scene.cells.t0_s),
        "n_slots": np.array(pulses.n_slots),
        "cell_s": np.array(slow.cell_s),
        "transmittance": slow.transmittance,
        "phase_z_rad": slow.phase_z_rad,
        "phase_x_rad": slow.phase_x_rad,
        "bias_rad": slow.bias_rad,
    }


def _x_errors(
    scene: Scene, slot: NDArray[np.int64], genuine: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Draw what each event would have given in the check basis.

    A photon of the slot's centre goes to the wrong port with (1 - V cos d) / 2
    against (1 + V cos d) / 2, weighted with the detectors' efficiencies for a
    random bit; everything else is a fair coin.
    """
    random = stream(scene.seed, f"truth/x/{scene.cells.number}")
    bit, coin = random.integers(0, 2, slot.size), random.random(slot.size)
    cell = cells_of(slot, scene.pulses, scene.slow)
    swing = scene.optics.visibility * np.cos(scene.slow.phase_x_rad[cell])
    x_ports = scene.optics.efficiency[2:]
    right = x_ports[bit] * (1.0 + swing)
    wrong = x_ports[1 - bit] * (1.0 - swing)
    total = right + wrong
    chance = np.full(slot.size, 0.5)
    usable = genuine & (total > 0.0)
    chance[usable] = wrong[usable] / total[usable]
    errors: NDArray[np.bool_] = coin < chance
    return errors
