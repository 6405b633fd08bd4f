"""Many pieces of work on all cores, or on a Dask cluster.

Knows nothing of plans: a function is mapped over items and results come as they are
finished. Sweeps use it, and so does the processing of a folder of captures.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from threading import Thread
from typing import Any, TypeVar

from scqc.core.errors import ConfigProblem, PlanSettingsError

Item = TypeVar("Item")
Found = TypeVar("Found")
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Workers:
    """Where chunks are computed.

    Parameters
    ----------
    processes : int
        Of this computer; 0 is one per core, 1 computes here.
    dask : str
        Address of a Dask scheduler instead; empty for none.
    """

    processes: int = 0
    dask: str = ""

    @property
    def count(self) -> int:
        """Processes that are started."""
        return self.processes or os.cpu_count() or 1


def run_chunks(
    function: Callable[[Item], Found], items: Sequence[Item], workers: Workers
) -> Iterator[Found]:
    """Map a function over items, in whatever order they are finished.

    Parameters
    ----------
    function : callable
        At the top level of a module: it is sent to other processes by name.
    items : sequence
    workers : Workers

    Raises
    ------
    PlanSettingsError
        If the Dask cluster is not installed or does not answer.
    """
    if workers.dask:
        yield from _on_dask(function, items, workers.dask)
    elif workers.count == 1 or len(items) < 2:
        yield from map(function, items)
    else:
        yield from _in_processes(function, items, workers.count)


def _in_processes(
    function: Callable[[Item], Found], items: Sequence[Item], count: int
) -> Iterator[Found]:
    # Spawned, not forked: threads of numba and zmq do not survive a fork.
    context = get_context("spawn")
    with (
        _one_thread_each(),
        ProcessPoolExecutor(
            min(count, len(items)), mp_context=context, initializer=_end_with_parent
        ) as pool,
    ):
        waiting = [pool.submit(function, item) for item in items]
        try:
            for one in as_completed(waiting):
                yield one.result()
        finally:
            # A reader that stops early must not wait for all that is queued.
            pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """Let a worker end when the process that started it does, however that ends.

    One that is killed cannot tell its workers, which would go through all that is
    queued and then wait for ever.
    """
    parent = parent_process()
    if parent is not None:
        sentinel = parent.sentinel
        Thread(target=_end_after, args=(sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    # Not an exception: nothing that this process still does has a reader.
    os._exit(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Keep the linear algebra of every process to one core."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _on_dask(
    function: Callable[[Item], Found], items: Sequence[Item], address: str
) -> Iterator[Found]:
    client = _dask_client(address)
    try:
        from distributed import as_completed as as_done

        waiting = client.map(function, list(items), pure=False)
        # Results come with the news that they are there: no question for each.
        for _, found in as_done(waiting, with_results=True):
            yield found
    finally:
        client.close()


def _dask_client(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        limit = "needs the extra: pip install 'scqc[dask]'"
        problem = ConfigProblem("plan", "", "--dask", address, limit)
        raise PlanSettingsError([problem]) from error
    try:
        return Client(address, timeout="10s")
    except (OSError, ValueError) as error:
        problem = ConfigProblem("plan", "", "--dask", address, f"no cluster: {error}")
        raise PlanSettingsError([problem]) from error
