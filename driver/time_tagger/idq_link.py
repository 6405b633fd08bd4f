"""Session with an ID Quantique time controller and its data link service.

Every command is answered, settings too, but what a setting is answered with is
not documented: it is ignored, and the driver asks for what was taken instead.
After any failed exchange both sockets are connected anew, and the controller
must be the one seen before.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from driver.hal import Identity
from driver.interlock import Interlocked
from driver.transports.zmq_link import ZmqLink
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    InstrumentTimeout,
    StateError,
    WireProtocolError,
)

_SHOWN = 60
_TIME_BASE = "TB"


class IdqLink(Interlocked):
    """One controller's session; safe to share between threads.

    Parameters
    ----------
    transport : ZmqLink
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    """

    def __init__(
        self,
        transport: ZmqLink,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
    ) -> None:
        self.instrument = transport.instrument
        self.host = transport.address.host
        self.io_timeout_s = io_timeout_s
        self._transport = transport
        self._open_timeout_s = open_timeout_s
        self._lock = threading.RLock()
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        if self._identity is None:
            raise ConnectError(self.instrument, "*IDN?", "the link was never opened")
        return self._identity

    def tap(self, wrap: Callable[[Any], Any]) -> None:
        """Put something between this link and its transport, before it is opened."""
        self._transport = wrap(self._transport)

    def open(self) -> Identity:
        """Connect to both services and ask who is there.

        Raises
        ------
        ConnectError
            If one of them cannot be reached.
        InstrumentTimeout, WireProtocolError
        """
        deadline = Deadline(self._open_timeout_s)
        with self._held("connect", deadline):
            self._transport.open(deadline.remaining_s())
            self._identity = self._ask_identity(deadline)
        return self._identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._transport.close()

    def set(self, commands: Sequence[str], timeout_s: float | None = None) -> None:
        """Send settings one after the other; the replies are ignored."""
        deadline = self._deadline(timeout_s)
        for command in commands:
            self._control(command, deadline)

    def query(self, command: str, timeout_s: float | None = None) -> str:
        """Ask the controller and return its reply without blanks around it.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        return self._control(command, self._deadline(timeout_s)).strip()

    def query_number(self, command: str, timeout_s: float | None = None) -> float:
        """Ask for a number; the suffix of the time base (1 ps) may follow it.

        Raises
        ------
        WireProtocolError
            If the reply is no number, or not a finite one.
        """
        reply = self.query(command, timeout_s)
        for suffix in (_TIME_BASE, "V"):
            reply = reply.removesuffix(suffix)
        try:
            number = float(reply)
        except ValueError as error:
            raise self._garbled(command, f"{_shown(reply)!r} is no number") from error
        if not math.isfinite(number):
            raise self._garbled(command, f"{_shown(reply)!r} is no finite number")
        return number

    def ask_datalink(self, command: str, timeout_s: float | None = None) -> object:
        """Ask the data link service and return what its JSON says.

        Raises
        ------
        DeviceError
            If it reports an error.
        WireProtocolError
            If the reply is no JSON.
        ConnectionLost, InstrumentTimeout
        """
        deadline = self._deadline(timeout_s)
        with self._held(command, deadline):
            self._reconnect(deadline)
            reply = self._transport.datalink(command, deadline)
        try:
            found: object = json.loads(reply) if reply.strip() else None
        except ValueError as error:
            raise self._garbled(command, f"{_shown(reply)!r} is no JSON") from error
        if isinstance(found, dict) and "error" in found:
            error_text = str(found["error"])
            if isinstance(found["error"], dict):
                error_text = str(found["error"].get("description"))
            raise DeviceError(self.instrument, _shown(command), [(-1, error_text)])
        return found

    def open_stream(self, channel: int) -> None:
        """Connect to the stream of `channel`."""
        self._transport.open_stream(channel)

    def stream_port(self, channel: int) -> int:
        """Return the port the stream of `channel` is expected on."""
        return self._transport.address.stream + channel - 1

    def receive(self, channel: int, deadline: Deadline) -> memoryview:
        """Return the next message of a stream; empty at its end."""
        return self._transport.receive(channel, deadline)

    def close_streams(self) -> None:
        """Close all streams; what waits in them is lost."""
        self._transport.close_streams()

    def _control(self, command: str, deadline: Deadline) -> str:
        with self._held(command, deadline):
            self._reconnect(deadline)
            return self._transport.control(command, deadline)

    @contextmanager
    def _held(self, command: str, deadline: Deadline) -> Iterator[None]:
        self.permit(_shown(command))
        if not self._lock.acquire(timeout=deadline.remaining_s()):
            raise InstrumentTimeout(
                self.instrument, _shown(command), "the link is busy in another thread"
            )
        try:
            yield
        finally:
            self._lock.release()

    def _reconnect(self, deadline: Deadline) -> None:
        """Connect anew if an exchange failed since the last one."""
        if not self._transport.is_open:
            raise StateError(self.instrument, "request", "the link is closed")
        if not self._transport.needs_reconnecting:
            return
        self._transport.open(min(self._open_timeout_s, deadline.remaining_s()))
        identity = self._ask_identity(deadline)
        if self._identity is not None and identity != self._identity:
            raise ConnectError(
                self.instrument, "*IDN?", f"{identity} answers for {self._identity}"
            )

    def _ask_identity(self, deadline: Deadline) -> Identity:
        reply = self._transport.control("*IDN?", deadline)
        fields = [field.strip() for field in reply.split(",")]
        if len(fields) != 4 or not reply.isascii():
            raise self._garbled("*IDN?", f"{_shown(reply)!r} has not four fields")
        return Identity(*fields)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self.io_timeout_s if timeout_s is None else timeout_s)

    def _garbled(self, command: str, reason: str) -> WireProtocolError:
        return WireProtocolError(self.instrument, _shown(command), reason)


def _shown(text: str) -> str:
    """Return `text` short enough for a message."""
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
