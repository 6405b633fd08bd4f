"""Metrics of the program that delivers keys to applications."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.metrics_core import Metric

from scqc.runs.metrics.page import counter, gauge

_KME = ("kme",)


def delivery_metrics(
    kme_id: str, counts: Mapping[str, int], available_bytes: int | None
) -> Iterator[Metric]:
    """Yield the metrics of a key management entity.

    Parameters
    ----------
    kme_id : str
    counts : mapping of str to int
        As `KmeServer.counts` has them: "action status", "keys", "connections",
        "handshakes refused" [1].
    available_bytes : int or None
        Key that this end can still allocate; None if the sink does not tell [byte].
    """
    kme = (kme_id,)
    answers = []
    for name, number in counts.items():
        action, _, status = name.rpartition(" ")
        if status.isdigit():
            answers.append(((kme_id, action, status), number))
    yield counter(
        "scqc_delivery_answers",
        "Answers to applications, by what was asked and the status.",
        ("kme", "action", "status"),
        answers,
    )
    yield counter(
        "scqc_delivery_keys",
        "Keys that were delivered.",
        _KME,
        [(kme, counts.get("keys", 0))],
    )
    yield counter(
        "scqc_delivery_handshakes_refused",
        "Connections without a valid certificate.",
        _KME,
        [(kme, counts.get("handshakes refused", 0))],
    )
    yield gauge(
        "scqc_delivery_connections",
        "Open connections.",
        _KME,
        [(kme, counts.get("connections", 0))],
    )
    yield gauge(
        "scqc_delivery_available_bytes",
        "Key that this end can still allocate.",
        _KME,
        [(kme, available_bytes)],
    )
