"""What sessions over a byte stream share: one lock, deadlines, the dirty rule.

After a failed exchange nobody knows what is still on its way. The link is then
dirty, and before anything else is asked it is brought in step again, and the
same instrument must answer.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from driver.hal import Identity
from driver.interlock import Interlocked
from driver.transports.serial_port import ByteTransport
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    InstrumentError,
    InstrumentTimeout,
    StateError,
    WireProtocolError,
)

_SHOWN = 60


class ByteSession(Interlocked, ABC):
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
        self.open_timeout_s = open_timeout_s
        self._transport = transport
        self._lock = threading.RLock()
        self._opened = self._dirty = False
        self._identity: Identity | None = None

    @property
    def identity(self) -> Identity:
        """Who answered when the link was opened."""
        if self._identity is None:
            raise ConnectError(self.instrument, "identify", "the link was never opened")
        return self._identity

    def tap(self, wrap: Callable[[Any], Any]) -> None:
        """Put something between this link and its transport, before it is opened."""
        self._transport = wrap(self._transport)

    def open(self) -> Identity:
        """Connect and ask who is there.

        Raises
        ------
        ConnectError
            If the port cannot be opened.
        InstrumentTimeout, ConnectionLost, WireProtocolError
        """
        deadline = Deadline(self.open_timeout_s)
        self.connect(deadline)
        return self.identify(deadline)

    def connect(self, deadline: Deadline) -> None:
        """Connect and get in step, before `deadline`; ask nobody's name yet."""
        with self._exchange("connect", deadline, fresh=False):
            self._transport.open(deadline.remaining_s())
            self._synchronise(deadline)
            self._opened, self._dirty = True, False

    def identify(self, deadline: Deadline) -> Identity:
        """Ask who is there, before `deadline`, and remember it."""
        with self._exchange("identify", deadline):
            self._identity = self._ask_identity(deadline)
        return self._identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._opened = False
        self._transport.close()

    @abstractmethod
    def _synchronise(self, deadline: Deadline) -> None:
        """Drop what is late; return when the next reply is to the next command."""

    @abstractmethod
    def _ask_identity(self, deadline: Deadline) -> Identity:
        """Ask who is there."""

    def _check_same(self, deadline: Deadline) -> None:
        """Check that the instrument is still the one that was opened.

        Raises
        ------
        ConnectError
            If it is another one.
        """
        found = self._ask_identity(deadline)
        if self._identity is not None and found != self._identity:
            reason = f"{found} answers for {self._identity}"
            raise ConnectError(self.instrument, "identify", reason)

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline(self.io_timeout_s if timeout_s is None else timeout_s)

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
            remaining_s = min(self.open_timeout_s, deadline.remaining_s())
            self._transport.open(remaining_s)
        self._synchronise(deadline)
        self._check_same(deadline)
        self._dirty = False

    def _garbled(self, command: str, reason: str) -> WireProtocolError:
        return WireProtocolError(self.instrument, command[:_SHOWN], reason)
