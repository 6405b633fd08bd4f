"""Sections of the report of a photon-counting run.

Everything shown was said in public or is a sum over a burst: a report holds no
key material.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsp.time_tags.slots import INTENSITIES
from scqc.runs import report_figures, report_html
from scqc.runs.photon import figures
from scqc.runs.result import Result

# What the ledger adds up to, and what it takes, in order.
GIVEN = (("vacuum_bits", "proven vacuum"), ("single_bits", "proven single photons"))
TAKEN = (
    ("phase_bits", "phase errors"),
    ("mismatch_bits", "detector mismatch"),
    ("published_bits", "published words"),
    ("revealed_bits", "checks revealed later"),
    ("verification_bits", "verification tags"),
    ("flag_bits", "frame flags"),
    ("failed_bits", "frames not reconciled"),
    ("hashing_bits", "smoothing and hashing"),
)


def sections(result: Result) -> Iterator[tuple[str, str, str]]:
    """Yield identifier, title and content, in reading order.

    Parameters
    ----------
    result : Result
    """
    data, plots = result.data, result.plots
    yield "figures", "Main figures", report_html.rows(result.table())
    yield "tags", "Time tags within a slot", _tags(data, plots)
    yield "gains", "Gain and errors against time", _gains(data, plots)
    yield "link", "Link against time", _link(data)
    yield "bounds", "Bounds and what was observed", _bounds(data)
    yield "ledger", "From sifted bits to key", _ledger(data, plots)
    yield "sink", "Key sink", _sink(data, plots)
    yield "timing", "Time per stage", _timing(data)


def _tags(data: dict[str, Any], plots: dict[str, Any]) -> str:
    counting = data["counting"]
    names = ("tags", "in_gate", "dead", "double", "cross", "outside", "late")
    says = (
        "tags",
        "in the gate",
        "within the dead time",
        "double clicks made random",
        "clicks in both bases, dropped",
        "outside the burst",
        "out of order",
    )
    rows = [(t, f"{counting[n]:,}") for t, n in zip(says, names, strict=True)]
    rates = ", ".join(f"{rate:,.0f}" for rate in counting["rates_hz"])
    rows.append(("tags per second, each detector", rates))
    shares = ", ".join(f"{share:.3f}" for share in counting["efficiencies"])
    rows.append(("relative efficiency within a basis", shares))
    after = ", ".join(
        f"{a['probability']:.4f} ± {a['sigma']:.4f}" for a in counting["afterpulse"]
    )
    rows.append(("afterpulses per tag, each detector", after))
    return report_html.picture(
        figures.slot_histogram(plots),
        "Histogram of the tags within a slot",
        "Early and late pulses meet in the middle of a slot and interfere; what "
        "missed its partner arrives half a slot away and is gated out.",
    ) + report_html.rows(rows)


def _gains(data: dict[str, Any], plots: dict[str, Any]) -> str:
    return report_html.picture(
        figures.gains_and_errors(data["bursts"], plots),
        "Gain per intensity and error rates per burst",
        "Left: one standard deviation. Right: 99.9 % intervals; public slots are "
        "known to everybody and no part of the key.",
    )


def _link(data: dict[str, Any]) -> str:
    sync = data["sync"]
    rows = [
        ("start of the first burst [ms]", f"{1e3 * sync['delay_s']:.6f}"),
        ("clock difference [ppm]", f"{1e6 * sync['df']:+.4f}"),
        ("clock residual [ps]", f"{1e12 * sync['residual_s']:.1f}"),
        ("bursts locked, dark", f"{sync['bursts_locked']}, {sync['bursts_dark']}"),
    ]
    return report_html.picture(
        figures.link_against_time(data["bursts"]),
        "Detections per second and interferometer phase per burst",
        "Counts of all bursts are added up before any entropy is taken.",
    ) + report_html.rows(rows)


def _bounds(data: dict[str, Any]) -> str:
    quantum = data["quantum"]
    if "bounds" not in quantum:
        return '<p class="note">No bounds: this encoding gives no key.</p>'
    counts, bounds = quantum["counts"], quantum["bounds"]
    head = ("intensity", "key basis", "check basis", "check errors", "gain")
    rows = [
        (
            name,
            f"{counts['key'][k]:,}",
            f"{counts['check'][k]:,}",
            f"{counts['check_errors'][k]:,}",
            f"{quantum['gain'][name]:.3e}",
        )
        for k, name in enumerate(INTENSITIES)
    ]
    sifted = max(bounds["sifted_key"], 1)
    observed = sum(counts["check_errors"]) / max(sum(counts["check"]), 1)
    table = [
        ("statistics", bounds["method"]),
        (
            "single photons in the key, at least",
            f"{bounds['single']:,.0f} of {sifted:,} ({bounds['single'] / sifted:.1%})",
        ),
        ("vacuum detections in the key, at least", f"{bounds['vacuum']:,.0f}"),
        (
            "single photons in the check basis, at least",
            f"{bounds['check_single']:,.0f}",
        ),
        ("their errors, at most", f"{bounds['check_single_errors']:,.0f}"),
        ("phase error of the key, at most", f"{quantum['e1']:.2%}"),
        ("  check errors observed, all photons", f"{observed:.2%}"),
        ("yield of single photons, at least", f"{quantum['y1']:.3e}"),
    ]
    return report_html.table(head, rows, numbers=1) + report_html.rows(table)


def _ledger(data: dict[str, Any], plots: dict[str, Any]) -> str:
    ledger = data["key"].get("ledger")
    if not ledger:
        return f'<p class="note">No key: {plots["refill_reason"]}.</p>'
    unproven = sum(ledger[name] for name, _ in GIVEN) - ledger["sifted_bits"]
    steps = [
        ("sifted bits", float(ledger["sifted_bits"])),
        ("not proven single", float(unproven)),
        *((says, 0.0 - float(ledger[name])) for name, says in TAKEN),
    ]
    final = (
        ("secret key", float(ledger["secret_bits"]))
        if ledger["secret_bits"] > 0
        else ("missing for a key", float(ledger["balance_bits"]))
    )
    rows = [(says, f"{bits:,.0f}") for says, bits in [*steps, final]]
    return report_html.picture(
        report_figures.waterfall(steps, final),
        "Ledger from sifted bits to secret key",
        "Every bit that was said in public, or may be known, leaves the key.",
    ) + report_html.table(("entry", "bits"), rows, numbers=1)


def _sink(data: dict[str, Any], plots: dict[str, Any]) -> str:
    if data["payload"]["encoding"] == "none":
        return ""
    sink = data["sink"]
    left = sink["blocks_to_depletion"]
    rows = [
        ("before [bit]", f"{sink['before']:,}"),
        ("spent on the message [bit]", f"{sink['consumed']:,}"),
        ("fresh pad [bit]", f"{sink['refilled']:,}"),
        ("after [bit]", f"{sink['after']:,}"),
        ("reserve [bit]", f"{sink['reserve']:,}"),
        (
            "such blocks until the reserve",
            "the sink does not drain" if left is None else f"{left:,.0f}",
        ),
    ]
    why = plots["refill_reason"]
    note = f'<p class="note">Nothing refilled: {why}.</p>' if why else ""
    return (
        report_html.picture(
            figures.sink_level(plots),
            "Level of the key sink",
            "A message costs as much pad as it is long; its own detections give back "
            "less than that.",
        )
        + report_html.rows(rows)
        + note
    )


def _timing(data: dict[str, Any]) -> str:
    rows = [(name, f"{s:.3f}") for name, s in data["timing"].items()]
    return report_html.table(("stage", "time [s]"), rows, numbers=1)
