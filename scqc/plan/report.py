"""Self-contained HTML report of a plan: figure, derived values, every assumption.

One file that opens offline: no script, nothing from elsewhere, and a content policy
that forbids them. All text is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scqc.core.provenance import software_version, utc_now
from scqc.plan.figures import as_address, plan_figure, said
from scqc.plan.records import Plan
from scqc.store.files import write_atomically

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
.verdict { padding: .6rem .9rem; border-left: .35rem solid #D55E00;
  background: #f6f6f6; font-weight: 600; }
.verdict.key { border-color: #009E73; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; padding: .2rem 1.2rem .2rem 0; vertical-align: top;
  border-bottom: 1px solid #e4e4e4; font-variant-numeric: tabular-nums; }
img { max-width: 100%; display: block; }
.note { color: #555; font-size: .9rem; max-width: 55rem; }
@media print { body { margin: 0; max-width: none; font-size: 11px; } }
"""


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
    kind = "verdict key" if plan.has_key else "verdict"
    sections = (
        (
            "Figure",
            f'<img alt="{_text(plan.title)}" src="{as_address(plan_figure(plan))}">',
        ),
        ("Derived values", _derived(plan)),
        ("What limits the key", _limits(plan)),
        ("Notes and warnings", _notes(plan.warnings)),
        ("Assumptions", _assumptions(plan)),
        ("Provenance", _table(("", ""), _provenance())),
    )
    body = "\n".join(
        f"<section><h2>{title}</h2>\n{content}\n</section>"
        for title, content in sections
        if content
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>scqc plan: {_text(plan.name)}</title>\n<style>{_STYLE}</style></head>"
        f"\n<body>\n<h1>Plan: {_text(plan.name)}</h1>\n"
        f'<p class="{kind}">{_text(verdict(plan))}</p>\n{body}\n</body></html>\n'
    )


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
    rows = [
        (c.label, *(number(c.derived[n]) if n in c.derived else "" for n in names))
        for c in plan.curves
    ]
    return _table(("curve", *(said(n) for n in names)), rows) if names else ""


def _limits(plan: Plan) -> str:
    rows = [(row["cause"], row["change"]) for row in plan.limits]
    return (
        _table(("cause", "what a key needs, all else unchanged"), rows) if rows else ""
    )


def _notes(notes: Iterable[str]) -> str:
    items = "".join(f"<li>{_text(one)}</li>" for one in dict.fromkeys(notes))
    return f"<ul>{items}</ul>" if items else ""


def _assumptions(plan: Plan) -> str:
    rows = [(a.key, number(a.value), a.origin, a.meaning) for a in plan.assumptions]
    return _table(("setting", "value", "chosen by", "meaning and source"), rows)


def _provenance() -> list[tuple[str, ...]]:
    return [
        ("software", software_version()),
        ("made (UTC)", utc_now()),
        ("gas absorption", "ITU-R P.676-13, P.835-6"),
        ("units", "vacuum quadrature variance 1 (SNU)"),
    ]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{_text(v)}</th>" for v in head) + "</tr>"]
    lines += [
        "<tr>" + "".join(f"<td>{_text(v)}</td>" for v in row) + "</tr>" for row in rows
    ]
    return "<table>" + "\n".join(lines) + "</table>\n"


def _text(value: str) -> str:
    return html.escape(value)
