"""Metrics of one end of a link, out of what its observer has gathered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.metrics_core import Metric

from scqc.runs.metrics.page import Samples, counter, gauge
from scqc.runs.parties.alarms import CODES, SEVERITIES
from scqc.runs.parties.status import STATES

_PARTY = ("party",)
#: Name, what it means, and its place in the status.
_COUNTERS = (
    ("scqc_blocks", "Blocks that have ended, failed ones included.", "blocks"),
    ("scqc_blocks_failed", "Blocks that gave nothing.", "failed"),
    ("scqc_key_bits", "Secret key that was made.", "secret_bits"),
    ("scqc_sessions", "Greetings that came to an end.", "sessions"),
    ("scqc_messages", "Messages of the link that came in.", "messages_received"),
    ("scqc_messages_rejected", "Of those, refused.", "messages_rejected"),
    ("scqc_strangers", "Connections that were turned away.", "strangers"),
)
_GAUGES = (
    ("scqc_uptime_seconds", "Since this end was started.", "uptime_s"),
    ("scqc_blocks_waiting", "Blocks that wait to be distilled.", "blocks_waiting"),
    ("scqc_blocks_without_key", "In a row, up to now.", "blocks_without_key"),
    ("scqc_blocks_per_second", "Of the latest blocks.", "blocks_per_s"),
    ("scqc_key_rate_bits_per_second", "Of the latest blocks.", "secret_bits_per_s"),
    ("scqc_last_block_age_seconds", "Since a block ended.", "last_block_age_s"),
    ("scqc_channel_age_seconds", "Since the channel was known.", "last_age_s"),
    ("scqc_peer_age_seconds", "Since the last word of the peer.", "peer_age_s"),
    ("scqc_clock_skew_seconds", "This clock minus the peer's.", "clock_skew_s"),
    ("scqc_disk_free_bytes", "Where the home lies.", "disk_free_bytes"),
)
#: Figures of the channel; Bob's end knows them.
_FIGURES = (
    ("scqc_excess_noise_snu", "Excess noise at the channel input.", "xi_snu"),
    ("scqc_transmittance_ratio", "Of the channel.", "transmittance"),
    ("scqc_bit_error_ratio", "Of the payload, before correction.", "ber"),
    ("scqc_gain_ratio", "Detections per signal pulse.", "gain_signal"),
)


def party_metrics(shown: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of an end.

    Parameters
    ----------
    shown : dict
        From `Observer.look`.
    """
    party = (str(shown["party"]),)
    for name, text, key in _COUNTERS:
        yield counter(name, text, _PARTY, [(party, shown[key])])
    for name, text, key in _GAUGES:
        yield gauge(name, text, _PARTY, [(party, shown[key])])
    for name, text, key in _FIGURES:
        yield gauge(name, text, _PARTY, [(party, shown["last"].get(key))])
    yield gauge(
        "scqc_qber_ratio",
        "Error rate of the quantum bits.",
        ("party", "basis"),
        [((*party, basis), shown["last"].get(f"qber_{basis}")) for basis in "zx"],
    )
    yield from _states(party, shown)
    yield from _sink(party, shown)


def _states(party: tuple[str], shown: dict[str, Any]) -> Iterator[Metric]:
    yield gauge(
        "scqc_info",
        "Always 1; says what runs.",
        ("party", "version", "scheme"),
        [((*party, shown["version"], shown["scheme"]), 1)],
    )
    yield gauge(
        "scqc_state",
        "1 for the state that this end is in.",
        ("party", "state"),
        [((*party, state), int(state == shown["state"])) for state in STATES],
    )
    yield gauge(
        "scqc_severity",
        "How bad it is: 0 ok, 1 minor, 2 major.",
        _PARTY,
        [(party, SEVERITIES.index(shown["severity"]))],
    )
    standing = {alarm["code"] for alarm in shown["alarms"]}
    yield gauge(
        "scqc_alarm",
        "1 while the alarm stands.",
        ("party", "code", "severity"),
        [
            ((*party, code, severity), int(code in standing))
            for code, severity in CODES.items()
        ],
    )


def _sink(party: tuple[str], shown: dict[str, Any]) -> Iterator[Metric]:
    def by_pool(values: dict[str, Any]) -> Samples:
        return [
            ((*party, *name.split(".", 1)), number) for name, number in values.items()
        ]

    labels = ("party", "pool", "direction")
    text = "What a pool of the key sink can still release."
    yield gauge("scqc_sink_level_bits", text, labels, by_pool(shown["sink"]))
    text = "How long it lasts at the present pace; absent: it does not drain."
    yield gauge("scqc_sink_lasts_seconds", text, labels, by_pool(shown["sink_lasts_s"]))
