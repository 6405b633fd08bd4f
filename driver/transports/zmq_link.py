"""ZeroMQ links with a deadline on every call.

A request whose reply is late leaves its socket unusable, and the reply would
answer the next request. After any failure the socket is therefore closed with
no linger and opened anew before the next request. A peer that ends the
connection shows at once, through the socket's monitor, not after the deadline.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl

import zmq
from zmq.utils.monitor import recv_monitor_message

from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    InstrumentError,
    InstrumentTimeout,
    RangeError,
    StateError,
)

CONTROL_PORT, DATALINK_PORT, STREAM_PORT = 5555, 6060, 4242
_CONNECT_ATTEMPTS, _CONNECT_PAUSE_S = 3, 0.05
_EXPECTED = "expected zmq://host:port?datalink=port&stream=port"


@dataclass(frozen=True, slots=True)
class ZmqAddress:
    """Where a time controller and its data link listen.

    Parameters
    ----------
    host : str
        Of the controller and of the data link service alike.
    control, datalink : int
        Ports of the two request sockets.
    stream : int
        Port of the stream of channel 1; channel n has `stream` + n - 1.
    """

    host: str
    control: int = CONTROL_PORT
    datalink: int = DATALINK_PORT
    stream: int = STREAM_PORT


def parse_zmq(instrument: str, resource: str) -> ZmqAddress:
    """Split ``zmq://host:port?datalink=port&stream=port``; ports may be left out.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    scheme, _, rest = resource.partition("://")
    place, _, query = rest.partition("?")
    host, colon, port = place.rpartition(":")
    if not colon:
        host, port = place, str(CONTROL_PORT)
    try:
        options = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise RangeError(instrument, resource, _EXPECTED) from error
    values = {"control": port, **dict(options)}
    known = {"control", "datalink", "stream"}
    ports = {k: int(v) for k, v in values.items() if v.isdecimal() and k in known}
    repeated = len(options) != len(dict(options)) or "control" in dict(options)
    if scheme != "zmq" or not host or repeated or len(ports) != len(values):
        raise RangeError(instrument, resource, _EXPECTED)
    for value in ports.values():
        if not 1 <= value <= 65535:
            raise RangeError(instrument, resource, f"port {value} exceeds 1..65535")
    return ZmqAddress(host, **ports)


class _Endpoint:
    """One socket and the monitor that tells when its peer is gone."""

    def __init__(
        self, instrument: str, address: str, context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self._instrument, self._address = instrument, address
        self._context = context
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a socket."""
        return self._socket is not None

    def close(self) -> None:
        """Close the socket and what waits in it; again does nothing."""
        link, self._socket = self._socket, None
        monitor, self._monitor = self._monitor, None
        if link is not None:
            link.disable_monitor()
            link.close(linger=0)
        if monitor is not None:
            monitor.close(linger=0)

    def _connect(self, kind: int) -> None:
        self.close()
        link = self._context.socket(kind)
        link.setsockopt(zmq.LINGER, 0)
        # What was received is kept, however long nobody asks for it.
        link.setsockopt(zmq.RCVHWM, 0)
        self._socket = link
        self._monitor = link.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        link.connect(self._address)

    def _receive(self, action: str, deadline: Deadline) -> zmq.Frame:
        """Wait for a message; close and raise when there will be none."""
        link, monitor = self._socket, self._monitor
        if link is None or monitor is None:
            raise StateError(self._instrument, action, "the link is closed")
        poller = zmq.Poller()
        poller.register(link, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        gone = False
        while True:
            # A message that came just before the peer left is still delivered.
            wait_ms = 0 if gone else int(1e3 * deadline.remaining_s()) + 1
            ready = dict(poller.poll(wait_ms))
            if link in ready:
                return link.recv(flags=zmq.NOBLOCK, copy=False)
            if gone:
                reason = "the instrument ended the connection"
                raise self._failed(ConnectionLost, action, reason)
            if monitor in ready:
                recv_monitor_message(monitor, flags=zmq.NOBLOCK)
                gone = True
            elif deadline.expired:
                reason = f"no answer within {deadline.timeout_s:g} s"
                raise self._failed(InstrumentTimeout, action, reason)

    def _failed(
        self, kind: type[InstrumentError], action: str, reason: str
    ) -> InstrumentError:
        self.close()
        return kind(self._instrument, action, reason)


class ZmqRequester(_Endpoint):
    """A request socket (REQ): one message out, one message back."""

    def open(self, timeout_s: float) -> None:
        """Connect; a refusal is tried again twice.

        Raises
        ------
        ConnectError
            If nothing listens there; ZeroMQ itself would wait for ever.
        """
        host, _, port = self._address.removeprefix("tcp://").rpartition(":")
        deadline, place = Deadline(timeout_s), (host, int(port))
        for attempt in range(1, _CONNECT_ATTEMPTS + 1):
            try:
                limit_s = max(deadline.remaining_s(), 1e-3)
                socket.create_connection(place, limit_s).close()
            except OSError as error:
                late = deadline.remaining_s() <= _CONNECT_PAUSE_S
                if attempt == _CONNECT_ATTEMPTS or late:
                    reason = error.strerror or str(error)
                    raise self._failed(
                        ConnectError, f"connect {self._address}", reason
                    ) from error
                time.sleep(_CONNECT_PAUSE_S)
            else:
                break
        self._connect(zmq.REQ)

    def request(self, message: str, deadline: Deadline) -> str:
        """Send `message` and return the reply; after a failure this is closed.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        if self._socket is None:
            raise StateError(self._instrument, message, "the link is closed")
        try:
            self._socket.setsockopt(zmq.SNDTIMEO, int(1e3 * deadline.remaining_s()) + 1)
            self._socket.send(message.encode())
            return self._receive(message, deadline).bytes.decode(errors="replace")
        except zmq.Again as error:
            reason = f"not sent within {deadline.timeout_s:g} s"
            raise self._failed(InstrumentTimeout, message, reason) from error
        except BaseException:
            # An interrupt between request and reply leaves the reply unread.
            self.close()
            raise


class ZmqStream(_Endpoint):
    """A stream socket (PAIR) that only receives."""

    def open(self) -> None:
        """Connect; whether anybody sends shows with the first message."""
        self._connect(zmq.PAIR)

    def receive(self, deadline: Deadline) -> memoryview:
        """Return the next message, not copied.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        return self._receive(f"stream {self._address}", deadline).buffer


class ZmqLink:
    """The sockets of one time controller: control, data link, streams.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``zmq://host:port?datalink=port&stream=port``.
    """

    def __init__(self, instrument: str, resource: str) -> None:
        self.instrument, self.resource = instrument, resource
        self.address = parse_zmq(instrument, resource)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._requesters: dict[int, ZmqRequester] = {}
        self._streams: dict[int, ZmqStream] = {}

    @property
    def is_open(self) -> bool:
        """Whether `open` succeeded and `close` was not called since."""
        return self._context is not None

    @property
    def needs_reconnecting(self) -> bool:
        """Whether a request socket was given up after a failure."""
        return any(not r.is_open for r in self._requesters.values())

    def open(self, timeout_s: float) -> None:
        """Connect both request sockets.

        Raises
        ------
        ConnectError
            If the controller or the data link service does not listen.
        """
        self.close()
        deadline = Deadline(timeout_s)
        self._context = zmq.Context()
        address = self.address
        for port in (address.control, address.datalink):
            requester = ZmqRequester(
                self.instrument, f"tcp://{address.host}:{port}", self._context
            )
            self._requesters[port] = requester
        try:
            for requester in self._requesters.values():
                requester.open(deadline.remaining_s())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all sockets; calling it again does nothing."""
        self.close_streams()
        for requester in self._requesters.values():
            requester.close()
        self._requesters = {}
        context, self._context = self._context, None
        if context is not None:
            # Ending a context waits for its sockets: none may be left over.
            context.destroy(linger=0)

    def control(self, message: str, deadline: Deadline) -> str:
        """Ask the controller; see `ZmqRequester.request`."""
        return self._request(self.address.control, message, deadline)

    def datalink(self, message: str, deadline: Deadline) -> str:
        """Ask the data link service; see `ZmqRequester.request`."""
        return self._request(self.address.datalink, message, deadline)

    def open_stream(self, channel: int) -> None:
        """Connect to the stream of `channel`, numbered from 1."""
        if self._context is None:
            raise StateError(self.instrument, "open stream", "the link is closed")
        port = self.address.stream + channel - 1
        place = f"tcp://{self.address.host}:{port}"
        stream = ZmqStream(self.instrument, place, self._context)
        self._streams[channel] = stream
        stream.open()

    def receive(self, channel: int, deadline: Deadline) -> memoryview:
        """Return the next message of the stream of `channel`, not copied.

        Raises
        ------
        StateError
            If that stream is not open.
        ConnectionLost, InstrumentTimeout
        """
        if channel not in self._streams:
            raise StateError(self.instrument, f"stream {channel}", "is not open")
        return self._streams[channel].receive(deadline)

    def close_streams(self) -> None:
        """Close all streams; what waits in them is lost."""
        for stream in self._streams.values():
            stream.close()
        self._streams = {}

    def _request(self, port: int, message: str, deadline: Deadline) -> str:
        if port not in self._requesters:
            raise StateError(self.instrument, message, "the link is closed")
        return self._requesters[port].request(message, deadline)
