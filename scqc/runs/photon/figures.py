"""Figures of the photon-counting report."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsp.time_tags.slots import INTENSITIES
from scqc.core.figure_style import BLUE, GREEN, GREY, ORANGE, VERMILLION
from scqc.runs.report_figures import WIDTH_IN, draw_figure, wilson

_COLOURS = (BLUE, ORANGE, GREY)
_DETECTORS = ("z0", "z1", "x0", "x1")


def slot_histogram(plots: dict[str, Any]) -> str:
    """Draw when in a slot the tags came, per detector, and the gate."""
    phases = np.asarray(plots["phases"])
    edges_ns = plots["slot_ns"] * np.linspace(-0.5, 0.5, phases.shape[1] + 1)
    gate_ns = plots["gate"] * plots["slot_ns"]

    def draw(axis: Any) -> None:
        axis.axvspan(-gate_ns, gate_ns, color=GREEN, alpha=0.15, lw=0, label="gate")
        for name, counts in zip(_DETECTORS, phases, strict=True):
            axis.stairs(np.maximum(counts, 0.5), edges_ns, label=name)
        axis.set_yscale("log")
        axis.set_xlabel("time within the slot [ns]")
        axis.set_ylabel("tags per bin")
        axis.legend(ncols=5, loc="upper center")

    return draw_figure(WIDTH_IN, 3.2, 1, draw)


def gains_and_errors(bursts: list[dict[str, Any]], plots: dict[str, Any]) -> str:
    """Draw gain per intensity and error rates, burst by burst."""
    number = np.arange(1, len(bursts) + 1)

    def draw(axes: Any) -> None:
        for name, sent, colour in zip(
            INTENSITIES, plots["sent_per_burst"], _COLOURS, strict=True
        ):
            counts = np.array([b["detections"][name] for b in bursts], dtype=float)
            bars = np.sqrt(np.maximum(counts, 1.0)) / sent
            axes[0].errorbar(
                number, counts / sent, bars, fmt=".", color=colour, label=name
            )
        axes[0].set_yscale("log")
        axes[0].set_ylabel("detections per slot")
        _errors(
            axes[1],
            number,
            [b.get("check", [0, 0]) for b in bursts],
            VERMILLION,
            "X, check",
        )
        for basis, colour in ((0, BLUE), (1, ORANGE)):
            public = [b.get("public", [[0, 0], [0, 0]])[basis] for b in bursts]
            label = f"{'ZX'[basis]}, public slots"
            _errors(axes[1], number + 0.2 * (basis + 1), public, colour, label)
        axes[1].set_ylabel("error rate")
        axes[1].set_ylim(bottom=0.0)
        for axis in axes:
            axis.set_xlabel("burst")
            axis.legend()

    return draw_figure(WIDTH_IN, 3.2, 2, draw)


def _errors(
    axis: Any, at: Any, pairs: list[list[int]], colour: str, label: str
) -> None:
    """Draw error rates with intervals; bursts without counts are left out."""
    seen = [(x, n, e) for x, (n, e) in zip(at, pairs, strict=True) if n > 0]
    if not seen:
        return
    rates = np.array([e / n for _, n, e in seen])
    spans = np.array([wilson(e / n, float(n)) for _, n, e in seen]).T
    bars = np.abs(spans - rates)
    axis.errorbar(
        [x for x, _, _ in seen], rates, bars, fmt=".", color=colour, label=label
    )


def link_against_time(bursts: list[dict[str, Any]]) -> str:
    """Draw detections per second and the interferometers' phase per burst."""
    number = np.arange(1, len(bursts) + 1)

    def draw(axes: Any) -> None:
        axes[0].plot(number, [b["rate_hz"] for b in bursts], ".-", color=BLUE)
        axes[0].set_ylabel("detections per second of light")
        for basis, colour in ((0, BLUE), (1, ORANGE)):
            phase = [b.get("phase_rad", [np.nan, np.nan])[basis] for b in bursts]
            axes[1].plot(number, phase, ".-", color=colour, label="ZX"[basis])
        axes[1].set_ylabel("phase error [rad]")
        axes[1].legend()
        for axis in axes:
            axis.set_xlabel("burst")

    return draw_figure(WIDTH_IN, 2.8, 2, draw)


def sink_level(plots: dict[str, Any]) -> str:
    """Draw the pad for messages: before, after spending, after refill."""
    levels = np.asarray(plots["pad_levels"], dtype=float)

    def draw(axis: Any) -> None:
        step = np.arange(levels.size)
        axis.plot(0.5 * step, levels, "o-", color=BLUE)
        axis.axhline(plots["pad_reserve"], color=VERMILLION, ls="--", label="reserve")
        axis.set_ylim(bottom=0.0)
        axis.set_xlabel("block (half steps: message sent)")
        axis.set_ylabel("pad in the sink [bit]")
        axis.legend()

    return draw_figure(0.6 * WIDTH_IN, 2.8, 1, draw)
