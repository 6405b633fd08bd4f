"""Many threads, one commit: requests that wait for the disk share its next turn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from protocols.key_sink.database import Database
from scqc.core.errors import KeySinkError

T = TypeVar("T")


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.value: list[T] = []
        self.error: BaseException | None = None
        self.done = False


class GroupCommit:
    """Run pieces of work, each all or none, in as few transactions as possible.

    Parameters
    ----------
    db : Database
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queue: list[_Job[object]] = []
        self._gate, self._turn = threading.Lock(), threading.Lock()

    def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, once it is on the disk.

        Raises
        ------
        KeySinkError
            What `work` raised, or that the commit failed.
        """
        job: _Job[T] = _Job(work)
        with self._gate:
            self._queue.append(job)  # type: ignore[arg-type]
        with self._turn:
            # Whoever comes first commits for all who wait behind him.
            if not job.done:
                with self._gate:
                    batch, self._queue = self._queue, []
                self._commit(batch)
        if job.error is not None:
            raise job.error
        return job.value[0]

    def _commit(self, batch: list[_Job[object]]) -> None:
        try:
            with self._db.transaction():
                for job in batch:
                    try:
                        with self._db.transaction():
                            job.value = [job.work()]
                    except KeySinkError as error:
                        job.error = error
        except BaseException as error:
            # Nothing is handed out that is not on the disk.
            for job in batch:
                job.value, job.error = [], job.error or error
            if not isinstance(error, KeySinkError):
                raise
        finally:
            for job in batch:
                job.done = True
