"""Results and transcripts of a run folder."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from scqc.core.errors import CaptureError
from scqc.store.checked_file import read_checked, write_checked
from scqc.store.files import capture_errors, write_atomically

SCHEMA_VERSION = 1
_MAX_RESULT_BYTES = 1 << 26
_TRANSCRIPT = b"SCQC-TRANSCRIPT-1\n"
_MAX_TRANSCRIPT_BYTES = 1 << 34

Sender = Literal["alice", "bob"]


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write ``result.json``, with ``schema_version`` first, whole or not at all.

    Raises
    ------
    CaptureError
        If `result` holds NaN, infinity or anything JSON cannot say.
    """
    with capture_errors(path, "encode result"):
        text = json.dumps(
            {"schema_version": SCHEMA_VERSION} | result, indent=2, allow_nan=False
        )
    write_atomically(path, iter([text.encode(), b"\n"]))


def read_result(path: Path) -> dict[str, Any]:
    """Read a ``result.json``.

    Raises
    ------
    CaptureError
        If it is not one, or of another schema version.
    """
    with capture_errors(path, "read result"):
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _MAX_RESULT_BYTES:
            raise CaptureError(
                f"{path}: not a file below {_MAX_RESULT_BYTES} bytes ({status.st_size})"
            )
        found = json.loads(path.read_bytes())
    if not isinstance(found, dict) or found.get("schema_version") != SCHEMA_VERSION:
        raise CaptureError(f"{path}: not a result of schema version {SCHEMA_VERSION}")
    return found


@dataclass(frozen=True, slots=True)
class SentMessage:
    """One message as it went over the public channel."""

    sender: Sender
    frame: bytes = field(repr=False)


def write_transcript(path: Path, run_uuid: str, messages: list[SentMessage]) -> None:
    """Write every message of a run, in order.

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    header = {
        "run_uuid": run_uuid,
        "messages": [[message.sender, len(message.frame)] for message in messages],
    }
    frames = [message.frame for message in messages]
    write_checked(path, _TRANSCRIPT, header, frames, 0o644)


def read_transcript(path: Path) -> tuple[str, list[SentMessage]]:
    """Read a transcript.

    Returns
    -------
    run_uuid : str
    messages : list of SentMessage

    Raises
    ------
    CaptureError
        If the file is damaged or of another kind.
    """
    header, payload = read_checked(path, _TRANSCRIPT, _MAX_TRANSCRIPT_BYTES)
    messages: list[SentMessage] = []
    at = 0
    with capture_errors(path, "header"):
        run_uuid = str(header["run_uuid"])
        for sender, size in header["messages"]:
            if sender not in ("alice", "bob") or int(size) < 0:
                raise CaptureError(f"{path}: message from {sender!r} of {size!r} bytes")
            if at + int(size) > len(payload):
                raise CaptureError(f"{path}: a message reaches beyond the end")
            messages.append(SentMessage(sender, bytes(payload[at : at + int(size)])))
            at += int(size)
    if at != len(payload):
        raise CaptureError(f"{path}: {len(payload) - at} bytes too many")
    return run_uuid, messages
