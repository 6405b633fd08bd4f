"""What must hold between the tables of a lab config, whatever its scheme."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from driver.bench_lock import canonical
from driver.links import is_file
from driver.registry import DRIVERS
from driver.set_points import SIGNALS, SetPoints
from scqc.core.extensions import EMULATORS, extension_names
from scqc.runs.config_problems import nearest
from scqc.runs.partial_config import NOTHING_BROKEN, Broken
from sim_backends.faults import SAMPLE_KINDS, TAG_KINDS

if TYPE_CHECKING:
    from scqc.runs.lab_config import LabConfig

#: The role of the instrument that carries a signal, and whether its port is a marker.
Signals = Mapping[str, tuple[str, bool]]
#: Light that instruments of the bench make, weaken, turn or measure; any scheme
#: may have them.
OPTICS_SIGNALS: dict[str, tuple[str, bool]] = {
    signal: (role, False) for role, signals in SIGNALS.items() for signal in signals
}
#: What else may carry a signal.
OR_ELSE: Signals = {
    "switch.signal": ("optical-switch", False),
    "switch.lo": ("optical-switch", False),
    "rx.phase": ("awg", False),
}
#: Faults of records, and what can have them.
DATA_ROLES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(TAG_KINDS, ("time-tagger",)),
    **dict.fromkeys(SAMPLE_KINDS, ("digitizer",)),
    "stale-trigger": ("digitizer", "time-tagger"),
}
#: Faults of a laser that speaks in frames.
FRAME_KINDS = ("bad-checksum", "mode-hop")
#: Table, key, value and what is wrong with it.
Found = Iterator[tuple[str, str, object, str]]


@dataclass(frozen=True, slots=True)
class Needs:
    """What a scheme needs of a bench.

    Parameters
    ----------
    signals : mapping
        Must be wired.
    known : mapping
        May be wired.
    roles : mapping of str to int
        How many instruments play each.
    broken : Broken
        What was left out of the config, and must not be missed.
    """

    signals: Signals
    known: Signals
    roles: Mapping[str, int]
    broken: Broken = NOTHING_BROKEN


def check(config: LabConfig, needs: Needs) -> Found:
    """Yield what is wrong with instruments, wiring and the names of instruments.

    Parameters
    ----------
    config : LabConfig
    needs : Needs
    """
    yield from _instruments(config, needs)
    yield from _resources(config)
    yield from _wiring(config, needs)
    yield from _set_points(config)
    if not needs.broken.signals:
        yield from _wired_to_nothing(config)
        yield from _launch(config, needs.broken)
    exits = config.safety.on_exit
    named = [("safety", "on_exit", a, a.partition(".")[0]) for a in exits]
    if config.sim is not None:
        named += [("sim.faults", name, name, name) for name in config.sim.faults]
        named += [("sim.ports", name, name, name) for name in config.sim.ports or {}]
        chosen = config.sim.transports
        named += [("sim.transports", name, chosen[name], name) for name in chosen]
    for table, key, value, name in named:
        if name not in config.instruments and name not in needs.broken.instruments:
            limit = f"unknown instrument {name!r}; {nearest(name, config.instruments)}"
            yield table, key, value, limit
    yield from _transports(config)
    yield from _emulators(config)
    yield from _faults(config)


def _transports(config: LabConfig) -> Found:
    """Only the emulators of SCPI instruments speak more than one transport."""
    chosen = {} if config.sim is None else config.sim.transports
    for name in chosen.keys() & config.instruments.keys():
        driver = config.instruments[name].driver
        if DRIVERS[driver].link != "scpi":
            limit = f"{driver} does not speak SCPI, there is no choice"
            yield "sim.transports", name, chosen[name], limit


def _emulators(config: LabConfig) -> Found:
    """With ``[sim]``, what is neither emulated nor a recorded file is refused."""
    for name, settings in config.instruments.items() if config.sim else ():
        driver = settings.driver
        # What has a link of its own has no wire that could be emulated.
        own = DRIVERS.is_built_in(driver) and ":" not in DRIVERS[driver].link
        played = own or is_file(settings.resource)
        if not played and driver not in extension_names(EMULATORS):
            limit = "has no emulator; it works without [sim] only"
            yield f"instruments.{name}", "driver", driver, limit


def _faults(config: LabConfig) -> Found:
    """Refuse faults that no instrument of that kind can have; they never strike."""
    planned = {} if config.sim is None else config.sim.faults
    for name in (n for n in planned if n in config.instruments):
        settings = config.instruments[name]
        driver = settings.driver
        if is_file(settings.resource):
            limit = "plays a recorded file, no fault strikes there"
            yield "sim.faults", name, settings.resource, limit
            continue
        # What an emulator of another distribution can do is not known here.
        for fault in planned[name] if DRIVERS.is_built_in(driver) else ():
            roles = DATA_ROLES.get(fault.kind, settings.roles)
            if not set(roles) & set(settings.roles):
                limit = f"is a fault of a {' or '.join(roles)}, {name} is none"
                yield f"sim.faults.{name}", "kind", fault.kind, limit
            elif fault.kind in DATA_ROLES and fault.at != "fetch":
                limit = f'{fault.kind} strikes at "fetch" alone'
                yield f"sim.faults.{name}", "at", fault.at, limit
            if fault.kind in FRAME_KINDS and DRIVERS[driver].link != "itla":
                limit = f"is a fault of itla.msa, not of {driver}"
                yield f"sim.faults.{name}", "kind", fault.kind, limit


def _instruments(config: LabConfig, needs: Needs) -> Found:
    for name in sorted(config.alice.instruments.keys() & config.bob.instruments):
        limit = "Alice has an instrument of that name; names must be unique"
        yield "bob.instruments", name, name, limit
    if needs.broken.instruments:
        # What they play is not known.
        return
    played = Counter(str(r) for s in config.instruments.values() for r in s.roles)
    for role, wanted in needs.roles.items():
        if played[role] != wanted:
            limit = (
                f"{played[role]} instruments play this role, the scheme needs {wanted}"
            )
            yield "instruments", "role", role, limit


def _resources(config: LabConfig) -> Found:
    """Refuse two instruments in one place, however it is spelled.

    With ``[sim]`` too: the file is to run on the bench as it is. A recorded file may
    be read twice.
    """
    first: dict[str, str] = {}
    for name, settings in config.instruments.items():
        if is_file(settings.resource):
            continue
        owner = first.setdefault(canonical(settings.resource), name)
        if owner != name:
            limit = (
                f"{owner} is there already; a box that plays two roles is one "
                'instrument, with a list such as role = ["awg", "digitizer"]'
            )
            yield f"instruments.{name}", "resource", settings.resource, limit


def _set_points(config: LabConfig) -> Found:
    """Refuse a wired laser that nothing would switch on."""
    for signal in ("tx.laser", "rx.laser"):
        name = config.wiring.get(signal, "").partition(":")[0]
        if name in config.instruments and not (
            config.instruments[name].set_points.given()
        ):
            yield (
                f"instruments.{name}",
                "set_points",
                "absent",
                f"{signal} needs frequency_hz and power_dbm",
            )


def _wired_to_nothing(config: LabConfig) -> Found:
    """Refuse set-points of what carries no signal: no limit holds for its light."""
    for name, settings in config.instruments.items():
        for role in settings.set_points.roles_set(settings.roles):
            wired = (config.wiring.get(signal, "") for signal in SIGNALS[role])
            if not any(port.partition(":")[0] == name for port in wired):
                yield (
                    f"instruments.{name}",
                    "set_points",
                    settings.set_points.given(),
                    f"this {role} is wired to nothing; wire it to "
                    f"{' or '.join(SIGNALS[role])}, or leave set_points out",
                )


def _launch(config: LabConfig, broken: Broken = NOTHING_BROKEN) -> Found:
    """Refuse a laser that launches too much with all modulators open."""

    def set_points(signal: str) -> SetPoints:
        name = config.wiring.get(signal, "").partition(":")[0]
        settings = config.instruments.get(name)
        return settings.set_points if settings else SetPoints()

    power_dbm = set_points("tx.laser").power_dbm
    attenuator = config.wiring.get("tx.attenuator", "").partition(":")[0]
    if power_dbm is None or attenuator in broken.instruments:
        return
    limit_dbm = config.safety.max_launch_dbm
    launch_dbm = power_dbm - config.safety.insertion_db
    launch_dbm -= set_points("tx.attenuator").attenuation_db or 0.0
    if launch_dbm > limit_dbm:
        limit = f"laser, attenuator and insertion loss launch {launch_dbm:.2f} dBm"
        yield "safety", "max_launch_dbm", limit_dbm, limit


def _wiring(config: LabConfig, needs: Needs) -> Found:
    given = config.wiring.keys() | needs.broken.signals
    for signal in (s for s in needs.signals if s not in given):
        yield "wiring", signal, "absent", f"{config.link.scheme} needs this signal"
    used: dict[str, str] = {}
    known = {**needs.known, **OPTICS_SIGNALS}
    for signal, port in config.wiring.items():
        if signal not in known:
            limit = f"unknown signal; {nearest(signal, known)}"
            yield "wiring", signal, port, limit
        if port in used:
            yield "wiring", signal, port, f"this port carries {used[port]} already"
        used.setdefault(port, signal)
        if port.partition(":")[0] not in needs.broken.instruments:
            yield from _port(config, signal, port, known)


def _port(config: LabConfig, signal: str, wired: str, known: Signals) -> Found:
    name, _, port = wired.partition(":")
    if name not in config.instruments:
        limit = f"unknown instrument {name!r}; {nearest(name, config.instruments)}"
        yield "wiring", signal, wired, limit
        return
    settings = config.instruments[name]
    entry = DRIVERS[settings.driver]
    if port not in entry.ports:
        known_ports = ", ".join(entry.ports)
        limit = f"{settings.driver} has no port {port!r}; it has {known_ports}"
        yield "wiring", signal, wired, limit
    if signal in known:
        ways = [known[signal], *([OR_ELSE[signal]] if signal in OR_ELSE else [])]
        played = {r for r in settings.roles if r in entry.roles_of(port)}
        is_marker = port.startswith("marker")
        if not any(role in played and is_marker is m for role, m in ways):
            kinds = (f"{'a marker' if m else 'a channel'} of the {r}" for r, m in ways)
            yield "wiring", signal, wired, f"must be {', or '.join(kinds)}"
        elif signal == "rx.phase" and "awg" in played:
            yield from _held_phase(config, signal, wired)


def _held_phase(config: LabConfig, signal: str, wired: str) -> Found:
    """Refuse a generator that cannot hold a constant, or plays something besides."""
    name = wired.partition(":")[0]
    driver = config.instruments[name].driver
    if not DRIVERS[driver].holds_levels:
        limit = f"{driver} cannot hold a constant on a channel"
        yield "wiring", signal, wired, limit
    for other, port in config.wiring.items():
        if other != signal and port.startswith(f"{name}:"):
            limit = f"{name} holds a constant for {signal}, it plays nothing else"
            yield "wiring", other, port, limit
