"""Turn PTU files into captures of time tags, and bursts back into PTU files."""

from __future__ import annotations

import json
import math
import uuid
from pathlib import Path
from typing import Any

from scqc.core.errors import CaptureError
from scqc.store.capture_format import CaptureHeader
from scqc.store.files import capture_errors
from scqc.store.ptu import MULTIHARP, RECORD_TYPES, PtuRecord, read_ptu, write_ptu
from scqc.store.tag_capture import TagCaptureWriter, open_tag_capture

# What a PTU header says of the device and the measurement as a whole; entries
# per input have one name for all inputs and stay behind.
_KEPT = ("File_", "CreatorSW_", "HW_", "Measurement_", "MeasDesc_", "TTResult")
_MAX_TEXT = 200


def import_ptu(path: Path, out: Path) -> dict[str, Any]:
    """Turn a T2 file into a capture of one burst.

    Inputs keep their numbers. Ticks of the sync input and markers are no
    detections: they are counted and left out.

    Parameters
    ----------
    path : Path
    out : Path
        New capture; must not exist.

    Returns
    -------
    dict
        JSON-ready: what the capture's instruments record keeps of the file:
        ``record_type``, ``device``, ``resolution_ps`` [ps], ``n_tags``,
        ``sync_ticks``, ``markers`` and ``header``.

    Raises
    ------
    CaptureError
        A damaged or unsupported file, or a capture that cannot be written.
    """
    record = read_ptu(path)
    facts = _facts(record)
    header = CaptureHeader(
        config_toml="",
        run_uuid=str(uuid.uuid4()),
        instruments_json=json.dumps({"ptu": facts}, allow_nan=False),
    )
    with TagCaptureWriter(out, header, 1) as writer:
        writer.add(0, record.tags)
    return facts


def _facts(record: PtuRecord) -> dict[str, Any]:
    header = record.header
    return {
        "record_type": header.record_type,
        "device": RECORD_TYPES[header.record_type][0],
        "resolution_ps": header.resolution_ps,
        "n_tags": record.tags.times_ps.size,
        "sync_ticks": record.sync_ps.size,
        "markers": record.markers,
        "header": {
            name: value
            for name, value in header.values.items()
            if name.startswith(_KEPT) and _is_plain(value)
        },
    }


def _is_plain(value: float | str) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT and value.isprintable()
    return isinstance(value, int) or math.isfinite(value)


def export_ptu(capture: Path, out: Path, burst: int) -> dict[str, Any]:
    """Write one burst as a T2 file.

    A capture that came from a PTU file goes back with the resolution and the
    kind of records it had; any other becomes a MultiHarp file in steps of 1 ps.

    Parameters
    ----------
    capture : Path
    out : Path
        New file; must not exist.
    burst : int
        Number of the burst, from 0.

    Returns
    -------
    dict
        JSON-ready: ``record_type``, ``device``, ``resolution_ps`` [ps] and
        ``n_tags``.

    Raises
    ------
    CaptureError
        A damaged capture, no such burst, or tags that the format cannot hold.
    """
    if out.exists():
        raise CaptureError(f"{out}: exists already; give a new name")
    with open_tag_capture(capture) as opened:
        tags = opened.burst(burst)
        record_type, resolution_ps = _origin(capture, opened.header.instruments_json)
    write_ptu(out, tags, resolution_ps, record_type)
    return {
        "record_type": record_type,
        "device": RECORD_TYPES[record_type][0],
        "resolution_ps": resolution_ps,
        "n_tags": tags.times_ps.size,
    }


def _origin(capture: Path, instruments_json: str) -> tuple[int, int]:
    """Return kind of records and resolution [ps] of the file it came from."""
    with capture_errors(capture, "instruments"):
        instruments = json.loads(instruments_json)
        facts = instruments.get("ptu") if isinstance(instruments, dict) else None
        if facts is None:
            return MULTIHARP, 1
        kind, exact_ps = int(facts["record_type"]), float(facts["resolution_ps"])
        if kind not in RECORD_TYPES or not 0.0 < exact_ps <= 1e9:
            raise CaptureError(
                f"{capture}: came from PTU records {kind:#x} in steps of {exact_ps} "
                "ps, which do not exist"
            )
        # Tags are whole picoseconds; a step that is none cannot be kept.
        nearest_ps = round(exact_ps)
        is_whole = nearest_ps > 0 and abs(exact_ps - nearest_ps) < 1e-9
        return kind, nearest_ps if is_whole else 1
