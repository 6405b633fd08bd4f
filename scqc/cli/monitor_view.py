"""A look at the bench, as a terminal shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scqc.runs.monitor import Look


def watch(look: Callable[[], Look], interval_s: float) -> None:
    """Show look after look in one place, until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False) as live:
        while True:
            live.update(monitor_view(look()), refresh=True)
            time.sleep(interval_s)


def monitor_view(found: Look) -> Any:
    """Return a look as something to print: the values, and the spectrum below."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from scqc.runs.monitor import drawn

    table = Table(box=None, pad_edge=False)
    for title, side in (("quantity", "left"), ("value", "right"), ("", "left")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    table.add_column("", overflow="fold")
    for one in found.values:
        style = "red" if one.note else ""
        shown = _text(one.value, one.unit)
        table.add_row(
            one.name, Text(shown, style), one.unit, Text(one.note or one.remark, style)
        )
    if not found.spectrum_db:
        return table
    top_mhz = 1e-6 * found.bin_hz * (len(found.spectrum_db) - 1)
    line = drawn(found.spectrum_db)
    scale = f"0{' ' * (len(line) - len(f'{top_mhz:.0f} MHz') - 1)}{top_mhz:.0f} MHz"
    caption = "\nSpectrum, -20 to 40 dB over shot noise"
    return Group(table, Text(caption), Text(line, "cyan"), Text(scale))


def _text(value: float | str | bool, unit: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    # Lasers are told apart by their last megahertz.
    return f"{value:.6f}" if unit == "THz" else f"{value:.6g}"
