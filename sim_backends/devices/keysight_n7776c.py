"""Emulated Keysight N7776C tunable laser: registers, and a sweep that is instant."""

from __future__ import annotations

import math
import time

import numpy as np

from scqc.core.units import LIGHT_SPEED_M_PER_S
from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.optics.levers import Emission
from sim_backends.wire.scpi import (
    Command,
    Parameter,
    Reply,
    choice,
    number,
    quantity,
    switch,
    word,
)
from sim_backends.wire.status import ScpiError

IDENTITY = ("Keysight Technologies", "N7776C", "DE00000001", "1.300")
WAVELENGTHS_M = (1480e-9, 1620e-9)
POWERS_DBM = (-15.0, 13.0)
STEP_M, HOP_M = 0.1e-12, 20e-12
PASSWORD = 1234
TUNE_S, LIGHT_S = 1.0, 0.5
DBM, MILLIWATT = 0, 1
_METRES = {"m": 1.0, "um": 1e-6, "nm": 1e-9, "pm": 1e-12}
_WATTS = {"W": 1.0, "mW": 1e-3, "uW": 1e-6, "nW": 1e-9}
_SPEEDS = {"m/s": 1.0, "nm/s": 1e-9, "pm/s": 1e-12}


class KeysightN7776C(ScpiDevice):
    """The laser's registers; what it emits goes to the fibres.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    settle_scale : float
        Factor on the times that tuning and switching on take [1].
    """

    def __init__(
        self,
        name: str,
        cables: Cables,
        faults: FaultPlan | None = None,
        settle_scale: float = 1.0,
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables, self._settle_scale = cables, settle_scale
        self._settled_at = 0.0
        self._initialise()
        self._add_light()
        self._add_triggers()
        self._add_sweep()

    def _initialise(self) -> None:
        self.is_on = False
        self.wavelength_m, self.power_dbm = 1550e-9, 0.0
        self._unit, self._locked = DBM, False
        self._trigger_out, self._trigger_in = "DIS", "IGN"
        self._start_m, self._stop_m = 1550e-9, 1560e-9
        self._step_m, self._speed_m_per_s = 1e-9, 50e-9
        self._mode, self._repeat = "CONT", "ONEW"
        self._logging = False
        self._logged_m = np.zeros(0)

    def reset(self) -> None:
        """Return to the power-on state: dark."""
        self._initialise()
        self._emit(0.0)

    @property
    def is_busy(self) -> bool:
        """Whether the laser is still settling."""
        return time.monotonic() < self._settled_at

    @property
    def is_safe(self) -> bool:
        """Whether no light comes out."""
        return not self.is_on

    def _emit(self, settle_s: float) -> None:
        """Tell the fibre what comes out now."""
        self._settled_at = time.monotonic() + settle_s * self._settle_scale
        frequency_hz = LIGHT_SPEED_M_PER_S / self.wavelength_m
        emission = Emission(self.is_on, self.power_dbm, frequency_hz)
        self._cables.optics.set_laser(self.name, 1, emission)

    def _add_light(self) -> None:
        add = self.add
        add(
            "SOURce#:POWer:STATe",
            Command("start", self._set_state, lambda *_: f"{self.is_on:d}"),
        )
        add(
            "SOURce#:POWer[:LEVel][:IMMediate][:AMPLitude]",
            Command("configure", self._set_power, self._power),
        )
        add(
            "SOURce#:POWer:UNIT",
            Command("configure", self._set_unit, lambda *_: f"{self._unit:+d}"),
        )
        add(
            "SOURce#:WAVelength[:CW]",
            Command("configure", self._set_wavelength, self._wavelength),
        )
        add("LOCK", Command("configure", self._lock, lambda *_: f"{self._locked:d}"))

    def _set_state(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        on = number(given, 0, 0, 1) == 1.0
        if on and self._locked:
            raise ScpiError(-221, "the laser is locked")
        self.is_on = on
        if on and self.faults.take_data("start", "mode-hop"):
            self.wavelength_m += HOP_M
        self._emit(LIGHT_S if on else 0.0)
        if on and self.faults.take_data("start", "pending-forever"):
            self._settled_at = math.inf

    def _set_power(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        default = "dBm" if self._unit == DBM else "W"
        value, unit = quantity(given, 0, default, "dBm", *_WATTS)
        if unit != "dBm":
            if not value > 0.0:
                raise ScpiError(-222, f"{value:g} {unit}")
            value = 10.0 * math.log10(value * _WATTS[unit] * 1e3)
        low, high = POWERS_DBM
        # A milliwatt value with few decimals may fall just outside.
        if not low - 1e-4 <= value <= high + 1e-4:
            raise ScpiError(-222, f"{value:g} dBm not in {low:g}..{high:g}")
        self.power_dbm = value
        self._emit(0.0)

    def _power(self, _: tuple[int, ...], given: list[Parameter]) -> str:
        dbm = self.power_dbm
        if given:
            dbm = POWERS_DBM[choice(given, 0, "MINimum", "MAXimum") == "MAX"]
        value = dbm if self._unit == DBM else 1e-3 * 10.0 ** (0.1 * dbm)
        return f"{value:+.8E}"

    def _set_unit(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        units = {"0": DBM, "DBM": DBM, "1": MILLIWATT, "W": MILLIWATT}
        unit = word(given, 0).upper()
        if unit not in units:
            raise ScpiError(-224, unit[:20])
        self._unit = units[unit]

    def _set_wavelength(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        self.wavelength_m = round(_length(given) / STEP_M) * STEP_M
        self._emit(TUNE_S)

    def _wavelength(self, _: tuple[int, ...], given: list[Parameter]) -> str:
        value = self.wavelength_m
        if given:
            value = WAVELENGTHS_M[choice(given, 0, "MINimum", "MAXimum") == "MAX"]
        return f"{value:+.9E}"

    def _lock(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        wanted = switch(given, 0)
        if number(given, 1, 0, 9999) != PASSWORD:
            raise ScpiError(-224, "password")
        self._locked = wanted
        if wanted:
            self.is_on = False
            self._emit(0.0)

    def _add_triggers(self) -> None:
        for pattern, name, names in (
            ("TRIGger#:OUTPut", "_trigger_out", ("DIS", "STF", "SWF", "SWST")),
            ("TRIGger#:INPut", "_trigger_in", ("IGN", "NEXT", "SWS")),
            ("SOURce#:WAVelength:SWEep:MODE", "_mode", ("STEP", "MAN", "CONT")),
            ("SOURce#:WAVelength:SWEep:REPeat", "_repeat", ("ONEW", "TWOW")),
        ):
            self.add(pattern, self._word(name, *names))

    def _word(self, name: str, *names: str) -> Command:
        return Command(
            "configure",
            lambda _, p: setattr(self, name, choice(p, 0, *names)),
            lambda *_: str(getattr(self, name)),
        )

    def _add_sweep(self) -> None:
        head = "SOURce#:WAVelength:SWEep"
        for node, name in (("STARt", "_start_m"), ("STOP", "_stop_m")):
            self.add(f"{head}:{node}", self._edge(name))
        self.add(
            f"{head}:STEP[:WIDTh]",
            Command("configure", self._set_step, lambda *_: f"{self._step_m:+.9E}"),
        )
        self.add(
            f"{head}:SPEed",
            Command(
                "configure", self._set_speed, lambda *_: f"{self._speed_m_per_s:+.9E}"
            ),
        )
        self.add(f"{head}:STEP:NEXT", Command("start", lambda *_: self._move(1)))
        self.add(f"{head}:STEP:PREVious", Command("start", lambda *_: self._move(-1)))
        self.add(f"{head}:CHECkparams", Command("configure", on_query=self._consistent))
        self.add(
            f"{head}:LLOGging",
            Command(
                "configure",
                lambda _, p: setattr(self, "_logging", switch(p, 0)),
                lambda *_: f"{self._logging:d}",
            ),
        )
        self.add(f"{head}[:STATe]", Command("start", self._sweep, lambda *_: "+0"))
        self.add(
            "SOURce#:READout:POINts",
            Command("fetch", on_query=lambda *_: str(self._logged_m.size)),
        )
        self.add("SOURce#:READout:DATA", Command("fetch", on_query=self._log))

    def _edge(self, name: str) -> Command:
        """Make a command for one end of the sweep."""
        return Command(
            "configure",
            lambda _, p: setattr(self, name, _length(p)),
            lambda *_: f"{getattr(self, name):+.9E}",
        )

    def _set_step(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        value, unit = quantity(given, 0, "m", *_METRES)
        self._step_m = value * _METRES[unit]

    def _set_speed(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        value, unit = quantity(given, 0, "m/s", *_SPEEDS)
        self._speed_m_per_s = value * _SPEEDS[unit]

    def _move(self, direction: int) -> None:
        moved_m = self.wavelength_m + direction * self._step_m
        if not self._start_m <= moved_m <= self._stop_m:
            raise ScpiError(-221, "outside the sweep")
        self.wavelength_m = moved_m
        self._emit(TUNE_S)

    def _consistent(self, *_: object) -> str:
        # 368: the end is not behind the start.
        return "0,OK" if self._start_m < self._stop_m else "368,LambdaStop<=LambdaStart"

    def _sweep(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        """Run a whole sweep: it ends at its last wavelength, and is logged."""
        if number(given, 0, 0, 2) != 1.0:
            return
        if not self._start_m < self._stop_m:
            raise ScpiError(-221, "the sweep is not consistent")
        count = 1 + round((self._stop_m - self._start_m) / self._step_m)
        swept_m = np.linspace(self._start_m, self._stop_m, count)
        self._logged_m = swept_m if self._logging else np.zeros(0)
        self.wavelength_m = self._stop_m
        self._emit(TUNE_S)

    def _log(self, _: tuple[int, ...], given: list[Parameter]) -> Reply:
        choice(given, 0, "LLOGging", "LLOG")
        data = self._logged_m.astype("<f8").tobytes()
        length = str(len(data))
        return f"#{len(length)}{length}".encode() + data


def _length(given: list[Parameter]) -> float:
    """Return a wavelength within the range of the laser [m]."""
    value, unit = quantity(given, 0, "m", *_METRES)
    low, high = WAVELENGTHS_M
    wavelength_m = value * _METRES[unit]
    if not low - STEP_M <= wavelength_m <= high + STEP_M:
        raise ScpiError(-222, f"{wavelength_m:g} m not in {low:g}..{high:g}")
    return wavelength_m
