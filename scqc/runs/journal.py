"""What happened in a run, one line of JSON per event, never rewritten.

A journal that has become large is renamed, to ``journal-000001.jsonl`` and so on, and
a new one begun: nothing is lost, and a link that runs for years has no file without
bound.
"""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from scqc.core.errors import CaptureError, ScqcError
from scqc.core.provenance import utc_now

NAME = "journal.jsonl"
#: A journal of this size is put aside [byte]: months of a link that runs all day.
LARGEST_BYTES = 16 << 20
_PART = re.compile(r"journal-(\d{6,})\.jsonl")
_TAIL_BYTES = 1 << 16


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
                if os.fstat(handle).st_size >= LARGEST_BYTES:
                    _put_aside(self.path, handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise CaptureError(f"{self.path}: append: {error.strerror}") from error

    def write_error(self, error: BaseException) -> None:
        """Append an error, once however many levels report it."""
        text = f"{type(error).__name__}: {error}".removesuffix(": ")
        last = last_entry(self.path.parent)
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
    entries: list[dict[str, str]] = []
    for path in [*put_aside(folder), folder / NAME]:
        # The last one may be put aside at this moment.
        with suppress(FileNotFoundError):
            entries += _entries(path.read_bytes())
    return entries


def last_entry(folder: Path) -> dict[str, str] | None:
    """Return the newest entry of a folder's journal, if there is one.

    Of its end only is read, however long it is.
    """
    for path in [folder / NAME, *reversed(put_aside(folder))]:
        with suppress(FileNotFoundError), path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            entries = _entries(file.read())
            if entries:
                return entries[-1]
    return None


def put_aside(folder: Path) -> list[Path]:
    """Return the journals of a folder that became too large, oldest first."""
    return [folder / f"journal-{n:06d}.jsonl" for n in sorted(_numbers(folder))]


def _numbers(folder: Path) -> list[int]:
    if not folder.is_dir():
        return []
    found = (_PART.fullmatch(path.name) for path in folder.iterdir())
    return [int(match[1]) for match in found if match]


def _entries(content: bytes) -> list[dict[str, str]]:
    """Return the whole lines that are in there."""
    entries = []
    for line in content.decode("utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries


def _put_aside(path: Path, handle: int) -> None:
    """Rename a journal that has become too large, once.

    Others may be writing to it at this moment: their lines go with it. Whoever opens it
    next begins a new one.
    """
    try:
        import fcntl
    except ImportError:
        # Windows renames no open file; there are no programs of a link there.
        return
    # Of all that find it too large, one renames it: the others find another file, or
    # none. The lock ends with the handle.
    fcntl.flock(handle, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if path.stat().st_ino == os.fstat(handle).st_ino:
            number = 1 + max(_numbers(path.parent), default=0)
            path.rename(path.with_name(f"journal-{number:06d}.jsonl"))


def journal_error(folder: Path, error: BaseException) -> None:
    """Journal an error in a run folder, if there is one, under its last run."""
    if not folder.is_dir():
        return
    last = last_entry(folder)
    run_uuid = last["run_uuid"] if last else ""
    Journal(folder, run_uuid).write_error(error)
