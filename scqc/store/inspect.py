"""Say what is in a capture, of samples or of time tags; rescue an unfinished one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from scqc.core.errors import CaptureError
from scqc.store.capture_format import CHUNK_SAMPLES, KIND_PATHS, Kind
from scqc.store.capture_writer import CaptureWriter
from scqc.store.sealed_reader import Capture, open_capture
from scqc.store.tag_capture import (
    TagCapture,
    TagCaptureWriter,
    is_tag_capture,
    open_tag_capture,
)


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
        whose header is readable the format, the header and per burst the records.
    """
    found: dict[str, Any] = {
        "path": str(path),
        "size_bytes": path.stat().st_size if path.is_file() else 0,
        "readable": False,
        "finished": False,
        "problem": None,
    }
    try:
        with _open_either(path) as capture:
            found |= _contents(capture)
            found["readable"], found["finished"] = True, capture.complete
        records = [record for burst in found["bursts"] for record in burst.values()]
        found["problem"] = next((r["problem"] for r in records if "problem" in r), None)
    except CaptureError as error:
        found["problem"] = str(error)
    return found


def _open_either(path: Path) -> Capture | TagCapture:
    if is_tag_capture(path):
        return open_tag_capture(path, salvage=True)
    return open_capture(path, salvage=True)


def _contents(capture: Capture | TagCapture) -> dict[str, Any]:
    header, numbers = capture.header, range(capture.n_bursts)
    bursts: list[dict[str, Any]]
    if isinstance(capture, TagCapture):
        bursts = [{"photon_data": _tag_summary(capture, number)} for number in numbers]
    else:
        bursts = [
            {kind: _record_summary(capture, number, kind) for kind in KIND_PATHS}
            for number in numbers
        ]
    return {
        "format": capture.FORMAT,
        "run_uuid": header.run_uuid,
        "created_utc": header.created_utc,
        "software_version": header.software_version,
        "salvaged": header.salvaged,
        "config_toml": header.config_toml,
        "layout_json": header.layout_json,
        "instruments_json": header.instruments_json,
        "bursts": bursts,
    }


def _tag_summary(capture: TagCapture, number: int) -> dict[str, Any]:
    """Describe a burst after reading all of it; one never taken has no problem."""
    try:
        if not capture.is_complete(number):
            return {"n_tags": 0, "complete": False}
        tags = capture.burst(number)
    except CaptureError as error:
        return {"n_tags": 0, "complete": False, "problem": str(error)}
    inputs, counts = np.unique(tags.channels, return_counts=True)
    return {
        "n_tags": tags.times_ps.size,
        "complete": True,
        "per_input": dict(zip(map(str, inputs), counts.tolist(), strict=True)),
        "duration_ps": tags.duration_ps,
        "lost": tags.lost,
        "overflow": tags.overflow,
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
    or whose checksum is wrong; of time tags, the bursts that are whole and
    undamaged stay. The original is not touched.

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
    with _open_either(path) as capture:
        header, n_bursts = replace(capture.header, salvaged=True), capture.n_bursts
        if isinstance(capture, TagCapture):
            with TagCaptureWriter(out, header, n_bursts) as tag_writer:
                _copy_bursts(capture, tag_writer)
        else:
            with CaptureWriter(out, header, n_bursts) as writer:
                for number in range(n_bursts):
                    for kind in KIND_PATHS:
                        _copy_record(capture, writer, number, kind)
    return describe(out)


def _copy_bursts(capture: TagCapture, writer: TagCaptureWriter) -> None:
    """Copy the bursts that are good; the others stay empty."""
    for number in range(capture.n_bursts):
        try:
            tags = capture.burst(number)
        except CaptureError:
            continue
        writer.add(number, tags)


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
