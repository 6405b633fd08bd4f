"""Many threads, one commit: questions that wait for the disk share its next turn."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from protocols.key_sink.database import Database
from scqc.core.errors import KeySinkError

Question = TypeVar("Question")
Reply = TypeVar("Reply")


class _Job(Generic[Question, Reply]):
    def __init__(self, question: Question) -> None:
        self.question = question
        self.reply: list[Reply] = []
        self.error: BaseException | None = None
        self.done = False
        #: Held until the job is done, or is the next to lead.
        self.waits = threading.Lock()
        self.waits.acquire()


class GroupCommit(Generic[Question, Reply]):
    """Answer questions, each all or none, in as few transactions as possible.

    Whoever comes first commits for all who came before he began; meanwhile the next
    ones gather. Questions of a group are put together, for one look at the rows that
    they share, and one by one where that fails: then each fails alone.

    Parameters
    ----------
    db : Database
    work : callable
        Returns a reply to each of several questions, or changes nothing and raises
        `KeySinkError`.
    """

    def __init__(
        self, db: Database, work: Callable[[Sequence[Question]], Sequence[Reply]]
    ) -> None:
        self._db, self._work = db, work
        self._queue: list[_Job[Question, Reply]] = []
        self._gate, self._led = threading.Lock(), False

    def run(self, question: Question) -> Reply:
        """Return the reply to a question, once it is on the disk.

        Raises
        ------
        KeySinkError
            What the work raised, or that the commit failed.
        """
        job: _Job[Question, Reply] = _Job(question)
        with self._gate:
            self._queue.append(job)
            leads, self._led = not self._led, True
        if not leads:
            job.waits.acquire()
        if not job.done:
            self._lead()
        if job.error is not None:
            raise job.error
        return job.reply[0]

    def _lead(self) -> None:
        """Commit for all who wait, oneself among them; pass the lead on."""
        with self._gate:
            batch, self._queue = self._queue, []
        try:
            self._commit(batch)
        finally:
            with self._gate:
                heirs = self._queue[:1]
                self._led = bool(heirs)
            # The next turn of the disk comes before the replies of this one.
            for job in (*heirs, *batch):
                job.waits.release()

    def _commit(self, batch: list[_Job[Question, Reply]]) -> None:
        try:
            if not self._together(batch):
                with self._db.transaction():
                    for job in batch:
                        self._alone(job)
        except BaseException as error:
            # Nothing is handed out that is not on the disk.
            for job in batch:
                job.reply, job.error = [], job.error or error
            if not isinstance(error, KeySinkError):
                raise
        finally:
            for job in batch:
                job.done = True

    def _together(self, batch: list[_Job[Question, Reply]]) -> bool:
        """Return whether all of them could be answered at once."""
        try:
            with self._db.transaction():
                replies = self._work([job.question for job in batch])
        except KeySinkError as error:
            batch[0].error = error if len(batch) == 1 else None
            return len(batch) == 1
        for job, reply in zip(batch, replies, strict=True):
            job.reply = [reply]
        return True

    def _alone(self, job: _Job[Question, Reply]) -> None:
        try:
            with self._db.transaction():
                job.reply = list(self._work([job.question]))
        except KeySinkError as error:
            job.error = error
