"""Figures of the report, each an SVG as a ``data:`` address.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart.
An SVG inside an image address cannot reach anything outside the page.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dsp.decision import DecisionScale
from scqc.core.figure_style import (
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    as_address,
    rendered,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Full width of the page.
WIDTH_IN = 10.0
# Share of errors, two-sided 99.9 %, in standard deviations.
SIGMAS_999 = 3.2905
# More points than this say nothing more on paper.
MAX_POINTS = 4000


def draw_figure(
    width_in: float, height_in: float, columns: int, draw: Callable[[Any], None]
) -> str:
    """Draw on a row of axes and return the picture's address."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        axes = figure.subplots(1, columns)
        draw(axes)
        return as_address(rendered(figure))


def constellation(plots: dict[str, Any]) -> str:
    """Draw the symbols as received, and what remains without displacement."""
    displaced = plots.get("constellation")
    panels = [] if displaced is None else [(displaced, plots["scale"])]
    panels.append((plots["residual"], None))

    def draw(axes: Any) -> None:
        for axis, (points, scale) in zip(np.atleast_1d(axes), panels, strict=True):
            _cloud(axis, points)
            if scale is not None:
                _displacements(axis, scale, plots["psk"])
                axis.set_title("as received, displaced")
            else:
                _circle(axis, 0j, float(np.sqrt(0.5 * np.var(points))), "--")
                axis.set_title(
                    "displacement removed" if len(panels) > 1 else "as received"
                )
            _circle(axis, 0j, 1.0, "-", GREEN)
            axis.set_xlabel("x [√SNU]")
            axis.set_ylabel("p [√SNU]")
            axis.set_aspect("equal")

    return draw_figure(0.5 * WIDTH_IN * len(panels), 4.4, len(panels), draw)


def _cloud(axis: Axes, points: NDArray[np.complex64]) -> None:
    axis.plot(
        points.real, points.imag, ".", color=BLUE, ms=2, alpha=0.35, rasterized=True
    )


def _displacements(axis: Axes, scale: DecisionScale, psk: str) -> None:
    """Mark the displacements and one standard deviation around each."""
    for x in (-scale.amplitude, scale.amplitude):
        for p in (-scale.amplitude, scale.amplitude):
            # BPSK puts the same sign on both quadratures.
            if psk == "bpsk" and x != p:
                continue
            axis.plot(x, p, "+", color=VERMILLION, ms=9, mew=2)
            _circle(axis, complex(x, p), scale.variance**0.5, "--")


def _circle(
    axis: Axes, centre: complex, radius: float, style: str, colour: str = VERMILLION
) -> None:
    turn = np.linspace(0.0, 2.0 * np.pi, 181)
    axis.plot(
        centre.real + radius * np.cos(turn),
        centre.imag + radius * np.sin(turn),
        style,
        color=colour,
        lw=1.8,
    )


def pilot_phase(plots: dict[str, Any]) -> str:
    """Draw the pilot's phase and what the smoother did not follow."""
    phases, residuals = plots["pilot_phase_rad"], plots["pilot_residual_rad"]
    edges = np.cumsum([0, *(p.size for p in phases)])

    def draw(axes: Any) -> None:
        marker = "." if edges[-1] < 200 else ""
        for first, phase, residual in zip(edges, phases, residuals, strict=False):
            step = max(1, edges[-1] // MAX_POINTS)
            number = first + np.arange(phase.size)[::step]
            # Bursts start at unrelated phases; each is shown from zero.
            moved = phase - phase[0] if phase.size else phase
            axes[0].plot(number, moved[::step], color=BLUE, marker=marker)
            axes[1].plot(number, residual[::step], color=BLUE, marker=marker)
        for axis in axes:
            for edge in edges[1:-1]:
                axis.axvline(edge - 0.5, color=GREY, lw=0.8, ls=":")
            axis.set_xlabel("block of 65536 samples")
        axes[0].set_ylabel("phase since start of burst [rad]")
        axes[0].set_title("smoothed pilot phase")
        axes[1].set_ylabel("standard deviation [rad]")
        axes[1].set_title("measured minus smoothed")
        axes[1].set_ylim(0.0, 1.15 * max(float(np.max(r)) for r in residuals if r.size))

    return draw_figure(WIDTH_IN, 3.0, 2, draw)


def spectrum(found: dict[str, Any]) -> str:
    """Draw the densities of the three records, with pilots and signal marked."""

    def draw(axis: Any) -> None:
        low, high = found["band_mhz"]
        axis.axvspan(low, high, color=ORANGE, alpha=0.18, lw=0)
        colours = {"signal": BLUE, "shot": GREEN, "electronic": GREY}
        names = {
            "signal": "signal",
            "shot": "signal light blocked",
            "electronic": "all light blocked",
        }
        for name, colour in colours.items():
            level = found["density_db"][name]
            axis.plot(
                found["frequency_mhz"], level, color=colour, lw=0.9, label=names[name]
            )
        bottom = min(float(np.percentile(d, 1)) for d in found["density_db"].values())
        top = max(float(np.max(d)) for d in found["density_db"].values())
        bottom = max(bottom, -40.0) - 3.0
        axis.set_ylim(bottom, top + 0.35 * (top - bottom))
        axis.set_xlim(0.0, found["frequency_mhz"][-1])
        _mark_tones(axis, found, top, 0.08 * (top - bottom))
        axis.set_xlabel("frequency [MHz]")
        axis.set_ylabel("density over shot noise [dB]")
        axis.legend(loc="center right")

    return draw_figure(WIDTH_IN, 3.6, 1, draw)


def _mark_tones(axis: Axes, found: dict[str, Any], top_db: float, row: float) -> None:
    """Name band, pilots and carrier above the curves, each in a row of its own."""
    strong, weak = found["pilots_mhz"]
    tones = [(strong, "strong pilot"), (weak, "weak pilot")]
    tones.append((found["carrier_mhz"], "carrier"))
    bottom, right = axis.get_ylim()[0], found["frequency_mhz"][-1]
    # Lines fall off to the right, so that none crosses a name.
    for number, (place, name) in enumerate(sorted(tones, reverse=True)):
        if not 0.0 < place < right:
            continue
        height = top_db + row * (number + 0.6)
        axis.plot([place] * 2, [bottom, height], ":", color=VERMILLION)
        side = "left" if place < 0.9 * right else "right"
        axis.text(place, height, f" {name} ", ha=side, va="center", color=VERMILLION)
    middle = 0.5 * sum(found["band_mhz"])
    height = top_db + row * 3.6
    axis.text(middle, height, "signal band", ha="center", va="center", color=BROWN)


def channel_by_burst(
    bursts: list[dict[str, Any]], truth: dict[str, float] | None
) -> str:
    """Draw T and xi of every burst with 99.9 % intervals."""
    number = np.arange(1, len(bursts) + 1)

    def draw(axes: Any) -> None:
        lines = truth or {}
        panels = (
            ("transmittance", "transmittance T [1]", [("transmittance", "true", "-")]),
            (
                "xi_snu",
                "excess noise ξ [SNU]",
                [
                    ("xi_injected_snu", "injected", ":"),
                    ("xi_expected_snu", "expected", "-"),
                ],
            ),
        )
        for axis, (key, label, marks) in zip(axes, panels, strict=True):
            _points(axis, number, [b[key] for b in bursts])
            for name, text, style in marks:
                if name in lines:
                    axis.axhline(lines[name], color=VERMILLION, ls=style, label=text)
            if lines:
                axis.legend(loc="best")
            axis.set_ylabel(label)
            _burst_axis(axis, len(bursts))

    return draw_figure(WIDTH_IN, 3.0, 2, draw)


def _points(axis: Axes, number: NDArray[np.int64], entries: list[Any]) -> None:
    value = np.array([e["value"] for e in entries])
    below = value - np.array([e["low"] for e in entries])
    above = np.array([e["high"] for e in entries]) - value
    axis.errorbar(number, value, [below, above], fmt="o", color=BLUE, ms=4, capsize=3)


def _burst_axis(axis: Axes, bursts: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.set_xlim(0.4, bursts + 0.6)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("burst")


def bit_errors(found: dict[str, Any]) -> str:
    """Draw the raw bit error rate per burst and the work of the decoder."""
    bits = np.array(found["bits"], dtype=np.float64)
    rate = np.array(found["errors"]) / bits

    def draw(axes: Any) -> None:
        entries = [
            dict(zip(("value", "low", "high"), (r, *wilson(r, n)), strict=True))
            for r, n in zip(rate, bits, strict=True)
        ]
        _points(axes[0], np.arange(1, bits.size + 1), entries)
        axes[0].axhline(found["target_ber"], color=VERMILLION, label="target")
        axes[0].set_ylim(bottom=0.0)
        axes[0].set_ylabel("raw bit error rate [1]")
        axes[0].legend(loc="best")
        _burst_axis(axes[0], bits.size)
        _histogram(axes[1], found["iterations"], found["limit"], "FEC frames")

    return draw_figure(WIDTH_IN, 3.0, 2, draw)


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Return the 99.9 % score interval of a share (Wilson, JASA 22, 209, 1927).

    Parameters
    ----------
    rate : float
        Observed share [1].
    n : float
        Trials [1].
    """
    z2 = SIGMAS_999**2
    middle = (rate + 0.5 * z2 / n) / (1.0 + z2 / n)
    spread = rate * (1.0 - rate) / n + 0.25 * z2 / n**2
    half = SIGMAS_999 * float(np.sqrt(spread)) / (1.0 + z2 / n)
    # The observed share lies inside; rounding must not say otherwise.
    return min(rate, middle - half), max(rate, middle + half)


def decoder_iterations(plots: dict[str, Any]) -> str:
    """Draw how long the reconciliation decoder worked on each frame."""

    def draw(axis: Any) -> None:
        found, limit = plots["decoder_iterations"], plots["decoder_limit"]
        _histogram(axis, found, limit, "reconciliation frames")

    return draw_figure(0.6 * WIDTH_IN, 2.8, 1, draw)


def _histogram(
    axis: Axes, iterations: NDArray[np.int64], limit: int, what: str
) -> None:
    """Count frames by iterations; the limit is where a decoder gives up."""
    from matplotlib.ticker import MaxNLocator

    width = max(1, -(-limit // 60))
    bins = np.arange(0, limit + 2 * width, width) - 0.5
    axis.hist(iterations, bins=list(bins), color=BLUE)
    axis.axvline(limit, color=VERMILLION, ls=":", label=f"limit {limit}")
    axis.set_xlabel("decoder iterations")
    axis.set_ylabel(what)
    axis.legend(loc="upper center")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))


def waterfall(steps: list[tuple[str, float]], final: tuple[str, float]) -> str:
    """Draw what is taken from the raw bits, one bar a step, down to the key."""

    def draw(axis: Any) -> None:
        level, labels = 0.0, []
        total = max(steps[0][1], 1.0)
        unit, name = (1e-6, "Mbit") if total >= 1e6 else (1e-3, "kbit")
        for row, (label, bits) in enumerate(steps):
            left, colour = level, VERMILLION if bits < 0 else BLUE
            axis.barh(row, unit * bits, left=unit * left, color=colour)
            _bar_text(axis, row, unit, max(left, left + bits), signed(bits))
            level += bits
            labels.append(label)
            axis.plot([unit * level] * 2, [row, row + 1], color=GREY, lw=0.8)
        label, bits = final
        row = len(steps)
        colour = GREEN if bits > 0 else ORANGE
        axis.barh(row, unit * bits, color=colour)
        _bar_text(axis, row, unit, max(bits, 0.0), signed(bits))
        labels.append(label)
        axis.axvline(0.0, color="black", lw=0.8)
        axis.set_yticks(range(len(labels)), labels)
        axis.invert_yaxis()
        axis.set_xlim(right=unit * total * 1.17)
        axis.set_xlabel(name)
        axis.grid(False, axis="y")

    return draw_figure(WIDTH_IN, 0.36 * len(steps) + 1.2, 1, draw)


def _bar_text(axis: Axes, row: int, unit: float, bits: float, text: str) -> None:
    # On white, since a number may fall on the line of zero.
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
    axis.annotate(
        text,
        (unit * bits, row),
        (6, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
        bbox=box,
    )


def signed(bits: float) -> str:
    """Write an amount of bits with its sign, and zero without."""
    text = f"{bits:,.0f}".replace("-", "\N{MINUS SIGN}")
    return "0" if text in ("0", "\N{MINUS SIGN}0") else text
