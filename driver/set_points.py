"""Set-points of the instruments that stand still during a run.

A laser, an attenuator or a bias controller is set once, before the first
burst, to what its table in the lab config says. Lasers come last: everything
that limits their light is in place before they shine.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from driver.hal import Instrument
from driver.hal_light import (
    Attenuator,
    AttenuatorConfig,
    BiasConfig,
    BiasController,
    BiasPoint,
    DetectorBias,
    DetectorBiasConfig,
    Laser,
    LaserConfig,
    PolarisationConfig,
    PolarisationController,
    PowerMeter,
    PowerMeterConfig,
)
from scqc.core.errors import StateError
from scqc.core.settings import Settings

if TYPE_CHECKING:
    from driver.bench import Bench
    from driver.registry import Role
    from driver.settings import InstrumentSettings

#: Which keys belong to which role; a laser needs both of its own.
KEYS: dict[Role, tuple[str, ...]] = {
    "laser": ("frequency_hz", "power_dbm"),
    "attenuator": ("attenuation_db",),
    "bias-controller": ("bias_point", "hold_v"),
    "polarisation-controller": ("polarisation_v",),
    "power-meter": ("wavelength_m", "averages"),
    "detector-bias": ("bias_a", "trigger_level_v"),
}
#: The signals that instruments of a role carry; one of them must be wired.
SIGNALS: dict[Role, tuple[str, ...]] = {
    "laser": ("tx.laser", "rx.laser"),
    "attenuator": ("tx.attenuator",),
    "bias-controller": ("tx.bias",),
    "power-meter": ("tx.power", "rx.power"),
    "polarisation-controller": ("rx.polarisation",),
    "detector-bias": ("bias.z0", "bias.z1", "bias.x0", "bias.x1"),
}
_ORDER: tuple[Role, ...] = (
    "power-meter",
    "attenuator",
    "polarisation-controller",
    "bias-controller",
    "detector-bias",
    "laser",
)


class SetPoints(Settings):
    """The ``set_points`` table of an instrument; keys depend on its role.

    Without a `bias_point` a bias controller holds `hold_v`. Lists go by the
    instrument's channels, from 1.
    """

    frequency_hz: float | None = Field(default=None, gt=0.0, le=1e16)
    power_dbm: float | None = Field(default=None, ge=-100.0, le=60.0)
    attenuation_db: float | None = Field(default=None, ge=0.0, le=200.0)
    bias_point: BiasPoint | None = None
    hold_v: float | None = Field(default=None, ge=-1000.0, le=1000.0)
    polarisation_v: tuple[float, ...] | None = None
    wavelength_m: float | None = Field(default=None, gt=0.0, le=1.0)
    averages: int | None = Field(default=None, ge=1, le=1_000_000)
    bias_a: tuple[float, ...] | None = None
    trigger_level_v: tuple[float, ...] | None = None

    def given(self) -> dict[str, object]:
        """Return the keys that were given, and their values."""
        return {k: v for k, v in self.model_dump().items() if v is not None}

    def roles_set(self, roles: tuple[Role, ...]) -> tuple[Role, ...]:
        """Return for which of an instrument's roles there are keys."""
        given = self.given()
        return tuple(r for r in roles if any(k in given for k in KEYS.get(r, ())))

    def problem(self, roles: tuple[Role, ...]) -> str | None:
        """Return what is wrong with these keys for an instrument, if anything."""
        allowed = [key for role in roles for key in KEYS.get(role, ())]
        given = self.given()
        for key in given:
            if key not in allowed:
                owner = next(role for role, keys in KEYS.items() if key in keys)
                return f"set_points.{key} is for a {owner}, not a {', '.join(roles)}"
        if "laser" in roles and given:
            for key in KEYS["laser"]:
                if key not in given:
                    return f"set_points.{key} is missing: a laser needs both"
        return None


def set_up_light(
    bench: Bench, instruments: Mapping[str, InstrumentSettings], timeout_s: float
) -> None:
    """Set every instrument that has set-points, lasers last, and switch them on.

    Parameters
    ----------
    bench : Bench
        Open.
    instruments : mapping of str to InstrumentSettings
    timeout_s : float
        Deadline of each lock and of each laser [s].

    Raises
    ------
    StateError
        If one is wired to nothing, so that no limit would hold for its light;
        nothing was set then.
    InstrumentError
        Of the first that cannot be set.
    """
    wanted = {n: s.set_points.roles_set(s.roles) for n, s in instruments.items()}
    for name, roles in wanted.items():
        for role in roles:
            _require_wired(bench, name, role)
    for role in _ORDER:
        for name, settings in instruments.items():
            if role in wanted[name]:
                _set(role, bench.instrument(name), settings.set_points, timeout_s)


def _require_wired(bench: Bench, name: str, role: Role) -> None:
    """Refuse to set what carries no signal of its role.

    Raises
    ------
    StateError
        Naming the signals.
    """
    for signal in SIGNALS[role]:
        # A signal that is not wired is no error here: one of them is enough.
        with contextlib.suppress(StateError):
            if bench.resolve(signal)[0] == name:
                return
    reason = f"its set_points are for a {role} wired to {' or '.join(SIGNALS[role])}"
    raise StateError(name, "set-points", reason)


def _set(
    role: Role, instrument: Instrument, points: SetPoints, timeout_s: float
) -> None:
    if role == "laser" and isinstance(instrument, Laser):
        if points.frequency_hz is not None and points.power_dbm is not None:
            instrument.configure(LaserConfig(points.frequency_hz, points.power_dbm))
            instrument.set_enabled(True, timeout_s)
    elif role == "attenuator" and isinstance(instrument, Attenuator):
        if points.attenuation_db is not None:
            instrument.set_attenuation(AttenuatorConfig(points.attenuation_db))
    elif role == "bias-controller" and isinstance(instrument, BiasController):
        if points.bias_point is not None or points.hold_v is not None:
            config = BiasConfig(points.bias_point, points.hold_v or 0.0)
            instrument.set_bias(config, timeout_s)
    elif isinstance(instrument, PolarisationController):
        if points.polarisation_v is not None:
            instrument.set_polarisation(
                PolarisationConfig(_numbered(points.polarisation_v))
            )
    elif isinstance(instrument, PowerMeter):
        default = PowerMeterConfig()
        instrument.configure_meter(
            PowerMeterConfig(
                points.wavelength_m or default.wavelength_m,
                points.averages or default.averages,
            )
        )
    elif isinstance(instrument, DetectorBias) and points.bias_a is not None:
        levels = _numbered(points.trigger_level_v or ())
        instrument.set_detectors(DetectorBiasConfig(_numbered(points.bias_a), levels))


def _numbered(values: tuple[float, ...]) -> dict[int, float]:
    return dict(enumerate(values, start=1))
