"""Processing of all captures in a folder, on all cores or on a cluster.

A result lies in a folder named by the capture and the hash of all it rests on: the
capture, Alice's record and the version of the program. What is there already is not
computed again, so a batch that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scqc.core.errors import CaptureError, ScqcError
from scqc.core.provenance import software_version
from scqc.plan.workers import Workers, run_chunks
from scqc.runs.outcome import exit_code
from scqc.runs.parties.block import ALICE_NAME, RESULT_NAME
from scqc.runs.progress import Silent
from scqc.store.results import read_result

_PATTERN = "*.h5"


def captures_in(folder: Path) -> list[Path]:
    """Return all capture files below a folder that have Alice's record beside them.

    Raises
    ------
    CaptureError
        If there is none.
    """
    found = sorted(
        p for p in folder.rglob(_PATTERN) if (p.parent / ALICE_NAME).exists()
    )
    if not found:
        raise CaptureError(
            f"{folder}: no {_PATTERN} with a record {ALICE_NAME} beside it in there"
        )
    return found


def process_folder(
    folder: Path, out: Path, workers: Workers
) -> Iterator[dict[str, Any]]:
    """Process every capture below a folder; yield a row as each is done.

    Parameters
    ----------
    folder : Path
    out : Path
        Of the run folders; made if it is not there.
    workers : Workers

    Yields
    ------
    dict
        ``capture``, ``run_folder``, ``reused`` and ``verdict``, or ``error`` with
        the class and the message of what went wrong; the others go on.

    Raises
    ------
    CaptureError
        If the folder holds no capture.
    """
    # Workers of a cluster run in other directories.
    folder, out = folder.resolve(), out.resolve()
    tasks = [(path, out / _name(folder, path)) for path in captures_in(folder)]
    missing = []
    for capture, place in tasks:
        if (place / RESULT_NAME).exists():
            yield _row(capture, place, reused=True)
        else:
            missing.append((capture, place))
    yield from run_chunks(_process, missing, workers)


def _name(folder: Path, capture: Path) -> str:
    """Return a name that says which capture, and changes with what it holds."""
    digest = hashlib.sha256(software_version().encode())
    for path in (capture, capture.parent / ALICE_NAME):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    parts = capture.relative_to(folder).with_suffix("").parts
    return f"{'-'.join(parts)}-{digest.hexdigest()[:16]}"


def _process(task: tuple[Path, Path]) -> dict[str, Any]:
    from scqc.runs.offline import process_capture

    capture, place = task
    try:
        process_capture(capture, place, Silent())
    except ScqcError as error:
        failure = {"class": type(error).__name__, "message": str(error)}
        return {
            "capture": str(capture),
            "run_folder": str(place),
            "reused": False,
            "error": failure | {"exit_code": exit_code(error)},
        }
    return _row(capture, place, reused=False)


def _row(capture: Path, place: Path, *, reused: bool) -> dict[str, Any]:
    result = read_result(place / RESULT_NAME)
    return {
        "capture": str(capture),
        "run_folder": str(place),
        "reused": reused,
        "secret_bits": result.get("key", {}).get("secret_bits", 0),
        "verdict": result.get("verdict", ""),
    }
