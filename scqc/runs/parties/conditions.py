"""Which conditions are alarms, judged on what an end knows of itself.

Limits come from the lab config: from ``[peer]``, and from what a block costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from protocols.key_sink.records import KEY_PURPOSE
from protocols.key_sink.schedule import BLOCK_PAD_BITS
from protocols.key_sink.shares import share_sizes
from scqc.runs.disk import RESERVE_BYTES, block_bytes
from scqc.runs.lab_config import LabConfig
from scqc.runs.parties.alarms import Alarms, Code, Severity, worst
from scqc.runs.photon.config import PhotonConfig
from scqc.runs.sinks import carries_message_pad

#: Room on the disk for fewer blocks than that is low [1].
_LOW_DISK_BLOCKS = 3
#: The clocks are told about at this part of the difference that ends it [1].
_EARLY = 0.5
#: Figures of the channel count until that many blocks should have come [1] …
_STALE_BLOCKS = 5
#: … and so long in any case [s].
_STALE_S = 60.0
#: A key that is long enough for a share of every pool [bit].
_ANY_KEY_BITS = 1 << 30
_OF_STATE: dict[str, Severity] = {
    "waiting": "minor",
    "paused": "minor",
    "fault": "major",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on something is an alarm.

    Parameters
    ----------
    authentication_bits : int
        Per direction [bit].
    pad_bits : int
        Of pad for messages; nobody misses it where it is zero [bit].
    disk_bytes : int
        Free [byte].
    exports : bool
        Whether key for applications is made at all.
    max_xi_snu, max_qber : float or None
        Of the channel [SNU, 1]; None: no limit.
    max_skew_s : float
        Difference of the clocks that ends a greeting [s].
    no_key_blocks : int
        In a row; zero where no block is meant to give key [1].
    peer_silent_s : float
        Without a word of the peer [s].
    """

    authentication_bits: int
    pad_bits: int
    disk_bytes: int
    exports: bool
    max_xi_snu: float | None
    max_qber: float | None
    max_skew_s: float
    no_key_blocks: int
    peer_silent_s: float


def limits_of(config: LabConfig) -> Limits:
    """Return the limits that a lab config sets."""
    peer, messages = config.peer, carries_message_pad(config)
    pad_bits = 0
    if messages:
        pad_bits = config.keys.reserve_bits + peer.low_pad_bits
    direct = isinstance(config, PhotonConfig) and config.security.encoding == "direct"
    pools = share_sizes(_ANY_KEY_BITS, config.keys, messages=messages)
    return Limits(
        authentication_bits=peer.low_blocks * BLOCK_PAD_BITS,
        pad_bits=pad_bits,
        disk_bytes=RESERVE_BYTES + _LOW_DISK_BLOCKS * block_bytes(config),
        exports=not direct and KEY_PURPOSE in [purpose for purpose, _, _ in pools],
        max_xi_snu=peer.max_xi_snu,
        max_qber=(
            config.security.max_error_rate if isinstance(config, PhotonConfig) else None
        ),
        max_skew_s=peer.max_clock_skew_s,
        no_key_blocks=0 if direct else peer.no_key_blocks,
        peer_silent_s=peer.peer_silent_s,
    )


def judge(alarms: Alarms, shown: dict[str, Any], limits: Limits) -> None:
    """Let the alarms stand whose condition holds, and end the others.

    Parameters
    ----------
    alarms : Alarms
    shown : dict
        What `Observer` gathers.
    limits : Limits
    """
    found: dict[Code, str] = {
        "sink-failed": str(shown.get("sink_problem", "")),
        "disk-low": _disk(shown, limits),
        "no-key": _no_key(shown, limits),
        "clock-skew": _clocks(shown, limits),
    }
    if shown["sink"]:
        found |= _sink(shown["sink"], limits, blocks=shown["blocks"])
    found |= _channel(shown["last"], limits)
    if shown["too_many_errors"]:
        found["qber-high"] = shown["too_many_errors"]
    if shown["party"] == "alice":
        found["peer-lost"] = _silence(shown, limits)
    for code, text in found.items():
        alarms.judge(code, text)


def _disk(shown: dict[str, Any], limits: Limits) -> str:
    free = shown["disk_free_bytes"]
    if free is None or free >= limits.disk_bytes:
        return ""
    return (
        f"{1e-6 * free:.0f} MB free, {_LOW_DISK_BLOCKS} blocks need "
        f"{1e-6 * limits.disk_bytes:.0f} MB"
    )


def _no_key(shown: dict[str, Any], limits: Limits) -> str:
    n: int = shown["blocks_without_key"]
    many = limits.no_key_blocks and n >= limits.no_key_blocks
    return f"{n} blocks in a row gave no key" if many else ""


def _clocks(shown: dict[str, Any], limits: Limits) -> str:
    skew_s = shown["clock_skew_s"]
    if skew_s is None or abs(skew_s) < _EARLY * limits.max_skew_s:
        return ""
    return (
        f"{skew_s:+.1f} s from the peer's clock; a greeting is refused from "
        f"{limits.max_skew_s:g} s on; set both with NTP"
    )


def _sink(sink: dict[str, int], limits: Limits, *, blocks: int) -> dict[Code, str]:
    tags = min(bits for name, bits in sink.items() if name.startswith("authent"))
    pad = max(bits for name, bits in sink.items() if name.startswith("pad."))
    export = max(bits for name, bits in sink.items() if name.startswith("export."))
    found: dict[Code, str] = dict.fromkeys(
        ("authentication-low", "pad-low", "export-empty"), ""
    )
    if tags < limits.authentication_bits:
        found["authentication-low"] = (
            f"{tags} bits, {tags // BLOCK_PAD_BITS} blocks; without it the link stops: "
            "provision a start key, or let fewer blocks fail"
        )
    if pad < limits.pad_bits:
        found["pad-low"] = f"{pad} bits; messages wait for blocks that give more"
    if blocks and limits.exports and not export:
        found["export-empty"] = "there is no key for applications"
    return found


def _channel(last: dict[str, float], limits: Limits) -> dict[Code, str]:
    found: dict[Code, str] = {}
    xi_snu = last.get("xi_snu")
    if xi_snu is not None:
        above = limits.max_xi_snu is not None and xi_snu > limits.max_xi_snu
        found["xi-high"] = (
            f"{xi_snu:.4f} SNU, limit {limits.max_xi_snu:g}" if above else ""
        )
    rates = [last[name] for name in ("qber_z", "qber_x") if name in last]
    if rates:
        above = limits.max_qber is not None and max(rates) > limits.max_qber
        found["qber-high"] = (
            f"{max(rates):.2%}, limit {limits.max_qber:.2%}" if above else ""
        )
    return found


def _silence(shown: dict[str, Any], limits: Limits) -> str:
    """Alice only answers: that Bob is gone she sees from his silence."""
    age_s = shown["peer_age_s"]
    met = shown["sessions"] > 0 and shown["state"] in ("linked", "running")
    if not met or age_s is None or age_s < limits.peer_silent_s:
        return ""
    # The time goes on; the line in the journal says when it began.
    return (
        f"no word from Bob for {limits.peer_silent_s:g} s: he is stopped, or cannot "
        "reach this end"
    )


def figures_severity(shown: dict[str, Any], standing: list[Code]) -> Severity:
    """Return what the figures of the channel are worth: old ones say nothing."""
    age_s, rate = shown["last_age_s"], shown["blocks_per_s"]
    stale_s = max(_STALE_S, _STALE_BLOCKS / rate if rate > 0.0 else 0.0)
    if age_s is None or age_s > stale_s:
        return "invalid"
    return "major" if {"xi-high", "qber-high"} & set(standing) else "ok"


def severity_of(shown: dict[str, Any]) -> Severity:
    """Return how bad it is altogether: the state, and the alarms that stand."""
    severities: list[Severity] = [alarm["severity"] for alarm in shown["alarms"]]
    return worst([_OF_STATE.get(shown["state"], "ok"), *severities])
