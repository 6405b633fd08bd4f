"""How figures look: one style and one set of colours for all reports.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart. Nothing
heavy is imported before a figure is drawn.
"""

from __future__ import annotations

import base64
import io
from typing import Any

BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
ORANGE, GREY, BROWN = "#E69F00", "#666666", "#8A5A00"
STYLE: Any = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    # Names inside the SVG come from its content, not from chance.
    "svg.hashsalt": "scqc",
}
# Dots per inch of what is not drawn as vectors: clouds of points.
DPI = 150


def rendered(figure: Any, kind: str = "svg") -> bytes:
    """Return a matplotlib figure as a file; the same figure is the same bytes.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    kind : {"svg", "png"}
    """
    out = io.BytesIO()
    # No date.
    metadata = {"Date": None} if kind == "svg" else None
    figure.savefig(out, format=kind, dpi=DPI, metadata=metadata)
    return out.getvalue()


def as_address(svg: bytes) -> str:
    """Return an SVG as an image address; it reaches nothing outside the page."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"
