"""A small binary container: magic, JSON header, payload, SHA-256 over all.

Used for what is read whole and must be right to the last bit: Alice's raw
record and protocol transcripts. Nothing is interpreted before the digest fits.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scqc.core.errors import CaptureError
from scqc.store.files import capture_errors, write_atomically

MAX_HEADER_BYTES = 1 << 24
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8


def write_checked(
    path: Path, magic: bytes, header: dict[str, Any], payload: list[bytes], mode: int
) -> None:
    """Write a container, whole or not at all.

    Parameters
    ----------
    path : Path
    magic : bytes
        What the file starts with.
    header : dict
        JSON-ready.
    payload : list of bytes
    mode : int
        Permissions of the file.

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    text = json.dumps(header, allow_nan=False).encode()
    if len(text) > MAX_HEADER_BYTES:
        raise CaptureError(
            f"{path}: header of {len(text)} bytes, limit {MAX_HEADER_BYTES}"
        )

    def pieces() -> Iterator[bytes]:
        digest = hashlib.sha256()
        for piece in (magic, len(text).to_bytes(_LENGTH_BYTES), text, *payload):
            digest.update(piece)
            yield piece
        yield digest.digest()

    write_atomically(path, pieces(), mode)


def read_checked(
    path: Path, magic: bytes, max_bytes: int
) -> tuple[dict[str, Any], memoryview]:
    """Read a container after checking its digest.

    Returns
    -------
    header : dict
    payload : memoryview of bytes

    Raises
    ------
    CaptureError
        If it is no such file, too large, or not what was written.
    """
    with capture_errors(path, "read"):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CaptureError(f"{path}: not a regular file")
        if status.st_size > max_bytes:
            raise CaptureError(f"{path}: {status.st_size} bytes, limit {max_bytes}")
        data = memoryview(path.read_bytes())
    start = len(magic) + _LENGTH_BYTES
    if bytes(data[: len(magic)]) != magic or len(data) < start + _DIGEST_BYTES:
        raise CaptureError(f"{path}: does not start with {magic!r}")
    body = data[:-_DIGEST_BYTES]
    if hashlib.sha256(body).digest() != bytes(data[-_DIGEST_BYTES:]):
        raise CaptureError(f"{path}: damaged or cut off (SHA-256 does not fit)")
    length = int.from_bytes(data[len(magic) : start])
    if length > min(MAX_HEADER_BYTES, len(body) - start):
        raise CaptureError(f"{path}: header of {length} bytes does not fit the file")
    with capture_errors(path, "header"):
        header = json.loads(bytes(body[start : start + length]))
        if not isinstance(header, dict):
            raise CaptureError(f"{path}: header is not an object")
    return header, body[start + length :]
