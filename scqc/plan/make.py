"""Make a plan: a preset and its changes in, curves and assumptions out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.settings import Settings
from scqc.plan.advice import least_block, what_limits
from scqc.plan.coexistence import FrontScenario
from scqc.plan.curves import curves
from scqc.plan.maps import GasMap, ThermalMap
from scqc.plan.outside import in_degrees
from scqc.plan.overrides import find_preset, settings_of
from scqc.plan.pareto import fronts
from scqc.plan.pass_advice import pass_limits
from scqc.plan.passes import PassPlan
from scqc.plan.presets import PRESETS, Preset
from scqc.plan.reach import axis_of, reaches
from scqc.plan.records import Plan
from scqc.plan.scenario import Scenario, assumptions, block_label

_Y: dict[type[Settings], tuple[str, ...]] = {
    GasMap: ("attenuation_db",),
    ThermalMap: ("thermal_photons",),
    PassPlan: ("key_bits", "classical_bits"),
}
#: What a reader of a front must know.
_NOTES_OF_FRONTS = {
    "cv": (
        "every point of the same light has settings of its own, listed with it: error "
        "rate, modulation, uses given up; every key beside divided data has the best "
        "modulation; what was set stays",
        "divided transmission sends the same alphabet of data; a larger alphabet would "
        "carry more bits per use",
    ),
    "dv": (
        "every point of the same light has intensities and shares of its own, listed "
        "with it; what was set stays",
        "divided in time: slots of the most payload beside slots of the most key; the "
        "payload is padded and costs as much key as it carries",
    ),
}


def make_plan(name: str, changes: Sequence[str] = ()) -> Plan:
    """Evaluate a preset.

    Parameters
    ----------
    name : str
        A key of `scqc.plan.presets.PRESETS`.
    changes : sequence of str
        ``key=value``, as ``scqc plan --set`` takes them.

    Raises
    ------
    ConfigError
        If a key is unknown or a value outside its range; all of them.
    ModelRangeError
        Where a model does not hold.
    """
    settings, preset, given = settings_of(name, changes)
    return plan_of(name, settings, preset, given)


@in_degrees()
def make_front(name: str, changes: Sequence[str], value: float) -> Plan:
    """Return data rate against key rate, simultaneous and divided.

    Parameters
    ----------
    name : str
        Of a preset with a sweep.
    changes : sequence of str
        ``key=value``; also of `scqc.plan.coexistence.Coexistence`.
    value : float
        Of the swept variable.

    Raises
    ------
    PlanSettingsError
        If the preset has no such front, or a value is outside its range.
    ModelRangeError
        Where a model does not hold.
    """
    if find_preset(name).model is not Scenario:
        limit = "has neither data nor key"
        raise PlanSettingsError(
            [ConfigProblem(name, "", "--front", f"{value:g}", limit)]
        )
    settings, preset, given = settings_of(name, changes, FrontScenario)
    if not isinstance(settings, FrontScenario):
        raise TypeError(f"{name}: {type(settings).__name__} has no front")
    at = settings.at(value)
    sizes = [n for n in settings.block_sizes if n]
    made = fronts(at, value, max(sizes, default=0.0), given)
    known = _as_changed(PRESETS[name], at, given)
    notes = (*known.notes, *_NOTES_OF_FRONTS[at.scheme.kind])
    title = f"{known.title}: data against key"
    plan = Plan(name, title, assumptions(at, preset, given), made, notes)
    if plan.has_key:
        return plan
    return replace(plan, limits=what_limits(at, max(sizes, default=0.0)))


@in_degrees()
def make_reach(name: str, changes: Sequence[str], over: str) -> Plan:
    """Return how far a key reaches, over another number.

    Parameters
    ----------
    name : str
        Of a preset with a sweep.
    changes : sequence of str
        ``key=value``.
    over : str
        ``NAME=START:STOP:POINTS``, and ``:log`` if wanted.

    Raises
    ------
    PlanSettingsError
        If the preset has no sweep, or the number is none of its.
    """
    settings, preset, given = settings_of(name, changes)
    if not isinstance(settings, Scenario):
        limit = "has no sweep in which a key could end"
        raise PlanSettingsError([ConfigProblem(name, "", "--against", over, limit)])
    axis = axis_of(settings, over)
    known = _as_changed(PRESETS[name], settings, given)
    swept = settings.sweep.variable.rpartition(".")[2]
    title = f"{known.title}: reach over {axis.variable.rpartition('.')[2]}"
    listed = assumptions(settings, preset, given)
    y = (f"secure_{swept}",)
    return Plan(name, title, listed, reaches(settings, axis), known.notes, y=y)


@in_degrees()
def plan_of(
    name: str, settings: Settings, preset: dict[str, Any], given: set[str]
) -> Plan:
    """Evaluate settings.

    Parameters
    ----------
    name : str
        Of the preset they came from.
    settings : Settings
        A `Scenario` or a map.
    preset : dict
        What the preset says.
    given : set of str
        Dotted keys that the user set.
    """
    known = _as_changed(PRESETS[name], settings, given)
    listed = assumptions(settings, preset, given)
    if isinstance(settings, Scenario):
        made, warnings = curves(settings)
        plan = Plan(
            name, known.title, listed, made, (*known.notes, *warnings), y=_y(settings)
        )
        if not plan.has_key:
            return replace(plan, limits=what_limits(settings))
        notes = tuple(too_small(settings, plan))
        return replace(
            plan,
            warnings=(*plan.warnings, *notes),
            limits=_limits_of_blocks(settings, plan),
        )
    if isinstance(settings, GasMap | ThermalMap | PassPlan):
        made, warnings = settings.curves()
        y = _Y[type(settings)]
        plan = Plan(name, known.title, listed, made, (*known.notes, *warnings), y=y)
        if isinstance(settings, PassPlan) and not plan.has_key:
            return replace(plan, limits=pass_limits(settings, made[1:]))
        return plan
    raise TypeError(f"{name}: {type(settings).__name__} is no plan")


def _as_changed(preset: Preset, settings: Settings, given: set[str]) -> Preset:
    """Return title and notes that do not speak for what the user set."""
    sweep = getattr(settings, "sweep", None)
    swept = {"block_sizes", sweep.variable if sweep is not None else ""}
    changed = sorted(k for k in given - swept if not k.startswith("sweep."))
    if not changed:
        return preset
    return replace(
        preset,
        title=f"{preset.title}, changed in {', '.join(changed)}",
        notes=tuple(f"of the preset, unchanged: {note}" for note in preset.notes),
    )


def _limits_of_blocks(scenario: Scenario, plan: Plan) -> tuple[dict[str, Any], ...]:
    """Return what the largest block without a key lacks, if there is such a block."""
    keyless = {
        curve.label
        for curve in plan.curves
        if not np.any(curve.arrays["key_bits_per_use"] > 0.0)
    }
    short = [n for n in scenario.block_sizes if n and block_label(n) in keyless]
    if not short:
        return ()
    size = max(short)
    return tuple(
        row | {"change": f"blocks of {block_label(size)}: {row['change']}"}
        for row in what_limits(scenario, size)
    )


def too_small(scenario: Scenario, plan: Plan) -> Iterator[str]:
    """Yield how large a block would have to be, for those without any key.

    Parameters
    ----------
    scenario : Scenario
    plan : Plan
        Of the scenario, with a key for endless blocks.
    """
    endless, *finite = plan.curves
    best = float(
        endless.arrays[endless.x][np.nanargmax(endless.arrays["key_bits_per_use"])]
    )
    for curve in finite:
        if np.any(curve.arrays["key_bits_per_use"] > 0.0):
            continue
        needed = least_block(scenario, best)
        if needed is not None:
            yield (
                f"blocks of {curve.label} have no key anywhere; at {endless.x} = "
                f"{best:.4g} it takes {needed:.3g}"
            )


def _y(scenario: Scenario) -> tuple[str, ...]:
    second = "classical" if scenario.scheme.kind == "cv" else "payload"
    return ("key_bits_per_use", f"{second}_bits_per_use")
