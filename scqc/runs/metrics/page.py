"""The page of metrics: samples that are gathered when somebody asks.

A page is good for a second: however many ask, what is measured is asked no more often.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from scqc.runs.metrics.server import Page

_FRESH_S = 1.0
#: Label values and the number that belongs to them.
Samples = Iterable[tuple[tuple[str, ...], float | int | None]]


def gauge(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    """Return a quantity that goes up and down; what is not known is left out."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


def counter(name: str, text: str, labels: tuple[str, ...], samples: Samples) -> Metric:
    """Return a quantity that only grows; ``_total`` is put behind its name."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, number)
    return family


class _Gathered(Collector):
    def __init__(self, gather: Callable[[], Iterable[Metric]]) -> None:
        self._gather = gather

    def describe(self) -> Iterable[Metric]:
        """Name nothing before somebody asks."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Return the samples of now."""
        return self._gather()


def page_of(gather: Callable[[], Iterable[Metric]]) -> Page:
    """Return the page of what `gather` finds, with what the process needs."""
    registry = CollectorRegistry()
    registry.register(_Gathered(gather))
    ProcessCollector(registry=registry)
    return _Kept(registry).page


class _Kept:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._lock = threading.Lock()
        self._content, self._end_s = b"", -1.0

    def page(self) -> tuple[str, bytes]:
        """Return the page of now, or of a moment ago."""
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._end_s:
                self._content = generate_latest(self._registry)
                self._end_s = now_s + _FRESH_S
            return CONTENT_TYPE_LATEST, self._content
