"""``scqc keys serve``: one end's KME as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from protocols.delivery.service import KeyDelivery
from protocols.delivery.settings import DeliverySettings, Party
from protocols.key_sink import KeySink
from protocols.key_sink.export import ExportStore
from protocols.key_sink.hygiene import harden_process
from scqc.core.errors import ConfigError, ConfigProblem, DeliveryError, KeySinkError
from scqc.runs.delivery.server import KmeServer
from scqc.runs.delivery.tls import server_context
from scqc.runs.lab_config import LabConfig
from scqc.runs.metrics import check_installed
from scqc.runs.metrics.server import MetricsServer

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_DIRECTIONS: dict[Party, tuple[str, str]] = {
    "alice": ("alice-to-bob", "bob-to-alice"),
    "bob": ("bob-to-alice", "alice-to-bob"),
}
#: Called when the server listens, with what may be told about it.
Announce = Callable[[dict[str, str]], None]


def serve(
    config: LabConfig, party: Party, announce: Announce, sink: Path | None = None
) -> dict[str, int]:
    """Serve keys of one end until SIGTERM or SIGINT; return what was answered.

    Parameters
    ----------
    config : LabConfig
    party : {"alice", "bob"}
    announce : callable
    sink : Path, optional
        Instead of the one of ``[keys]``.

    Raises
    ------
    ConfigError
        If the config has no ``[delivery]``, or a file that it names is missing.
    DeliveryError
        If certificates or address are unfit.
    KeySinkError
        If the sink is absent or damaged.
    """
    settings = config.delivery
    if settings is None:
        limit = "needed to serve keys; docs/reference/key-delivery.md has one to copy"
        raise ConfigError(
            [ConfigProblem("lab config", "", "[delivery]", "absent", limit)]
        )
    # Certificates and sink bring secrets into memory.
    harden_process()
    context = server_context(settings.here(party))
    with (
        KeySink(sink or sink_path(config, party), create=False) as opened,
        open_store(opened, settings, party) as store,
    ):
        delivery = KeyDelivery(settings, party, store, time.monotonic)
        return asyncio.run(_serve(delivery, context, announce))


def sink_path(config: LabConfig, party: Party) -> Path:
    """Return where an end's sink lies.

    Raises
    ------
    DeliveryError
        If it would be a simulated bench's, which each run has its own of.
    """
    if config.sim is None:
        return Path(config.keys.directory) / f"{party}.sqlite"
    if not config.keys.simulated_directory:
        raise DeliveryError(
            503,
            "a simulated bench keeps its sinks in the run folder: set "
            "[keys] simulated_directory, or name one with --sink",
        )
    return Path(config.keys.simulated_directory) / f"{party}.sqlite"


def open_store(sink: KeySink, settings: DeliverySettings, party: Party) -> ExportStore:
    """Return the keys that an end may deliver."""
    sends, receives = _DIRECTIONS[party]
    return ExportStore(
        sink, sends, receives, allow_simulated=settings.allow_simulated_keys
    )


def serve_metrics(delivery: KeyDelivery, server: KmeServer) -> MetricsServer | None:
    """Serve the metrics of a KME, if the config says where; in threads of their own.

    Raises
    ------
    ConfigError
        If they cannot be served: a package is missing, or the address is taken.
    """
    address = delivery.here.metrics
    if not address:
        return None
    check_installed("delivery", address)
    from scqc.runs.metrics.delivery import delivery_metrics
    from scqc.runs.metrics.page import page_of

    def gather() -> Iterator[Metric]:
        available_bytes = None
        # What is wrong with the sink is said to whoever asks it for keys.
        with suppress(KeySinkError):
            available_bytes = delivery.store.available_bytes()
        yield from delivery_metrics(
            delivery.here.kme_id, server.counts(), available_bytes
        )

    return MetricsServer(address, page_of(gather))


async def _serve(
    delivery: KeyDelivery, context: ssl.SSLContext, announce: Announce
) -> dict[str, int]:
    server = KmeServer(delivery, context)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no such handlers: there Ctrl-C ends the loop itself.
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, ended.set)
    with serve_metrics(delivery, server) or nullcontext() as metrics:
        await server.start()
        host, port = server.address
        shown = f"[{host}]" if ":" in host else host
        told = {"url": f"https://{shown}:{port}"}
        if metrics is not None:
            told["metrics"] = metrics.url
        announce(told)
        await ended.wait()
        counts = server.counts()
        await server.stop()
    return counts
