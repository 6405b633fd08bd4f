"""What keeps a link from having a key, and by how much it would have to change.

The scenario is asked at the point of its sweep that is nearest to a key. Every
quantity that may be the reason is improved alone, from what it is to the best it can
be; `protocols.security.key_limits` finds where the key begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from protocols.security.key_limits import Cause, Turn, turning_points
from scqc.core.errors import ModelRangeError
from scqc.plan.channel_settings import Telescopes
from scqc.plan.channels import channel_points
from scqc.plan.evaluate import Evaluated, evaluate_points, part_of, rates_on
from scqc.plan.free_space import radiance
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario
from scqc.plan.values import Values

_STEPS = 48
#: From here on a block is as good as endless [symbols].
_ENDLESS = 1e15

#: Best values; what a scenario does not have, or does not vary, is left out.
_BEST: dict[str, dict[str, float]] = {
    "cv": {
        "scheme.excess_noise_snu": 0.0,
        "scheme.noise_bob_snu": 0.0,
        "scheme.phase_variance_rad2": 0.0,
        "scheme.beta": 1.0,
        "scheme.efficiency": 1.0,
        "scheme.electronic_snu": 0.0,
        "channel.environment_k": 1e-3,
        "channel.receiver_k": 0.0,
        "channel.source_k": 0.0,
        "channel.feed_loss_db": 0.0,
        "channel.feed_k": 0.0,
        "channel.pointing_rad": 0.0,
        "channel.sky_radiance_w_per_m2_um_sr": 0.0,
        "channel.neighbour_dbm": -100.0,
    },
    "dv": {
        "scheme.dark_yield": 0.0,
        "scheme.stray_yield": 0.0,
        "scheme.misalignment": 0.0,
        "scheme.efficiency": 1.0,
        "scheme.in_gate_share": 1.0,
        "scheme.dead_time_s": 0.0,
        "scheme.correction_efficiency": 1.0,
        "channel.pointing_rad": 0.0,
        "channel.sky_radiance_w_per_m2_um_sr": 0.0,
        "channel.neighbour_dbm": -100.0,
        "channel.field_of_view_rad": 1e-7,
        "scheme.filter_nm": 1e-4,
        "scheme.gate_s": 1e-11,
    },
}
#: What only matters with stray light on detectors.
_STRAY = ("channel.field_of_view_rad", "scheme.filter_nm", "scheme.gate_s")
#: Where nothing can be said.
_NONE = -1e300


def what_limits(
    scenario: Scenario, block_size: float = 0.0
) -> tuple[dict[str, Any], ...]:
    """Return what would have to change for a key, what limits most first.

    Parameters
    ----------
    scenario : Scenario
        Without a key at any point of its sweep.
    block_size : float
        0 is endless.

    Returns
    -------
    tuple of dict
        ``cause`` (a setting, ``loss_db`` or ``block_size``), ``value`` now,
        ``needed`` (None: this alone does not help), ``change`` in words, and
        ``at``: the point of the sweep that is nearest to a key, or, where nothing
        helps alone, that where most light arrives.
    """
    x, variable = scenario.sweep.values, scenario.sweep.variable
    found = evaluate_points(scenario, {variable: x}, (block_size,))
    nearest = int(np.argmax(found.balance_bits[block_size] / _scale(found)))
    rows = _at(scenario, found, nearest, block_size)
    if all(row["needed"] is None for row in rows):
        # Where hardly any light arrives nothing helps alone: ask where most does.
        brightest = int(np.argmax(found.channel.transmittance))
        other = _at(scenario, found, brightest, block_size)
        rows = rows if all(row["needed"] is None for row in other) else other
    return rows


def _at(
    scenario: Scenario, found: Evaluated, i: int, block_size: float
) -> tuple[dict[str, Any], ...]:
    """Return what would have to change at one point of the sweep."""
    x, variable = scenario.sweep.values, scenario.sweep.variable
    point = {variable: x[i : i + 1]}
    loss_db = float(found.channel.total_loss_db[i])
    scenario = _with_radiance(scenario, point)
    causes = [_loss(scenario, point, block_size, loss_db)]
    stray = bool(np.any(found.channel.stray_hz_per_nm + found.channel.stray_hz > 0.0))
    causes += _settings(scenario, point, block_size, () if stray else _STRAY)
    if block_size:
        causes.append(_block(scenario, point, block_size))
    where = {variable: float(x[i])}
    return tuple(_row(turn) | {"at": where} for turn in turning_points(causes))


def _with_radiance(scenario: Scenario, point: dict[str, Floats]) -> Scenario:
    """Put a number in place of a named sky, so that it can be asked for."""
    channel = scenario.channel
    known = getattr(channel, "sky_radiance_w_per_m2_um_sr", None)
    if not isinstance(channel, Telescopes) or known is not None:
        return scenario
    arrays = part_of("channel", point)
    if "sky_radiance_w_per_m2_um_sr" in arrays:
        return scenario
    bright = float(radiance(Values(channel, arrays, (1,)))[0])
    numbered = channel.model_copy(update={"sky_radiance_w_per_m2_um_sr": bright})
    return scenario.model_copy(update={"channel": numbered})


def _scale(found: Evaluated) -> Floats:
    """Return what a balance is compared with: a long link is not near to a key."""
    name = "holevo_bits_per_use" if "snr" in found.columns else "gain_signal"
    return np.maximum(found.columns[name], 1e-300)


def least_block(scenario: Scenario, value: float) -> float | None:
    """Return the smallest block with a key at a point; None if there is none.

    Parameters
    ----------
    scenario : Scenario
    value : float
        Of the swept variable.
    """
    point = {scenario.sweep.variable: np.array([value])}

    def key(size: float) -> bool:
        return _balance(scenario, point, size) > 0.0

    low, high = math.log(1e3), math.log(_ENDLESS)
    if not key(_ENDLESS):
        return None
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if key(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _balance(scenario: Scenario, arrays: dict[str, Floats], block_size: float) -> float:
    try:
        got = evaluate_points(scenario, arrays, (block_size,))
    except ModelRangeError:
        # Beyond the model there is no answer, so no promise.
        return _NONE
    return float(got.balance_bits[block_size][0])


def _on_channel(
    scenario: Scenario,
    channel: ChannelPoints,
    arrays: dict[str, Floats],
    block_size: float,
) -> float:
    """Balance a scheme on a channel that is known already: much faster."""
    values = Values(scenario.scheme, part_of("scheme", arrays), (1,))
    try:
        got = rates_on(scenario, channel, values, (block_size,))
    except ModelRangeError:
        return _NONE
    return float(got.balance_bits[block_size][0])


def _channel(scenario: Scenario, arrays: dict[str, Floats]) -> ChannelPoints:
    values = Values(scenario.channel, part_of("channel", arrays), (1,))
    return channel_points(scenario.channel, values)


def _loss(
    scenario: Scenario, point: dict[str, Floats], block_size: float, loss_db: float
) -> Cause:
    channel = _channel(scenario, point)

    def balance(wanted_db: float) -> float:
        better = channel.amplified(loss_db - wanted_db)
        return _on_channel(scenario, better, point, block_size)

    return Cause("loss_db", loss_db, 0.0, balance)


def _settings(
    scenario: Scenario,
    point: dict[str, Floats],
    block_size: float,
    left_out: tuple[str, ...],
) -> list[Cause]:
    causes = []
    channel = _channel(scenario, point)
    for key, best in _BEST[scenario.scheme.kind].items():
        part, _, name = key.partition(".")
        now = getattr(getattr(scenario, part), name, None)
        if now is None or now == best or key in point or key in left_out:
            continue
        known_channel = channel if part == "scheme" else None
        one = _of_key(scenario, (point, known_channel), block_size, key)
        causes.append(Cause(key, float(now), best, one))
    return causes


def _of_key(
    scenario: Scenario,
    where: tuple[dict[str, Floats], ChannelPoints | None],
    block_size: float,
    key: str,
) -> Callable[[float], float]:
    """Return the balance over one setting, on a channel if that does not change."""
    point, channel = where
    if channel is None:
        return lambda v: _balance(scenario, point | {key: np.array([v])}, block_size)
    same = channel
    return lambda v: _on_channel(
        scenario, same, point | {key: np.array([v])}, block_size
    )


def _block(scenario: Scenario, point: dict[str, Floats], block_size: float) -> Cause:
    def balance(size: float) -> float:
        return _balance(scenario, point, size)

    return Cause("block_size", block_size, _ENDLESS, balance)


def _row(turn: Turn) -> dict[str, Any]:
    change = f"{turn.name}: no value of it alone gives a key (now {turn.value:.4g})"
    if turn.possible:
        change = f"{turn.name} from {turn.value:.4g} to {turn.needed:.4g}"
    return {
        "cause": turn.name,
        "value": turn.value,
        "needed": turn.needed if turn.possible else None,
        "change": change,
    }
