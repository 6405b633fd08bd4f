"""The page of a run's report."""

from __future__ import annotations

from collections.abc import Iterable

from scqc.core.html_page import document, picture, rows, sections, table, text
from scqc.runs.result import Result

__all__ = ["page", "picture", "rows", "table", "text"]


def page(result: Result, parts: Iterable[tuple[str, str, str]]) -> str:
    """Return the whole page; sections without content are left out.

    Parameters
    ----------
    result : Result
    parts : iterable of (identifier, title, content)
    """
    key = result.data.get("key", {})
    note = '<p class="note">Simulated bench: its keys are for tests.</p>'
    body = f"{note if key.get('simulated') else ''}\n{sections(parts)}"
    title = f"scqc: {result.verdict}"
    good = bool(key.get("secret_bits"))
    return document(title, "Report of a run", result.verdict, good, body)
