"""How far a key reaches over another number: distance against frequency, say."""

from __future__ import annotations

import numpy as np

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.plan.curves import curves
from scqc.plan.evaluate import with_numbers
from scqc.plan.grids import Grid, check_grid, full_name, read_axis
from scqc.plan.outside import NO_ANSWER
from scqc.plan.records import Curve, Floats
from scqc.plan.scenario import Scenario, Sweep, block_label, numeric_names

#: Of every point: what a curve derives where its key ends, and how it is called here.
_AT_THE_END = ("classical_bits_per_use", "payload_bits_per_use", "loss_db")


def axis_of(scenario: Scenario, text: str) -> Sweep:
    """Read the number that the reach is wanted over.

    Parameters
    ----------
    scenario : Scenario
    text : str
        ``NAME=START:STOP:POINTS``, and ``:log`` if wanted.

    Raises
    ------
    PlanSettingsError
        If the scenario has no such number, it is swept itself, or an end is outside
        its range.
    """
    read = read_axis(text)
    name = full_name(read.variable, numeric_names(scenario))
    axis = read.model_copy(update={"variable": name})
    check_grid(Grid(scenario=scenario, axes=(axis,)))
    if name == scenario.sweep.variable:
        limit = "is what the plan sweeps; take another number"
        raise PlanSettingsError([ConfigProblem("plan", "", "--against", name, limit)])
    return axis


def reaches(scenario: Scenario, axis: Sweep) -> tuple[Curve, ...]:
    """Return where the key ends over another number, one curve per block size.

    Parameters
    ----------
    scenario : Scenario
        Its sweep is repeated at every value of the other number.
    axis : Sweep

    Returns
    -------
    tuple of Curve
        ``secure_…`` is NaN without a key or outside a model. Where the key does not
        end within the sweep it is the sweep's end, and ``beyond_sweep`` is 1.
    """
    sizes = tuple(dict.fromkeys((0.0, *scenario.block_sizes)))
    found = [_at(scenario, axis.variable, value) for value in axis.values.tolist()]
    x = axis.variable.rpartition(".")[2]
    names = dict.fromkeys(name for rows in found for row in rows for name in row)
    made = []
    for i, size in enumerate(sizes):
        rows = [some[i] if some else {} for some in found]
        arrays = {name: _column(rows, name) for name in names}
        made.append(Curve(block_label(size), x, {x: axis.values, **arrays}))
    return tuple(made)


def _at(scenario: Scenario, variable: str, value: float) -> list[dict[str, float]]:
    """Return one row per block size; none where a model does not hold."""
    try:
        made, _ = curves(with_numbers(scenario, {variable: value}))
    except NO_ANSWER:
        return []
    return [_row(curve) for curve in made]


def _row(curve: Curve) -> dict[str, float]:
    name, derived = f"secure_{curve.x}", curve.derived
    end, least = derived[name], derived.get(f"{name}_at_least")
    reach = least if end is None else end
    row = {
        name: np.nan if reach is None else float(reach),
        "beyond_sweep": float(end is None and least is not None),
        "highest_key_bits_per_use": float(derived["highest_key_bits_per_use"]),
    }
    if f"{name}_from" in derived:
        row[f"{name}_from"] = float(derived[f"{name}_from"])
    return row | {n: float(derived[n]) for n in _AT_THE_END if n in derived}


def _column(rows: list[dict[str, float]], name: str) -> Floats:
    return np.array([row.get(name, np.nan) for row in rows])
