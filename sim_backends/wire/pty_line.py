"""Lines of text on a pseudo-terminal or on TCP, as many serial instruments speak."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

from sim_backends.faults import LATE_S, FaultPlan
from sim_backends.wire.byte_server import (
    Answer,
    PtyServer,
    TcpByteServer,
    has_terminals,
)

GARBAGE = b"\x00\xff\xfe~garbage~\x80>"
PROMPT = b"> "
WIRE_KINDS = (
    "drop-connection",
    "no-reply",
    "half-block",
    "cut-block",
    "slow-drip",
    "garbage",
    "wrong-identity",
    "late-reply",
    "wrong-length",
)


@dataclass(frozen=True, slots=True)
class LineFormat:
    """What an instrument's bytes look like.

    Parameters
    ----------
    line_end : bytes
        Behind every line of a reply.
    prompts : bool
        Whether a reply begins with the command and ends with a prompt.
    baud : int
        Speed of its serial port [Bd].
    impostor : tuple of bytes
        What another instrument's identity would have instead of what.
    """

    line_end: bytes = b"\r"
    prompts: bool = False
    baud: int = 115200
    impostor: tuple[bytes, bytes] = (b"", b"")

    def encode(self, command: str, lines: list[str]) -> bytes:
        """Return the reply to a command as bytes; without lines there may be none."""
        if self.prompts:
            return self.line_end.join(
                [command.encode(), *(line.encode() for line in lines), PROMPT]
            )
        return b"".join(line.encode() + self.line_end for line in lines)


class LineDevice(Protocol):
    """An instrument that answers lines of text."""

    name: str
    faults: FaultPlan
    line_format: LineFormat

    def answer(self, line: str) -> tuple[str, list[str]]:
        """Carry out one command; return the verb it is, and the lines it gives."""
        ...


class LineConversation:
    """Cuts a byte stream into commands, and makes the bytes that answer them.

    Parameters
    ----------
    device : LineDevice
    closing : Event
    """

    def __init__(self, device: LineDevice, closing: threading.Event) -> None:
        self._device, self._closing = device, closing
        self._pending = b""

    def feed(self, data: bytes) -> Answer:
        """Take received bytes; return the answer to them."""
        self._pending += data.replace(b"\n", b"\r")
        *commands, self._pending = self._pending.split(b"\r")
        reply, drips = b"", False
        for raw in commands:
            if not raw:
                continue
            command = raw.decode("latin-1")
            verb, lines = self._device.answer(command)
            whole = self._device.line_format.encode(command, lines)
            kinds = WIRE_KINDS if whole else WIRE_KINDS[:1]
            kind = self._device.faults.take_data(verb, *kinds)
            if kind == "drop-connection":
                return Answer(reply, drops=True)
            reply += self._spoiled(kind, whole)
            if kind == "cut-block":
                return Answer(reply, drops=True)
            drips = drips or kind == "slow-drip"
        return Answer(reply, drips=drips)

    def _spoiled(self, kind: str | None, reply: bytes) -> bytes:
        """Return the reply as the fault leaves it."""
        if kind == "no-reply":
            return b""
        if kind == "late-reply":
            self._closing.wait(LATE_S)
        elif kind == "garbage":
            return GARBAGE + self._device.line_format.line_end
        elif kind in {"half-block", "cut-block"}:
            return reply[: len(reply) // 2]
        elif kind == "wrong-length":
            return reply + reply
        elif kind == "wrong-identity":
            return reply.replace(*self._device.line_format.impostor)
        return reply


class PtyLineServer(PtyServer):
    """Serves one line device on a pseudo-terminal, until closed.

    Parameters
    ----------
    device : LineDevice
    """

    def __init__(self, device: LineDevice) -> None:
        super().__init__(device, LineConversation, device.line_format.baud)


class TcpLineServer(TcpByteServer):
    """Serves one line device like a serial device server, one client at a time.

    Parameters
    ----------
    device : LineDevice
    port : int
        TCP port on the loopback interface; 0 lets the system choose.
    """

    def __init__(self, device: LineDevice, port: int = 0) -> None:
        super().__init__(device, LineConversation, port)


def line_server(device: LineDevice, port: int = 0) -> PtyLineServer | TcpLineServer:
    """Serve on a terminal where the system has them, otherwise or on request TCP.

    Parameters
    ----------
    device : LineDevice
    port : int
        A TCP port asks for TCP; 0 leaves the choice to the system.
    """
    if has_terminals(port):
        return PtyLineServer(device)
    return TcpLineServer(device, port)
