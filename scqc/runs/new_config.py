"""A new lab config: a template, and the instruments that were found.

What nobody could find is written with an address from the range that is kept
for documents (192.0.2.0/24), so that the file is complete and its gaps are easy
to see.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from driver.registry import DRIVERS, Role
from driver.set_points import KEYS
from scqc.runs.config_text import write_new_file
from scqc.runs.scan import Found

Scheme = Literal["cv", "dv"]
PLACEHOLDER = "192.0.2."
TEMPLATES = Path(__file__).parents[1] / "templates"
_SIMULATED = """
# Present: emulators on loopback sockets stand in for the instruments, and a
# virtual laboratory for the light between them. Remove it for the real bench.
[sim]
seed = 1
"""


@dataclass(frozen=True, slots=True)
class Seat:
    """A place of the bench that an instrument must take.

    Parameters
    ----------
    name : str
    party : {"alice", "bob"}
    role : str
    driver, resource : str
        If none is found.
    wiring : tuple of (signal, port)
    """

    name: str
    party: Literal["alice", "bob"]
    role: Role
    driver: str
    resource: str
    wiring: tuple[tuple[str, str], ...]


SEATS: dict[Scheme, tuple[Seat, ...]] = {
    "cv": (
        Seat(
            "awg",
            "alice",
            "awg",
            "keysight.m8190a",
            "tcp://192.0.2.10:5025",
            (
                ("tx.i", "1"),
                ("tx.q", "2"),
                ("switch.signal", "marker1"),
                ("switch.lo", "marker2"),
            ),
        ),
        Seat(
            "scope",
            "bob",
            "digitizer",
            "keysight.infiniium",
            "tcp://192.0.2.11:5025",
            (("rx.rf", "1"),),
        ),
    ),
    "dv": (
        Seat(
            "awg",
            "alice",
            "awg",
            "keysight.m8190a",
            "tcp://192.0.2.10:5025",
            (("tx.im", "1"), ("tx.pm", "2"), ("switch.signal", "marker1")),
        ),
        Seat(
            "tagger",
            "bob",
            "time-tagger",
            "idq.id900",
            "zmq://192.0.2.11:5555",
            (("rx.z0", "1"), ("rx.z1", "2"), ("rx.x0", "3"), ("rx.x1", "4")),
        ),
    ),
}
#: Where an instrument that no seat needs is wired to.
_SPARE: dict[Role, tuple[str, str]] = {
    "laser": ("laser", "tx.laser"),
    "attenuator": ("voa", "tx.attenuator"),
    "bias-controller": ("bias", "tx.bias"),
    "polarisation-controller": ("polarisation", "rx.polarisation"),
    "power-meter": ("power", "tx.power"),
    "detector-bias": ("snspd", "bias.z0"),
}
_EXAMPLES = {
    "frequency_hz": "193.4e12",
    "power_dbm": "10.0",
    "attenuation_db": "30.0",
    "bias_point": '"null"',
    "hold_v": "0.0",
    "polarisation_v": "[0.0, 0.0, 0.0, 0.0]",
    "wavelength_m": "1550e-9",
    "averages": "10",
    "bias_a": "[20e-6, 20e-6, 20e-6, 20e-6]",
    "trigger_level_v": "[0.1, 0.1, 0.1, 0.1]",
}


@dataclass(frozen=True, slots=True)
class Draft:
    """A new config and what is still to be filled in.

    Parameters
    ----------
    text : str
        TOML.
    missing : tuple of str
        Keys that hold a placeholder.
    """

    text: str
    missing: tuple[str, ...]


def draft(scheme: Scheme, found: Sequence[Found], *, simulated: bool) -> Draft:
    """Write a config for a scheme around the instruments that were found.

    Parameters
    ----------
    scheme : {"cv", "dv"}
    found : sequence of Found
        Those without a known driver are listed as comments.
    simulated : bool
        Whether emulators stand in for the instruments.
    """
    known = [one for one in found if one.driver]
    parts = [(TEMPLATES / f"{scheme}.toml").read_text(encoding="utf-8").rstrip()]
    wiring: list[str] = []
    missing: list[str] = []
    for seat in SEATS[scheme]:
        taken = next((f for f in known if seat.role in DRIVERS[f.driver].roles), None)
        if taken is not None:
            known.remove(taken)
        else:
            missing.append(f"{seat.party}.instruments.{seat.name}.resource")
        parts.append(_instrument(seat, taken))
        wiring += [
            f'"{s}" = "{seat.name}:{_port(taken, seat.role, p)}"'
            for s, p in seat.wiring
        ]
    for one in known:
        role = DRIVERS[one.driver].roles[0]
        if role in _SPARE:
            name, signal = _SPARE[role]
            parts.append(_spare(name, role, one))
            wiring.append(f'# "{signal}" = "{name}:1"')
    parts.append("# Which port of which instrument carries which signal.\n[wiring]")
    parts[-1] += "\n" + "\n".join(wiring)
    unknown = [f"# {f.resource}  {f.identity or f.note}" for f in found if not f.driver]
    if unknown:
        parts.append("# Also found, of no known kind:\n" + "\n".join(unknown))
    if simulated:
        parts.append(_SIMULATED.strip())
    text = "\n\n".join(parts) + "\n"
    return Draft(text, () if simulated else tuple(missing))


def write_new(path: Path, made: Draft) -> None:
    """Write a draft to a new file.

    Raises
    ------
    ConfigError
        If there is a file of that name.
    """
    write_new_file(path, made.text)


def _instrument(seat: Seat, taken: Found | None) -> str:
    driver, resource = seat.driver, f'"{seat.resource}"   # to be filled in'
    comment = "nothing of this kind was found"
    if taken is not None:
        driver, resource, comment = taken.driver, f'"{taken.resource}"', taken.identity
    lines = [
        f"# {comment}",
        f"[{seat.party}.instruments.{seat.name}]",
        f'role = "{seat.role}"',
        f'driver = "{driver}"',
        f"resource = {resource}",
        "io_timeout_s = 60.0",
    ]
    return "\n".join(lines)


def _spare(name: str, role: Role, found: Found) -> str:
    """Return the table of an instrument that the scheme can do without."""
    lines = [
        f"# {found.identity}",
        f"# [alice.instruments.{name}]",
        f'# role = "{role}"',
        f'# driver = "{found.driver}"',
        f'# resource = "{found.resource}"',
        f"# [alice.instruments.{name}.set_points]",
        *_commented(f"{key} = {_EXAMPLES[key]}" for key in KEYS.get(role, ())),
    ]
    return "\n".join(lines)


def _commented(lines: Iterable[str]) -> list[str]:
    return [f"# {line}" for line in lines]


def _port(taken: Found | None, role: Role, wanted: str) -> str:
    """Return the port of an instrument that stands for the template's."""
    if taken is None:
        return wanted
    ports = DRIVERS[taken.driver].plays[role]
    if wanted in ports:
        return wanted
    # Inputs of a box with two roles have names of their own, in the same order.
    number = int(wanted) if wanted.isdecimal() else 0
    return ports[number - 1] if 0 < number <= len(ports) else wanted
