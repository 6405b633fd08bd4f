"""SCPI over a transport: one command at a time, never an older reply.

After any failed exchange the link is *dirty*: a reply may still be on its way.
A dirty link is resynchronised before the next command, by a device clear where
the transport has one and by a new connection otherwise, and the identity must
be the one seen before. Only queries marked idempotent are ever sent twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from driver.hal import Identity
from driver.interlock import Interlocked
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    DeviceError,
    InstrumentError,
    InstrumentTimeout,
    WireProtocolError,
)

_MAX_ERRORS = 64
_SHOWN = 60
_NOT_A_NUMBER = 9.9e37


class ScpiTransport(Protocol):
    """What carries commands and answers; `TcpTransport` says what each call does."""

    instrument: str

    @property
    def pending_bytes(self) -> int:
        """Bytes received and not yet read [1]."""
        ...

    def open(self, timeout_s: float) -> None:
        """Connect within `timeout_s` [s]."""
        ...

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        ...

    def resynchronise(self, timeout_s: float) -> None:
        """Make sure within `timeout_s` [s] that no older answer is on its way."""
        ...

    def write(
        self, data: bytes | memoryview, deadline: Deadline, *, end: bool = True
    ) -> None:
        """Send all of `data`; `end` says whether the message ends there."""
        ...

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target`; return the bytes read [1], fewer if no more will come."""
        ...

    def read_line(self, deadline: Deadline, limit: int = 1 << 20) -> bytes:
        """Return a line of the answer, without its end."""
        ...


class ScpiLink(Interlocked):
    """One instrument's SCPI session; safe to share between threads.

    Parameters
    ----------
    transport : ScpiTransport
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    error_query : str
        How this instrument is asked for the oldest entry of its error queue.
    line_end : str
        What ends a command, and an answer: a line feed, or a carriage return and
        a line feed.
    """

    def __init__(
        self,
        transport: ScpiTransport,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
        error_query: str = ":SYST:ERR?",
        line_end: str = "\n",
    ) -> None:
        self.instrument = transport.instrument
        self.io_timeout_s = io_timeout_s
        self._transport = transport
        self._open_timeout_s = open_timeout_s
        self._error_query = error_query
        self._line_end = line_end
        self._lock = threading.RLock()
        self._dirty = False
        self._identity: Identity | None = None

    def tap(self, wrap: Callable[[Any], Any]) -> None:
        """Put something between this link and its transport, before it is opened."""
        self._transport = wrap(self._transport)

    def open(self) -> Identity:
        """Connect and ask who is there.

        Raises
        ------
        ConnectError
            If the instrument cannot be reached or does not identify itself.
        """
        deadline = Deadline(self._open_timeout_s)
        with self._exchange("connect", deadline, fresh=False):
            self._transport.open(deadline.remaining_s())
            self._dirty = False
            self._identity = self._ask_identity(deadline)
        return self._identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._transport.close()

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        if self._identity is None:
            raise ConnectError(self.instrument, "*IDN?", "the link was never opened")
        return self._identity

    def write(self, command: str, timeout_s: float | None = None) -> None:
        """Send `command`; nothing is waited for."""
        deadline = self._deadline(timeout_s)
        with self._exchange(command, deadline):
            self._transport.write(self._line(command), deadline)

    def query(
        self, command: str, timeout_s: float | None = None, *, idempotent: bool = False
    ) -> str:
        """Send `command` and return its one-line reply.

        Parameters
        ----------
        timeout_s : float or None
            Deadline for the exchange [s]; None takes the link's own.
        idempotent : bool
            Whether the query may be sent again if the link is lost under it.

        Raises
        ------
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        try:
            return self._query_once(command, deadline)
        except ConnectionLost:
            if not idempotent or deadline.expired:
                raise
            return self._query_once(command, deadline)

    def query_number(self, command: str, timeout_s: float | None = None) -> float:
        """Send `command` and return its reply as a number.

        Raises
        ------
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        reply = self.query(command, timeout_s)
        try:
            number = float(reply)
        except ValueError as error:
            self._dirty = True
            raise self._garbled(command, f"{_shown(reply)!r} is no number") from error
        # SCPI writes 9.91E37 for "not a number" and 9.9E37 for infinity.
        if not abs(number) < _NOT_A_NUMBER:
            raise self._garbled(command, f"{_shown(reply)!r} is no finite number")
        return number

    def query_block(
        self,
        command: str,
        dtype: DTypeLike,
        count: int,
        timeout_s: float | None = None,
    ) -> NDArray[np.generic]:
        """Send `command` and read a binary block of known length.

        Both block forms are read: ``#n<length>`` and the indefinite ``#0``,
        which ends with a line feed after the last item.

        Returns
        -------
        ndarray, shape (count,), `dtype` [code]

        Raises
        ------
        WireProtocolError
            If the reply is no block, has another length, or stops half-way.
        ConnectionLost, InstrumentTimeout
        """
        deadline = self._deadline(timeout_s)
        data: NDArray[np.generic] = np.empty(count, dtype=dtype)
        with self._exchange(command, deadline):
            self._transport.write(self._line(command), deadline)
            self._expect_length(command, data.nbytes, deadline)
            done = self._transport.read_into(data.data.cast("B"), deadline)
            if done < data.nbytes:
                raise self._garbled(
                    command, f"half a block: {done} of {data.nbytes} bytes"
                )
            end = self._line_end.encode("ascii")
            if self._take(command, len(end), deadline) != end:
                raise self._garbled(command, f"block longer than {data.nbytes} bytes")
        return data

    def write_block(
        self, prefix: str, data: memoryview, timeout_s: float | None = None
    ) -> None:
        """Send `prefix` and `data` as a definite block, without copying it."""
        deadline = self._deadline(timeout_s)
        length = str(data.nbytes)
        head = f"{prefix}#{len(length)}{length}".encode("ascii")
        with self._exchange(prefix, deadline):
            self._transport.write(head, deadline, end=False)
            self._transport.write(data.cast("B"), deadline, end=False)
            self._transport.write(self._line_end.encode("ascii"), deadline)

    @contextmanager
    def batch(self, timeout_s: float | None = None) -> Iterator[list[str]]:
        """Collect settings; send them together and check the device took all.

        Raises
        ------
        DeviceError
            If the device's error queue has entries afterwards.
        """
        commands: list[str] = []
        yield commands
        with self._lock:
            if commands:
                self.write(self._line_end.join(commands), timeout_s)
            self.check(";".join(commands), timeout_s)

    def check(self, command: str, timeout_s: float | None = None) -> None:
        """Wait until the device is done and raise what it reports."""
        with self._lock:
            self.wait_opc(self.io_timeout_s if timeout_s is None else timeout_s)
            entries = self.errors()
        if entries:
            raise DeviceError(self.instrument, _shown(command), entries)

    def self_test(self, timeout_s: float) -> None:
        """Let the instrument test itself (``*TST?``), within `timeout_s` [s].

        Raises
        ------
        DeviceError
            If the result is not 0.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        result = self.query_number("*TST?", timeout_s)
        if result != 0.0:
            raise DeviceError(
                self.instrument, "*TST?", [(int(result), "the self-test failed")]
            )

    def errors(self) -> list[tuple[int, str]]:
        """Drain the device's error queue, oldest entry first."""
        entries: list[tuple[int, str]] = []
        with self._lock:
            while len(entries) < _MAX_ERRORS:
                reply = self.query(self._error_query)
                code, _, text = reply.partition(",")
                try:
                    number = int(code)
                except ValueError as error:
                    raise self._garbled(self._error_query, reply) from error
                if number == 0:
                    return entries
                entries.append((number, text.strip().strip('"')))
        return entries

    def wait_opc(self, timeout_s: float) -> None:
        """Wait until all commands are carried out.

        Raises
        ------
        InstrumentTimeout
            After `timeout_s` [s].
        """
        reply = self.query("*OPC?", timeout_s)
        if reply != "1":
            raise self._garbled("*OPC?", f"{reply!r} is not 1")

    def _line(self, command: str) -> bytes:
        return f"{command}{self._line_end}".encode("ascii")

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self.io_timeout_s if timeout_s is None else timeout_s)

    @contextmanager
    def _exchange(
        self, command: str, deadline: Deadline, *, fresh: bool = True
    ) -> Iterator[None]:
        """Hold the link for one exchange; any failure makes it dirty."""
        self.permit(_shown(command))
        if not self._lock.acquire(timeout=deadline.remaining_s()):
            raise InstrumentTimeout(
                self.instrument, _shown(command), "the link is busy in another thread"
            )
        try:
            if fresh and (self._dirty or self._transport.pending_bytes):
                self._resynchronise(deadline)
            yield
        except InstrumentError as error:
            self._dirty = True
            if error.command not in {"read", "write"}:
                raise
            # The transport does not know which command it carried.
            raise type(error)(self.instrument, _shown(command), error.reason) from error
        except BaseException:
            # An interrupt between command and reply leaves the reply unread.
            self._dirty = True
            raise
        finally:
            self._lock.release()

    def _resynchronise(self, deadline: Deadline) -> None:
        """Get rid of any late reply, and ask again who is there."""
        timeout_s = min(self._open_timeout_s, deadline.remaining_s())
        self._transport.resynchronise(timeout_s)
        identity = self._ask_identity(deadline)
        if self._identity is not None and identity != self._identity:
            raise ConnectError(
                self.instrument, "*IDN?", f"{identity} answers for {self._identity}"
            )
        self._dirty = False

    def _ask_identity(self, deadline: Deadline) -> Identity:
        reply = self._query_line("*IDN?", deadline)
        fields = [field.strip() for field in reply.split(",")]
        if len(fields) != 4:
            raise self._garbled("*IDN?", f"{_shown(reply)!r} has not four fields")
        return Identity(*fields)

    def _query_once(self, command: str, deadline: Deadline) -> str:
        with self._exchange(command, deadline):
            return self._query_line(command, deadline)

    def _query_line(self, command: str, deadline: Deadline) -> str:
        self._transport.write(self._line(command), deadline)
        reply = self._transport.read_line(deadline)
        try:
            return reply.decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise self._garbled(command, f"reply {reply[:20]!r} is no text") from error

    def _expect_length(self, command: str, n_bytes: int, deadline: Deadline) -> None:
        """Read a block's head and check the length it announces."""
        head = self._take(command, 2, deadline)
        if head[:1] != b"#" or not head[1:].isdigit():
            raise self._garbled(command, f"reply begins with {head!r}, not a block")
        if head[1:] == b"0":
            return
        digits = self._take(command, int(head[1:]), deadline)
        if not digits.isdigit() or int(digits) != n_bytes:
            raise self._garbled(
                command, f"block of {digits!r} bytes, expected {n_bytes}"
            )

    def _take(self, command: str, n_bytes: int, deadline: Deadline) -> bytes:
        data = bytearray(n_bytes)
        if self._transport.read_into(memoryview(data), deadline) < n_bytes:
            raise InstrumentTimeout(
                self.instrument, command, f"not done within {deadline.timeout_s:g} s"
            )
        return bytes(data)

    def _garbled(self, command: str, reason: str) -> WireProtocolError:
        return WireProtocolError(self.instrument, _shown(command), reason)


def _shown(command: str) -> str:
    """Return `command` short enough for a message."""
    return command if len(command) <= _SHOWN else command[: _SHOWN - 3] + "..."
