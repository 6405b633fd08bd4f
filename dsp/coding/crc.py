"""CRC-32 at the end of a frame: detects transmission errors, proves nothing.

The checksum is ISO-HDLC CRC-32 (polynomial 0x04C11DB7 reflected), appended
most significant byte first. Against an adversary use
`protocols.authentication`.
"""

from __future__ import annotations

import zlib

#: Bytes the checksum takes.
CRC_BYTES = 4


def append(message: bytes) -> bytes:
    """Return `message` followed by its CRC-32."""
    return message + zlib.crc32(message).to_bytes(CRC_BYTES, "big")


def holds(framed: bytes) -> bool:
    """Whether the last four bytes are the CRC-32 of the bytes before them."""
    if len(framed) < CRC_BYTES:
        return False
    body, tail = framed[:-CRC_BYTES], framed[-CRC_BYTES:]
    return zlib.crc32(body).to_bytes(CRC_BYTES, "big") == tail
