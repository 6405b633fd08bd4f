"""Curves of a scenario: its sweep, point by point, and where a key begins and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.reconciliation.pairs import least_snr
from scqc.plan.evaluate import Evaluated, evaluate_points
from scqc.plan.outside import NO_ANSWER, answered
from scqc.plan.records import Curve, Floats
from scqc.plan.scenario import Scenario, block_label

#: Refinements of a zero of the key: each narrows the bracket sixteenfold.
_ZOOMS, _PER_ZOOM = 5, 17


def curves(scenario: Scenario) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
    """Return one curve per block size, the endless one first, and the warnings.

    Points of the sweep that a model has no answer for are NaN; a warning counts them.

    Parameters
    ----------
    scenario : Scenario

    Raises
    ------
    ModelRangeError
        Where a model holds at no point of the sweep.
    """
    x = scenario.sweep.values
    sizes = tuple(dict.fromkeys((0.0, *scenario.block_sizes)))
    where, found = answered_points(scenario, sizes)
    name = scenario.sweep.variable.rpartition(".")[2]

    def full(values: Floats) -> Floats:
        out = np.full(x.shape, np.nan)
        out[where] = values
        return out

    made = []
    for size in sizes:
        balance = found.balance_bits[size]
        arrays = {
            "key_bits_per_use": np.maximum(balance, 0.0),
            "key_bits_per_s": np.maximum(balance, 0.0) * scenario.symbol_rate_hz,
            "balance_bits_per_use": balance,
            **_columns(found, name),
            "transmittance": found.channel.transmittance,
            "loss_db": found.channel.total_loss_db,
            **{f"loss_{k}_db": v for k, v in found.channel.loss_db.items()},
            **_refill(found, balance),
        }
        arrays = {name: x} | {n: full(values) for n, values in arrays.items()}
        derived = _derived(scenario, size, x[where], balance)
        made.append(Curve(block_label(size), name, arrays, derived))
    warnings = found.channel.warnings
    if where.size < x.size:
        missing = int(np.setdiff1d(np.arange(x.size), where)[0])
        warnings += (
            f"no answer at {x.size - where.size} of {x.size} points; at {name} = "
            f"{x[missing]:.4g}: {_refusal(scenario, x[missing])}",
        )
    if "beta" in found.columns and np.any(found.columns["beta"] == 0.0):
        warnings += (
            f"below an SNR of {least_snr():.3g} per quadrature this program has no "
            "code for the reconciliation: there is no key, whatever the noise",
        )
    return tuple(made), warnings


def answered_points(
    scenario: Scenario, block_sizes: tuple[float, ...]
) -> tuple[NDArray[np.intp], Evaluated]:
    """Evaluate the points of the sweep that every model answers for.

    Parameters
    ----------
    scenario : Scenario
    block_sizes : tuple of float
        0 is endless.

    Returns
    -------
    tuple of ndarray, shape (m,), and Evaluated
        Places of the points in the sweep, ascending, and what they give, shape (m,).

    Raises
    ------
    ModelRangeError
        If there is no such point.
    """
    x, variable = scenario.sweep.values, scenario.sweep.variable

    def some(part: slice) -> Evaluated:
        return evaluate_points(scenario, {variable: x[part]}, block_sizes)

    parts = list(answered(some, x.size))
    if not parts:
        # Says why.
        return np.arange(1), some(slice(0, 1))
    where = np.concatenate([np.arange(part.start, part.stop) for part, _ in parts])
    if len(parts) == 1:
        return where, parts[0][1]
    # Once more together: a warning speaks for all points.
    where = np.sort(where)
    return where, evaluate_points(scenario, {variable: x[where]}, block_sizes)


def _refusal(scenario: Scenario, value: float) -> str:
    """Return why there is no answer at a value of the swept variable."""
    try:
        evaluate_points(scenario, {scenario.sweep.variable: np.array([value])}, (0.0,))
    except NO_ANSWER as error:
        return str(error)
    return "for a finite block only"


def _columns(found: Evaluated, x: str) -> dict[str, Floats]:
    """Return all columns; none takes the place of the swept variable."""
    return {f"total_{n}" if n == x else n: v for n, v in found.columns.items()}


def _refill(found: Evaluated, balance: Floats) -> dict[str, Floats]:
    """Return what the key gives back of the pad that a message has cost."""
    payload = found.columns.get("payload_bits_per_use")
    if payload is None:
        return {}
    key, some = np.maximum(balance, 0.0), payload > 0.0
    return {"refill_share": np.where(some, key / np.where(some, payload, 1.0), 0.0)}


def _derived(
    scenario: Scenario, size: float, x: Floats, balance: Floats
) -> dict[str, Any]:
    """Return where the key ends and begins, and what else there is where it ends."""
    variable = scenario.sweep.variable
    name = f"secure_{variable.rpartition('.')[2]}"
    top = {"highest_key_bits_per_use": max(0.0, float(np.max(balance)))}
    # Which way it was swept does not matter.
    order = np.argsort(x, kind="stable")
    x, some = x[order], (balance > 0.0)[order]
    begins = np.nonzero(~some[:-1] & some[1:])[0]
    ends = np.nonzero(some[:-1] & ~some[1:])[0]
    start: dict[str, Any] = {}
    if begins.size:
        edge = (float(x[begins[-1] + 1]), float(x[begins[-1]]))
        start = {f"{name}_from": _edge(scenario, size, edge)}
    if not ends.size or some[-1]:
        # A key up to the end of the sweep, or none at all.
        end = float(x[-1]) if some[-1] else None
        return {name: None, f"{name}_at_least": end, **start, **top}
    last = _edge(scenario, size, (float(x[ends[-1]]), float(x[ends[-1] + 1])))
    at = evaluate_points(scenario, {variable: np.array([last])}, (size,))
    there: dict[str, Any] = {
        k: float(at.columns[k][0])
        for k in ("classical_bits_per_use", "payload_bits_per_use")
        if k in at.columns
    }
    there["loss_db"] = float(at.channel.total_loss_db[0])
    return {name: last, **start, **there, **top}


def _edge(scenario: Scenario, size: float, between: tuple[float, float]) -> float:
    """Return the last value with a key on the way from one with to one without."""
    inside, outside = between
    for _ in range(_ZOOMS):
        tried = np.linspace(inside, outside, _PER_ZOOM)
        key = _balances(scenario, tried, size)
        last = int(np.nonzero(key > 0.0)[0].max(initial=0))
        last = min(last, _PER_ZOOM - 2)
        inside, outside = float(tried[last]), float(tried[last + 1])
    return inside


def _balances(scenario: Scenario, x: Floats, size: float) -> Floats:
    """Return the key at values of the swept variable; NaN where no model answers."""

    def some(part: slice) -> Floats:
        there = {scenario.sweep.variable: x[part]}
        return evaluate_points(scenario, there, (size,)).balance_bits[size]

    out = np.full(x.shape, np.nan)
    for part, found in answered(some, x.size):
        out[part] = found
    return out
