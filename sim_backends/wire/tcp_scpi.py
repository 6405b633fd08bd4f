"""A SCPI instrument on a loopback TCP port."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from sim_backends.devices.base import INHERITED, Call, ScpiDevice
from sim_backends.faults import LATE_S, drip
from sim_backends.wire import listen
from sim_backends.wire.scpi import (
    Reply,
)
from sim_backends.wire.splitter import (
    BadStreamError,
    EndOfStreamError,
    Source,
    Unit,
    UnitReader,
)
from sim_backends.wire.status import QUEUE_LENGTH, ScpiError

GARBAGE = b"\x00\xff\xfe~garbage~\x80\n"
_JOIN_S = 5.0


class DropConnectionError(Exception):
    """The fault plan cuts this connection now."""


class ScpiServer:
    """Serves one device to any number of clients, until closed.

    Parameters
    ----------
    device : ScpiDevice
    port : int
        TCP port on the loopback interface; 0 lets the system choose.
    """

    def __init__(self, device: ScpiDevice, port: int = 0) -> None:
        self.device = device
        device.closing.clear()
        self._listener = socket.create_server((listen.host(), port))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closing = threading.Event()
        self._acceptor = threading.Thread(
            target=self._accept, name=f"{device.name}-accept", daemon=True
        )
        self._acceptor.start()

    @property
    def endpoint(self) -> str:
        """Where clients connect: ``tcp://127.0.0.1:port``."""
        return f"tcp://{listen.host()}:{self.port}"

    def close(self) -> None:
        """Stop serving and end all threads; calling it again does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self.device.closing.set()
        # A blocked accept does not notice that its socket is closed.
        with (
            contextlib.suppress(OSError),
            socket.create_connection((listen.host(), self.port), timeout=1.0),
        ):
            pass
        self._acceptor.join(_JOIN_S)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_JOIN_S)
        self.device.shut_down()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if self._closing.is_set():
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(
                target=self._serve,
                args=(connection,),
                name=f"{self.device.name}-client",
                daemon=True,
            )
            with self._lock:
                self._open.add(connection)
                self._threads = [t for t in self._threads if t.is_alive()]
                self._threads.append(thread)
                # Started under the lock: close() must be able to join it.
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            self.run_client(connection)
        except (EndOfStreamError, BadStreamError, DropConnectionError, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def run_client(self, connection: socket.socket) -> None:
        """Serve one connection until the client leaves."""

        def send(parts: list[bytes | memoryview], _ends: bool) -> None:
            for part in parts:
                connection.sendall(part)

        ScpiSession(self.device, connection, send, self._closing).run()


class ScpiSession:
    """One client: the current header path, and the reply being put together.

    Parameters
    ----------
    device : ScpiDevice
    source : Source
        Where the client's bytes come from.
    send : callable
        Takes the parts of one reply, and whether it ends with them.
    hurry : threading.Event
        Ends the wait of a late reply.
    """

    def __init__(
        self,
        device: ScpiDevice,
        source: Source,
        send: Callable[[list[bytes | memoryview], bool], None],
        hurry: threading.Event,
    ) -> None:
        self._device, self._send_parts = device, send
        self._hurry = hurry
        self._reader = UnitReader(source)
        self._path: list[str] = []
        self._verb = ""
        self._replies: list[Reply] = []
        self._fault: str | None = None

    def run(self) -> None:
        """Serve until the client leaves."""
        while True:
            unit = self._reader.next_unit()
            if unit.header:
                self._handle(unit)
            if unit.ends_message:
                self._path = []
                self._send()

    def _handle(self, unit: Unit) -> None:
        try:
            call = self._device.resolve(
                self._full_path(unit.header.rstrip("?")),
                unit.parameters,
                is_query=unit.is_query,
            )
        except ScpiError as error:
            with self._device.lock:
                self._device.status.report(error)
            return
        if not self._strike(call):
            return
        reply = self._device.execute(call)
        if reply is not None:
            self._replies.append(reply)

    def _full_path(self, header: str) -> list[str]:
        """Apply the rule that a unit continues at the level of the one before."""
        if header.startswith("*"):
            return [header.upper()]
        words = header.removeprefix(":").split(":")
        full = words if header.startswith(":") else self._path + words
        self._path = full[:-1]
        return full

    def _strike(self, call: Call) -> bool:
        """Ask the fault plan what goes wrong here; return whether it is done."""
        if call.command.verb != INHERITED:
            self._verb = call.command.verb
        kind = self._device.faults.take(self._verb, replying=call.is_query)
        if kind == "reboot":
            with self._device.lock:
                self._device.reboot()
        if kind in {"drop-connection", "reboot"}:
            raise DropConnectionError
        if kind == "queue-overflow":
            with self._device.lock:
                for _ in range(QUEUE_LENGTH + 1):
                    self._device.status.report(ScpiError(-310))
            return True
        if kind == "not-taken":
            return False
        faults = self._device.faults
        if not call.is_query and faults.take_data(self._verb, "execution-error"):
            with self._device.lock:
                self._device.status.report(ScpiError(-200))
            return False
        self._fault = kind or self._fault
        return True

    def _send(self) -> None:
        replies, self._replies = self._replies, []
        fault, self._fault = self._fault, None
        if not replies or fault == "no-reply":
            return
        end = self._device.line_end
        parts = _joined(replies, end)
        if fault == "late-reply":
            # Waiting on the event lets the server close meanwhile.
            self._hurry.wait(LATE_S)
        elif fault == "garbage":
            parts = [GARBAGE]
        elif fault == "wrong-identity":
            parts = [b"Somebody Else,Model X,0,0\n"]
        elif fault in {"half-block", "cut-block"}:
            parts = _first_half(parts)
        elif fault == "not-a-number":
            parts = [b"NAN" + end]
        elif fault == "wrong-length":
            parts = [_of_another_length(b"".join(parts).removesuffix(end)) + end]
        if fault == "slow-drip":
            whole, done = b"".join(parts), 0
            for piece in drip(whole, self._hurry):
                done += len(piece)
                self._send_parts([piece], done == len(whole))
            return
        self._send_parts(parts, fault not in {"half-block", "cut-block"})
        if fault == "cut-block":
            raise DropConnectionError


def _joined(replies: list[Reply], end: bytes) -> list[bytes | memoryview]:
    """Return the bytes of one response message, blocks not copied."""
    parts: list[bytes | memoryview] = []
    for index, reply in enumerate(replies):
        if index:
            parts.append(b";")
        if isinstance(reply, str):
            parts.append(reply.encode("latin-1"))
        elif isinstance(reply, list):
            parts += reply
        else:
            parts.append(reply)
    if all(isinstance(part, bytes) for part in parts):
        # One segment for a text reply: a second one costs the client a wake-up.
        return [b"".join(parts) + end]
    return [*parts, end]


def _of_another_length(reply: bytes) -> bytes:
    """Return the reply with a block two bytes shorter, or a text a field longer."""
    if reply[:1] != b"#" or not reply[1:2].isdigit():
        return reply + b",0"
    digits = int(reply[1:2])
    data = reply[2 + digits : -2]
    if not digits:
        return b"#0" + data
    length = b"%d" % len(data)
    return b"#%d%s%s" % (len(length), length, data)


def _first_half(parts: list[bytes | memoryview]) -> list[bytes | memoryview]:
    """Return the first half of the bytes."""
    left = sum(len(part) for part in parts) // 2
    kept: list[bytes | memoryview] = []
    for part in parts:
        kept.append(part[:left])
        left -= len(kept[-1])
    return kept
