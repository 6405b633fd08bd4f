"""PicoQuant PTU files with time tags (T2): read and write.

A header of 48-byte tags is followed by 32-bit records. A record is a photon, a
tick of the sync input, a marker, or an overflow of the short time counter. Three
layouts exist:

=================  ==================  ============================================
device             time, channel bits  overflow
=================  ==================  ============================================
PicoHarp 300       28, 4               210 698 240 units, one per record
HydraHarp V1       25, 6 + flag        33 552 000 units, one per record
all later ones     25, 6 + flag        33 554 432 units, the record holds how many
=================  ==================  ============================================

References
----------
.. [1] PicoQuant, "Unified TTTR file format", tag and record types.
"""

from __future__ import annotations

import os
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError
from scqc.core.records import TimeTags
from scqc.store.files import capture_errors, write_atomically
from scqc.store.ptu_records import PICOHARP_INPUTS, Layout, decode, encode

MAGIC = b"PQTTTR\0\0"
_TAG = struct.Struct("<32siI8s")
_EMPTY, _BOOL, _INT, _FLOAT = 0xFFFF0008, 0x00000008, 0x10000008, 0x20000008
_DATE, _COLOUR, _BITS = 0x21000008, 0x12000008, 0x11000008
# Types whose value is the byte length of what follows.
_ANSI, _WIDE, _BLOB, _FLOATS = 0x4001FFFF, 0x4002FFFF, 0xFFFFFFFF, 0x2001FFFF
_PLAIN = (_EMPTY, _BOOL, _DATE, _COLOUR, _BITS)
MAX_TAGS, MAX_TEXT = 10_000, 1 << 20
BLOCK_RECORDS = 1 << 20

RECORD_TYPES = {
    0x00010203: ("PicoHarp 300", Layout.PICOHARP),
    0x00010204: ("HydraHarp V1", Layout.HYDRAHARP_1),
    0x01010204: ("HydraHarp V2", Layout.GENERIC),
    0x00010205: ("TimeHarp 260 N", Layout.GENERIC),
    0x00010206: ("TimeHarp 260 P", Layout.GENERIC),
    0x00010207: ("MultiHarp", Layout.GENERIC),
}
MULTIHARP = 0x00010207


@dataclass(frozen=True, slots=True)
class PtuHeader:
    """What a PTU file says of itself.

    Parameters
    ----------
    record_type : int
        One of `RECORD_TYPES`.
    resolution_ps : float
        Unit of the time tags [ps].
    n_records : int
    duration_ps : int
        Length of the acquisition; 0 if the file does not say [ps].
    values : dict
        All numbers and texts of the header by name.
    """

    record_type: int
    resolution_ps: float
    n_records: int
    duration_ps: int
    values: dict[str, int | float | str]


@dataclass(frozen=True, slots=True)
class PtuRecord:
    """The contents of a PTU file.

    Parameters
    ----------
    tags : TimeTags
        Photons; inputs count from 1.
    sync_ps : ndarray, shape (n,), int64 [ps]
        Ticks of the sync input.
    markers : int
        Markers seen, and left out.
    header : PtuHeader
    """

    tags: TimeTags
    sync_ps: NDArray[np.int64]
    markers: int
    header: PtuHeader


def write_ptu(
    path: Path,
    tags: TimeTags,
    resolution_ps: int = 1,
    record_type: int = MULTIHARP,
) -> None:
    """Write time tags as a T2 file.

    Parameters
    ----------
    path : Path
    tags : TimeTags
        In order, from 0 on.
    resolution_ps : int
        Unit of time; every tag must be a whole number of it [ps].
    record_type : int
        One of `RECORD_TYPES`.

    Raises
    ------
    CaptureError
        Tags that the format cannot hold, or a file that cannot be written.
    """
    if record_type not in RECORD_TYPES:
        raise CaptureError(f"{path}: record type {record_type:#x}, no T2 format")
    if tags.lost or tags.overflow:
        raise CaptureError(
            f"{path}: {tags.lost} lost tags, overflow {tags.overflow}: a PTU file has "
            "no place for that, limit 0 and none"
        )
    if resolution_ps < 1 or np.any(tags.times_ps % resolution_ps):
        raise CaptureError(
            f"{path}: tags are no multiples of the resolution {resolution_ps} ps"
        )
    name, layout = RECORD_TYPES[record_type]
    most = PICOHARP_INPUTS if layout is Layout.PICOHARP else 63
    times, channels = tags.times_ps // resolution_ps, tags.channels
    if times.size and (
        times[0] < 0
        or np.any(np.diff(times) < 0)
        or not 1 <= channels.min() <= channels.max() <= most
    ):
        raise CaptureError(
            f"{path}: tags must be in order from 0 on, inputs 1 to {most} for {name}"
        )
    records = encode(times, channels, layout)
    header = _header_bytes(tags, resolution_ps, record_type, records.size)
    # With the public transcript, Bob's tags give his raw key: nobody else may read.
    write_atomically(path, iter((header, records.tobytes())), 0o600)


def _header_bytes(
    tags: TimeTags, resolution_ps: int, record_type: int, n_records: int
) -> bytes:
    seconds = 1e-12 * resolution_ps
    entries: list[tuple[str, int, int | float | str | None]] = [
        ("File_GUID", _ANSI, f"{{{uuid.uuid4()}}}"),
        ("CreatorSW_Name", _ANSI, "scqc"),
        ("CreatorSW_Version", _ANSI, "1"),
        ("File_CreatingTime", _DATE, 0.0),
        ("Measurement_Mode", _INT, 2),
        ("Measurement_SubMode", _INT, 0),
        ("HW_Type", _ANSI, RECORD_TYPES[record_type][0]),
        ("TTResultFormat_TTTRRecType", _INT, record_type),
        ("TTResultFormat_BitsPerRecord", _INT, 32),
        ("MeasDesc_GlobalResolution", _FLOAT, seconds),
        ("MeasDesc_Resolution", _FLOAT, seconds),
        ("MeasDesc_AcquisitionTime", _INT, -(-tags.duration_ps // 10**9)),
        ("ScqcDurationPs", _INT, tags.duration_ps),
        ("TTResult_SyncRate", _INT, 0),
        ("TTResult_NumberOfRecords", _INT, n_records),
        ("Header_End", _EMPTY, None),
    ]
    parts = [MAGIC, b"1.0.00\0\0"]
    for name, kind, value in entries:
        tail = b""
        if isinstance(value, str):
            text = value.encode("ascii") + b"\0"
            tail = text + bytes(-len(text) % 8)
            packed = struct.pack("<q", len(tail))
        elif isinstance(value, float):
            packed = struct.pack("<d", value)
        else:
            packed = struct.pack("<q", value or 0)
        parts += [_TAG.pack(name.encode("ascii"), -1, kind, packed), tail]
    return b"".join(parts)


def read_ptu(path: Path) -> PtuRecord:
    """Read a T2 file whole.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CaptureError
        A damaged, hostile, unfinished or unsupported file.
    """
    blocks = list(read_ptu_blocks(path))
    header = blocks[0][0]
    all_ps = np.concatenate([block[1] for block in blocks])
    inputs = np.concatenate([block[2] for block in blocks])
    markers = sum(block[3] for block in blocks)
    photon = inputs != 0
    sync_ps = all_ps[~photon]
    if sync_ps.size:
        all_ps, inputs = all_ps[photon], inputs[photon]
    last = int(all_ps.max(initial=0))
    duration_ps = max(header.duration_ps, last)
    return PtuRecord(TimeTags(all_ps, inputs, duration_ps), sync_ps, markers, header)


def read_ptu_blocks(
    path: Path, block: int = BLOCK_RECORDS
) -> Iterator[tuple[PtuHeader, NDArray[np.int64], NDArray[np.uint8], int]]:
    """Yield a T2 file in blocks: header, times [ps], inputs, number of markers.

    The sync input is input 0. There is at least one block.

    Parameters
    ----------
    path : Path
    block : int
        Records per block.

    Raises
    ------
    CaptureError
        A damaged, hostile, unfinished or unsupported file.
    """
    with capture_errors(path, "read PTU"), path.open("rb") as file:
        header = read_header(file, path)
        layout = RECORD_TYPES[header.record_type][1]
        state = np.zeros(2, dtype=np.int64)
        scale = round(header.resolution_ps)
        whole = abs(header.resolution_ps - scale) < 1e-9 and scale > 0
        left = header.n_records
        while True:
            records = np.fromfile(file, dtype="<u4", count=min(left, block))
            if records.size < min(left, block):
                raise CaptureError(f"{path}: ends {left - records.size} records early")
            left -= records.size
            before = int(state[1])
            times, inputs = decode(records, layout, scale if whole else 1, state, path)
            if not whole:
                times = np.rint(times * header.resolution_ps).astype(np.int64)
            yield header, times, inputs, int(state[1]) - before
            if left == 0:
                return


def read_header(file: BinaryIO, path: Path) -> PtuHeader:
    """Read the header; the file is then at its first record.

    Parameters
    ----------
    file : binary file
    path : Path
        For messages.

    Raises
    ------
    CaptureError
        Not a T2 file, or one that contradicts itself.
    """
    size = os.fstat(file.fileno()).st_size
    if file.read(8) != MAGIC:
        raise CaptureError(f"{path}: no PTU file, it does not start with PQTTTR")
    file.read(8)
    values: dict[str, int | float | str] = {}
    for _ in range(MAX_TAGS):
        raw = file.read(_TAG.size)
        if len(raw) < _TAG.size:
            raise CaptureError(f"{path}: the header has no end")
        name_bytes, _index, kind, packed = _TAG.unpack(raw)
        name = name_bytes.split(b"\0")[0].decode("ascii", errors="replace")
        if name == "Header_End":
            return _checked_header(values, path, size - file.tell())
        value = _tag_value(file, path, name, kind, packed)
        if value is not None:
            values[name] = value
    raise CaptureError(f"{path}: more than {MAX_TAGS} header tags")


def _tag_value(
    file: BinaryIO, path: Path, name: str, kind: int, packed: bytes
) -> int | float | str | None:
    if kind == _INT:
        return int.from_bytes(packed, "little", signed=True)
    if kind == _FLOAT:
        found: float = struct.unpack("<d", packed)[0]
        return found
    if kind in _PLAIN:
        return None
    if kind not in (_ANSI, _WIDE, _BLOB, _FLOATS):
        raise CaptureError(f"{path}: header tag {name!r} has unknown type {kind:#x}")
    length = int.from_bytes(packed, "little", signed=True)
    if not 0 <= length <= MAX_TEXT:
        raise CaptureError(
            f"{path}: header tag {name!r} is {length} bytes long, limit {MAX_TEXT}"
        )
    text = file.read(length)
    if len(text) < length:
        raise CaptureError(f"{path}: header tag {name!r} ends early")
    return text.split(b"\0")[0].decode("cp1252", "replace") if kind == _ANSI else None


def _checked_header(
    values: dict[str, int | float | str], path: Path, bytes_left: int
) -> PtuHeader:
    def whole(name: str, default: int | None = None) -> int:
        value = values.get(name, default)
        if not isinstance(value, int):
            raise CaptureError(f"{path}: header lacks the whole number {name}")
        return value

    kind, mode = whole("TTResultFormat_TTTRRecType"), whole("Measurement_Mode", 2)
    if kind not in RECORD_TYPES or mode != 2:
        raise CaptureError(
            f"{path}: record type {kind:#x} in mode {mode}, only T2 (mode 2) is read"
        )
    if whole("TTResultFormat_BitsPerRecord", 32) not in (0, 32):
        raise CaptureError(f"{path}: records are not of 32 bits")
    n_records = whole("TTResult_NumberOfRecords")
    if not 0 <= 4 * n_records <= bytes_left:
        raise CaptureError(
            f"{path}: {n_records} records announced, {bytes_left // 4} in the file"
        )
    seconds = values.get("MeasDesc_GlobalResolution")
    if not isinstance(seconds, float) or not 1e-15 <= seconds <= 1e-3:
        raise CaptureError(f"{path}: resolution {seconds!r} s, limit 1e-15 to 1e-3 s")
    milliseconds = whole("MeasDesc_AcquisitionTime", 0)
    duration_ps = whole("ScqcDurationPs", milliseconds * 10**9)
    if not 0 <= duration_ps < 1 << 62:
        raise CaptureError(f"{path}: duration {duration_ps} ps, limit 0 to 2^62")
    return PtuHeader(kind, 1e12 * seconds, n_records, duration_ps, values)
