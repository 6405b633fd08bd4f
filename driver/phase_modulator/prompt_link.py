"""Session with an instrument that echoes a command, answers, and prompts.

Each reply begins with the command it belongs to, so that a late one is known
and dropped. After a failed exchange the instrument is asked who it is; it
answers in order, so whatever was late has come by then.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from driver.hal import Identity
from driver.interlock import Interlocked
from driver.transports.serial_port import ByteTransport
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    DeviceError,
    InstrumentError,
    InstrumentTimeout,
    StateError,
    WireProtocolError,
)

PROMPT, END = b">", b"\r"
VENDOR = "Thorlabs"
_REFUSALS = ("CMD_", "ERR")
_SHOWN = 60


class PromptLink(Interlocked):
    """One instrument's session; safe to share between threads.

    Parameters
    ----------
    transport : ByteTransport
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    """

    def __init__(
        self,
        transport: ByteTransport,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
    ) -> None:
        self.instrument = transport.instrument
        self.io_timeout_s = io_timeout_s
        self._transport = transport
        self._open_timeout_s = open_timeout_s
        self._lock = threading.RLock()
        self._opened = self._dirty = False
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        if self._identity is None:
            raise ConnectError(self.instrument, "id?", "the link was never opened")
        return self._identity

    def open(self) -> Identity:
        """Connect and ask who is there.

        Raises
        ------
        ConnectError
            If the port cannot be opened.
        InstrumentTimeout, ConnectionLost, WireProtocolError
        """
        deadline = Deadline(self._open_timeout_s)
        with self._exchange("connect", deadline, fresh=False):
            self._transport.open(deadline.remaining_s())
            self._identity = self._ask_identity(deadline)
            self._opened, self._dirty = True, False
        return self._identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._opened = False
        self._transport.close()

    def query(self, command: str, timeout_s: float | None = None) -> list[str]:
        """Send `command` and return the lines of its reply; settings have none.

        Raises
        ------
        DeviceError
            If the instrument refuses.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = Deadline(self.io_timeout_s if timeout_s is None else timeout_s)
        with self._exchange(command, deadline):
            lines = self._ask(command, deadline)
        refused = [line for line in lines if line.startswith(_REFUSALS)]
        if refused:
            raise DeviceError(self.instrument, command, [(-1, refused[0])])
        return lines

    def query_number(self, command: str, timeout_s: float | None = None) -> float:
        """Send `command` and return the number in its reply: ``[ 24.8]``.

        Raises
        ------
        WireProtocolError
            If the reply is no number.
        """
        lines = self.query(command, timeout_s)
        try:
            return float(lines[0].strip("[] "))
        except (IndexError, ValueError) as error:
            raise self._garbled(command, f"{lines!r:.40} is no number") from error

    def _ask(self, command: str, deadline: Deadline) -> list[str]:
        """Send `command` and read until the reply that begins with it."""
        self._transport.write(command.encode("ascii") + END, deadline)
        while True:
            reply = self._transport.read_until(PROMPT, deadline)
            if not reply.isascii() or b"\0" in reply:
                raise self._garbled(command, f"reply {reply[:20]!r} is no text")
            text = re.split(r"[\r\n]+", reply.decode("ascii"))
            lines = [line.strip() for line in text if line.strip()]
            if lines and lines[0] == command:
                return lines[1:]

    def _ask_identity(self, deadline: Deadline) -> Identity:
        """Ask for model and serial number; the second also drops a late first."""
        lines = self._ask("id?", deadline)
        serial_number = self._ask("serial?", deadline)
        found = re.match(r"Model (\S+)", lines[0]) if lines else None
        firmware = lines[1].rpartition(":")[2].strip() if len(lines) > 1 else ""
        if found is None or not serial_number:
            raise self._garbled("id?", f"{lines!r:.60} names no model")
        # Numbers come in brackets: "[ 000000000001]".
        return Identity(VENDOR, found[1], serial_number[0].strip(" []"), firmware)

    @contextmanager
    def _exchange(
        self, command: str, deadline: Deadline, *, fresh: bool = True
    ) -> Iterator[None]:
        """Hold the link for one exchange; any failure makes it dirty."""
        self.permit(command)
        if not self._lock.acquire(timeout=deadline.remaining_s()):
            raise InstrumentTimeout(
                self.instrument, command, "the link is busy in another thread"
            )
        try:
            if fresh and not self._opened:
                raise StateError(self.instrument, command, "the link is closed")
            if fresh and self._dirty:
                self._resynchronise(deadline)
            yield
        except InstrumentError as error:
            self._dirty = True
            if error.command not in {"read", "write"}:
                raise
            # The transport does not know which command it carried.
            raise type(error)(self.instrument, command, error.reason) from error
        except BaseException:
            self._dirty = True
            raise
        finally:
            self._lock.release()

    def _resynchronise(self, deadline: Deadline) -> None:
        if not self._transport.is_open:
            self._transport.open(min(self._open_timeout_s, deadline.remaining_s()))
        identity = self._ask_identity(deadline)
        if self._identity is not None and identity != self._identity:
            raise ConnectError(
                self.instrument, "id?", f"{identity} answers for {self._identity}"
            )
        self._dirty = False

    def _garbled(self, command: str, reason: str) -> WireProtocolError:
        return WireProtocolError(self.instrument, command[:_SHOWN], reason)
