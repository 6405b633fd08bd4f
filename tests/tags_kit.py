"""A generator of time tags of its own: slots, light, detectors, two clocks.

Nothing here is shared with the receiver: positions are drawn from the physics
(quarter, half, quarter through the interferometer) and turned into tagger time.
"""

from dataclasses import dataclass

import numpy as np

from scqc.core.records import TimeTags

# Phase code bit + 2 * basis -> what Alice's modulator adds [rad].
ALICE_RAD = np.pi * np.array([0.0, 1.0, 0.5, 1.5])
BOB_RAD = np.pi * np.array([0.0, 0.5])


@dataclass(frozen=True)
class Scene:
    slot_rate_hz: float = 250e6
    duration_s: float = 0.02
    # Clicks per second from light, over all detectors, and dark ones.
    rate_hz: float = 2e5
    dark_hz: float = 100.0
    # Relative brightness of signal, decoy, vacuum.
    brightness: tuple[float, float, float] = (1.0, 0.2, 0.0)
    visibility: float = 0.98
    z_fraction: float = 0.5
    jitter_s: float = 150e-12
    ppm: float = 0.0
    drift_ppm_per_s: float = 0.0
    delay_s: float = 1e-3
    # Phase error of the two interferometers.
    error_rad: tuple[float, float] = (0.0, 0.0)
    seed: int = 1


def tagger_time(slot_position, scene):
    """Return the tagger's reading [s] at a position counted in slots."""
    true_s = np.asarray(slot_position) / scene.slot_rate_hz
    stretch = 1.0 + 1e-6 * scene.ppm
    drift = 0.5e-6 * scene.drift_ppm_per_s * true_s
    return scene.delay_s + true_s * (stretch + drift)


def tags(table, scene, n_slots=None, margin_s=2e-3):
    """Return time tags of light whose slots repeat `table`, and each tag's origin.

    The second value holds, per tag, (slot, position in slot: -1, 0, 1 half
    slots), with slot -1 for a dark count.
    """
    rng = np.random.default_rng(scene.seed)
    if n_slots is None:
        n_slots = int(scene.duration_s * scene.slot_rate_hz)
    power = np.array([*scene.brightness, 0.0])[(table >> 2) & 3]
    total = rng.poisson(scene.rate_hz * n_slots / scene.slot_rate_hz)
    # Thinning: propose uniform slots, keep by brightness, until enough light.
    slots = np.zeros(0, dtype=np.int64)
    while slots.size < total:
        proposed = rng.integers(0, n_slots, 4 * total + 64)
        bright = power[proposed % table.size] > rng.random(proposed.size)
        slots = np.concatenate([slots, proposed[bright]])
    slots = slots[:total]
    where = rng.choice([-1, 0, 0, 1], total)
    basis = (rng.random(total) >= scene.z_fraction).astype(int)
    offset = ALICE_RAD[table[slots % table.size] & 3] - BOB_RAD[basis]
    contrast = scene.visibility * np.cos(offset - np.array(scene.error_rad)[basis])
    port = rng.random(total) >= 0.5 * (1.0 + np.where(where == 0, contrast, 0.0))
    channels = (1 + 2 * basis + port).astype(np.uint8)
    times = tagger_time(slots + 0.5 * where, scene)
    times = times + scene.jitter_s * rng.standard_normal(total)
    end_s = float(tagger_time(n_slots, scene)) + margin_s
    n_dark = rng.poisson(scene.dark_hz * end_s)
    times = np.concatenate([times, rng.random(n_dark) * end_s])
    channels = np.concatenate([channels, rng.integers(1, 5, n_dark, dtype=np.uint8)])
    origin = np.stack(
        [
            np.concatenate([slots, np.full(n_dark, -1)]),
            np.concatenate([where, np.zeros(n_dark, dtype=int)]),
        ]
    )
    times_ps = np.rint(times * 1e12).astype(np.int64)
    order = np.argsort(times_ps, kind="stable")
    order = order[(times_ps[order] >= 0) & (times_ps[order] <= end_s * 1e12)]
    record = TimeTags(times_ps[order], channels[order], round(end_s * 1e12))
    return record, origin[:, order]


def mixed_table(layout, seed=7, probabilities=(0.7, 0.2, 0.1)):
    """Return one frame of random slots, the public ones not yet placed."""
    rng = np.random.default_rng(seed)
    n = layout.frame_slots
    intensity = np.searchsorted(np.cumsum(probabilities), rng.random(n))
    intensity = np.minimum(intensity, 2).astype(np.uint8)
    return (rng.integers(0, 4, n, dtype=np.uint8) | (intensity << 2)).astype(np.uint8)
