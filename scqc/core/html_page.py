"""A page that opens offline: style, tables, pictures, and the escaping of all text.

No script, nothing from elsewhere, and a content policy that forbids both.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff;
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .3rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
.verdict { padding: .6rem .9rem; border-left: .35rem solid #D55E00;
  background: #f6f6f6; font-weight: 600; }
.verdict.key { border-color: #009E73; }
table { border-collapse: collapse; margin: .5rem 0; display: block;
  overflow-x: auto; }
th, td { text-align: left; padding: .2rem 1.2rem .2rem 0; vertical-align: top;
  border-bottom: 1px solid #e4e4e4; font-variant-numeric: tabular-nums; }
td.n, th.n { text-align: right; }
img { max-width: 100%; display: block; }
figure { margin: .5rem 0; }
figcaption, .note { color: #555; font-size: .9rem; max-width: 55rem; }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
@media print { body { margin: 0; max-width: none; font-size: 11px; }
  table { display: table; }
  figure, table { break-inside: avoid; } h2 { break-after: avoid; } }
"""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, heading: str, verdict: str, good: bool, body: str) -> str:
    """Return the whole page.

    Parameters
    ----------
    title, heading, verdict : str
        Text, escaped here.
    good : bool
        Whether the verdict is a good one.
    body : str
        HTML.
    """
    kind = "verdict key" if good else "verdict"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style></head>\n"
        f'<body>\n<h1>{text(heading)}</h1>\n<p class="{kind}">{text(verdict)}'
        f"</p>\n{body}\n</body></html>\n"
    )


def sections(parts: Iterable[tuple[str, str, str]]) -> str:
    """Return titled sections; those without content are left out.

    Parameters
    ----------
    parts : iterable of (identifier, title, content)
    """
    return "\n".join(
        f'<section id="{name}"><h2>{text(title)}</h2>\n{content}\n</section>'
        for name, title, content in parts
        if content
    )


def picture(address: str, alternative: str, caption: str) -> str:
    """Return a figure with its caption."""
    return (
        f'<figure><img alt="{text(alternative)}" src="{address}">'
        f"<figcaption>{text(caption)}</figcaption></figure>\n"
    )


def rows(named: Iterable[tuple[str, str]]) -> str:
    """Return a table of names and values."""
    lines = (
        f'<tr><th scope="row">{text(name.strip())}</th><td>{text(value)}</td></tr>'
        for name, value in named
    )
    return "<table>" + "\n".join(lines) + "</table>\n"


def table(head: tuple[str, ...], body: Iterable[tuple[str, ...]], numbers: int) -> str:
    """Return a table whose columns from `numbers` on are right-aligned."""

    def cells(tag: str, values: tuple[str, ...]) -> str:
        return "".join(
            f"<{tag}{' class=n' if i >= numbers else ''}>{text(v)}</{tag}>"
            for i, v in enumerate(values)
        )

    lines = [f"<tr>{cells('th', head)}</tr>"]
    lines += [f"<tr>{cells('td', row)}</tr>" for row in body]
    return "<table>" + "\n".join(lines) + "</table>\n"


def text(value: str) -> str:
    """Escape for HTML; control characters, which no browser shows, are marked."""
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "�", value))
