"""From a scenario to its curves: channel, scheme, block sizes, derived values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from protocols.reconciliation.pairs import least_snr
from scqc.plan.channels import channel_points
from scqc.plan.cv import cv_key_bits, cv_points
from scqc.plan.dv import dv_key_bits, dv_points
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Curve, Floats
from scqc.plan.scenario import Scenario, block_label
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.values import Values

#: Refinements of a zero of the key: each narrows the bracket sixteenfold.
_ZOOMS, _PER_ZOOM = 5, 17


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A scenario at some points.

    Parameters
    ----------
    channel : ChannelPoints
    balance_bits : dict of float to ndarray, shape (...), float64 [bit per use]
        Key by block size; negative where there is none.
    columns : dict of str to ndarray, shape (...), float64
        Everything that does not depend on the block.
    """

    channel: ChannelPoints
    balance_bits: dict[float, Floats]
    columns: dict[str, Floats]


def evaluate_points(
    scenario: Scenario,
    arrays: dict[str, Floats],
    block_sizes: tuple[float, ...],
) -> Evaluated:
    """Evaluate a scenario at points.

    Parameters
    ----------
    scenario : Scenario
    arrays : dict of str to ndarray, shape (...), float64 [unit of the field]
        By dotted name; all of one shape.
    block_sizes : tuple of float
        0 is endless.

    Raises
    ------
    ModelRangeError
        Where a model does not hold.
    """
    shape = np.broadcast_shapes(*(a.shape for a in arrays.values()))
    full = {k: np.broadcast_to(a, shape) for k, a in arrays.items()}
    channel_values = Values(scenario.channel, part_of("channel", full), shape)
    scheme_values = Values(scenario.scheme, part_of("scheme", full), shape)
    channel = channel_points(scenario.channel, channel_values)
    return rates_on(scenario, channel, scheme_values, block_sizes)


def rates_on(
    scenario: Scenario,
    channel: ChannelPoints,
    values: Values,
    block_sizes: tuple[float, ...],
) -> Evaluated:
    """Put the scheme of a scenario on a channel that is known already.

    Parameters
    ----------
    scenario : Scenario
    channel : ChannelPoints
    values : Values
        Of the scheme, of the channel's shape.
    block_sizes : tuple of float
        0 is endless.

    Raises
    ------
    ModelRangeError
        If a parameter is unphysical.
    """
    scheme = scenario.scheme
    if isinstance(scheme, CvScheme):
        cv = cv_points(scheme, values, channel)
        keys = {n: cv_key_bits(scheme, cv, n) for n in block_sizes}
        columns = {"classical_bits_per_use": cv.classical_bits, **cv.columns}
    else:
        dv = dv_points(scheme, values, channel, scenario.symbol_rate_hz)
        keys = {n: dv_key_bits(scheme, values, dv, n) for n in block_sizes}
        columns = {"payload_bits_per_use": dv.payload_bits, **dv.columns}
    return Evaluated(channel, keys, columns | channel.extra)


def curves(scenario: Scenario) -> tuple[tuple[Curve, ...], tuple[str, ...]]:
    """Return one curve per block size, the endless one first, and the warnings.

    Parameters
    ----------
    scenario : Scenario

    Raises
    ------
    ModelRangeError
        Where a model does not hold.
    """
    sweep = scenario.sweep
    x = sweep.values
    sizes = tuple(dict.fromkeys((0.0, *scenario.block_sizes)))
    found = evaluate_points(scenario, {sweep.variable: x}, sizes)
    name = sweep.variable.rpartition(".")[2]
    made = []
    for size in sizes:
        balance = found.balance_bits[size]
        arrays = {
            name: x,
            "key_bits_per_use": np.maximum(balance, 0.0),
            "key_bits_per_s": np.maximum(balance, 0.0) * scenario.symbol_rate_hz,
            "balance_bits_per_use": balance,
            **found.columns,
            "transmittance": found.channel.transmittance,
            "loss_db": found.channel.total_loss_db,
            **{f"loss_{k}_db": v for k, v in found.channel.loss_db.items()},
        }
        derived = _derived(scenario, size, x, balance)
        made.append(Curve(block_label(size), name, arrays, derived))
    warnings = found.channel.warnings
    if "beta" in found.columns and np.any(found.columns["beta"] == 0.0):
        warnings += (
            f"below an SNR of {least_snr():.3g} per quadrature this program has no "
            "code for the reconciliation: there is no key, whatever the noise",
        )
    return tuple(made), warnings


def _derived(
    scenario: Scenario, size: float, x: Floats, balance: Floats
) -> dict[str, Any]:
    """Return where the key ends, and what else there is at that point."""
    variable = scenario.sweep.variable
    name = f"secure_{variable.rpartition('.')[2]}"
    best = int(np.argmax(balance))
    top = {"highest_key_bits_per_use": max(0.0, float(balance[best]))}
    edges = np.nonzero((balance[:-1] > 0.0) & (balance[1:] <= 0.0))[0]
    if not edges.size:
        # A key up to the end of the sweep, or none at all.
        end = float(x[-1]) if balance[-1] > 0.0 else None
        return {name: None, f"{name}_at_least": end, **top}
    low, high = float(x[edges[-1]]), float(x[edges[-1] + 1])
    for _ in range(_ZOOMS):
        between = np.linspace(low, high, _PER_ZOOM)
        near = evaluate_points(scenario, {variable: between}, (size,))
        last = int(np.nonzero(near.balance_bits[size] > 0.0)[0].max(initial=0))
        last = min(last, _PER_ZOOM - 2)
        low, high = float(between[last]), float(between[last + 1])
    at = evaluate_points(scenario, {variable: np.array([low])}, (size,))
    there: dict[str, Any] = {
        k: float(at.columns[k][0])
        for k in ("classical_bits_per_use", "payload_bits_per_use")
        if k in at.columns
    }
    there["loss_db"] = float(at.channel.total_loss_db[0])
    return {name: low, **there, **top}


def part_of(part: str, arrays: dict[str, Floats]) -> dict[str, Floats]:
    """Return the arrays of one part, by field name.

    Parameters
    ----------
    part : str
        ``channel`` or ``scheme``.
    arrays : dict of str to ndarray, shape (...), float64 [unit of the field]
        By dotted name.
    """
    return {
        key.partition(".")[2]: values
        for key, values in arrays.items()
        if key.partition(".")[0] == part
    }
