"""A serial port, or a serial device server on TCP, with a deadline on every call."""

from __future__ import annotations

from typing import Any, Protocol

from driver.transports.tcp import TcpTransport
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)

DEFAULT_BAUD = 115200
_BAUDS = (1200, 4_000_000)
_EXPECTED = "expected serial:///dev/port?baud=rate or socket://host:port"


class ByteTransport(Protocol):
    """A byte stream to one instrument, serial or TCP."""

    instrument: str

    @property
    def is_open(self) -> bool:
        """Whether the link is connected, as far as this side knows."""
        ...

    def open(self, timeout_s: float) -> None:
        """Connect within `timeout_s` [s]."""
        ...

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        ...

    def write(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Send all of `data` before `deadline`."""
        ...

    def read_until(
        self, terminator: bytes, deadline: Deadline, limit: int = 1 << 20
    ) -> bytes:
        """Return the bytes up to the next `terminator`, without it."""
        ...

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target`; return fewer bytes only when the deadline passed [1]."""
        ...

    def take_unread(self) -> bytes:
        """Return and forget what has arrived already; waits for nothing."""
        ...


def drain(transport: ByteTransport, quiet_s: float, deadline: Deadline) -> None:
    """Read and drop what comes, until nothing comes for `quiet_s` [s].

    Raises
    ------
    ConnectionLost
    InstrumentTimeout
        If the instrument does not stop to send before `deadline`.
    """
    scrap = memoryview(bytearray(1))
    while transport.read_into(scrap, Deadline(min(quiet_s, deadline.remaining_s()))):
        transport.take_unread()
        if deadline.expired:
            reason = f"not silent within {deadline.timeout_s:g} s"
            raise InstrumentTimeout(transport.instrument, "read", reason)


def parse_serial(instrument: str, resource: str) -> tuple[str, int]:
    """Split ``serial:///dev/port?baud=rate`` into port and rate [Bd].

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    scheme, _, rest = resource.partition("://")
    port, question, option = rest.partition("?")
    key, _, value = option.partition("=")
    well_formed = not question or (key == "baud" and value.isdecimal())
    if scheme != "serial" or not port or not well_formed:
        raise RangeError(instrument, resource, _EXPECTED)
    baud = int(value) if question else DEFAULT_BAUD
    if not _BAUDS[0] <= baud <= _BAUDS[1]:
        limits = f"limits are {_BAUDS[0]}..{_BAUDS[1]}"
        raise RangeError(instrument, f"{baud} Bd", limits)
    return port, baud


def byte_transport(instrument: str, resource: str) -> ByteTransport:
    """Return the transport, not yet open, for a serial resource.

    ``socket://host:port`` is a serial device server, reached over TCP.

    Raises
    ------
    RangeError
        If the resource has no such form.
    """
    scheme, _, rest = resource.partition("://")
    if scheme == "socket":
        return TcpTransport(instrument, f"tcp://{rest}")
    return SerialTransport(instrument, resource)


class SerialTransport:
    """A serial port, 8 data bits, no parity, one stop bit.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``serial:///dev/port?baud=rate``.
    """

    def __init__(self, instrument: str, resource: str) -> None:
        self.instrument, self.resource = instrument, resource
        self._name, self._baud = parse_serial(instrument, resource)
        self._port: Any = None
        self._received = bytearray()

    @property
    def is_open(self) -> bool:
        """Whether the port is open, as far as this side knows."""
        return self._port is not None

    def open(self, timeout_s: float) -> None:
        """Open the port; what arrived before is dropped.

        Raises
        ------
        ConnectError
            If there is no such port, or it is in use.
        """
        # Imported when needed: simulated benches without serial devices, and
        # offline work, do without it.
        import serial

        self.close()
        try:
            self._port = serial.Serial(
                self._name, self._baud, timeout=timeout_s, write_timeout=timeout_s
            )
            self._port.reset_input_buffer()
        except (OSError, ValueError) as error:
            self.close()
            action = f"open {self.resource}"
            raise ConnectError(self.instrument, action, str(error)) from error

    def close(self) -> None:
        """Close the port; calling it again does nothing."""
        port, self._port = self._port, None
        self._received.clear()
        if port is not None:
            port.close()

    def write(self, data: bytes | memoryview, deadline: Deadline) -> None:
        """Send all of `data` before `deadline`.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        import serial

        port = self._require("write")
        try:
            port.write_timeout = max(deadline.remaining_s(), 1e-3)
            port.write(data)
        except serial.SerialTimeoutException as error:
            raise self._late("write", deadline) from error
        except OSError as error:
            raise self._lost("write", error) from error

    def read_until(
        self, terminator: bytes, deadline: Deadline, limit: int = 1 << 20
    ) -> bytes:
        """Return the bytes up to the next `terminator`, without it.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        WireProtocolError
            If it does not come within `limit` bytes.
        """
        port = self._require("read")
        while (at := self._received.find(terminator)) < 0:
            if len(self._received) > limit:
                reason = f"no {terminator!r} in {limit} bytes"
                raise WireProtocolError(self.instrument, "read", reason)
            if deadline.expired:
                raise self._late("read", deadline)
            try:
                port.timeout = deadline.remaining_s()
                self._received += port.read(max(1, port.in_waiting))
            except OSError as error:
                raise self._lost("read", error) from error
        found = bytes(self._received[:at])
        del self._received[: at + len(terminator)]
        return found

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target` with the next bytes.

        Returns
        -------
        int
            Bytes read [1]; fewer than asked for only when the deadline passed.

        Raises
        ------
        ConnectionLost
        """
        port = self._require("read")
        while len(self._received) < len(target) and not deadline.expired:
            missing = len(target) - len(self._received)
            try:
                port.timeout = deadline.remaining_s()
                self._received += port.read(max(missing, port.in_waiting))
            except OSError as error:
                raise self._lost("read", error) from error
        done = min(len(target), len(self._received))
        target[:done] = self._received[:done]
        del self._received[:done]
        return done

    def take_unread(self) -> bytes:
        """Return and forget what has arrived already; waits for nothing.

        Raises
        ------
        ConnectionLost
        """
        port = self._require("read")
        found = bytes(self._received)
        self._received.clear()
        try:
            return found + bytes(port.read(port.in_waiting))
        except OSError as error:
            raise self._lost("read", error) from error

    def _require(self, action: str) -> Any:
        if self._port is None:
            raise StateError(self.instrument, action, "the link is closed")
        return self._port

    def _late(self, action: str, deadline: Deadline) -> InstrumentTimeout:
        reason = f"not done within {deadline.timeout_s:g} s"
        return InstrumentTimeout(self.instrument, action, reason)

    def _lost(self, action: str, error: OSError) -> ConnectionLost:
        self.close()
        return ConnectionLost(self.instrument, action, str(error))
