"""Waveforms and slots for the photon-counting bench, made by hand."""

import numpy as np

from sim_backends.photon_settings import PhotonSimSettings
from sim_backends.photon_world import PhotonWorld

PULSE_HZ = 250e6
SLOT_PS = 4000.0
START_S = 1e-3
IDEAL = {
    "source": {"full_scale_photons": 1.0, "intensity_fluctuation": 0},
    "intensity_modulator": {"extinction_ratio_db": 0},
    "phase_modulator": {},
    "channel": {"length_km": 0},
    "interferometer": {"visibility": 1.0, "z_fraction": 0.5, "insertion_loss_db": 0},
    "detectors": {
        "efficiency": (1.0,) * 4,
        "dark_rate_hz": (0.0,) * 4,
        "dead_time_s": 0,
        "afterpulse_probability": 0,
        "jitter_s": 0,
    },
    "tagger": {"clock_error_ppm": 0, "start_offset_s": (START_S, START_S)},
}


def photon_settings(seed=1, **changes):
    """Settings with every effect off but the ones given."""
    tables = {name: table | changes.get(name, {}) for name, table in IDEAL.items()}
    return PhotonSimSettings(seed=seed, **tables)


def photon_bench(seed=1, **changes):
    """A bench with every effect off but the ones given, its shutter open."""
    world = PhotonWorld(photon_settings(seed, **changes))
    world.set_level("signal", 2.0)
    return world


def pulse_train(settings, transmission, phase_rad):
    """Generator volts, shape (2, 4 n): transmission and phase of every slot."""
    im, pm = settings.intensity_modulator, settings.phase_modulator
    arm = np.arcsin(np.sqrt(transmission)) * 2 / np.pi * im.v_pi_v
    level_v = arm / 10 ** (im.driver_gain_db / 20)
    phase_v = phase_rad / np.pi * pm.v_pi_v / 10 ** (pm.driver_gain_db / 20)
    volts = np.zeros((2, arm.size, 4), dtype=np.float32)
    volts[0] = level_v[:, None]
    volts[1, :, 2:] = phase_v[:, None]
    return volts.reshape(2, -1)


def play(world, transmission, phase_rad):
    """Play one slot per entry; return the length of an acquisition of them [s]."""
    n = max(np.size(transmission), np.size(phase_rad))
    volts = pulse_train(
        world.settings,
        np.broadcast_to(transmission, n).astype(float),
        np.broadcast_to(phase_rad, n).astype(float),
    )
    world.play(volts, 4 * PULSE_HZ)
    return START_S + n / PULSE_HZ


def slots_of(times_ps, start_s=START_S):
    """Slot of every tag and its distance from the slot's centre [slots]."""
    at = (times_ps - 1e12 * start_s) / SLOT_PS
    slot = np.floor(at).astype(int)
    return slot, at - slot - 0.5


def centre_clicks(world, duration_s):
    """Slot and detector of the clicks within 1 ns of a centre."""
    times_ps, detector = world.tags(duration_s)
    slot, phase = slots_of(times_ps)
    gate = np.abs(phase) <= 0.25
    return slot[gate], detector[gate]
