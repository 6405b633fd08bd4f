"""A TCP link with a deadline on every call.

Why not a VISA socket: those take 44 ms per write-then-query (Nagle against
delayed acknowledgement), spin after the peer has closed, and hand a late reply
to the next query. Here Nagle is off, end of file is `ConnectionLost` at once,
and reads go straight into the caller's buffer.
"""

from __future__ import annotations

import socket
import time

from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)

_BUFFER_BYTES = 1 << 16
_CONNECT_ATTEMPTS = 3
_CONNECT_PAUSE_S = 0.05


def parse_resource(instrument: str, resource: str) -> tuple[str, int]:
    """Split ``tcp://host:port`` into host and port.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    scheme, _, rest = resource.partition("://")
    host, colon, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if scheme != "tcp" or not colon or not host or not port.isdecimal():
        raise RangeError(instrument, resource, "expected tcp://host:port")
    if not 1 <= int(port) <= 65535:
        raise RangeError(instrument, resource, f"port {port} exceeds 1..65535")
    return host, int(port)


class TcpTransport:
    """A byte stream to one instrument.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``tcp://host:port``.
    """

    def __init__(self, instrument: str, resource: str) -> None:
        self.instrument, self.resource = instrument, resource
        self._address = parse_resource(instrument, resource)
        self._socket: socket.socket | None = None
        self._buffer = bytearray(_BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0

    @property
    def is_open(self) -> bool:
        """Whether the link is connected, as far as this side knows."""
        return self._socket is not None

    def open(self, timeout_s: float) -> None:
        """Connect within `timeout_s` [s]; a refusal is tried again twice.

        Raises
        ------
        ConnectError
            If the instrument refuses, cannot be reached, or does not answer.
        """
        self.close()
        deadline = Deadline(timeout_s)
        for attempt in range(1, _CONNECT_ATTEMPTS + 1):
            try:
                link = socket.create_connection(
                    self._address, timeout=max(deadline.remaining_s(), 1e-3)
                )
            except TimeoutError as error:
                raise self._no_connection(f"no answer in {timeout_s} s") from error
            except OSError as error:
                late = deadline.remaining_s() <= _CONNECT_PAUSE_S
                if attempt == _CONNECT_ATTEMPTS or late:
                    raise self._no_connection(error.strerror or str(error)) from error
                time.sleep(_CONNECT_PAUSE_S)
                continue
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = link
            return

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        link, self._socket = self._socket, None
        self._start = self._end = 0
        if link is not None:
            link.close()

    def resynchronise(self, timeout_s: float) -> None:
        """Connect anew: a late reply dies with the old connection.

        Raises
        ------
        ConnectError
        """
        self.open(timeout_s)

    def write(
        self, data: bytes | memoryview, deadline: Deadline, *, end: bool = True
    ) -> None:
        """Send all of `data` before `deadline`; a byte stream has no `end`.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        link = self._require("write")
        try:
            link.settimeout(max(deadline.remaining_s(), 1e-6))
            link.sendall(data)
        except TimeoutError as error:
            raise self._late("write", deadline) from error
        except OSError as error:
            raise self._lost("write", error.strerror or str(error)) from error

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target` with the next bytes.

        Returns
        -------
        int
            Bytes read [1]; fewer than asked for only when the deadline passed.

        Raises
        ------
        ConnectionLost
            At once, when the instrument ends the link.
        """
        wanted = len(target)
        done = min(self._end - self._start, wanted)
        target[:done] = self._view[self._start : self._start + done]
        self._start += done
        while done < wanted:
            received = self._receive(target[done:], deadline)
            if received == 0:
                break
            done += received
        return done

    def read_line(self, deadline: Deadline, limit: int = 1 << 20) -> bytes:
        """Return the bytes up to the next line feed, without it.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        WireProtocolError
            If no line feed comes within `limit` bytes.
        """
        return self.read_until(b"\n", deadline, limit)

    def read_until(
        self, terminator: bytes, deadline: Deadline, limit: int = 1 << 20
    ) -> bytes:
        """Return the bytes up to the next `terminator`, one byte, without it.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        WireProtocolError
            If it does not come within `limit` bytes.
        """
        line = b""
        while True:
            at = self._buffer.find(terminator, self._start, self._end)
            stop = self._end if at < 0 else at
            line += bytes(self._view[self._start : stop])
            if at >= 0:
                self._start = at + 1
                return line
            self._start = self._end = 0
            if len(line) > limit:
                raise WireProtocolError(
                    self.instrument, "read", f"no {terminator!r} in {limit} bytes"
                )
            self._end = self._receive(self._view, deadline)
            if self._end == 0:
                raise self._late("read", deadline)

    def take_unread(self) -> bytes:
        """Return and forget what has arrived already; waits for nothing.

        Raises
        ------
        ConnectionLost
        """
        found = bytes(self._view[self._start : self._end])
        self._start = self._end = 0
        link = self._require("read")
        try:
            link.setblocking(False)
            rest = link.recv(_BUFFER_BYTES)
        except BlockingIOError:
            return found
        except OSError as error:
            raise self._lost("read", error.strerror or str(error)) from error
        if not rest:
            raise self._lost("read", "the instrument closed the link")
        return found + rest

    @property
    def pending_bytes(self) -> int:
        """Bytes received and not yet read [1]."""
        return self._end - self._start

    def _receive(self, target: memoryview, deadline: Deadline) -> int:
        """Receive once; zero means that the deadline passed."""
        link = self._require("read")
        try:
            link.settimeout(max(deadline.remaining_s(), 1e-6))
            received = link.recv_into(target)
        except TimeoutError:
            return 0
        except OSError as error:
            raise self._lost("read", error.strerror or str(error)) from error
        if received == 0:
            raise self._lost("read", "the instrument closed the link")
        return received

    def _require(self, action: str) -> socket.socket:
        if self._socket is None:
            raise StateError(self.instrument, action, "the link is closed")
        return self._socket

    def _no_connection(self, reason: str) -> ConnectError:
        return ConnectError(self.instrument, f"connect {self.resource}", reason)

    def _late(self, action: str, deadline: Deadline) -> InstrumentTimeout:
        reason = f"not done within {deadline.timeout_s:g} s"
        return InstrumentTimeout(self.instrument, action, reason)

    def _lost(self, action: str, reason: str) -> ConnectionLost:
        self.close()
        return ConnectionLost(self.instrument, action, reason)
