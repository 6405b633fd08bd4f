"""Self-contained HTML report of a plan: figure, derived values, every assumption.

One file that opens offline: no script, nothing from elsewhere, and a content policy
that forbids them. All text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from scqc.core.figure_style import as_address
from scqc.core.html_page import document, rows, sections, table, text
from scqc.core.provenance import software_version, utc_now
from scqc.plan.figures import plan_figure, said
from scqc.plan.records import Curve, Plan
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
    if not plan.has_key:
        first = plan.limits[0]["change"] if plan.limits else "see the notes"
        return f"{plan.title}: no key anywhere. Nearest: {first}."
    if plan.y[0] == "key_bits":
        total = plan.curves[0].derived
        return (
            f"{plan.title}; {total['passes_with_key']} of {total['passes']} passes "
            f"with a key, {total['key_bits_per_day']:.4g} bit a day."
        )
    if plan.y[0].startswith("secure_"):
        return f"{plan.title}; {'; '.join(map(_farthest, plan.curves))}."
    if plan.y[0] != "key_bits_per_use":
        return f"{plan.title}."
    ends = [f"{curve.label}: {_reach(curve)}" for curve in plan.curves]
    return f"{plan.title}; {'; '.join([*ends, *_ahead(plan.curves[0])])}."


def _farthest(curve: Curve) -> str:
    """Say where a key reaches farthest."""
    name = next(n for n in curve.arrays if n.startswith("secure_"))
    x, ends = curve.arrays[curve.x], curve.arrays[name]
    if not np.any(ends > 0.0):
        return f"{curve.label}: no key"
    best = int(np.nanargmax(ends))
    beyond = " and beyond" if curve.arrays["beyond_sweep"][best] > 0.0 else ""
    return (
        f"{curve.label}: farthest at {curve.x} = {x[best]:.4g}, {said(name)} "
        f"{ends[best]:.4g}{beyond}"
    )


def _ahead(curve: Curve) -> Iterator[str]:
    """Say which of both is better, the same light or light divided, for a front."""
    if "advantage_bits_per_use" not in curve.derived:
        return
    gain = curve.derived["advantage_bits_per_use"]
    at = curve.derived["advantage_at_classical_bits_per_use"]
    if gain > 0.0:
        yield (
            f"at {at:.4g} bit of data per use the same light gives {gain:.4g} bit more "
            "key than any division"
        )
    else:
        yield "at no rate of data does the same light give more key than a division"


def _reach(curve: Curve) -> str:
    """Say from where to where a curve has a key."""
    key = curve.arrays["key_bits_per_use"]
    if not np.any(key > 0.0):
        return "no key"
    if key.size == 1:
        return f"{key[0]:.4g} bit per use"
    name = f"secure_{curve.x}"
    if name not in curve.derived:
        return f"up to {np.max(key):.4g} bit per use"
    start, end = curve.derived.get(f"{name}_from"), curve.derived[name]
    says = said(name) if start is None else f"{said(name)} from {start:.4g}"
    if end is not None:
        return f"{says} to {end:.4g}" if start is not None else f"{says} {end:.4g}"
    least, last = curve.derived[f"{name}_at_least"], np.max(curve.arrays[curve.x])
    where = "the end of the sweep" if least == last else "where the models end"
    return f"{says} to {where}, {least:.4g}"


def number(value: Any) -> str:
    """Return a value for a table; numbers with six digits."""
    if value is None:
        return "none"
    if isinstance(value, list):
        return ", ".join(number(one) for one in value)
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
