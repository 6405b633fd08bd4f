"""Run one of the two services until it is told to end."""

from __future__ import annotations

import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

from protocols.key_sink.hygiene import harden_process
from scqc.core.errors import WatchdogError
from scqc.runs.journal import Journal
from scqc.runs.metrics import check_address, check_installed
from scqc.runs.metrics.server import MetricsServer
from scqc.runs.parties.alice_service import make_alice
from scqc.runs.parties.bob_service import make_bob
from scqc.runs.parties.service import Make, Place, Service, opened_home
from scqc.store.results import Sender

_MAKE: dict[Sender, Make] = {"alice": make_alice, "bob": make_bob}


def serve_party(
    place: Place, party: Sender, ready: Callable[[Service], None] | None = None
) -> Service:
    """Run a party's service; return it when it has ended.

    It ends when its control socket or a signal says so: SIGTERM or Ctrl-C lets it
    make its bench safe first.

    Parameters
    ----------
    place : Place
    party : {"alice", "bob"}
    ready : callable, optional
        Gets the service before it runs.

    Raises
    ------
    ScqcError
        Typed by cause; the bench is in its safe state in every case.
    """
    check_address("--metrics", place.metrics or "")
    harden_process()
    with (
        opened_home(place, party) as (sink, keys),
        Journal(place.home, place.run_uuid) as journal,
    ):
        service = _MAKE[party](place, sink, keys, journal)
        service.settle = _Settling()
        journal.write("service", f"{party} begins, {place.loaded.path.name}")
        if ready is not None:
            ready(service)
        with _ended_by_signals(service), observed(service):
            service.run()
        journal.write("service", f"{party} ends")
    return service


@contextmanager
def observed(service: Service) -> Iterator[str]:
    """Watch a service and serve its metrics, for the time of the block.

    Parameters
    ----------
    service : Service

    Yields
    ------
    str
        Where the metrics are; empty if nobody wants them.

    Raises
    ------
    ConfigError
        If they cannot be served: a package is missing, or the address is taken.
    """
    place = service.place
    wanted = place.metrics
    address = service.config.peer.metrics if wanted is None else wanted
    with ExitStack() as opened:
        url = ""
        if address:
            check_installed("peer", address)
            from scqc.runs.metrics.page import page_of
            from scqc.runs.metrics.party import party_metrics

            page = page_of(lambda: party_metrics(service.observer.look()))
            url = opened.enter_context(MetricsServer(address, page)).url
            service.journal.write("metrics", url)
        opened.enter_context(service.observer.watching())
        try:
            yield url
        except WatchdogError as error:
            service.status.alarms.happened("watchdog", str(error))
            raise


class _Settling:
    """Leave what the first block has brought into memory to itself, once.

    Else the collector of garbage walks over all of it again and again, with the
    interpreter's lock held, and the heart of the program misses its beats.
    """

    def __init__(self) -> None:
        self._done = False

    def __call__(self) -> None:
        if not self._done:
            self._done = True
            gc.collect()
            gc.freeze()


@contextmanager
def _ended_by_signals(service: Service) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the service; a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if service.end.is_set():
            raise KeyboardInterrupt
        service.end.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
