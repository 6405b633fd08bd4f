"""What Alice prepared for a block, slot by slot: raw key material.

A file of its own, mode 0600 from the first byte, never part of a report, never
beside Bob's time tags. It grows by one burst at a time, and a burst is on the
disk before the light that carries it may leave::

    SCQC-SLOTS-1 and a line feed
    8 bytes           length of the header
    header            JSON: run_uuid, burst_slots, message_bytes
    message
    32 bytes          SHA-256 of all above
    burst_slots bytes, 32 bytes      once per burst: slots, digest
    ...

The digest of a burst covers the digest before it, so that no burst can be lost,
moved or exchanged in the middle. It is written only when the slots are safe: a
burst without a digest was interrupted, one with a wrong digest is damaged.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.store.files import capture_errors, fsync_path, refuse_shared

_MAGIC = b"SCQC-SLOTS-1\n"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 1 << 16
_MAX_MESSAGE_BYTES = 1 << 28
_MAX_BURST_SLOTS = 1 << 32


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """Alice's record of a block; its repr prints no values.

    Parameters
    ----------
    run_uuid : str
    message : bytes
        What the block carries.
    bursts : list of ndarray, shape (burst_slots,), uint8 [slot]
        The slots of each burst that was recorded whole, in order.
    """

    run_uuid: str
    message: bytes = field(repr=False)
    bursts: list[NDArray[np.uint8]] = field(repr=False)


class SlotRecordWriter:
    """Alice's record in the making; use it as a context manager.

    Parameters
    ----------
    path : Path
        Must not exist yet.
    run_uuid : str
    message : bytes
        What the block carries.
    burst_slots : int
        Slots of every burst [1].

    Raises
    ------
    CaptureError
        If the file exists or cannot be written, or a size is beyond its limit.
    """

    def __init__(
        self, path: Path, run_uuid: str, message: bytes, burst_slots: int
    ) -> None:
        _check_sizes(path, burst_slots, len(message))
        self.path = path
        self._burst_slots = burst_slots
        header = {
            "run_uuid": run_uuid,
            "burst_slots": burst_slots,
            "message_bytes": len(message),
        }
        text = json.dumps(header).encode()
        if len(text) > _MAX_HEADER_BYTES:
            raise CaptureError(
                f"{path}: header of {len(text)} bytes, limit {_MAX_HEADER_BYTES}"
            )
        head = b"".join((_MAGIC, len(text).to_bytes(_LENGTH_BYTES), text, message))
        self._digest = hashlib.sha256(head).digest()
        # Of the burst before the last one; None if that must stay.
        self._before: bytes | None = None
        with capture_errors(path, "create"):
            if path.exists():
                raise CaptureError(
                    f"{path}: exists already; Alice's record is never redone"
                )
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            self._file: BinaryIO | None = os.fdopen(handle, "wb", buffering=0)
            self._store(head + self._digest)
            fsync_path(path.parent)

    def add(self, slots: NDArray[np.uint8]) -> None:
        """Append a burst; it is on the disk when this returns.

        Parameters
        ----------
        slots : ndarray, shape (burst_slots,), uint8 [slot]

        Raises
        ------
        CaptureError
            If the array is no burst, or it cannot be written; the record then
            takes no more.
        """
        if slots.dtype != np.uint8 or slots.shape != (self._burst_slots,):
            raise CaptureError(
                f"{self.path}: burst of {slots.dtype} of shape {slots.shape}, not "
                f"uint8 ({self._burst_slots},)"
            )
        body = np.ascontiguousarray(slots).data
        digest = _chained(self._digest, body)
        with capture_errors(self.path, "append"):
            # Two steps to the disk: a power cut may leave a file of full length
            # with holes in it, but never a digest before what it vouches for.
            self._store(body)
            self._store(digest)
        self._before, self._digest = self._digest, digest

    def drop_last(self) -> None:
        """Strike the burst added last: its light was lost, nothing is made of it.

        Raises
        ------
        CaptureError
            If none was added since the record was made or a burst was struck, or
            the file cannot be cut.
        """
        if self._file is None or self._before is None:
            raise CaptureError(f"{self.path}: no burst to strike")
        with capture_errors(self.path, "strike"):
            end = self._file.tell() - self._burst_slots - _DIGEST_BYTES
            self._file.truncate(end)
            self._file.seek(end)
            os.fsync(self._file.fileno())
        self._digest, self._before = self._before, None

    def _store(self, data: bytes | memoryview) -> None:
        """Write all of `data` and force it to the disk."""
        file, view = self._file, memoryview(data)
        if file is None:
            raise CaptureError(f"{self.path}: append to a closed record")
        # Until it succeeds the file ends in the middle of something.
        self._file = None
        try:
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        except BaseException:
            file.close()
            raise
        self._file = file

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> SlotRecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_slot_record(path: Path) -> SlotRecord:
    """Read Alice's record of a block.

    A last burst that was interrupted is left out: its light never left.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CaptureError
        If the file is damaged, of another kind, or open to other users.
    """
    refuse_shared(path)
    with capture_errors(path, "open"):
        # Before it is opened: a pipe would wait for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise CaptureError(f"{path}: not a regular file")
    with capture_errors(path, "read"), path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        run_uuid, burst_slots, message, digest = _read_head(path, file, size)
        bursts: list[NDArray[np.uint8]] = []
        whole = burst_slots + _DIGEST_BYTES
        n_bursts = (size - file.tell()) // whole
        for number in range(n_bursts):
            slots = np.fromfile(file, np.uint8, burst_slots)
            found = file.read(_DIGEST_BYTES)
            if number == n_bursts - 1 and not any(found):
                break
            digest = _chained(digest, slots.data)
            if found != digest:
                raise CaptureError(
                    f"{path}: burst {number} is damaged (SHA-256 does not fit)"
                )
            bursts.append(slots)
    return SlotRecord(run_uuid, message, bursts)


def _read_head(path: Path, file: BinaryIO, size: int) -> tuple[str, int, bytes, bytes]:
    """Return run, slots per burst, message and digest; bursts come next."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise CaptureError(f"{path}: does not start with {_MAGIC!r}")
    length_bytes = file.read(_LENGTH_BYTES)
    length = int.from_bytes(length_bytes)
    if length > min(_MAX_HEADER_BYTES, size):
        raise CaptureError(f"{path}: header of {length} bytes does not fit the file")
    text = file.read(length)
    header = json.loads(text)
    if not isinstance(header, dict):
        raise CaptureError(f"{path}: header is not an object")
    burst_slots, n_message = header["burst_slots"], header["message_bytes"]
    if not isinstance(burst_slots, int) or not isinstance(n_message, int):
        raise CaptureError(f"{path}: header holds sizes that are no whole numbers")
    _check_sizes(path, burst_slots, n_message)
    if n_message > size:
        raise CaptureError(f"{path}: message of {n_message} bytes in {size}")
    message = file.read(n_message)
    digest = hashlib.sha256(b"".join((_MAGIC, length_bytes, text, message))).digest()
    if file.read(_DIGEST_BYTES) != digest:
        raise CaptureError(f"{path}: header damaged or cut off (SHA-256 does not fit)")
    return str(header["run_uuid"]), burst_slots, message, digest


def _check_sizes(path: Path, burst_slots: int, n_message: int) -> None:
    if not 1 <= burst_slots <= _MAX_BURST_SLOTS:
        raise CaptureError(
            f"{path}: bursts of {burst_slots} slots, limit 1 to {_MAX_BURST_SLOTS}"
        )
    if not 0 <= n_message <= _MAX_MESSAGE_BYTES:
        raise CaptureError(
            f"{path}: message of {n_message} bytes, limit {_MAX_MESSAGE_BYTES}"
        )


def _chained(before: bytes, slots: memoryview) -> bytes:
    digest = hashlib.sha256(before)
    digest.update(slots)
    return digest.digest()
