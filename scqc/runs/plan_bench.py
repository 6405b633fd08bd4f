"""From a plan to a bench: a lab config that runs it, and what the run must find.

Weak pulses are in `scqc.runs.plan_photon_bench`, displaced Gaussian states here. The
simulated bench adds excess noise of its own: phase noise that the pilots leave,
tails of the tones, steps of the converter. Its lasers are set so that the residual
phase is the plan's, and the channel's noise is what is left of the plan's after the
rest. So the plan and the run speak of the same light.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import erfc

from protocols.security.composable import split_epsilon
from protocols.security.cv_finite import Block, ledger_key
from scqc.core.errors import ModelRangeError
from scqc.plan.channel_settings import FibreChannel
from scqc.plan.channels import channel_points
from scqc.plan.cv import CvPoints, cv_points
from scqc.plan.overrides import settings_of
from scqc.plan.scenario import Scenario
from scqc.plan.scheme_settings import CvScheme, DvScheme
from scqc.plan.values import Values
from scqc.runs.config_text import (
    as_toml,
    refuse_existing,
    tables_as_toml,
    write_new_file,
)
from scqc.runs.cv_config import CvConfig
from scqc.runs.expected import expected, phase_noise, true_budget
from scqc.runs.lab_config import LabConfig, parse_config
from scqc.runs.new_config import draft
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.plan_interval import SIGMAS, Interval, unfit
from scqc.runs.plan_photon_bench import photon_lab_config
from scqc.runs.plan_photon_expected import expected_photon_run
from scqc.runs.transmit import burst_symbols, displacement_sqrt_snu
from scqc.store.files import write_atomically

#: How far models may be off: of the transmittance; of what the bench adds to the
#: channel's noise; of the reconciliation's efficiency (its rates lie on a grid); of the
#: displacement over the noise.
_OFF_T, _OFF_XI, _OFF_BETA, _OFF_Z = 0.005, 0.25, 0.06, 0.01
_BURST_SYMBOLS, _FRAME_SYMBOLS = 1_000_000, 5632
_SMALL_BLOCK = 1_000_000


def write_lab_config(path: Path, preset: str, changes: Sequence[str]) -> list[Path]:
    """Write a lab config for a plan, and beside it what its run must find.

    Parameters
    ----------
    path : Path
        Of the config; must not exist.
    preset : str
        With a fibre channel.
    changes : sequence of str
        As for `scqc.plan.make.make_plan`.

    Returns
    -------
    list of Path
        The config, and ``…-expected.json``.

    Raises
    ------
    ConfigError
        If the plan is not one that a bench can run, or the file exists.
    """
    refuse_existing(path)
    settings, _, _ = settings_of(preset, changes)
    if not isinstance(settings, Scenario):
        raise unfit("", "preset", preset, "has no light to send")
    config = lab_config(settings)
    intervals = expected_run(settings, config)
    write_new_file(path, as_toml(config))
    beside = path.with_name(f"{path.stem}-expected.json")
    shown = {
        name: {"value": i.value, "low": i.low, "high": i.high}
        for name, i in intervals.items()
    }
    write_atomically(beside, iter([json.dumps(shown, indent=2).encode(), b"\n"]))
    return [path, beside]


def lab_config(scenario: Scenario) -> LabConfig:
    """Return the config of a simulated bench that runs a scenario.

    Parameters
    ----------
    scenario : Scenario
        Over fibre; the smallest block size is what one run sends.

    Raises
    ------
    PlanSettingsError
        If the bench cannot do what the plan says.
    """
    if isinstance(scenario.scheme, DvScheme):
        return photon_lab_config(scenario)
    return gaussian_lab_config(scenario)


def expected_run(scenario: Scenario, config: LabConfig) -> dict[str, Interval]:
    """Return the intervals of a run, by quantity.

    Parameters
    ----------
    scenario : Scenario
    config : LabConfig
        From `lab_config`.
    """
    if isinstance(config, PhotonConfig):
        return expected_photon_run(scenario, config)
    return expected_gaussian_run(scenario, config)


def found_by_run(config: LabConfig, data: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run found, by the names of `expected_run`.

    Parameters
    ----------
    config : LabConfig
    data : mapping
        Of its result.
    """
    quantum, key = data["quantum"], data["key"]
    if isinstance(config, PhotonConfig):
        return {
            **{f"gain_{name}": gain for name, gain in quantum["gain"].items()},
            **{f"qber_{name}": rate for name, rate in quantum["qber"].items()},
            "secret_bits_per_slot": key["secret_bits_per_slot"],
        }
    t = quantum["transmittance"]["value"]
    return {
        "transmittance": t,
        "xi_snu": quantum["xi_snu"]["value"],
        "gain": 0.5 * config.security.detector_efficiency * t,
        "ber_raw": data["classical"]["ber_raw"],
        "secret_bits_per_symbol": key["secret_bits_per_symbol"],
    }


def gaussian_lab_config(scenario: Scenario) -> CvConfig:
    """Return the config of a simulated bench of displaced Gaussian states.

    Parameters
    ----------
    scenario : Scenario

    Raises
    ------
    PlanSettingsError
        If the bench cannot do what the plan says, or its own noise is above the
        plan's.
    ConfigError
        If a value is outside the range of the bench.
    """
    raw = tomllib.loads(draft("cv", [], simulated=True).text)
    scheme, channel = _runnable(scenario)
    _fill(raw, scenario, scheme, channel)
    # What is out of the bench's range is said by its names, before any of the rest.
    _config(raw)
    linewidth_hz = _linewidth_hz(raw, scheme.phase_variance_rad2)
    raw["sim"]["laser"] = {"linewidth_hz": linewidth_hz}
    raw["sim"]["lo"] = {"linewidth_hz": linewidth_hz}
    own = _own_noise(_config(raw))
    # Whatever the plan counts as noise, besides that of the phase.
    wanted = float(np.ravel(_points(scenario).link.xi_snu)[0])
    if own > wanted:
        limit = f"the bench itself makes {own:.4g} SNU; nearest valid value {own:.4g}"
        raise unfit("scheme", "excess_noise_snu", wanted, limit)
    raw["sim"]["channel"]["excess_noise_snu"] = wanted - own
    return _config(raw)


def expected_gaussian_run(scenario: Scenario, config: CvConfig) -> dict[str, Interval]:
    """Return the intervals of a run: transmittance, noise, errors, key.

    Parameters
    ----------
    scenario : Scenario
    config : CvConfig
        From `gaussian_lab_config`.

    Returns
    -------
    dict of str to Interval
        ``transmittance`` [1], ``xi_snu`` [SNU], ``ber_raw`` [1], ``gain`` [1]: power
        from the channel's input to one quadrature, ``secret_bits_per_symbol`` [bit].
    """
    scheme, points = scenario.scheme, _points(scenario)
    if not isinstance(scheme, CvScheme):
        raise unfit("scheme", "kind", scheme.kind, "a bench runs cv")
    symbols = config.link.bursts * burst_symbols(config)
    t = float(np.ravel(points.link.transmittance)[0])
    xi = float(np.ravel(np.asarray(points.link.xi_snu) + points.link.phase_xi_snu)[0])
    gain, nu, raw = 0.5 * scheme.efficiency * t, scheme.electronic_snu, 2.0 * symbols
    rest = 1.0 + nu + gain * xi
    slope = 4.0 * rest / (raw * scheme.modulation_snu * gain)
    shots = 2.0 / raw * ((1.0 + nu) ** 2 + nu**2)
    off_t = t * (SIGMAS * math.sqrt(slope + shots) + _OFF_T)
    wide = SIGMAS * math.sqrt(2.0 / raw * (rest**2 + (1.0 + nu) ** 2)) / gain
    off_xi = wide + _OFF_XI * (xi - _sim(config).channel.excess_noise_snu)
    return {
        "transmittance": Interval(t, t - off_t, t + off_t),
        "xi_snu": Interval(xi, xi - off_xi, xi + off_xi),
        "gain": Interval(
            gain,
            0.5 * scheme.efficiency * (t - off_t),
            0.5 * scheme.efficiency * (t + off_t),
        ),
        "ber_raw": _bit_errors(config, gain, rest + gain * scheme.modulation_snu),
        "secret_bits_per_symbol": _key(scheme, points, float(symbols), (off_t, off_xi)),
    }


def _runnable(scenario: Scenario) -> tuple[CvScheme, FibreChannel]:
    """Return scheme and channel, if there is a bench for them."""
    scheme, channel = scenario.scheme, scenario.channel
    if not isinstance(channel, FibreChannel):
        raise unfit("channel", "kind", channel.kind, "a bench runs fibre")
    if not isinstance(scheme, CvScheme):
        raise unfit("scheme", "kind", scheme.kind, "a bench runs cv and dv")
    wanted = {
        "detection": "heterodyne",
        "direction": "reverse",
        "trust_phase": False,
        "displaced_axes": "both",
        # What the bench trusts, it trusts of the whole detector.
        "trust_electronic": scheme.trust_efficiency,
        "finite": "ledger",
        "disclosed_share": 0.0,
        "gain_variance": 0.0,
    }
    for key, value in wanted.items():
        if getattr(scheme, key) != value:
            limit = f"the bench has {value!r} only"
            raise unfit("scheme", key, getattr(scheme, key), limit)
    if scheme.beta is not None:
        limit = "the bench measures its own: leave beta and frame_error_rate out"
        raise unfit("scheme", "beta", scheme.beta, limit)
    return scheme, channel


def _fill(
    raw: dict[str, Any], scenario: Scenario, scheme: CvScheme, channel: FibreChannel
) -> None:
    """Put a scenario's numbers into a config's tables."""
    symbols = min((n for n in scenario.block_sizes if n), default=8e6)
    small = symbols < _SMALL_BLOCK
    bursts = 2 if small else max(1, round(symbols / _BURST_SYMBOLS))
    raw["link"] |= {"bursts": bursts, "symbol_rate_hz": scenario.symbol_rate_hz}
    raw["classical"] |= {
        "psk": scheme.psk,
        "fec_rate": scheme.fec_rate,
        "target_raw_ber": scheme.target_raw_ber,
        "frames_per_burst": max(1, round(symbols / bursts / _FRAME_SYMBOLS)),
    }
    raw["security"] |= {
        "v_a_snu": scheme.modulation_snu,
        "detector_efficiency": scheme.efficiency,
        "trusted_detector": scheme.trust_efficiency,
        "epsilon": scheme.epsilon,
        "disclosed_symbols": 10_000 if small else 80_000,
        "code_size": 256 if small else 2560,
    }
    fixed_db = channel.fixed_loss_db
    length_km = max(channel.length_km, 1e-3)
    raw["sim"]["channel"] = {
        "length_km": length_km,
        "attenuation_db_per_km": channel.attenuation_db_per_km + fixed_db / length_km,
        "excess_noise_snu": 0.0,
    }
    raw["sim"]["receiver"] = {
        "efficiency": scheme.efficiency,
        "electronic_noise_snu": scheme.electronic_snu,
        "cmrr_db": 40.0,
    }
    t = 10.0 ** (-0.1 * (channel.length_km * channel.attenuation_db_per_km + fixed_db))
    raw["alice"]["transmitter"]["expected_transmittance"] = t


def _config(raw: dict[str, Any]) -> CvConfig:
    """Read the tables as if they stood in a file."""
    read = parse_config(tables_as_toml(raw), "plan")
    if not isinstance(read, CvConfig):
        raise unfit("link", "scheme", raw["link"]["scheme"], "not the Gaussian scheme")
    return read


def _linewidth_hz(raw: dict[str, Any], wanted_rad2: float) -> float:
    """Return the linewidth of both lasers that leaves the wanted phase variance."""

    def left(linewidth_hz: float) -> float:
        lasers = {"linewidth_hz": linewidth_hz}
        sim = raw["sim"] | {"laser": lasers, "lo": lasers}
        config = CvConfig.model_validate(raw | {"sim": sim})
        return phase_noise(config, _sim(config)).smoothed_rad2

    low, high = 1e-3, 1e6
    if not left(low) <= wanted_rad2 <= left(high):
        limit = f"must be {left(low):.3g} to {left(high):.3g} on this bench"
        raise unfit("scheme", "phase_variance_rad2", wanted_rad2, limit)
    for _ in range(50):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if left(middle) < wanted_rad2 else (low, middle)
    return high


def _own_noise(config: CvConfig) -> float:
    """Return the bench's excess noise besides that of the phase [SNU]."""
    found = expected(config, _sim(config))
    return found.xi_tails_snu + found.xi_converter_snu


def _sim(config: CvConfig) -> Any:
    if config.sim is None:
        raise unfit("sim", "sim", "absent", "a plan's bench is simulated")
    return config.sim


def _points(scenario: Scenario) -> CvPoints:
    scheme = scenario.scheme
    if not isinstance(scheme, CvScheme):
        raise unfit("scheme", "kind", scheme.kind, "a bench runs cv")
    channel = channel_points(scenario.channel, Values(scenario.channel, {}, (1,)))
    return cv_points(scheme, Values(scheme, {}, (1,)), channel)


def _bit_errors(config: CvConfig, gain: float, spread: float) -> Interval:
    """Return raw bit errors; Alice sets the displacement by a probe of the link.

    The probe does not see excess noise. Its gain is good to 0.2 %, from the preamble,
    and the phase is a little noisier while bits are decided.
    """
    if config.classical.psk == "none":
        return Interval(0.0, 0.0, 0.0)
    d = displacement_sqrt_snu(config, true_budget(_sim(config)))
    axes = 2.0 if config.classical.psk == "bpsk" else 1.0
    z = d * math.sqrt(axes * gain / spread)
    bits = config.link.bursts * burst_symbols(config) * (2.0 / axes)
    value, low, high = (
        0.5 * float(erfc(z * scale / math.sqrt(2.0)))
        for scale in (1.0, 1.0 + _OFF_Z, 1.0 - _OFF_Z)
    )
    chance = SIGMAS * math.sqrt(value / bits)
    return Interval(value, max(0.0, low - chance), high + chance)


def _key(
    scheme: CvScheme, points: CvPoints, symbols: float, off: tuple[float, float]
) -> Interval:
    """Return the key per symbol between the worst and the best that may be found."""

    def bits(side: float) -> float:
        t = np.asarray(points.link.transmittance) + side * off[0]
        xi = np.asarray(points.link.xi_snu) + side * -off[1]
        link = replace(
            points.link,
            transmittance=np.minimum(t, 1.0),
            xi_snu=np.maximum(xi, 0.0),
        )
        pair = replace(
            points.pair,
            beta=np.minimum(points.pair.beta + side * _OFF_BETA, 1.0),
            fer=np.clip(points.pair.fer * (1.0 - side), 0.0, 0.99),
        )
        block = Block(symbols, symbols, split_epsilon(scheme.epsilon))
        try:
            found = ledger_key(link, points.receiver, block, pair)
        except ModelRangeError:
            return 0.0
        return max(0.0, float(np.ravel(found.key_bits_per_symbol)[0]))

    return Interval(bits(0.0), bits(-1.0), bits(1.0))
