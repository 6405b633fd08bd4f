"""What happened in a run, one line of JSON per event, never rewritten."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from scqc.core.errors import CaptureError, ScqcError
from scqc.core.provenance import utc_now

NAME = "journal.jsonl"


class Journal:
    """The journal of one run; a context manager.

    Every entry is on the disk when `write` returns. Leaving the block with an
    error of this project, or an interrupt, journals that too.

    Parameters
    ----------
    folder : Path
        Run folder; must exist.
    run_uuid : str
        Stamped on every entry.
    """

    def __init__(self, folder: Path, run_uuid: str) -> None:
        self.path = folder / NAME
        self.run_uuid = run_uuid

    def __enter__(self) -> Journal:
        """Return the journal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write down why the block ended early, if it did."""
        if isinstance(error, ScqcError | KeyboardInterrupt):
            self.write_error(error)

    def write(self, kind: str, text: str) -> None:
        """Append one event.

        Parameters
        ----------
        kind : str
            What it is about, one word.
        text : str

        Raises
        ------
        CaptureError
            If the journal cannot be written.
        """
        entry = {
            "utc": utc_now(),
            "run_uuid": self.run_uuid,
            "kind": kind,
            "text": text,
        }
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            # One write of one line: entries of two programs do not mix.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            handle = os.open(self.path, flags, 0o644)
            try:
                os.write(handle, line.encode())
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise CaptureError(f"{self.path}: append: {error.strerror}") from error

    def write_error(self, error: BaseException) -> None:
        """Append an error, once however many levels report it."""
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        last = next(reversed(read_journal(self.path.parent)), None)
        if last is None or (last["kind"], last["text"]) != ("error", text):
            self.write("error", text)


def read_journal(folder: Path) -> list[dict[str, str]]:
    """Return the entries of a run folder's journal, oldest first.

    A last line that a crash cut off is left out.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    list of dict
        With ``utc``, ``run_uuid``, ``kind`` and ``text``; empty without a
        journal.
    """
    path = folder / NAME
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def journal_error(folder: Path, error: BaseException) -> None:
    """Journal an error in a run folder, if there is one, under its last run."""
    if not folder.is_dir():
        return
    entries = read_journal(folder)
    run_uuid = entries[-1]["run_uuid"] if entries else ""
    Journal(folder, run_uuid).write_error(error)
