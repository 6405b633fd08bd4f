"""Self-contained HTML report of a run.

One file that opens offline: no script, no style sheet, no picture from
elsewhere, and a content policy that forbids them. Every text that comes from a
capture, a config or an instrument is escaped: a report of somebody else's file
may be opened without trusting it. Of the received symbols only those that were
disclosed anyway are drawn; a report holds no key material.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scqc.runs import report_figures as figures
from scqc.runs import report_html as web
from scqc.runs.photon import report as photon_report
from scqc.runs.result import Result
from scqc.store.files import write_atomically

# What the ledger takes from the raw bits, in order.
LEDGER = (
    ("failed_bits", "frames not reconciled"),
    ("syndrome_bits", "syndromes"),
    ("revealed_bits", "bits revealed for a retry"),
    ("verification_bits", "verification tags"),
    ("flag_bits", "frame flags"),
    ("estimation_bits", "statistics of the estimate"),
    ("holevo_bits", "Holevo bound, worst case"),
    ("aep_bits", "finite size (AEP)"),
    ("hashing_bits", "hashing"),
)
TEXTS = (
    ("config", "Config of the run"),
    ("layout", "Frame layout"),
    ("instruments", "Instruments"),
)


def write_report(path: Path, result: Result) -> None:
    """Write the report of a run; sections that do not apply are left out.

    Parameters
    ----------
    path : Path
    result : Result

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    # What UTF-8 cannot say (a lone half of a surrogate pair) becomes "?".
    photons = result.data.get("scheme", "").startswith("dv")
    sections = photon_report.sections(result) if photons else _sections(result)
    whole = web.page(result, sections).encode("utf-8", "replace")
    write_atomically(path, iter([whole]))


def _sections(result: Result) -> Iterator[tuple[str, str, str]]:
    """Yield identifier, title and content, in reading order."""
    data, plots = result.data, result.plots
    yield "figures", "Main figures", _main(result)
    yield "constellation", "Constellation", _constellation(plots)
    yield "pilot", "Pilot phase", _pilot(data, plots)
    yield "spectrum", "Spectrum of the first burst", _spectrum(plots)
    yield "channel", "Channel against time", _channel(data, plots)
    yield "errors", "Bit errors", _errors(plots)
    yield "reconciliation", "Reconciliation", _reconciliation(data, plots)
    yield "ledger", "From raw bits to key", _ledger(data)
    yield "equality", "Equality of quadratures and bit classes", _equality(data, plots)
    yield "timing", "Time per stage", _timing(data)
    yield "provenance", "Provenance", _provenance(plots)


def _main(result: Result) -> str:
    """Repeat the terminal's table, and why the payload did not arrive."""
    problem = result.data.get("payload", {}).get("problem")
    note = f'<p class="note">Payload: {web.text(problem)}</p>' if problem else ""
    return web.rows(result.table()) + note


def _constellation(plots: dict[str, Any]) -> str:
    if plots.get("residual") is None or not plots["residual"].size:
        return ""
    around = (
        "Crosses: displacements; dashed: one standard deviation of the Gaussian "
        "cloud around each. "
        if plots.get("constellation") is not None
        else "Dashed: one standard deviation of the cloud. "
    )
    return web.picture(
        figures.constellation(plots),
        "Constellation of received symbols",
        f"{around}Solid green: one standard deviation of the vacuum (shot noise). "
        "Only disclosed symbols are drawn, never those of the key.",
    )


def _pilot(data: dict[str, Any], plots: dict[str, Any]) -> str:
    if not any(p.size for p in plots.get("pilot_phase_rad", [])):
        return ""
    receiver = data.get("receiver", {})
    facts = [
        ("pilot over noise, per symbol [dB]", "pilot_snr_db", ".1f"),
        ("clock error [ppm]", "clock_ppm", "+.3f"),
        ("residual phase variance, theory [rad²]", "phase_residual_rad2", ".2e"),
        ("cycle slips", "cycle_slips", "d"),
        ("preamble correlation, peak over rms", "sync_ratio", ".1f"),
    ]
    rows = [(t, format(receiver[k], f)) for t, k, f in facts if k in receiver]
    carrier = plots.get("spectrum", {}).get("carrier_mhz")
    if carrier is not None:
        rows.append(("beat of the two lasers [MHz]", f"{carrier:.3f}"))
    caption = (
        "Left: phase of the strong pilot after its mean frequency is taken off. "
        "Right: the pilot's own noise plus what the smoother could not follow. "
        "Dotted lines part the bursts."
    )
    return web.picture(figures.pilot_phase(plots), "Pilot phase", caption) + web.rows(
        rows
    )


def _spectrum(plots: dict[str, Any]) -> str:
    found = plots.get("spectrum")
    if not found:
        return ""
    return web.picture(
        figures.spectrum(found),
        "Power spectral density of signal and calibration records",
        "0 dB is the mean density of the shot noise, without electronic noise, in "
        f"the signal band; bins of {found['resolution_mhz']:.3f} MHz.",
    )


def _channel(data: dict[str, Any], plots: dict[str, Any]) -> str:
    if not plots.get("bursts"):
        return ""
    truth = data["quantum"].get("truth")
    caption = "Bars: 99.9 % intervals; every burst shares the run's calibration."
    if truth:
        caption += (
            " Lines: truth of the simulation; expected excess noise is the injected "
            "one plus what the receiver is known to add."
        )
    return web.picture(
        figures.channel_by_burst(plots["bursts"], truth),
        "Transmittance and excess noise per burst",
        caption,
    )


def _errors(plots: dict[str, Any]) -> str:
    found = plots.get("errors")
    if not found:
        return ""
    return web.picture(
        figures.bit_errors(found),
        "Raw bit error rate per burst and iterations of the FEC decoder",
        "Left: errors before the code, against the corrected bits, with 99.9 % "
        "intervals. Right: iterations the code took.",
    )


def _reconciliation(data: dict[str, Any], plots: dict[str, Any]) -> str:
    found = plots.get("decoder_iterations")
    if found is None or not found.size:
        return ""
    entry = data["reconciliation"]
    return web.picture(
        figures.decoder_iterations(plots),
        "Iterations of the reconciliation decoder",
        f"{entry['frames']} frames of {entry.get('frame_bits', 0)} bits at rate "
        f"{entry['code_rate']:.3f}; efficiency beta {entry['beta']:.3f}, frame error "
        f"rate {entry['fer']:.3f}.",
    )


def _ledger(data: dict[str, Any]) -> str:
    if "key" not in data:
        return ""
    ledger = data["key"].get("ledger")
    if not ledger:
        return '<p class="note">No frame was reconciled: there is nothing to count.</p>'
    taken = [(text, -float(ledger[name])) for name, text in LEDGER]
    steps = [("raw bits", float(ledger["raw_bits"])), *taken]
    balance = float(ledger["balance_bits"])
    final = (
        ("secret key", float(ledger["secret_bits"]))
        if ledger["secret_bits"] > 0
        else ("missing for a key", balance)
    )
    caption = (
        f"{ledger['frames_kept']} of {ledger['frames_total']} frames kept; "
        f"{ledger['leak_bits']:,} bits about them were disclosed. Numbers in bit."
    )
    table = web.table(
        ("entry", "bits"),
        [(t, figures.signed(b)) for t, b in [*steps, final]],
        numbers=1,
    )
    return web.picture(figures.waterfall(steps, final), "Ledger", caption) + table


def _equality(data: dict[str, Any], plots: dict[str, Any]) -> str:
    quantum, scores = data.get("quantum", {}), plots.get("equality", {})
    groups = quantum.get("quadratures", {}) | quantum.get("classes", {})
    if not groups:
        return ""
    head = ("class", "T", "99.9 %", "z", "ξ [SNU]", "99.9 %", "z")
    rows = []
    for name, entry in groups.items():
        z = scores.get(name, {})
        row = [_class_name(name)]
        for key, score in (("transmittance", "gain"), ("xi_snu", "noise")):
            e = entry[key]
            row += [f"{e['value']:.4f}", f"{e['low']:.4f} to {e['high']:.4f}"]
            row.append(f"{z[score]:+.2f}" if score in z else "")
        rows.append(tuple(row))
    return web.table(head, rows, numbers=1) + (
        '<p class="note">z: difference to all other data together, over its '
        "standard deviation without the calibration they share. Beyond 3.3 is a "
        "one-in-a-thousand event when they are equal.</p>"
    )


def _class_name(name: str) -> str:
    """Say what a class of samples is: quadrature, then bit."""
    quadrature, bit = name[:1], name[1:]
    return f"{quadrature}, bit {bit}" if bit else quadrature


def _timing(data: dict[str, Any]) -> str:
    rows = [(name, f"{s:.3f}") for name, s in data.get("timing", {}).items()]
    if not rows:
        return ""
    speed = data.get("throughput", {}).get("dsp_msa_per_s")
    note = ""
    if speed is not None:
        note = (
            f'<p class="note">Receiver: {speed:.1f} million samples per second of '
            "one core.</p>"
        )
    return web.table(("stage", "time [s]"), rows, numbers=1) + note


def _provenance(plots: dict[str, Any]) -> str:
    found = plots.get("provenance")
    if not found:
        return ""
    facts = [
        ("run", found["run_uuid"]),
        ("created (UTC)", found["created_utc"]),
        ("software", found["software_version"]),
        ("capture", found["capture"]),
        ("salvaged from an unfinished file", found["salvaged"]),
    ]
    texts = "".join(
        f"<h3>{title}</h3>\n<pre>{web.text(_pretty(found[name]))}</pre>\n"
        for name, title in TEXTS
        if found[name].strip() not in ("", "{}")
    )
    return web.rows(facts) + texts


def _pretty(text: str) -> str:
    """Indent JSON; leave anything else as it is."""
    try:
        return json.dumps(json.loads(text), indent=2)
    except (ValueError, RecursionError):
        return text
