"""Look for instruments: VISA resources, serial ports, hosts on the network.

Only SCPI's ``*IDN?`` is ever asked, and only where an instrument of that kind
listens. A serial port is listed and left alone: nobody knows what a few bytes
do to whatever hangs on it.
"""

from __future__ import annotations

import re
import socket
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from driver.hal import Identity
from driver.links import make_link
from driver.registry import DRIVERS
from driver.scpi.link import ScpiLink
from driver.time_tagger.idq_link import IdqLink
from scqc.core.errors import InstrumentError

#: Ports on which instruments of this kind listen, and the form of a resource.
PORTS: dict[int, str] = {
    5025: "tcp://{host}:5025",
    4880: "hislip://{host}:4880/hislip0",
    4000: "tcp://{host}:4000",
    5000: "tcp://{host}:5000",
    5555: "zmq://{host}:5555",
}
#: Ports of instruments that have no identity to ask for, and whose they are.
UNASKED: dict[int, tuple[str, str]] = {
    12000: ("tcp://{host}:12000", "open, not asked: perhaps singlequantum.websq"),
}
#: What an identity, "vendor,model", must hold for a driver to be proposed.
IDENTITIES: dict[str, str] = {
    "keysight.m8190a": r"(keysight|agilent).*,\s*m8190",
    "keysight.m8195a": r"(keysight|agilent).*,\s*m8195",
    "keysight.infiniium": r"(keysight|agilent).*,\s*(dso[szvx]|mxr|uxr|dsa)",
    "keysight.n7776c": r"(keysight|agilent).*,\s*n777",
    "tektronix.awg70000": r"tektronix.*,\s*awg70\d\d\d",
    "tektronix.mso": r"tektronix.*,\s*(mso|dpo)",
    "redpitaya.stemlab": r"redpitaya",
    "thorlabs.pm100": r"thorlabs.*,\s*pm\d",
    "idq.id900": r"(idq|id quantique).*,\s*(id900|id1000)",
}


@dataclass(frozen=True, slots=True)
class Found:
    """Something that may be an instrument.

    Parameters
    ----------
    kind : {"network", "visa", "serial"}
    resource : str
        As it is written in a lab config.
    identity : str
        Vendor, model, serial number and firmware; empty if it was not asked or
        did not say.
    driver : str
        The driver that fits; empty if none is known to.
    note : str
        What else is known of it.
    """

    kind: Literal["network", "visa", "serial"]
    resource: str
    identity: str = ""
    driver: str = ""
    note: str = ""

    def as_row(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def scan(hosts: Sequence[str], timeout_s: float = 1.0) -> list[Found]:
    """Look everywhere; what does not answer is left out.

    Parameters
    ----------
    hosts : sequence of str
        Network addresses to look at, besides what VISA knows of.
    timeout_s : float
        Deadline for connecting and for the identity [s].

    Returns
    -------
    list of Found
        Network, then VISA, then serial ports; by resource.
    """
    looked = [form.format(host=host) for host in hosts for form in PORTS.values()]
    with ThreadPoolExecutor(16, "scan") as pool:
        asked = list(pool.map(lambda resource: ask(resource, timeout_s), looked))
    network = [found for found in asked if found is not None]
    network += [found for host in hosts for found in unasked(host, timeout_s)]
    return [*network, *visa_resources(), *serial_ports()]


def ask(resource: str, timeout_s: float) -> Found | None:
    """Ask who listens at a network resource; None if nobody does."""
    kind: Literal["scpi", "idq"] = "idq" if resource.startswith("zmq") else "scpi"
    link = make_link(kind, "scan", resource, timeout_s, timeout_s)
    if not isinstance(link, ScpiLink | IdqLink):
        return None
    try:
        who = link.open()
    except InstrumentError:
        return None
    finally:
        link.close()
    return Found("network", resource, shown(who), driver_for(who))


def unasked(host: str, timeout_s: float) -> list[Found]:
    """Return what listens on the ports of instruments that cannot be asked."""
    listening = []
    for port, (form, note) in UNASKED.items():
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
        except OSError:
            continue
        listening.append(Found("network", form.format(host=host), note=note))
    return listening


def shown(who: Identity) -> str:
    """Return an identity as instruments write it."""
    return ",".join((who.vendor, who.model, who.serial, who.firmware))


def driver_for(who: Identity) -> str:
    """Return the driver that fits an identity; empty if none is known to."""
    text = f"{who.vendor},{who.model}"
    fitting = (
        name
        for name, pattern in IDENTITIES.items()
        if name in DRIVERS and re.search(pattern, text, re.IGNORECASE)
    )
    return next(fitting, "")


def visa_resources(
    list_resources: Callable[[], Sequence[str]] | None = None,
) -> list[Found]:
    """Return what VISA knows of, unasked; nothing where there is no VISA.

    Parameters
    ----------
    list_resources : callable, optional
        In the place of pyvisa's.
    """
    if list_resources is None:
        list_resources = _ask_visa
    # Serial ports have a list of their own.
    names = [name for name in sorted(list_resources()) if "ASRL" not in name]
    return [Found("visa", f"visa://{name}") for name in names]


def _ask_visa() -> Sequence[str]:
    import pyvisa

    manager = pyvisa.ResourceManager("@py")
    try:
        with warnings.catch_warnings():
            # It warns of every way to look that lacks an optional package.
            warnings.simplefilter("ignore")
            return manager.list_resources("?*")
    finally:
        manager.close()


def serial_ports() -> list[Found]:
    """Return the serial ports and what their adapters say of themselves."""
    from serial.tools import list_ports

    return [
        Found("serial", f"serial://{port.device}", note=_adapter(port.description))
        for port in sorted(list_ports.comports(), key=lambda port: port.device)
    ]


def _adapter(description: str | None) -> str:
    return "" if description in (None, "n/a") else str(description)
