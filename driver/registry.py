"""Names of drivers; a driver's module is imported when it is first used."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, cast, runtime_checkable

from driver.hal import Instrument
from driver.optical_switch.commands import SwitchCommands
from scqc.core.errors import StateError

LinkKind = Literal[
    "scpi", "scpi-crlf", "scpi-events", "websq", "idq", "prompt", "line", "itla"
]
Role = Literal[
    "awg",
    "digitizer",
    "time-tagger",
    "phase-modulator",
    "laser",
    "attenuator",
    "bias-controller",
    "polarisation-controller",
    "power-meter",
    "detector-bias",
    "optical-switch",
]


class Link(Protocol):
    """What the links of all instruments have in common."""

    @property
    def instrument(self) -> str:
        """Name of the instrument."""
        ...


@runtime_checkable
class Tappable(Protocol):
    """A link that lets its traffic be listened to."""

    def tap(self, wrap: Callable[[Any], Any]) -> None:
        """Put something between this link and its transport, before it is opened."""
        ...


@runtime_checkable
class SelfTesting(Protocol):
    """A link through which an instrument can be told to test itself."""

    def self_test(self, timeout_s: float) -> None:
        """Let the instrument test itself, within `timeout_s` [s].

        Raises
        ------
        DeviceError
            With what it found wrong.
        """
        ...


@dataclass(frozen=True, slots=True)
class DriverEntry:
    """Where a driver lives, what it plays, and the link it is built on.

    Parameters
    ----------
    plays : mapping of str to tuple of str
        Each role of the instrument, and its ports for that role.
    module, class_name : str
        Where the class is.
    link : LinkKind
    takes_commands : bool
        Whether its words are settings of the instrument.
    holds_levels : bool
        Whether it is a `LevelHolder`, so that a channel may drive a phase shifter.
    """

    plays: Mapping[Role, tuple[str, ...]]
    module: str
    class_name: str
    link: LinkKind = "scpi"
    takes_commands: bool = False
    holds_levels: bool = False

    @property
    def roles(self) -> tuple[Role, ...]:
        """The roles it can play."""
        return tuple(self.plays)

    @property
    def ports(self) -> tuple[str, ...]:
        """All its ports."""
        return tuple(port for ports in self.plays.values() for port in ports)

    def roles_of(self, port: str) -> tuple[Role, ...]:
        """Return what the instrument plays through `port`."""
        return tuple(role for role, ports in self.plays.items() if port in ports)


DRIVERS = {
    "keysight.m8190a": DriverEntry(
        {"awg": ("1", "2", "marker1", "marker2")},
        "driver.awg.keysight_m8190a",
        "KeysightM8190A",
        holds_levels=True,
    ),
    "tektronix.awg70000": DriverEntry(
        {"awg": ("1", "2", "marker1", "marker2")},
        "driver.awg.tektronix_awg70000",
        "TektronixAwg70000",
    ),
    "keysight.infiniium": DriverEntry(
        {"digitizer": ("1", "2", "3", "4")},
        "driver.digitizer.keysight_infiniium",
        "KeysightInfiniium",
    ),
    "tektronix.mso": DriverEntry(
        {"digitizer": ("1", "2", "3", "4")},
        "driver.digitizer.tektronix_mso",
        "TektronixMso",
        "scpi-events",
    ),
    "singlequantum.websq": DriverEntry(
        {"detector-bias": tuple(str(n) for n in range(1, 9))},
        "driver.detector_bias.singlequantum_websq",
        "SingleQuantumWebSq",
        "websq",
    ),
    "keysight.n7776c": DriverEntry(
        {"laser": ("1",)}, "driver.laser.keysight_n7776c", "KeysightN7776C"
    ),
    "thorlabs.pm100": DriverEntry(
        {"power-meter": ("1",)}, "driver.power_meter.thorlabs_pm100", "ThorlabsPm100"
    ),
    "redpitaya.stemlab": DriverEntry(
        {"awg": ("1", "2"), "digitizer": ("in1", "in2")},
        "driver.redpitaya.stemlab",
        "RedPitayaStemlab",
        "scpi-crlf",
    ),
    "idq.id900": DriverEntry(
        {"time-tagger": ("1", "2", "3", "4")},
        "driver.time_tagger.idq_id900",
        "IdqId900",
        "idq",
    ),
    "thorlabs.mdt693b": DriverEntry(
        {"phase-modulator": ("1", "2", "3")},
        "driver.phase_modulator.thorlabs_mdt693b",
        "ThorlabsMdt693b",
        "prompt",
    ),
    "itla.msa": DriverEntry(
        {"laser": ("1",)}, "driver.laser.itla_msa", "ItlaLaser", "itla"
    ),
    "ozoptics.dd100": DriverEntry(
        {"attenuator": ("1",)},
        "driver.attenuator.ozoptics_dd100",
        "OzOpticsDd100",
        "line",
    ),
    "ozoptics.epc": DriverEntry(
        {"polarisation-controller": ("1",)},
        "driver.polarisation_controller.ozoptics_epc",
        "OzOpticsEpc",
        "line",
    ),
    "thorlabs.mbx": DriverEntry(
        {"bias-controller": ("1",), "attenuator": ("voa1",)},
        "driver.bias_controller.thorlabs_mbx",
        "ThorlabsMbx",
        "line",
    ),
    "generic.line_switch": DriverEntry(
        {"optical-switch": ("1",)},
        "driver.optical_switch.line_switch",
        "LineSwitch",
        "line",
        takes_commands=True,
    ),
}


def nearest(name: str) -> str:
    """Return a hint which known driver `name` may have meant."""
    close = difflib.get_close_matches(name, DRIVERS, n=1, cutoff=0.4)
    known = ", ".join(sorted(DRIVERS))
    return f"did you mean {close[0]!r}?" if close else f"known drivers: {known}"


def make_driver(
    driver: str, link: Link, commands: SwitchCommands | None = None
) -> Instrument:
    """Build a driver.

    Parameters
    ----------
    driver : str
        Its name.
    link : Link
        Of the kind it needs.
    commands : SwitchCommands, optional
        For a driver that takes them.

    Raises
    ------
    StateError
        If there is no driver of that name.
    """
    if driver not in DRIVERS:
        raise StateError(
            link.instrument, "open", f"unknown driver {driver!r}, {nearest(driver)}"
        )
    entry = DRIVERS[driver]
    driver_class = getattr(import_module(entry.module), entry.class_name)
    if entry.takes_commands:
        return cast(Instrument, driver_class(link, commands))
    return cast(Instrument, driver_class(link))
