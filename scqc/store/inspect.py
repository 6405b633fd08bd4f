"""Say what is in a capture, and rescue an unfinished one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scqc.core.errors import CaptureError
from scqc.store.capture_format import CHUNK_SAMPLES, KIND_PATHS, CaptureHeader, Kind
from scqc.store.capture_writer import CaptureWriter
from scqc.store.sealed_reader import Capture, open_capture


def describe(path: Path) -> dict[str, Any]:
    """Describe a file without trusting it; a bad one is described as bad.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
        JSON-ready: ``path``, ``size_bytes``, ``readable``, ``finished``,
        ``problem`` (None, or the first thing wrong with it), and for a file
        whose header is readable the header and per burst the records.
    """
    found: dict[str, Any] = {
        "path": str(path),
        "size_bytes": path.stat().st_size if path.is_file() else 0,
        "readable": False,
        "finished": False,
        "problem": None,
    }
    try:
        with open_capture(path, salvage=True) as capture:
            found |= _contents(capture)
            found["readable"], found["finished"] = True, capture.complete
        records = [record for burst in found["bursts"] for record in burst.values()]
        found["problem"] = next((r["problem"] for r in records if "problem" in r), None)
    except CaptureError as error:
        found["problem"] = str(error)
    return found


def _contents(capture: Capture) -> dict[str, Any]:
    header = capture.header
    return {
        "run_uuid": header.run_uuid,
        "created_utc": header.created_utc,
        "software_version": header.software_version,
        "salvaged": header.salvaged,
        "config_toml": header.config_toml,
        "layout_json": header.layout_json,
        "instruments_json": header.instruments_json,
        "bursts": [
            {kind: _record_summary(capture, number, kind) for kind in KIND_PATHS}
            for number in range(capture.n_bursts)
        ],
    }


def _record_summary(capture: Capture, number: int, kind: Kind) -> dict[str, Any]:
    try:
        record = capture.record(number, kind)
    except CaptureError as error:
        return {"n_samples": 0, "complete": False, "problem": str(error)}
    summary: dict[str, Any] = {
        "n_samples": record.n_samples,
        "n_promised": record.n_promised,
        "complete": record.complete,
        "clipped": record.clipped,
    }
    if record.n_samples < record.n_promised:
        summary["problem"] = (
            f"{kind} of burst {number}: {record.n_samples} of {record.n_promised} "
            "samples are undamaged"
        )
    if record.scale is not None:
        summary |= {
            name: getattr(record.scale, name)
            for name in ("rate_hz", "scale_v", "offset_v", "t0_s")
        }
    return summary


def salvage(path: Path, out: Path) -> dict[str, Any]:
    """Rebuild a finished capture from an unfinished or cut-off one.

    Every record keeps the samples before the first that was not acknowledged
    or whose checksum is wrong. The original is not touched.

    Parameters
    ----------
    path : Path
    out : Path
        New capture; must not exist.

    Returns
    -------
    dict
        The description of the new capture.

    Raises
    ------
    CaptureError
        If nothing can be read from `path`, or `out` cannot be written.
    """
    with open_capture(path, salvage=True) as capture:
        header = capture.header
        marked = CaptureHeader(
            header.config_toml,
            header.run_uuid,
            header.layout_json,
            header.instruments_json,
            header.created_utc,
            header.software_version,
            salvaged=True,
        )
        with CaptureWriter(out, marked, capture.n_bursts) as writer:
            for number in range(capture.n_bursts):
                for kind in KIND_PATHS:
                    _copy_record(capture, writer, number, kind)
    return describe(out)


def _copy_record(
    capture: Capture, writer: CaptureWriter, number: int, kind: Kind
) -> None:
    """Copy what is good of one record; a record that is all damaged stays empty."""
    try:
        record = capture.record(number, kind)
    except CaptureError:
        return
    if record.scale is None:
        return
    with writer.record(number, kind, record.scale) as copy:
        clipped = record.clipped
        for codes in record.chunks(CHUNK_SAMPLES):
            copy.append(codes, clipped)
            clipped = 0
