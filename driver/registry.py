"""Names of drivers; a driver's module is imported when it is first used."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, Protocol, cast

from driver.hal import Instrument
from scqc.core.errors import StateError

LinkKind = Literal["scpi", "idq", "prompt"]


class Link(Protocol):
    """What the links of all instruments have in common."""

    @property
    def instrument(self) -> str:
        """Name of the instrument."""
        ...


@dataclass(frozen=True, slots=True)
class DriverEntry:
    """Where a driver lives, its role, its ports, and the link it is built on."""

    role: str
    module: str
    class_name: str
    ports: tuple[str, ...]
    link: LinkKind = "scpi"


DRIVERS = {
    "keysight.m8190a": DriverEntry(
        "awg",
        "driver.awg.keysight_m8190a",
        "KeysightM8190A",
        ("1", "2", "marker1", "marker2"),
    ),
    "tektronix.awg70000": DriverEntry(
        "awg",
        "driver.awg.tektronix_awg70000",
        "TektronixAwg70000",
        ("1", "2", "marker1", "marker2"),
    ),
    "keysight.infiniium": DriverEntry(
        "digitizer",
        "driver.digitizer.keysight_infiniium",
        "KeysightInfiniium",
        ("1", "2", "3", "4"),
    ),
    "idq.id900": DriverEntry(
        "time-tagger",
        "driver.time_tagger.idq_id900",
        "IdqId900",
        ("1", "2", "3", "4"),
        "idq",
    ),
    "thorlabs.mdt693b": DriverEntry(
        "phase-modulator",
        "driver.phase_modulator.thorlabs_mdt693b",
        "ThorlabsMdt693b",
        ("1", "2", "3"),
        "prompt",
    ),
}


def nearest(name: str) -> str:
    """Return a hint which known driver `name` may have meant."""
    close = difflib.get_close_matches(name, DRIVERS, n=1, cutoff=0.4)
    known = ", ".join(sorted(DRIVERS))
    return f"did you mean {close[0]!r}?" if close else f"known drivers: {known}"


def make_driver(driver: str, link: Link) -> Instrument:
    """Build the driver called `driver` on `link`, which is of the kind it needs.

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
    return cast(Instrument, driver_class(link))
