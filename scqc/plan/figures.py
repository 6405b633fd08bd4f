"""Figures of plans, drawn by matplotlib when they are wanted.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scqc.core.figure_style import (
    BLUE,
    BROWN,
    GREEN,
    GREY,
    ORANGE,
    STYLE,
    VERMILLION,
    rendered,
)
from scqc.plan.records import Curve, Plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, GREY, BROWN)
_SIZE_IN = (10.0, 4.2)
#: Attenuation beyond this looks the same: nothing gets through.
_MOST_DB = 200.0


def plan_figure(plan: Plan, kind: str = "svg") -> bytes:
    """Draw what a plan is about: rates over the sweep, or a map.

    Parameters
    ----------
    plan : Plan
    kind : {"svg", "png"}

    Returns
    -------
    bytes
        The file's content; the same plan gives the same bytes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=_SIZE_IN, layout="constrained")
        if plan.y == ("attenuation_db",):
            _gas(figure, plan.curves[0])
        elif plan.y == ("thermal_photons",):
            _thermal(figure.subplots(), plan)
        elif plan.curves[0].label == "simultaneous":
            _front(figure.subplots(), plan)
        elif plan.y[0].startswith("secure_"):
            _reach(figure.subplots(), plan)
        elif plan.y[0] == "key_bits":
            _passes(figure, plan)
        else:
            rates, losses = figure.subplots(1, 2, width_ratios=(3, 2))
            _rates(rates, plan)
            _losses(losses, plan.curves[0])
        return rendered(figure, kind)


def said(name: str) -> str:
    """Return the name of an array for an axis: the unit in brackets."""
    units = {
        "_km": "km", "_m": "m", "_hz": "Hz", "_db": "dB", "_snu": "SNU",
        "_rad": "rad", "_deg": "°", "_nm": "nm", "_k": "K", "_s": "s", "_dbm": "dBm",
    }  # fmt: skip
    if name.endswith("_bits_per_use"):
        return f"{_words(name.removesuffix('_bits_per_use'))} [bit per use]"
    if name in {"stray_photons", "crosstalk_photons", "raman_photons"}:
        return f"{_words(name)} [per mode]"
    for suffix, unit in units.items():
        if name.endswith(suffix):
            return f"{_words(name.removesuffix(suffix))} [{unit}]"
    return _words(name)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _rates(axis: Axes, plan: Plan) -> None:
    lowest = np.inf
    for curve, colour in zip(plan.curves, _COLOURS * 3, strict=False):
        x, key = curve.arrays[curve.x], curve.arrays[plan.y[0]]
        shown = np.where(key > 0.0, key, np.nan)
        if x.size == 1:
            axis.plot(x, shown, "o", color=colour, label=f"key, N = {curve.label}")
        else:
            axis.plot(x, shown, color=colour, label=f"key, N = {curve.label}")
        if np.any(key > 0.0):
            lowest = min(lowest, float(np.min(key[key > 0.0])))
    if len(plan.y) > 1:
        first = plan.curves[0]
        other = first.arrays[plan.y[1]]
        other = np.where(other > 0.0, other, np.nan)
        label = _words(plan.y[1].removesuffix("_bits_per_use"))
        line = "s" if other.size == 1 else "--"
        axis.plot(first.arrays[first.x], other, line, color="#444444", label=label)
    axis.set_yscale("log")
    if np.isfinite(lowest):
        axis.set_ylim(bottom=max(lowest, 1e-7))
    _x_axis(axis, plan.curves[0])
    axis.set_ylabel("bit per use")
    axis.legend()


def _losses(axis: Axes, curve: Curve) -> None:
    x = curve.arrays[curve.x]
    parts = [n for n in curve.arrays if n.startswith("loss_") and n != "loss_db"]
    # A line of one point shows nothing.
    line = "o" if x.size == 1 else "-"
    axis.plot(x, curve.arrays["loss_db"], line, color="#1a1a1a", lw=1.8, label="total")
    for name, colour in zip(parts, _COLOURS * 3, strict=False):
        if np.any(curve.arrays[name] > 1e-4):
            label = _words(name.removeprefix("loss_").removesuffix("_db"))
            axis.plot(x, curve.arrays[name], line, color=colour, label=label)
    # Points that no model answers for have none.
    least, most = (float(f(curve.arrays["loss_db"])) for f in (np.nanmin, np.nanmax))
    if most > 50.0 * max(least, 1e-6):
        axis.set_yscale("log")
    else:
        # Room for the legend above the lines.
        axis.set_ylim(top=1.3 * most + 1e-9)
    _x_axis(axis, curve)
    axis.set_ylabel("loss [dB]")
    axis.legend(ncols=2, loc="upper left")


def _x_axis(axis: Axes, curve: Curve) -> None:
    x = curve.arrays[curve.x]
    steps = np.diff(x)
    if x.size > 2 and x[0] > 0.0 and not np.allclose(steps, steps[0]):
        axis.set_xscale("log")
    axis.set_xlabel(said(curve.x))


def _gas(figure: Any, curve: Curve) -> None:
    from matplotlib.colors import LogNorm

    chart, cut = figure.subplots(1, 2, width_ratios=(3, 2))
    frequency_ghz = 1e-9 * curve.arrays["frequency_hz"]
    distance, loss = curve.arrays["distance_km"], curve.arrays["attenuation_db"]
    # No way takes nothing, which has no logarithm.
    distance, loss = distance[distance > 0.0], loss[:, distance > 0.0]
    shown = np.clip(loss.T, 1e-3, _MOST_DB)
    mesh = chart.pcolormesh(
        frequency_ghz, distance, shown, norm=LogNorm(), rasterized=True, cmap="viridis"
    )
    chart.set_xlabel("frequency [GHz]")
    chart.set_ylabel("distance along the ray [km]")
    chart.grid(False)
    label = f"attenuation [dB], {_MOST_DB:g} and more alike"
    figure.colorbar(mesh, ax=chart, label=label)
    cut.plot(frequency_ghz, curve.arrays["to_space_db"], color=_COLOURS[0])
    cut.set_yscale("log")
    cut.set_xlabel("frequency [GHz]")
    cut.set_ylabel("through the whole atmosphere [dB]")


def _front(axis: Axes, plan: Plan) -> None:
    for curve, colour in zip(plan.curves, _COLOURS, strict=False):
        x, y = curve.arrays[curve.x], curve.arrays["key_bits_per_use"]
        dashed = "-" if curve.label == "simultaneous" else "--"
        axis.plot(x, y, dashed, color=colour, label=curve.label)
    axis.set_xlabel("data [bit per use]")
    axis.set_ylabel("key [bit per use]")
    axis.set_ylim(bottom=0.0)
    axis.legend()


def _reach(axis: Axes, plan: Plan) -> None:
    for curve, colour in zip(plan.curves, _COLOURS * 3, strict=False):
        x, y = curve.arrays[curve.x], curve.arrays[plan.y[0]]
        axis.plot(x, y, ".-", color=colour, label=f"N = {curve.label}")
        beyond = curve.arrays["beyond_sweep"] > 0.0
        if np.any(beyond):
            label = "the sweep ends before the key"
            axis.plot(x[beyond], y[beyond], "^", color=colour, label=label)
    every = np.concatenate([c.arrays[plan.y[0]] for c in plan.curves])
    every = every[np.isfinite(every)]
    if every.size and every.min() > 0.0 and every.max() > 50.0 * every.min():
        axis.set_yscale("log")
    _x_axis(axis, plan.curves[0])
    axis.set_ylabel(said(plan.y[0]))
    axis.legend()


def _passes(figure: Any, plan: Plan) -> None:
    total, *every = plan.curves
    keys, losses = figure.subplots(1, 2)
    number, bits = total.arrays["pass_number"], total.arrays["key_bits"]
    keys.bar(number, bits, color=_COLOURS[0])
    keys.set_xlabel("pass, in order of time")
    # There is no half of a pass.
    keys.xaxis.get_major_locator().set_params(integer=True)
    keys.set_ylabel("key of one block per pass [bit]")
    # A few dozen lines in one figure are a grey area: the best ones are drawn.
    best = sorted(every, key=lambda c: -float(c.derived["pass_key_bits"]))[:6]
    for curve, colour in zip(best, _COLOURS, strict=False):
        x, y = curve.arrays["time_s"], curve.arrays["loss_db"]
        losses.plot(x, y, color=colour, label=curve.label)
    losses.set_xlabel("time since rise [s]")
    losses.set_ylabel("loss [dB]")
    if best:
        low, high = losses.get_ylim()
        losses.set_ylim(low, high + 0.5 * (high - low))
        losses.legend(loc="upper left", fontsize=7.5)


def _thermal(axis: Axes, plan: Plan) -> None:
    for curve, colour in zip(plan.curves, _COLOURS * 3, strict=False):
        photons = curve.arrays["thermal_photons"]
        shown = np.where(photons > 1e-14, photons, np.nan)
        x = curve.arrays["frequency_hz"]
        axis.plot(x, shown, color=colour, label=curve.label)
    axis.axhline(1.0, color="#444444", ls=":")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_ylim(1e-14, None)
    axis.set_xlabel("frequency [Hz]")
    axis.set_ylabel("thermal photons per mode")
    axis.legend()
