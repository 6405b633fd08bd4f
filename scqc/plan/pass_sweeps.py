"""Numbers of a plan of passes that may vary, and what a day gives for each of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ValidationError

from scqc.plan.outside import NO_ANSWER
from scqc.plan.passes import PassPlan
from scqc.plan.records import Floats
from scqc.plan.scenario import why_refused

#: Orbit and time say where the satellite is.
_BY_ORBIT = ("channel.altitude_km", "channel.zenith_deg")
_TOTALS = (
    "passes",
    "passes_with_key",
    "key_bits_per_day",
    "classical_bits_per_day",
)


def pass_names(plan: PassPlan) -> list[str]:
    """Return the dotted names of the numbers that may vary.

    Those of stations have the station's place in the list, from 0, as second part:
    ``stations.0.latitude_deg``.
    """
    parts: dict[str, BaseModel] = {"": plan, "orbit.": plan.orbit}
    parts |= {"channel.": plan.channel, "scheme.": plan.scheme}
    parts |= {f"stations.{i}.": one for i, one in enumerate(plan.stations)}
    names = [
        f"{prefix}{name}"
        for prefix, part in parts.items()
        for name, field in type(part).model_fields.items()
        if _varies(field.annotation)
    ]
    return [name for name in names if name not in _BY_ORBIT]


def pass_columns(plan: PassPlan, points: dict[str, Floats]) -> dict[str, Floats]:
    """Evaluate plans of passes, one per point.

    Parameters
    ----------
    plan : PassPlan
    points : dict of str to ndarray, shape (n,), float64 [unit of the field]
        By dotted name.

    Returns
    -------
    dict of str to ndarray, shape (n,), float64 [unit in the name]
        Totals of a day; NaN outside a model, or where the plan may not be so.
    """
    n = next(iter(points.values())).size
    out = {name: np.full(n, np.nan) for name in _TOTALS}
    for i in range(n):
        numbers = {name: float(values[i]) for name, values in points.items()}
        if refused_pass(plan, numbers):
            continue
        try:
            (total, *_), _ = with_pass_numbers(plan, numbers).curves()
        except NO_ANSWER:
            continue
        for name in _TOTALS:
            out[name][i] = float(total.derived[name])
    return out


def with_pass_numbers(plan: PassPlan, numbers: Mapping[str, float]) -> PassPlan:
    """Return a plan of passes with other numbers; integers are rounded.

    Parameters
    ----------
    plan : PassPlan
    numbers : mapping of str to float
        By dotted name, as `pass_names` has them.

    Raises
    ------
    ValidationError
        If the plan may not have such numbers.
    """
    values: Any = plan.model_dump()
    for name, value in numbers.items():
        *tables, key = name.split(".")
        place = values
        for table in tables:
            place = place[int(table)] if table.isdigit() else place[table]
        place[key] = round(value) if isinstance(place[key], int) else value
    return PassPlan.model_validate(values)


def refused_pass(
    plan: PassPlan, numbers: Mapping[str, float], rules: bool = True
) -> str:
    """Return why a plan of passes may not have these numbers; empty if it may.

    Parameters
    ----------
    plan : PassPlan
    numbers : mapping of str to float
        By dotted name, as `pass_names` has them.
    rules : bool
        Whether rules between settings count, or each one's range alone.
    """
    try:
        with_pass_numbers(plan, numbers)
    except ValidationError as error:
        return why_refused(error, rules)
    return ""


def _varies(annotation: object) -> bool:
    """Return whether a field is a number, or may be one."""
    if get_origin(annotation) is tuple:
        return False
    return any(kind in (int, float) for kind in (annotation, *get_args(annotation)))
