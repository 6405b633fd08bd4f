"""A line protocol with echo and prompt, on a pseudo-terminal or on TCP.

The terminal's name changes when its connection is dropped and made anew; a
link with a lasting name leads to it, like the names that systems give to
serial adapters.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Protocol

from sim_backends.faults import LATE_S, FaultPlan

GARBAGE = b"\x00\xff\xfe~garbage~\x80>"
PROMPT = b"> "
_POLL_S = 0.02
_JOIN_S = 5.0


class LineDevice(Protocol):
    """An instrument that answers lines of text."""

    name: str
    faults: FaultPlan

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        ...


class _Line:
    """Cuts a byte stream into commands, and makes the bytes that answer them."""

    def __init__(self, device: LineDevice, closing: threading.Event) -> None:
        self._device, self._closing = device, closing
        self._pending = b""

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """Take received bytes; return the answer, and whether to drop the link."""
        self._pending += data.replace(b"\n", b"\r")
        *commands, self._pending = self._pending.split(b"\r")
        reply = b""
        for command in commands:
            if not command:
                continue
            verb, lines = self._device.answer(command.decode("latin-1"))
            kind = self._device.faults.take(verb, replying=True)
            if kind == "drop-connection":
                return reply, True
            whole = b"\r".join([command, *(line.encode() for line in lines), PROMPT])
            reply += self._spoiled(kind, whole)
        return reply, False

    def _spoiled(self, kind: str | None, reply: bytes) -> bytes:
        """Return the reply as the fault leaves it."""
        if kind == "no-reply":
            return b""
        if kind == "late-reply":
            self._closing.wait(LATE_S)
        elif kind == "garbage":
            return GARBAGE
        elif kind == "half-block":
            return reply[: len(reply) // 2]
        elif kind == "wrong-identity":
            return reply.replace(b"MDT693B", b"MDT694X")
        return reply


class PtyLineServer:
    """Serves one line device on a pseudo-terminal, until closed.

    Parameters
    ----------
    device : LineDevice
    port : int
        Not used: a terminal has no port.
    """

    def __init__(self, device: LineDevice, port: int = 0) -> None:
        self.device = device
        self._folder = tempfile.TemporaryDirectory(prefix="scqc-pty-")
        self._link = Path(self._folder.name) / device.name
        self._closing = threading.Event()
        self._terminal = self._make()
        self._thread = threading.Thread(
            target=self._serve, name=f"{device.name}-line", daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where clients connect: ``serial:///path?baud=115200``."""
        return f"serial://{self._link}?baud=115200"

    def close(self) -> None:
        """Stop serving; calling it again does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join(_JOIN_S)
        self._folder.cleanup()

    def _make(self) -> tuple[int, int]:
        """Open a terminal and let the lasting name lead to it."""
        import tty

        # Held open on the client's side too: it survives clients that leave.
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(theirs))
        return ours, theirs

    def _serve(self) -> None:
        import select

        line = _Line(self.device, self._closing)
        while not self._closing.is_set():
            ours, theirs = self._terminal
            if not select.select([ours], [], [], _POLL_S)[0]:
                continue
            reply, dropped = line.feed(os.read(ours, 1 << 16))
            while reply:
                reply = reply[os.write(ours, reply) :]
            if dropped:
                self._terminal = self._make()
                os.close(ours)
                os.close(theirs)
                line = _Line(self.device, self._closing)
        for end in self._terminal:
            os.close(end)


class TcpLineServer:
    """Serves one line device like a serial device server, one client at a time.

    Parameters
    ----------
    device : LineDevice
    port : int
        TCP port on the loopback interface; 0 lets the system choose.
    """

    def __init__(self, device: LineDevice, port: int = 0) -> None:
        self.device = device
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.settimeout(_POLL_S)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._accept, name=f"{device.name}-line", daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where clients connect: ``socket://127.0.0.1:port``."""
        return f"socket://127.0.0.1:{self.port}"

    def close(self) -> None:
        """Stop serving; calling it again does nothing."""
        self._closing.set()
        self._thread.join(_JOIN_S)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(ConnectionError):
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        line = _Line(self.device, self._closing)
        connection.settimeout(_POLL_S)
        while not self._closing.is_set():
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            reply, dropped = line.feed(data)
            connection.sendall(reply)
            if dropped:
                return


def line_server(device: LineDevice, port: int = 0) -> PtyLineServer | TcpLineServer:
    """Serve on a terminal where the system has them, otherwise or on request TCP.

    Parameters
    ----------
    device : LineDevice
    port : int
        A TCP port asks for TCP; 0 leaves the choice to the system.
    """
    has_terminals = hasattr(os, "openpty") and port == 0
    return PtyLineServer(device) if has_terminals else TcpLineServer(device, port)
