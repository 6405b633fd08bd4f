"""Emulated Thorlabs PM100D with a photodiode head for the telecom bands."""

from __future__ import annotations

import math

from sim_backends.devices.base import ScpiDevice
from sim_backends.devices.lab import Cables
from sim_backends.faults import FaultPlan
from sim_backends.wire.scpi import Command, Handler, Parameter, choice, number, switch

IDENTITY = ("Thorlabs", "PM100D", "P0000001", "2.8.0")
# Name, serial number, calibration, type, subtype; then what it can do: power (1),
# wavelength settable (32), temperature (256).
SENSOR = ("S132C", "00000001", "01-Jan-2024", "1", "1")
FLAGS = 1 | 32 | 256
WAVELENGTHS_NM = (700.0, 1800.0)
RANGES_W = tuple(5e-9 * 10.0**k for k in range(8))
AVERAGES = (1, 3000)
NOT_A_NUMBER = "9.91000000E+37"


class ThorlabsPm100(ScpiDevice):
    """The meter's registers; what falls on its head comes from the fibres.

    Parameters
    ----------
    name : str
    cables : Cables
    faults : FaultPlan or None
    """

    def __init__(
        self, name: str, cables: Cables, faults: FaultPlan | None = None
    ) -> None:
        super().__init__(name, IDENTITY, faults)
        self._cables = cables
        self._initialise()
        self._add_sensor()
        self._add_measurement()

    def _initialise(self) -> None:
        self.wavelength_nm, self.averages = 1550.0, 1
        self._automatic, self._range_w = True, RANGES_W[-1]
        self._unit, self._zero_w, self._loss_db = "W", 0.0, 0.0

    def reset(self) -> None:
        """Return to the power-on state."""
        self._initialise()

    def _add_sensor(self) -> None:
        head = "[SENSe]:CORRection"
        who = ",".join((*SENSOR, str(FLAGS)))
        self.add("SYSTem:SENSor:IDN", Command("identify", on_query=lambda *_: who))
        self._add_number(f"{head}:WAVelength", "wavelength_nm", WAVELENGTHS_NM)
        self._add_number(f"{head}:LOSS[:INPut][:MAGNitude]", "_loss_db", (-60.0, 60.0))
        self.add(
            f"{head}:COLLect:ZERO[:INITiate]",
            Command("configure", on_set=lambda *_: self._zero()),
        )
        self.add(
            f"{head}:COLLect:ZERO:MAGNitude",
            Command("configure", on_query=lambda *_: f"{self._zero_w:.8E}"),
        )
        self.add(
            f"{head}:COLLect:ZERO:STATe",
            Command("configure", on_query=lambda *_: "0"),
        )
        self._add_number("[SENSe]:AVERage[:COUNt]", "averages", AVERAGES)

    def _add_measurement(self) -> None:
        head = "[SENSe]:POWer[:DC]"
        self.add(
            f"{head}:UNIT",
            Command("configure", self._set_unit, lambda *_: self._unit),
        )
        self.add(
            f"{head}:RANGe:AUTO",
            Command("configure", self._set_auto, lambda *_: f"{self._automatic:d}"),
        )
        self.add(
            f"{head}:RANGe[:UPPer]",
            Command("configure", self._set_range, lambda *_: f"{self._range_w:.8E}"),
        )
        self.add("MEASure[:SCALar][:POWer]", Command("fetch", on_query=self._measure))
        for pattern in ("READ", "FETCh"):
            self.add(pattern, Command("fetch", on_query=self._measure))
        for pattern in ("ABORt", "INITiate", "CONFigure[:SCALar][:POWer]"):
            self.add(pattern, Command("configure", on_set=lambda *_: None))

    def _add_number(self, pattern: str, name: str, limits: tuple[float, float]) -> None:
        """Register a number with limits; it is told of MIN and MAX too."""

        def on_set(_: tuple[int, ...], given: list[Parameter]) -> None:
            kind = type(getattr(self, name))
            setattr(self, name, kind(number(given, 0, *limits)))

        self.add(pattern, Command("configure", on_set, self._shown(name, limits)))

    def _shown(self, name: str, limits: tuple[float, float]) -> Handler:
        def on_query(_: tuple[int, ...], given: list[Parameter]) -> str:
            value = getattr(self, name)
            if given:
                value = limits[choice(given, 0, "MINimum", "MAXimum") == "MAX"]
            return str(value) if isinstance(value, int) else f"{value:.8E}"

        return on_query

    def _set_unit(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        self._unit = choice(given, 0, "W", "DBM")

    def _set_auto(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        self._automatic = switch(given, 0)

    def _set_range(self, _: tuple[int, ...], given: list[Parameter]) -> None:
        wanted_w = number(given, 0, 0.0, RANGES_W[-1])
        self._range_w = next(w for w in RANGES_W if w >= wanted_w * (1.0 - 1e-9))
        self._automatic = False

    def _zero(self) -> None:
        self._zero_w = self._cables.optics.power_w(self.name, 1)

    def _measure(self, _: tuple[int, ...], _given: list[Parameter]) -> str:
        seen_w = self._cables.optics.power_w(self.name, 1)
        if seen_w > (RANGES_W[-1] if self._automatic else self._range_w):
            return NOT_A_NUMBER
        watts = (seen_w - self._zero_w) * 10.0 ** (0.1 * self._loss_db)
        if self._unit == "W":
            return f"{watts:.8E}"
        return f"{10.0 * math.log10(watts / 1e-3):.8E}" if watts > 0 else NOT_A_NUMBER
