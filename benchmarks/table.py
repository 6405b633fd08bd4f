"""Readable tables of figures on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def print_table(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows that share their keys."""
    from rich.console import Console
    from rich.table import Table

    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(title=title, title_justify="left")
    for key in keys:
        table.add_column(key.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(*(_text(row.get(key, "")) for key in keys))
    Console(width=200).print(table)


def _text(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
