"""What must hold between the tables of a photon-counting config."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from scqc.core.errors import ConfigProblem
from scqc.runs import shared_rules
from scqc.runs.config_problems import shown
from scqc.runs.partial_config import NOTHING_BROKEN, Broken
from scqc.runs.shared_rules import Found, Needs

if TYPE_CHECKING:
    from scqc.runs.photon.config import PhotonConfig

#: Signals the scheme needs: the role of the instrument, and whether its port is
#: a marker.
SIGNALS = {
    "tx.im": ("awg", False),
    "tx.pm": ("awg", False),
    "rx.z0": ("time-tagger", False),
    "rx.z1": ("time-tagger", False),
    "switch.signal": ("awg", True),
}
#: With a beam splitter that chooses the basis: two detectors more.
PASSIVE_SIGNALS = {
    "rx.x0": ("time-tagger", False),
    "rx.x1": ("time-tagger", False),
}
#: With Bob's modulator that chooses it.
ACTIVE_SIGNALS = {"rx.pm": ("awg", False)}
#: Only with a bias loop.
PHASE_SIGNAL = {"rx.phase": ("phase-modulator", False)}
EVERY_SIGNAL = SIGNALS | PASSIVE_SIGNALS | ACTIVE_SIGNALS | PHASE_SIGNAL
#: What the generators' granularity asks of a segment [Sa].
SEGMENT_SAMPLES, SHORTEST_SAMPLES = 64, 320


def check(
    file: str, config: PhotonConfig, broken: Broken = NOTHING_BROKEN
) -> list[ConfigProblem]:
    """Return everything that is wrong between the tables; empty when all is well.

    Parameters
    ----------
    file : str
        Named in the problems.
    config : PhotonConfig
    broken : Broken
        What was left out of it, and must not be missed.
    """
    rules = (partial(_bench, broken=broken), _drive, _lengths, _virtual_laboratory)
    return [
        ConfigProblem(file, table, key, shown(value), limit)
        for rule in rules
        for table, key, value, limit in rule(config)
    ]


def _signals(config: PhotonConfig) -> dict[str, tuple[str, bool]]:
    choice = ACTIVE_SIGNALS if config.active_basis else PASSIVE_SIGNALS
    return SIGNALS | choice | (PHASE_SIGNAL if config.bob.bias.gain > 0.0 else {})


def _bench(config: PhotonConfig, broken: Broken) -> Found:
    needed = _signals(config)
    roles = {role: 1 for role, _ in needed.values()}
    if config.active_basis:
        roles["awg"] = 2
    phase = config.wiring.get("rx.phase", "").partition(":")[0]
    if phase in config.instruments and "awg" in config.instruments[phase].roles:
        # A generator holds the phase shifter.
        roles.pop("phase-modulator", None)
        roles["awg"] += 1
    yield from shared_rules.check(config, Needs(needed, EVERY_SIGNAL, roles, broken))


def _drive(config: PhotonConfig) -> Found:
    """Check that the modulators' levels are within the generator's range."""
    transmitter, decoy = config.alice.transmitter, config.decoy
    if decoy.signal_photons > transmitter.full_photons:
        limit = f"the open modulator gives {transmitter.full_photons:g} photons"
        yield "decoy", "signal_photons", decoy.signal_photons, limit
        return
    half_v = 0.5 * transmitter.amplitude_vpp
    for name, needed_v in (
        ("phase", transmitter.phase_vpi_v / transmitter.phase_gain),
        ("intensity", transmitter.intensity_vpi_v / transmitter.intensity_gain),
    ):
        if needed_v > half_v * (1.0 + 1e-9):
            limit = f"the {name} modulator needs {needed_v:g} V from +-{half_v:g} V"
            yield "alice.transmitter", f"{name}_gain", needed_v, limit
    leak_db = transmitter.extinction_db
    leak = transmitter.full_photons * 10.0 ** (-0.1 * leak_db) if leak_db else 0.0
    if decoy.vacuum_photons < leak * (1.0 - 1e-9):
        limit = f"the closed modulator lets {leak:.3g} photons through"
        yield "decoy", "vacuum_photons", decoy.vacuum_photons, limit


def _lengths(config: PhotonConfig) -> Found:
    link, segments = config.link, config.alice.transmitter.segments
    samples = link.burst_slots * link.samples_per_slot
    if samples % (segments * SEGMENT_SAMPLES) or samples < segments * SHORTEST_SAMPLES:
        yield (
            "link",
            "burst_slots",
            link.burst_slots,
            f"{samples} samples in {segments} segments; each must be a multiple of "
            f"{SEGMENT_SAMPLES} samples, {SHORTEST_SAMPLES} at least",
        )
    receiver = config.bob.receiver
    span_s = receiver.max_delay_s - receiver.min_delay_s
    if link.frame_s < span_s:
        yield (
            "link",
            "frame_slots",
            link.frame_slots,
            f"a frame of {link.frame_s:g} s is shorter than the uncertainty of the "
            f"delay, {span_s:g} s",
        )


def _virtual_laboratory(config: PhotonConfig) -> Found:
    if config.sim is None:
        return
    rate_hz = config.sim.source.pulse_rate_hz
    if abs(rate_hz - config.link.slot_rate_hz) > 1e-9 * rate_hz:
        limit = f"the laser must pulse once per slot, {config.link.slot_rate_hz:g} Hz"
        yield "sim.source", "pulse_rate_hz", rate_hz, limit
    z_fraction = config.sim.interferometer.z_fraction
    if config.active_basis and z_fraction != 1.0:
        limit = "an active choice has one interferometer: all light must go there"
        yield "sim.interferometer", "z_fraction", z_fraction, limit
    dead_s = config.sim.detectors.dead_time_s
    if config.bob.receiver.dead_time_s < dead_s:
        limit = f"must not be shorter than the detectors' own, {dead_s:g} s"
        yield "bob.receiver", "dead_time_s", config.bob.receiver.dead_time_s, limit
