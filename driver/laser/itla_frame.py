"""Frames of four bytes between a host and an ITLA module.

Source: OIF-ITLA-MSA-01.3, transport and packet layer. Most significant byte
first; the upper half of the first byte is a parity over all the rest (BIP-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

FRAME_BYTES = 4
_WRITE, _FROM_MODULE, _DAMAGED = 0x01, 0x04, 0x08


class Status(IntEnum):
    """How a module took a request."""

    OK = 0
    EXECUTION_ERROR = 1
    EXTENDED = 2
    PENDING = 3


@dataclass(frozen=True, slots=True)
class Reply:
    """What a module answered.

    Parameters
    ----------
    status : Status
    register : int
        The one that was asked for.
    data : int
        Sixteen bits.
    found_damage : bool
        Whether the module saw a bad checksum, and did nothing.
    """

    status: Status
    register: int
    data: int
    found_damage: bool = False


def parity(frame: bytes) -> int:
    """Return the four parity bits over a frame, its own parity left out."""
    folded = (frame[0] & 0x0F) ^ frame[1] ^ frame[2] ^ frame[3]
    return (folded >> 4) ^ (folded & 0x0F)


def request(register: int, data: int = 0, *, write: bool = False) -> bytes:
    """Return the frame that reads or writes a register.

    Parameters
    ----------
    register : int
        0 to 255.
    data : int
        Sixteen bits, signed or not.
    write : bool
    """
    body = bytes([_WRITE if write else 0, register]) + (data & 0xFFFF).to_bytes(2)
    return bytes([parity(body) << 4 | body[0]]) + body[1:]


def parse_reply(frame: bytes) -> Reply:
    """Return what a module's frame says.

    Raises
    ------
    ValueError
        If it has another length, a bad checksum, or is no module's frame.
    """
    if len(frame) != FRAME_BYTES:
        raise ValueError(f"{len(frame)} of {FRAME_BYTES} bytes: {frame.hex(' ')}")
    if frame[0] >> 4 != parity(frame):
        raise ValueError(f"bad checksum in {frame.hex(' ')}")
    if not frame[0] & _FROM_MODULE:
        raise ValueError(f"{frame.hex(' ')} is no module's frame")
    return Reply(
        status=Status(frame[0] & 0x03),
        register=frame[1],
        data=int.from_bytes(frame[2:]),
        found_damage=bool(frame[0] & _DAMAGED),
    )
