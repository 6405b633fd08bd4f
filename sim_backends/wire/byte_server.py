"""Byte streams to one client: a pseudo-terminal, or a serial device server on TCP.

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
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from sim_backends.faults import drip
from sim_backends.wire import listen

_POLL_S = 0.02
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What follows received bytes.

    Parameters
    ----------
    data : bytes
    drops : bool
        Whether the link is dropped behind it.
    drips : bool
        Whether it comes slowly, in small pieces.
    """

    data: bytes = b""
    drops: bool = False
    drips: bool = False

    def pieces(self, closing: threading.Event) -> Iterable[bytes]:
        """Return what to send, piece by piece; `closing` ends the waiting."""
        return drip(self.data, closing) if self.drips else [self.data]


class Conversation(Protocol):
    """Turns the bytes of one connection into the bytes that answer them."""

    def feed(self, data: bytes) -> Answer:
        """Take received bytes; return the answer to them."""
        ...


#: Begins a conversation with a device; the event is set when the server closes.
Begin = Callable[[Any, threading.Event], Conversation]


class PtyServer:
    """Serves one device on a pseudo-terminal, until closed.

    Parameters
    ----------
    device : object
        With a `name`.
    begin : callable
        Begins a conversation with it.
    baud : int
        Told to clients [Bd]; a terminal has no speed.
    """

    def __init__(self, device: Any, begin: Begin, baud: int) -> None:
        self.device, self._begin, self._baud = device, begin, baud
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
        return f"serial://{self._link}?baud={self._baud}"

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

        talk = self._begin(self.device, self._closing)
        while not self._closing.is_set():
            ours, theirs = self._terminal
            if not select.select([ours], [], [], _POLL_S)[0]:
                continue
            answer = talk.feed(os.read(ours, 1 << 16))
            for piece in answer.pieces(self._closing):
                rest = piece
                while rest:
                    rest = rest[os.write(ours, rest) :]
            if answer.drops:
                self._terminal = self._make()
                os.close(ours)
                os.close(theirs)
                talk = self._begin(self.device, self._closing)
        for end in self._terminal:
            os.close(end)


class TcpByteServer:
    """Serves one device like a serial device server, one client at a time.

    Parameters
    ----------
    device : object
        With a `name`.
    begin : callable
        Begins a conversation with it.
    port : int
        TCP port on the loopback interface; 0 lets the system choose.
    """

    def __init__(self, device: Any, begin: Begin, port: int = 0) -> None:
        self.device, self._begin = device, begin
        self._closing = threading.Event()
        self._listener = socket.create_server((listen.host(), port))
        self._listener.settimeout(_POLL_S)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._accept, name=f"{device.name}-line", daemon=True
        )
        self._thread.start()

    @property
    def endpoint(self) -> str:
        """Where clients connect: ``socket://127.0.0.1:port``."""
        return f"socket://{listen.host()}:{self.port}"

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
        talk = self._begin(self.device, self._closing)
        connection.settimeout(_POLL_S)
        while not self._closing.is_set():
            try:
                data = connection.recv(1 << 16)
            except TimeoutError:
                continue
            if not data:
                return
            answer = talk.feed(data)
            for piece in answer.pieces(self._closing):
                connection.sendall(piece)
            if answer.drops:
                return


def has_terminals(port: int) -> bool:
    """Return whether to serve on a terminal: where there are, and no port is asked."""
    return hasattr(os, "openpty") and port == 0
