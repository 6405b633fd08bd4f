"""The SQLite file under a key sink: opening, transactions, and errors that help.

Write-ahead log and full synchronisation: what is committed survives a power cut, as
far as the disk keeps its word. The file must lie on a local file system.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scqc.core.errors import KeySinkError

BUSY_TIMEOUT_S = 10.0
_RETRY_S = 0.005

#: What to do with a file that cannot be trusted.
DAMAGED = (
    "`scqc keys burn` it, move it away, then `scqc keys load` a new start key at both "
    "ends; never put an old copy in its place"
)
#: What to do, by the primary code of SQLite's error.
_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free space and start again; nothing was "
    "released",
    sqlite3.SQLITE_READONLY: "the file or its folder is read-only: make both writable "
    "by this user",
    sqlite3.SQLITE_BUSY: "another program holds the sink: end it, or wait",
    sqlite3.SQLITE_LOCKED: "another program holds the sink: end it, or wait",
    sqlite3.SQLITE_CORRUPT: f"the file is damaged: {DAMAGED}",
    sqlite3.SQLITE_NOTADB: "this is no key sink: look at the path; never put an old "
    "copy in its place",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened: look at the path and the mode "
    "of its folder",
    sqlite3.SQLITE_IOERR: "the disk fails or is full: look at the system log; nothing "
    "was released",
}


class Database:
    """A connection that several threads may share.

    Parameters
    ----------
    path : Path
        Created with mode 0600 when absent.
    create : bool
        False: an absent file is an error.

    Raises
    ------
    KeySinkError
        If the file is absent, no database, or open to others.
    """

    def __init__(self, path: Path, create: bool) -> None:
        self.path = path
        if not path.exists():
            if not create:
                raise KeySinkError(f"key sink {path}: no such file")
            self._make_file()
        self._check_mode()
        self._lock = threading.RLock()
        with self.errors():
            self._db = sqlite3.connect(
                path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            try:
                self._configure()
            except sqlite3.Error:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> int:
        """Run one statement; return how many rows it changed.

        Raises
        ------
        KeySinkError
            By cause, with what to do.
        """
        with self._lock, self.errors():
            return self._db.execute(statement, values).rowcount

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query.

        Raises
        ------
        KeySinkError
            By cause, with what to do.
        """
        with self._lock, self.errors():
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything in the block to the disk, or nothing of it.

        Within another transaction it is a part that fails alone.
        """
        with self._lock, self.errors():
            inner = self._db.in_transaction
            begin, undo, end = (
                ("SAVEPOINT part", "ROLLBACK TO part", "RELEASE part")
                if inner
                else ("BEGIN IMMEDIATE", "ROLLBACK", "COMMIT")
            )
            self._db.execute(begin)
            try:
                yield
                self._db.execute(end)
            except BaseException:
                # A full disk may have ended the transaction already.
                if self._db.in_transaction:
                    self._db.execute(undo)
                    if inner:
                        self._db.execute(end)
                raise

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ones that say what to do."""
        try:
            yield
        except sqlite3.Error as cause:
            code = getattr(cause, "sqlite_errorcode", None)
            advice = _ADVICE.get(-1 if code is None else code & 0xFF)
            text = f"key sink {self.path}: {cause}"
            raise KeySinkError(f"{text}; {advice}" if advice else text) from cause

    def truncate_log(self) -> None:
        """Empty the write-ahead log, so that overwritten bits leave it, too.

        Done at the next erasure if another program reads just now.
        """
        with self._lock, self.errors():
            if self._db.in_transaction:
                return
            self._db.execute("PRAGMA busy_timeout=0")
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.OperationalError as cause:
                if cause.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
            finally:
                self._db.execute(f"PRAGMA busy_timeout={int(1000 * BUSY_TIMEOUT_S)}")

    def _configure(self) -> None:
        self._db.execute("PRAGMA secure_delete=ON")
        mode = self._write_ahead()
        if mode != "wal" and os.access(self.path, os.W_OK):
            raise KeySinkError(
                f"key sink {self.path}: no write-ahead log here ({mode}); it must lie "
                "on a local file system"
            )
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA fullfsync=ON")
        self._db.execute("PRAGMA foreign_keys=ON")

    def _write_ahead(self) -> str:
        """Return the mode of the journal after asking for the write-ahead log.

        SQLite waits for others everywhere but here: of two that open a new file at
        once, one is told "locked" without delay, lest both wait for each other.
        """
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                return str(self._db.execute("PRAGMA journal_mode=WAL").fetchone()[0])
            except sqlite3.OperationalError as cause:
                busy = cause.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_S)

    def _make_file(self) -> None:
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
            os.close(os.open(self.path, flags, 0o600))
        except FileExistsError:
            # Another program of this party has just made it.
            return
        except OSError as cause:
            raise KeySinkError(f"key sink {self.path}: {cause.strerror}") from cause

    def _check_mode(self) -> None:
        mode = self.path.stat().st_mode & 0o777
        if os.name == "posix" and mode & 0o077:
            raise KeySinkError(
                f"key sink {self.path}: mode {mode:04o} lets others in, wanted 0600"
            )
