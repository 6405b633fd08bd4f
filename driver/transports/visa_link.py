"""A VISA session with a deadline on every call: GPIB, USBTMC, VXI-11, HiSLIP.

For what only VISA reaches, and for libraries of vendors. Plain sockets and
serial ports are no affair of VISA's; with pyvisa-py they are opened without it,
because its sessions of both lose what was read when time is over, take an open
port for a connected one, spin after the peer has closed, and clear a closed one
for ever. Every other call is made by a `Worker`, so that none hangs the caller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

from driver.transports.serial_port import SerialTransport
from driver.transports.tcp import TcpTransport
from driver.transports.visa_names import PURE_PYTHON, VisaName, parse_visa
from driver.transports.visa_worker import Worker
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    ConnectionLost,
    InstrumentError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)

T = TypeVar("T")
# A library that keeps its own time-out gets this much longer to say so.
GRACE_S = 0.25
_CLOSE_S = 0.5
_LINE_BYTES, _CHUNK_BYTES = 1 << 16, 1 << 22
_MAKING_MANAGERS = threading.Lock()


class VisaTransport:
    """A VISA session to one instrument.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``visa://NAME?library=FILE&baud=RATE``.
    """

    def __init__(self, instrument: str, resource: str) -> None:
        self.instrument, self.resource = instrument, resource
        self._name = parse_visa(instrument, resource)
        self._session: Any = None
        self._worker: Worker | None = None
        self._timeout_ms = 0
        self._unsent = bytearray()
        self._restart()

    def _restart(self) -> None:
        """Forget what was read and not used, and what was not yet sent."""
        self._unsent.clear()
        self._rest = b""
        self._ended = False

    @property
    def is_open(self) -> bool:
        """Whether there is a session, as far as this side knows."""
        return self._session is not None

    @property
    def pending_bytes(self) -> int:
        """Bytes received and not yet read [1]."""
        return len(self._rest)

    def open(self, timeout_s: float) -> None:
        """Open the session within `timeout_s` [s].

        Raises
        ------
        ConnectError
            If there is no such library or instrument, or it does not answer.
        """
        self.close()
        opening = _Opening(self._name, Deadline(timeout_s))
        self._worker = Worker(f"visa-{self.instrument}", opening.close)
        try:
            self._session = self._worker.call(opening.open, timeout_s)
        except TimeoutError as error:
            self._let_go(0.0)
            raise self._no_connection(f"no answer in {timeout_s:g} s") from error
        except Exception as error:
            # Each library, and each part of pyvisa-py, has errors of its own.
            self.close()
            raise self._no_connection(f"{error}" or repr(error)) from error

    def close(self) -> None:
        """Close the session; calling it again does nothing."""
        self._let_go(_CLOSE_S)

    def _let_go(self, wait_s: float) -> None:
        """Tell the worker to close the session; wait for it up to `wait_s` [s]."""
        self._session, self._timeout_ms = None, 0
        worker, self._worker = self._worker, None
        self._restart()
        if worker is not None:
            worker.end(wait_s)

    def resynchronise(self, timeout_s: float) -> None:
        """Make sure that no older answer is on its way, within `timeout_s` [s].

        The instrument is cleared where messages have an end; if that fails, and
        always on a byte stream, the session is opened anew.

        Raises
        ------
        ConnectError
        """
        deadline = Deadline(timeout_s)
        if self.is_open and not self._name.is_stream:
            try:
                # A hung instrument must leave time for connecting.
                self.clear(Deadline(timeout_s / 2.0))
            except InstrumentError:
                self.close()
            else:
                return
        self.open(deadline.remaining_s())

    def clear(self, deadline: Deadline) -> None:
        """Device clear: both sides abandon what is under way.

        Raises
        ------
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        self._call("device clear", lambda session: session.clear(), deadline)
        self._restart()

    def write(
        self, data: bytes | memoryview, deadline: Deadline, *, end: bool = True
    ) -> None:
        """Send all of `data` before `deadline`; `end` says that it ends there.

        What does not end there is kept until the end comes: a VISA write is a
        whole message.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        self._require("write")
        if not end:
            self._unsent += data
            return
        message = bytes(self._unsent + data) if self._unsent else bytes(data)
        self._unsent.clear()
        if not self._name.is_stream:
            self._rest, self._ended = b"", False
        self._call("write", lambda session: session.write_raw(message), deadline)

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target` with the next bytes of the answer.

        Returns
        -------
        int
            Bytes read [1]; fewer than asked for when the answer ends there or
            the deadline passed.

        Raises
        ------
        ConnectionLost, WireProtocolError
        """
        self._require("read")
        done = min(len(self._rest), len(target))
        target[:done] = self._rest[:done]
        self._rest = self._rest[done:]
        if self._ended and done == 0 and len(target):
            # An end without a line feed is as good as one with it.
            self._ended = False
            target[:1] = b"\n"
            return 1
        try:
            while done < len(target) and not self._ended:
                data = self._read(min(len(target) - done, _CHUNK_BYTES), b"", deadline)
                target[done : done + len(data)] = data
                done += len(data)
        except InstrumentTimeout:
            return done
        return done

    def read_line(self, deadline: Deadline, limit: int = 1 << 20) -> bytes:
        """Return the answer up to its line feed or its end, without either.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        WireProtocolError
            If the answer is longer than `limit` bytes.
        """
        return self.read_until(b"\n", deadline, limit)

    def read_until(
        self, terminator: bytes, deadline: Deadline, limit: int = 1 << 20
    ) -> bytes:
        """Return the bytes up to the next `terminator` or the end, without it.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        WireProtocolError
            If it does not come within `limit` bytes.
        """
        self._require("read")
        answer, self._rest = bytearray(self._rest), b""
        while terminator not in answer and not self._ended:
            if len(answer) > limit:
                reason = f"no {terminator!r} in {limit} bytes"
                raise WireProtocolError(self.instrument, "read", reason)
            stop = terminator if self._name.is_stream else b""
            answer += self._read(_LINE_BYTES, stop, deadline)
        line, _, self._rest = bytes(answer).partition(terminator)
        return line

    def take_unread(self) -> bytes:
        """Return and forget what has arrived already; waits for nothing.

        Raises
        ------
        ConnectionLost
        """
        found, self._rest = self._rest, b""
        deadline = Deadline(GRACE_S)

        def waiting(session: Any) -> bytes:
            n_bytes = getattr(session, "bytes_in_buffer", 0)
            return bytes(session.read_bytes(n_bytes)) if n_bytes else b""

        return found + self._call("read", waiting, deadline)

    def _read(self, n_bytes: int, terminator: bytes, deadline: Deadline) -> bytes:
        """Read once, up to `n_bytes`, a terminator, or the end of the answer."""

        def once(session: Any) -> tuple[bytes, int]:
            stop = terminator.decode("latin-1") or None
            if session.read_termination != stop:
                session.read_termination = stop
            data, status = session.visalib.read(session.session, n_bytes)
            return data, int(status)

        from pyvisa.constants import StatusCode

        data, status = self._call("read", once, deadline)
        goes_on = status == StatusCode.success_max_count_read
        if not self._name.is_stream and not goes_on:
            self._ended = True
        return data

    def _call(self, action: str, job: Callable[[Any], T], deadline: Deadline) -> T:
        """Let the worker make a call; its errors become this program's."""
        session, worker = self._require(action)
        remaining_s = max(deadline.remaining_s(), 1e-3)

        timeout_ms = max(1, round(1e3 * remaining_s))

        def timed() -> T:
            # Setting it takes as long as half a question.
            if timeout_ms != self._timeout_ms:
                session.timeout = self._timeout_ms = timeout_ms
            return job(session)

        try:
            return worker.call(timed, remaining_s + GRACE_S)
        except TimeoutError as error:
            # Its thread is stuck: the session goes with it.
            self._let_go(0.0)
            raise self._late(action, deadline) from error
        except Exception as error:
            raise self._translated(action, error, deadline) from error

    def _translated(
        self, action: str, error: Exception, deadline: Deadline
    ) -> InstrumentError:
        """Return what an error of the library means here."""
        from pyvisa.constants import StatusCode
        from pyvisa.errors import VisaIOError

        if isinstance(error, VisaIOError):
            if error.error_code == StatusCode.error_timeout:
                return self._late(action, deadline)
            self.close()
            return ConnectionLost(self.instrument, action, f"{error}")
        lost = isinstance(error, OSError) or "dropped" in str(error)
        self.close()
        kind = ConnectionLost if lost else WireProtocolError
        return kind(self.instrument, action, f"{error}" or repr(error))

    def _require(self, action: str) -> tuple[Any, Worker]:
        if self._session is None or self._worker is None:
            raise StateError(self.instrument, action, "the link is closed")
        return self._session, self._worker

    def _no_connection(self, reason: str) -> ConnectError:
        return ConnectError(self.instrument, f"connect {self.resource}", reason)

    def _late(self, action: str, deadline: Deadline) -> InstrumentTimeout:
        reason = f"not done within {deadline.timeout_s:g} s"
        return InstrumentTimeout(self.instrument, action, reason)


class _Opening:
    """Opens one session and closes it, both in the worker's thread."""

    def __init__(self, name: VisaName, deadline: Deadline) -> None:
        self._name, self._deadline = name, deadline
        self._session: Any = None
        self._until_closed = ExitStack()

    def open(self) -> Any:
        import pyvisa
        from pyvisa.constants import StatusCode

        with _MAKING_MANAGERS:
            # One per library and process; closing it would close all sessions.
            manager = pyvisa.ResourceManager(self._name.library)
        remaining_ms = max(1, round(1e3 * self._deadline.remaining_s()))
        session = manager.open_resource(self._name.name, open_timeout=remaining_ms)
        self._session = session
        # That an answer goes on is no reason for a warning.
        quiet = session.ignore_warning(StatusCode.success_max_count_read)
        self._until_closed.enter_context(quiet)
        if self._name.baud is not None:
            session.baud_rate = self._name.baud  # type: ignore[attr-defined]
        return session

    def close(self) -> None:
        self._until_closed.close()
        if self._session is not None:
            self._session.close()


def visa_transport(instrument: str, resource: str) -> VisaTransport | TcpTransport:
    """Return the transport, not yet open, for an instrument that speaks SCPI.

    A socket is opened without VISA unless a vendor's library is named.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    name = parse_visa(instrument, resource)
    if name.plain.startswith("tcp://") and name.library == PURE_PYTHON:
        return TcpTransport(instrument, name.plain)
    return VisaTransport(instrument, resource)


def visa_stream(
    instrument: str, resource: str
) -> VisaTransport | TcpTransport | SerialTransport:
    """Return the transport, not yet open, for an instrument on a byte stream.

    Sockets and serial ports are opened without VISA unless a vendor's library is
    named.

    Raises
    ------
    RangeError
        If the resource has another form, or is no serial port and no socket.
    """
    name = parse_visa(instrument, resource)
    if not name.is_stream:
        limit = (
            "this instrument needs a serial port or a socket, for example "
            "visa://ASRL/dev/ttyUSB0::INSTR?baud=9600"
        )
        raise RangeError(instrument, resource, limit)
    if name.plain.startswith("serial://") and name.library == PURE_PYTHON:
        return SerialTransport(instrument, name.plain)
    return visa_transport(instrument, resource)
