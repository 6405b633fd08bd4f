"""Names of VISA resources: ``visa://NAME?library=FILE&baud=RATE``.

``NAME`` is what VISA calls the instrument; both options may be left out. Without
a library pyvisa-py is used, which is pure Python.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl

from scqc.core.errors import RangeError

VISA = "visa://"
PURE_PYTHON = "@py"
_HOST = r"(?P<host>[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\])"
_NUMBER = r"(?:0x[0-9A-Fa-f]+|\d+)"
_SOCKET = re.compile(rf"TCPIP\d*::{_HOST}::(?P<port>\d+)::SOCKET", re.IGNORECASE)
_NETWORK = re.compile(
    rf"TCPIP\d*::{_HOST}(?:,\d+)?(?:::(?P<device>[A-Za-z][A-Za-z0-9]*(?:,\d+)?))?"
    r"(?:::INSTR)?",
    re.IGNORECASE,
)
_BUS = re.compile(r"GPIB\d*::\d{1,2}(?:::\d{1,2})?(?:::INSTR)?", re.IGNORECASE)
_USB = re.compile(
    rf"USB\d*::{_NUMBER}::{_NUMBER}::[^:?]+(?:::\d+)?(?:::INSTR)?", re.IGNORECASE
)
_SERIAL = re.compile(r"ASRL(?P<port>/[^:?]+|\d+)(?:::INSTR)?", re.IGNORECASE)
_EXAMPLES = (
    "expected for example visa://TCPIP::192.0.2.7::inst0::INSTR, "
    "visa://TCPIP::192.0.2.7::hislip0::INSTR, visa://TCPIP::192.0.2.7::5025::SOCKET, "
    "visa://GPIB0::5::INSTR, visa://USB0::0x1313::0x8078::P0001::INSTR or "
    "visa://ASRL/dev/ttyUSB0::INSTR?baud=9600"
)


@dataclass(frozen=True, slots=True)
class VisaName:
    """What the name of a VISA resource says.

    Parameters
    ----------
    name : str
        As VISA wants it.
    library : str
        Of the VISA implementation: a file, or ``@py``.
    baud : int or None
        Rate of a serial port [Bd]; None leaves it to the library.
    is_stream : bool
        Whether it carries bytes without ends of messages: serial, or a socket.
    plain : str
        The same place without VISA, as this program writes it; empty if there is
        none.
    """

    name: str
    library: str
    baud: int | None
    is_stream: bool
    plain: str

    @property
    def place(self) -> str:
        """One spelling for all names of the same place."""
        if self.plain:
            return self.plain
        family, _, rest = self.name.upper().partition("::")
        board = family if family[-1].isdigit() else f"{family}0"
        return f"{VISA}{board}::{rest.removesuffix('::INSTR')}::INSTR"


def parse_visa(instrument: str, resource: str) -> VisaName:
    """Take ``visa://NAME?library=FILE&baud=RATE`` to pieces.

    Raises
    ------
    RangeError
        If the resource has another form, with right ones as examples.
    """
    scheme, _, rest = resource.partition("://")
    name, question, query = rest.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    options = dict(pairs)
    known = options.keys() <= {"library", "baud"} and len(options) == len(pairs)
    if scheme != "visa" or not known or bool(question) != bool(options):
        raise RangeError(instrument, resource, _EXAMPLES)
    baud, library = options.get("baud"), options.get("library", PURE_PYTHON)
    serial = _SERIAL.fullmatch(name)
    wrong_rate = baud is not None and (not serial or not baud.isdecimal())
    if wrong_rate or not library:
        raise RangeError(instrument, resource, _EXAMPLES)
    plain = _plain(name, baud)
    if not plain and not any(form.fullmatch(name) for form in (_NETWORK, _BUS, _USB)):
        raise RangeError(instrument, resource, _EXAMPLES)
    is_stream = plain.startswith(("tcp://", "serial://"))
    return VisaName(name, library, int(baud) if baud else None, is_stream, plain)


def _plain(name: str, baud: str | None) -> str:
    """Return what the program would call this place without VISA, if anything."""
    socket, network = _SOCKET.fullmatch(name), _NETWORK.fullmatch(name)
    serial = _SERIAL.fullmatch(name)
    if socket:
        return f"tcp://{socket['host']}:{int(socket['port'])}"
    if serial:
        port = serial["port"]
        port = f"COM{port}" if port.isdecimal() else port
        return f"serial://{port}" + (f"?baud={baud}" if baud else "")
    if network and (network["device"] or "").lower().startswith("hislip"):
        sub_address, _, number = network["device"].partition(",")
        return f"hislip://{network['host']}:{number or 4880}/{sub_address}"
    return ""
