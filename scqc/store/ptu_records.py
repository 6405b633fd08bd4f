"""The 32-bit records of PTU files, compiled: decode and encode."""

from __future__ import annotations

import enum
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import CaptureError

# Times stay below this [unit or ps], far from the end of int64.
LARGEST = 1 << 61
MOST_RECORDS = 1 << 32
# The field has 25 bits; ptufile 2026.2.6 looks at seven of them.
MOST_COUNTED = 127
PICOHARP_INPUTS = 5


class Layout(enum.Enum):
    """How a record is laid out; the value is the length of one overflow [unit]."""

    PICOHARP = 210_698_240
    HYDRAHARP_1 = 33_552_000
    GENERIC = 1 << 25


def decode(
    records: NDArray[np.uint32],
    layout: Layout,
    scale: int,
    state: NDArray[np.int64],
    path: Path,
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Return the times and inputs of a block of records; overflows vanish.

    Parameters
    ----------
    records : ndarray, shape (n,), uint32 [code]
    layout : Layout
    scale : int
        What a unit of time is multiplied by.
    state : ndarray, shape (2,), int64 [unit, 1]
        Overflowed time and markers so far; updated.
    path : Path
        For messages.

    Returns
    -------
    tuple of ndarray, shape (m,), int64 [unit * scale], and (m,), uint8 [1]
        Inputs from 1, the sync input is 0.

    Raises
    ------
    CaptureError
        Times beyond all reason.
    """
    times = np.empty(records.size, dtype=np.int64)
    inputs = np.empty(records.size, dtype=np.uint8)
    limit = LARGEST // scale
    if layout is Layout.PICOHARP:
        n = decode_picoharp(records, scale, limit, state, times, inputs)
    else:
        counted = layout is Layout.GENERIC
        rules = (layout.value, counted, scale, limit)
        n = decode_t2(records, rules, state, times, inputs)
    if n == -2:
        raise CaptureError(
            f"{path}: a record of an input above {PICOHARP_INPUTS}, which a PicoHarp "
            "does not have"
        )
    if n < 0:
        raise CaptureError(
            f"{path}: overflow records add up to more than {limit} units of time"
        )
    return times[:n], inputs[:n]


@numba.njit(cache=True, nogil=True)
def decode_t2(
    records: NDArray[np.uint32],
    rules: tuple[int, bool, int, int],
    state: NDArray[np.int64],
    times: NDArray[np.int64],
    inputs: NDArray[np.uint8],
) -> int:
    """Decode records of all devices but the PicoHarp; return how many, -1 if too late.

    Parameters
    ----------
    records : ndarray, shape (n,), uint32 [code]
    rules : (int, bool, int, int)
        Overflow [unit], whether a record counts several, scale, latest time [unit].
    state : ndarray, shape (2,), int64 [unit, 1]
    times : ndarray, shape (n,), int64 [unit * scale]
        Written.
    inputs : ndarray, shape (n,), uint8 [1]
        Written.
    """
    wrap, counted, scale, limit = rules
    base, markers, n = state[0], state[1], np.int64(0)
    for k in range(records.size):
        record = np.int64(records[k])
        channel = (record >> 25) & 63
        time = record & 0x1FFFFFF
        special = record >> 31
        if special and channel == 63:
            # Old files have no count: it is 0 and means 1.
            count = time if counted and time > 0 else np.int64(1)
            base += wrap * count
            if base > limit:
                return -1
            continue
        times[n] = (base + time) * scale
        inputs[n] = (channel + 1) * (1 - special)
        marker = special & np.int64(channel != 0)
        markers += marker
        n += 1 - marker
    state[0], state[1] = base, markers
    return int(n)


@numba.njit(cache=True, nogil=True)
def decode_picoharp(
    records: NDArray[np.uint32],
    scale: int,
    limit: int,
    state: NDArray[np.int64],
    times: NDArray[np.int64],
    inputs: NDArray[np.uint8],
) -> int:
    """Decode records of a PicoHarp 300; return how many, or what is wrong.

    -1 for a time beyond the limit, -2 for an input that the device does not have.

    Parameters
    ----------
    records : ndarray, shape (n,), uint32 [code]
    scale, limit : int
        What a unit is multiplied by; latest time [unit].
    state : ndarray, shape (2,), int64 [unit, 1]
    times : ndarray, shape (n,), int64 [unit * scale]
        Written.
    inputs : ndarray, shape (n,), uint8 [1]
        Written.
    """
    base, markers, n = state[0], state[1], 0
    for k in range(records.size):
        record = np.int64(records[k])
        channel, time = record >> 28, record & 0xFFFFFFF
        if channel == 15:
            # The low bits are the markers; none of them: an overflow.
            if time & 15 == 0:
                base += 210_698_240
                if base > limit:
                    return -1
            else:
                markers += 1
            continue
        if channel >= PICOHARP_INPUTS:
            return -2
        times[n] = (base + time) * scale
        inputs[n] = channel + 1
        n += 1
    state[0], state[1] = base, markers
    return n


def encode(
    times: NDArray[np.int64], inputs: NDArray[np.uint8], layout: Layout
) -> NDArray[np.uint32]:
    """Return the records of photons, with the overflows they need.

    Parameters
    ----------
    times : ndarray, shape (n,), int64 [unit]
        In order, from 0 on.
    inputs : ndarray, shape (n,), uint8 [1]
        From 1.
    layout : Layout

    Returns
    -------
    ndarray, shape (m,), uint32 [code]

    Raises
    ------
    CaptureError
        More overflows than a file should hold.
    """
    wrap, counted = layout.value, layout is Layout.GENERIC
    gaps = np.diff(times // wrap, prepend=0)
    extra = -(-gaps // MOST_COUNTED) if counted else gaps
    total = int(extra.sum()) + times.size
    if total > MOST_RECORDS:
        raise CaptureError(f"PTU: {total} records needed, limit {MOST_RECORDS}")
    records = np.empty(total, dtype=np.uint32)
    shift = 28 if layout is Layout.PICOHARP else 25
    encode_records(times, inputs, (wrap, shift, counted), records)
    return records


@numba.njit(cache=True, nogil=True)
def encode_records(
    times: NDArray[np.int64],
    inputs: NDArray[np.uint8],
    rules: tuple[int, int, bool],
    records: NDArray[np.uint32],
) -> None:
    """Write photons and overflows.

    Parameters
    ----------
    times : ndarray, shape (n,), int64 [unit]
    inputs : ndarray, shape (n,), uint8 [1]
    rules : (int, int, bool)
        Overflow [unit], bits of a time, whether a record counts several.
    records : ndarray, shape (m,), uint32 [code]
        Written.
    """
    wrap, shift, counted = rules
    special = np.int64(15) << 28 if shift == 28 else (np.int64(127) << 25)
    wraps, n = np.int64(0), 0
    for k in range(times.size):
        due = times[k] // wrap
        while wraps < due:
            step = min(due - wraps, MOST_COUNTED) if counted else np.int64(1)
            records[n] = np.uint32(special | (step if counted else 0))
            wraps += step
            n += 1
        code = (np.int64(inputs[k]) - 1) << shift
        records[n] = np.uint32(code | (times[k] - wraps * wrap))
        n += 1
