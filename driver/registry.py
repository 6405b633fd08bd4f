"""Names of drivers; a driver's module is imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, cast, get_args, runtime_checkable

from driver.hal import Instrument
from driver.optical_switch.commands import SwitchCommands
from scqc.core.errors import StateError
from scqc.core.extensions import (
    INSTRUMENTS,
    extension_names,
    extension_problem,
    load_extension,
)
from scqc.core.hints import meant

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
ROLES: tuple[Role, ...] = get_args(Role)
_ROLE_LIST = f"known roles: {', '.join(ROLES)}"


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
    link : LinkKind or str
        One of the program's links, or ``module:class`` of another: built with the
        instrument's name, resource, and deadlines for opening and for one
        exchange [s]. That opens nothing, and raises RangeError for a resource of
        another form.
    takes_commands : bool
        Whether its words are settings of the instrument.
    holds_levels : bool
        Whether it is a `LevelHolder`, so that a channel may drive a phase shifter.
    """

    plays: Mapping[Role, tuple[str, ...]]
    module: str
    class_name: str
    link: LinkKind | str = "scpi"
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


class DriverTable(dict[str, DriverEntry]):
    """Drivers by name: the program's own, and what other distributions offer.

    It counts and yields the program's own; others are looked up by their names.
    """

    def __init__(self, built_in: Mapping[str, DriverEntry]) -> None:
        super().__init__(built_in)
        self._offered: dict[str, DriverEntry] = {}

    def __missing__(self, name: str) -> DriverEntry:
        """Look for a driver that is not built in; keep it.

        Raises
        ------
        KeyError
            If nobody offers it.
        ConfigError
            If it is broken.
        """
        if name not in self._offered:
            self._offered[name] = load_extension(INSTRUMENTS, name, DriverEntry)
        return self._offered[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a driver, built in or offered."""
        return super().__contains__(name) or name in extension_names(INSTRUMENTS)

    def is_built_in(self, name: str) -> bool:
        """Whether the driver is the program's own."""
        return super().__contains__(name)


_BUILT_IN = {
    "keysight.m8190a": DriverEntry(
        {"awg": ("1", "2", "marker1", "marker2")},
        "driver.awg.keysight_m8190a",
        "KeysightM8190A",
        holds_levels=True,
    ),
    "keysight.m8195a": DriverEntry(
        {"awg": ("1", "2")}, "driver.awg.keysight_m8195a", "KeysightM8195A"
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
    "spectrum.spcm": DriverEntry(
        {"digitizer": tuple(str(n) for n in range(1, 9))},
        "driver.digitizer.spectrum_spcm",
        "SpectrumSpcm",
        "driver.digitizer.spectrum_link:SpectrumLink",
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
    "swabian.timetagger": DriverEntry(
        {"time-tagger": tuple(str(n) for n in range(1, 19))},
        "driver.time_tagger.swabian_timetagger",
        "SwabianTimeTagger",
        "driver.time_tagger.swabian_link:SwabianLink",
    ),
    "picoquant.ptu": DriverEntry(
        {"time-tagger": tuple(str(n) for n in range(1, 17))},
        "driver.time_tagger.picoquant_ptu",
        "PtuReplay",
        "driver.time_tagger.ptu_link:PtuLink",
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
DRIVERS = DriverTable(_BUILT_IN)


def nearest(name: str, roles: Sequence[Role] = ()) -> str:
    """Return a hint which known driver `name` may have meant.

    Those of `roles` come first; if none is near they are listed. What other
    distributions offer is among them: its roles are not known before it is imported.
    """
    offered, wanted = extension_names(INSTRUMENTS), set(roles)
    own = [d for d, e in DRIVERS.items() if not wanted or wanted & set(e.roles)]
    fitting = sorted({*own, *offered})
    kind = f"drivers for role {' or '.join(roles)}" if wanted else "known drivers"
    listed = f"{kind}: {', '.join(fitting)}"
    return meant(name, fitting) or meant(name, sorted(DRIVERS)) or listed


def role_problem(value: object) -> str | None:
    """Return what is wrong with the role or the roles of an instrument, if anything."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names:
        return f"must be a role or a list of roles; {_ROLE_LIST}"
    for name in names:
        if name not in ROLES:
            hint = meant(name, ROLES) if isinstance(name, str) else ""
            return f"unknown role {name!r}; {hint or _ROLE_LIST}"
    if len(set(names)) < len(names):
        return "a role is listed twice"
    return None


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
    ConfigError
        If it is another distribution's, and broken.
    """
    if driver not in DRIVERS:
        raise StateError(
            link.instrument, "open", f"unknown driver {driver!r}, {nearest(driver)}"
        )
    entry = DRIVERS[driver]
    driver_class = named_object(driver, entry.module, entry.class_name)
    if entry.takes_commands:
        return cast(Instrument, driver_class(link, commands))
    return cast(Instrument, driver_class(link))


def named_object(driver: str, module: str, name: str) -> Any:
    """Import what a driver's entry names.

    Raises
    ------
    ConfigError
        If it is another distribution's, and cannot be imported.
    """
    if DRIVERS.is_built_in(driver):
        return getattr(import_module(module), name)
    try:
        return getattr(import_module(module), name)
    except Exception as error:
        # Somebody else's module may raise anything.
        reason = f"{module}:{name}: {type(error).__name__}: {error}"
        raise extension_problem(INSTRUMENTS, driver, reason) from error
