"""Calls that may never return, made where they hang nobody.

A call into a VISA library cannot be interrupted, and some ignore their own
time-outs. Each session's calls run one after another in a thread of its own; who
waits for one waits until the deadline. A thread whose call does not come back is
left behind with its session, which it closes when the call returns at last.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")
_Job = tuple[Callable[[], Any], "Future[Any]"]


class _Carry:
    """Whatever its block raises goes to who waits for the result."""

    def __init__(self, result: Future[Any]) -> None:
        self._result = result

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is not None:
            self._result.set_exception(error)
        return True


class Worker:
    """A thread that makes one session's calls, in order.

    Parameters
    ----------
    name : str
        Of the thread.
    at_end : callable
        The last call, when it is told to end; what it raises is dropped.
    """

    def __init__(self, name: str, at_end: Callable[[], None]) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._at_end = at_end
        # Daemon: a call that never returns must not keep the program alive.
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def call(self, job: Callable[[], T], timeout_s: float) -> T:
        """Make a call and return what it returns, or raise what it raises.

        Raises
        ------
        TimeoutError
            If it has not returned after `timeout_s` [s]; the worker is then
            useless, and `end` lets go of it.
        """
        result: Future[T] = Future()
        self._jobs.put((job, result))
        return result.result(timeout_s)

    def end(self, timeout_s: float) -> None:
        """Make the last call and end; wait for that no longer than `timeout_s` [s]."""
        self._jobs.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, result = job
            with _Carry(result):
                result.set_result(call())
            # What was asked for last must not live until the next question.
            del job, call, result
        with _Carry(Future()):
            self._at_end()
