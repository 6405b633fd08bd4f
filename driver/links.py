"""Which link an instrument's driver is built on, and where it may lead."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

from driver.detector_bias.websq_link import WebsqLink, parse_websq
from driver.laser.itla_link import ItlaLink
from driver.line_link import LineLink
from driver.phase_modulator.prompt_link import PromptLink
from driver.registry import Link, LinkKind
from driver.scpi.event_link import EventLink
from driver.scpi.link import ScpiLink, ScpiTransport
from driver.time_tagger.idq_link import IdqLink
from driver.transports.hislip import HislipTransport
from driver.transports.serial_port import ByteTransport, byte_transport
from driver.transports.tcp import TcpTransport
from driver.transports.visa_link import visa_stream, visa_transport
from driver.transports.visa_names import VISA, parse_visa
from driver.transports.zmq_link import ZmqLink, parse_zmq
from scqc.core.errors import ConfigError, ConfigProblem, RangeError
from scqc.core.extensions import INSTRUMENTS

_BYTE_LINKS: dict[str, Callable[[ByteTransport, float, float], Link]] = {
    "prompt": PromptLink,
    "line": LineLink,
    "itla": ItlaLink,
}


def check_resource(kind: LinkKind | str, instrument: str, resource: str) -> None:
    """Check the form of a resource for this kind of link.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    checks: dict[str, Callable[[str, str], object]] = {
        "idq": parse_zmq,
        # Building a transport touches no port.
        "scpi": scpi_transport,
        "scpi-crlf": scpi_transport,
        "scpi-events": scpi_transport,
        "websq": parse_websq,
        "prompt": byte_carrier,
        "line": byte_carrier,
        "itla": byte_carrier,
    }
    if ":" in kind:
        own_link(kind, instrument, resource, 1.0, 1.0)
    else:
        checks[kind](instrument, resource)


def make_link(
    kind: LinkKind | str,
    instrument: str,
    resource: str,
    open_timeout_s: float = 5.0,
    io_timeout_s: float = 10.0,
) -> Link:
    """Build a link, not yet open.

    Parameters
    ----------
    kind : LinkKind
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        Where it listens.
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].

    Raises
    ------
    RangeError
        If the resource has not the form for this kind.
    """
    if ":" in kind:
        return own_link(kind, instrument, resource, open_timeout_s, io_timeout_s)
    if kind == "idq":
        return IdqLink(ZmqLink(instrument, resource), open_timeout_s, io_timeout_s)
    if kind == "websq":
        return WebsqLink(instrument, resource, open_timeout_s, io_timeout_s)
    if kind in _BYTE_LINKS:
        transport = byte_carrier(instrument, resource)
        return _BYTE_LINKS[kind](transport, open_timeout_s, io_timeout_s)
    carrier = scpi_transport(instrument, resource)
    if kind == "scpi-events":
        return EventLink(carrier, open_timeout_s, io_timeout_s)
    line_end = "\r\n" if kind == "scpi-crlf" else "\n"
    return ScpiLink(carrier, open_timeout_s, io_timeout_s, line_end=line_end)


def own_link(
    kind: str,
    instrument: str,
    resource: str,
    open_timeout_s: float,
    io_timeout_s: float,
) -> Link:
    """Build a link that a driver brings along, not yet open.

    Parameters
    ----------
    kind : str
        ``module:class``.
    instrument, resource : str
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].

    Raises
    ------
    RangeError
        If the resource has another form.
    ConfigError
        If the class cannot be imported or built.
    """
    module, _, name = kind.partition(":")
    try:
        link_class = getattr(import_module(module), name)
        made = link_class(instrument, resource, open_timeout_s, io_timeout_s)
    except RangeError:
        raise
    except Exception as error:
        # Somebody else's module may raise anything.
        reason = f"this link cannot be made: {type(error).__name__}: {error}"
        package = module.partition(".")[0]
        problem = ConfigProblem(package, INSTRUMENTS, "link", kind, reason)
        raise ConfigError([problem]) from error
    return cast(Link, made)


def scpi_transport(instrument: str, resource: str) -> ScpiTransport:
    """Return the transport, not yet open, for a SCPI resource.

    ``tcp://host:port`` is a plain byte stream, ``hislip://host:port/hislip0``
    has messages and a device clear, ``visa://NAME`` is whatever VISA reaches.

    Raises
    ------
    RangeError
        If the resource has no such form.
    """
    if resource.startswith(VISA):
        return visa_transport(instrument, resource)
    if resource.startswith("hislip://"):
        return HislipTransport(instrument, resource)
    return TcpTransport(instrument, resource)


def byte_carrier(instrument: str, resource: str) -> ByteTransport:
    """Return the transport, not yet open, for an instrument on a byte stream.

    ``serial:///dev/port?baud=rate``, ``socket://host:port`` or
    ``visa://ASRL/dev/port::INSTR?baud=rate``.

    Raises
    ------
    RangeError
        If the resource has no such form.
    """
    if resource.startswith(VISA):
        return visa_stream(instrument, resource)
    return byte_transport(instrument, resource)


def is_file(resource: str) -> bool:
    """Return whether a resource is a recorded file, not an instrument."""
    return resource.startswith("file://")


def takes_one_client(resource: str) -> bool:
    """Return whether only one program at a time can talk through `resource`.

    Serial ports, serial device servers, USB, and what makers' packages reach are
    such.
    """
    if resource.startswith(VISA):
        name = parse_visa("resource", resource).name
        return name.upper().startswith(("ASRL", "USB"))
    return resource.startswith(("serial://", "socket://", "swabian://", "spcm://"))
