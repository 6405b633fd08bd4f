"""Frames of four bytes on a pseudo-terminal or on TCP (OIF-ITLA-MSA-01.3).

A damaged frame is not carried out; the answer to it says so.
"""

from __future__ import annotations

import threading
from typing import Protocol

from sim_backends.faults import LATE_S, FaultPlan
from sim_backends.wire.byte_server import (
    Answer,
    PtyServer,
    TcpByteServer,
    has_terminals,
)

FRAME_BYTES = 4
BAUD = 9600
GARBAGE = b"\x5a\xa5\xff\x00"
# Bits of the first byte.
WRITE, FROM_MODULE, DAMAGED = 0x01, 0x04, 0x08
WIRE_KINDS = (
    "drop-connection",
    "no-reply",
    "half-block",
    "cut-block",
    "slow-drip",
    "garbage",
    "late-reply",
    "wrong-length",
    "bad-checksum",
)


class FrameDevice(Protocol):
    """A module that answers reads and writes of registers."""

    name: str
    faults: FaultPlan

    def access(
        self, register: int, data: int, *, write: bool
    ) -> tuple[str, int, int | None]:
        """Carry out one request; return verb, status and data; None is no answer."""
        ...


def checksum(frame: bytes) -> int:
    """Return the parity nibble of a frame, over its low nibble and other bytes."""
    nibbles = [frame[0] & 15]
    for byte in frame[1:FRAME_BYTES]:
        nibbles += [byte >> 4, byte & 15]
    result = 0
    for nibble in nibbles:
        result ^= nibble
    return result


def sealed(first: int, register: int, data: int) -> bytes:
    """Return a frame with its checksum; `first` is the low half of its first byte."""
    body = bytes([first, register, data >> 8 & 0xFF, data & 0xFF])
    return bytes([checksum(body) << 4 | first]) + body[1:]


class FrameConversation:
    """Cuts a byte stream into frames, and makes those that answer them.

    Parameters
    ----------
    device : FrameDevice
    closing : Event
    """

    def __init__(self, device: FrameDevice, closing: threading.Event) -> None:
        self._device, self._closing = device, closing
        self._pending = b""

    def feed(self, data: bytes) -> Answer:
        """Take received bytes; return the answer to them."""
        self._pending += data
        reply, drips = b"", False
        while len(self._pending) >= FRAME_BYTES:
            frame = self._pending[:FRAME_BYTES]
            self._pending = self._pending[FRAME_BYTES:]
            data_bits = int.from_bytes(frame[2:])
            if checksum(frame) != frame[0] >> 4:
                reply += sealed(FROM_MODULE | DAMAGED, frame[1], data_bits)
                continue
            verb, status, answer = self._device.access(
                frame[1], data_bits, write=bool(frame[0] & WRITE)
            )
            if answer is None:
                continue
            kind = self._device.faults.take_data(verb, *WIRE_KINDS)
            if kind == "drop-connection":
                return Answer(reply, drops=True)
            reply += self._spoiled(kind, sealed(FROM_MODULE | status, frame[1], answer))
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
            return GARBAGE
        elif kind in {"half-block", "cut-block"}:
            return reply[: FRAME_BYTES // 2]
        elif kind == "wrong-length":
            return reply + reply[:1]
        elif kind == "bad-checksum":
            return reply[:-1] + bytes([reply[-1] ^ 0x01])
        return reply


class PtyFrameServer(PtyServer):
    """Serves one module on a pseudo-terminal, until closed.

    Parameters
    ----------
    device : FrameDevice
    """

    def __init__(self, device: FrameDevice) -> None:
        super().__init__(device, FrameConversation, BAUD)


class TcpFrameServer(TcpByteServer):
    """Serves one module like a serial device server, one client at a time.

    Parameters
    ----------
    device : FrameDevice
    port : int
        TCP port on the loopback interface; 0 lets the system choose.
    """

    def __init__(self, device: FrameDevice, port: int = 0) -> None:
        super().__init__(device, FrameConversation, port)


def frame_server(device: FrameDevice, port: int = 0) -> PtyFrameServer | TcpFrameServer:
    """Serve on a terminal where the system has them, otherwise or on request TCP.

    Parameters
    ----------
    device : FrameDevice
    port : int
        A TCP port asks for TCP; 0 leaves the choice to the system.
    """
    if has_terminals(port):
        return PtyFrameServer(device)
    return TcpFrameServer(device, port)
