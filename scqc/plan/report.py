"""Self-contained HTML report of a plan: figure, derived values, every assumption.

One file that opens offline: no script, nothing from elsewhere, and a content policy
that forbids them. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scqc.core.figure_style import as_address
from scqc.core.html_page import document, rows, sections, table, text
from scqc.core.provenance import software_version, utc_now
from scqc.plan.figures import plan_figure, said
from scqc.plan.records import Plan
from scqc.store.files import write_atomically


def write_report(path: Path, plan: Plan) -> None:
    """Write the report of a plan.

    Parameters
    ----------
    path : Path
    plan : Plan

    Raises
    ------
    CaptureError
        If the file cannot be written.
    """
    write_atomically(path, iter([page(plan).encode("utf-8", "replace")]))


def page(plan: Plan) -> str:
    """Return the page."""
    figure = as_address(plan_figure(plan))
    parts = (
        ("figure", "Figure", f'<img alt="{text(plan.title)}" src="{figure}">'),
        ("derived", "Derived values", _derived(plan)),
        ("limits", "What limits the key", _limits(plan)),
        ("notes", "Notes and warnings", _notes(plan.warnings)),
        ("assumptions", "Assumptions", _assumptions(plan)),
        ("provenance", "Provenance", rows(_provenance())),
    )
    title = f"scqc plan: {plan.name}"
    heading = f"Plan: {plan.name}"
    return document(title, heading, verdict(plan), plan.has_key, sections(parts))


def verdict(plan: Plan) -> str:
    """Return a plan in one sentence."""
    if plan.y[0] == "key_bits":
        total = plan.curves[0].derived
        return (
            f"{plan.title}; {total['passes_with_key']} of {total['passes']} passes "
            f"with a key, {total['key_bits_per_day']:.4g} bit a day."
        )
    if plan.y[0] != "key_bits_per_use":
        return f"{plan.title}."
    ends = []
    for curve in plan.curves:
        name = next((n for n in curve.derived if n.startswith("secure_")), "")
        if curve.derived.get(name) is not None:
            ends.append(f"{curve.label}: {said(name)} {curve.derived[name]:.4g}")
    if ends:
        return f"{plan.title}; {'; '.join(ends)}."
    if plan.has_key:
        return f"{plan.title}; a key at the end of the sweep too."
    first = plan.limits[0]["change"] if plan.limits else "see the notes"
    return f"{plan.title}: no key anywhere. Nearest: {first}."


def number(value: Any) -> str:
    """Return a value for a table; numbers with six digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _derived(plan: Plan) -> str:
    names = list(dict.fromkeys(n for c in plan.curves for n in c.derived))
    lines = [
        (c.label, *(number(c.derived[n]) if n in c.derived else "" for n in names))
        for c in plan.curves
    ]
    return table(("curve", *(said(n) for n in names)), lines, 1) if names else ""


def _limits(plan: Plan) -> str:
    lines = [(row["cause"], row["change"]) for row in plan.limits]
    head = ("cause", "what a key needs, all else unchanged")
    return table(head, lines, len(head)) if lines else ""


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{text(one)}</li>" for one in dict.fromkeys(notes))
    return f"<ul>{items}</ul>" if items else ""


def _assumptions(plan: Plan) -> str:
    lines = [(a.key, number(a.value), a.origin, a.meaning) for a in plan.assumptions]
    head = ("setting", "value", "chosen by", "meaning and source")
    return table(head, lines, len(head))


def _provenance() -> list[tuple[str, str]]:
    return [
        ("software", software_version()),
        ("made (UTC)", utc_now()),
        ("gas absorption", "ITU-R P.676-13, P.835-6"),
        ("units", "vacuum quadrature variance 1 (SNU)"),
    ]
