"""From a plan of weak pulses to a bench: the lab config that runs it.

Bob chooses his basis by a modulator, as the plan counts: one interferometer, two
detectors. What the plan sums up is given to one part of the bench: the misalignment
to the interferometer's visibility, background to dark counts and stray light.
"""

from __future__ import annotations

import math
import tomllib
from typing import Any

import numpy as np

from protocols.reconciliation.ladder import SIZES, first_efficiency
from protocols.reconciliation.ladder_construct import COLUMNS
from scqc.plan.channel_settings import FibreChannel
from scqc.plan.channels import channel_points
from scqc.plan.dv import DvPoints, dv_points
from scqc.plan.scenario import Scenario
from scqc.plan.scheme_settings import DvScheme
from scqc.plan.values import Values
from scqc.runs.config_text import tables_as_toml
from scqc.runs.lab_config import parse_config
from scqc.runs.new_config import draft
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.plan_interval import unfit

_BURST_SLOTS, _SLOTS_STEP, _SAMPLES_PER_SLOT = 4_194_304, 1024, 4
_BLOCK_SLOTS = 8_388_608
#: Length of a frame of the reconciliation [bit].
FRAME_BITS = 102_400
#: The light starts within a millisecond of the acquisition.
_START_S, _MARGIN_S, _DELAYS_S = 1e-3, 1.5e-3, (-0.1e-3, 1.2e-3)
#: Most errors that the bench accepts, and the share of it that a plan may expect.
_MAX_ERRORS, _NEAR = 0.08, 0.9
#: Of the detectors; a gate is to be that many times as wide.
_JITTER_S, _GATE_JITTERS = 50e-12, 16.0
#: Detections above one frame of the reconciliation that a plan must expect.
_ROOM = 1.1
#: What further checks add to the first ones, and by how much the bench's efficiency of
#: the correction may be off: its codes lie on a grid, some frames ask for more.
_FURTHER, OFF_EFFICIENCY = 1.03, 0.06


def photon_lab_config(scenario: Scenario) -> PhotonConfig:
    """Return the config of a simulated bench that runs a scenario.

    Parameters
    ----------
    scenario : Scenario
        Weak pulses over fibre; the smallest block size is what one run sends.

    Raises
    ------
    PlanSettingsError
        If a bench cannot do what the plan says.
    ConfigError
        If a value is outside the range of the bench.
    """
    scheme, _ = scheme_and_fibre(scenario)
    points = photon_points(scenario)
    _refuse(scenario, scheme, points)
    raw = tomllib.loads(draft("dv", [], simulated=True).text)
    full = max(1.0, scheme.signal_photons)
    closed = scheme.vacuum_photons
    leak_db = 10.0 * math.log10(full / closed) if closed else 0.0
    raw["link"] |= _link(scenario, scheme)
    raw["decoy"] = {name: getattr(scheme, name) for name in raw["decoy"]}
    raw["security"] |= {
        "epsilon": scheme.epsilon,
        "bounds": scheme.finite,
        "max_error_rate": _MAX_ERRORS,
        "frame_bits": FRAME_BITS,
    }
    raw["alice"]["transmitter"] |= {"full_photons": full, "extinction_db": leak_db}
    _choose_actively(raw, scheme)
    raw["bob"]["tagger"]["margin_s"] = _MARGIN_S
    raw["bob"]["receiver"] = {
        "gate": 0.5 * scheme.gate_s * scenario.symbol_rate_hz,
        # A picosecond, the step of the tags, stands for none.
        "dead_time_s": max(scheme.dead_time_s, 1e-12),
        "min_delay_s": _DELAYS_S[0],
        "max_delay_s": _DELAYS_S[1],
    }
    raw["keys"] = {"reserve_bits": 4096, "start_pad_bits": 65_536}
    raw["sim"] |= _laboratory(scenario, points) | {
        "source": {
            "pulse_rate_hz": scenario.symbol_rate_hz,
            "full_scale_photons": full,
        },
        "intensity_modulator": {"extinction_ratio_db": leak_db},
    }
    read = parse_config(tables_as_toml(raw), "plan")
    if not isinstance(read, PhotonConfig):
        raise unfit("link", "scheme", raw["link"]["scheme"], "not weak pulses")
    return read


def _laboratory(scenario: Scenario, points: DvPoints) -> dict[str, Any]:
    """Return what is behind Alice's exit."""
    scheme, channel = scheme_and_fibre(scenario)
    return {
        "channel": {
            "length_km": channel.length_km,
            "attenuation_db_per_km": channel.attenuation_db_per_km,
            "extra_loss_db": channel.fixed_loss_db,
            "background_hz": _background_hz(scheme, points),
        },
        "interferometer": {
            "visibility": 1.0 - 2.0 * scheme.misalignment,
            "z_fraction": 1.0,
            "insertion_loss_db": 0.0,
        },
        "detectors": _detectors(scheme),
        "tagger": {"clock_error_ppm": 12.0, "start_offset_s": [0.0, _START_S]},
    }


def scheme_and_fibre(scenario: Scenario) -> tuple[DvScheme, FibreChannel]:
    """Return scheme and channel of a scenario that a bench of this kind runs.

    Raises
    ------
    PlanSettingsError
        If they are others.
    """
    scheme, channel = scenario.scheme, scenario.channel
    if not isinstance(channel, FibreChannel):
        raise unfit("channel", "kind", channel.kind, "a bench runs fibre")
    if not isinstance(scheme, DvScheme):
        raise unfit("scheme", "kind", scheme.kind, "a bench of weak pulses runs dv")
    return scheme, channel


def photon_points(scenario: Scenario) -> DvPoints:
    """Return the scheme on the fibre, at the one point that a bench can be."""
    scheme, channel = scheme_and_fibre(scenario)
    light = channel_points(channel, Values(channel, {}, (1,)))
    return dv_points(scheme, Values(scheme, {}, (1,)), light, scenario.symbol_rate_hz)


def _refuse(scenario: Scenario, scheme: DvScheme, points: DvPoints) -> None:
    """Refuse what a bench does not have, with what it has."""
    if scheme.finite == "published":
        limit = "proves nothing; a bench has 'hoeffding', 'chernoff' and 'gaussian'"
        raise unfit("scheme", "finite", scheme.finite, limit)
    if scheme.in_gate_share != 0.5:
        limit = "the bench's interferometers have 0.5 only"
        raise unfit("scheme", "in_gate_share", scheme.in_gate_share, limit)
    every = 1.0 / scheme.public_share if scheme.public_share else 0.0
    power = min((2.0**k for k in range(1, 9)), key=lambda n: abs(n - every))
    if every != power:
        limit = f"one slot in 2, 4, ... 256; nearest valid value {1.0 / power:g}"
        raise unfit("scheme", "public_share", scheme.public_share, limit)
    half_gate = 0.5 * scheme.gate_s * scenario.symbol_rate_hz
    if half_gate >= 0.25:
        nearest = 0.49 / scenario.symbol_rate_hz
        limit = f"must be below half a slot; nearest valid value {nearest:.3g}"
        raise unfit("scheme", "gate_s", scheme.gate_s, limit)
    errors = float(np.ravel(points.gains.error_rate)[0])
    if errors > _NEAR * _MAX_ERRORS:
        limit = f"{errors:.2%} of errors, background counted; a run ends above "
        limit += f"{_MAX_ERRORS:.0%}, so plan for {_NEAR * _MAX_ERRORS:.1%} at most"
        raise unfit("scheme", "misalignment", scheme.misalignment, limit)
    sifted = scheme.z_share**2 * (1.0 - scheme.public_share)
    sifted *= _all_clicks(scheme, points)
    least = _ROOM * SIZES[0] * COLUMNS / sifted
    if _wanted_slots(scenario) < least:
        limit = f"a frame of the reconciliation needs more; nearest {least:.3g}"
        raise unfit("", "block_sizes", _wanted_slots(scenario), limit)
    own = bench_efficiency(errors, round(sifted * _wanted_slots(scenario)))
    planned = scheme.correction_efficiency
    if abs(planned - own) > OFF_EFFICIENCY:
        nearest = max(1.0, own + math.copysign(0.99 * OFF_EFFICIENCY, planned - own))
        limit = f"the bench's codes reach {own:.3f}; nearest valid value {nearest:.3f}"
        raise unfit("scheme", "correction_efficiency", planned, limit)


def bench_efficiency(error_rate: float, sifted: int) -> float:
    """Return what the bench discloses over the Shannon limit [1].

    Parameters
    ----------
    error_rate : float
        [1]
    sifted : int
        Key-basis detections of a block [1].
    """
    size = sifted // (frames_of(sifted) * COLUMNS)
    return _FURTHER * first_efficiency(error_rate, min(max(size, SIZES[0]), SIZES[1]))


def frames_of(sifted: int) -> int:
    """Return how many frames a block is cut into [1]."""
    return max(1, round(sifted / FRAME_BITS))


def _all_clicks(scheme: DvScheme, points: DvPoints) -> float:
    shares = (scheme.signal_share, scheme.decoy_share, scheme.vacuum_share)
    clicks = (float(np.ravel(c)[0]) for c in points.clicks)
    return sum(p * c for p, c in zip(shares, clicks, strict=True))


def _wanted_slots(scenario: Scenario) -> float:
    return min((n for n in scenario.block_sizes if n), default=float(_BLOCK_SLOTS))


def _link(scenario: Scenario, scheme: DvScheme) -> dict[str, Any]:
    slots, rate_hz = _wanted_slots(scenario), scenario.symbol_rate_hz
    bursts = max(1, math.ceil(slots / _BURST_SLOTS))
    # Twice the uncertainty of the delay.
    frame = 2.0 * (_DELAYS_S[1] - _DELAYS_S[0]) * rate_hz
    return {
        "bursts": bursts,
        "burst_slots": math.ceil(slots / bursts / _SLOTS_STEP) * _SLOTS_STEP,
        "slot_rate_hz": rate_hz,
        "samples_per_slot": _SAMPLES_PER_SLOT,
        "frame_slots": 1 << max(10, round(math.log2(frame))),
        "sync_every": round(1.0 / scheme.public_share),
    }


def _choose_actively(raw: dict[str, Any], scheme: DvScheme) -> None:
    """Give Bob a modulator and a generator for it in place of two detectors."""
    generator = dict(raw["alice"]["instruments"]["awg"])
    generator["resource"] = "tcp://192.0.2.12:5025"
    raw["bob"]["instruments"]["basis"] = generator
    raw["bob"]["basis"] = {"choice": "active", "z_share": scheme.z_share}
    for signal in ("rx.x0", "rx.x1"):
        del raw["wiring"][signal]
    raw["wiring"]["rx.pm"] = "basis:1"


def _detectors(scheme: DvScheme) -> dict[str, Any]:
    """Return two detectors; dark counts are spread evenly over time and both."""
    dark_hz = -math.log1p(-scheme.dark_yield) / (2.0 * scheme.gate_s)
    return {
        "efficiency": [scheme.efficiency] * 4,
        "dark_rate_hz": [dark_hz, dark_hz, 0.0, 0.0],
        "dead_time_s": scheme.dead_time_s,
        "afterpulse_probability": 0.0,
        "jitter_s": min(_JITTER_S, scheme.gate_s / _GATE_JITTERS),
    }


def _background_hz(scheme: DvScheme, points: DvPoints) -> float:
    """Return stray photons at Bob's input, of whatever origin."""
    background = float(np.ravel(points.link.background_yield)[0])
    light = math.log1p(-scheme.dark_yield) - math.log1p(-background)
    return max(0.0, light) / (scheme.efficiency * scheme.gate_s)
