"""What keeps a link from having a key, and by how much it would have to change.

The scenario is asked at the point of its sweep that is nearest to a key. Every
quantity that may be the reason is improved alone, from what it is to the best it can
be; `protocols.security.key_limits` finds where the key begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from protocols.reconciliation.pairs import MEASURED_FER
from protocols.security.key_limits import Cause, Turn, turning_points
from scqc.plan.channel_settings import Telescopes
from scqc.plan.channels import channel_points
from scqc.plan.curves import answered_points
from scqc.plan.cv import cv_points
from scqc.plan.evaluate import (
    Evaluated,
    part_of,
    rates_on,
    with_numbers,
)
from scqc.plan.free_space import radiance
from scqc.plan.outside import NO_ANSWER
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.values import Values

_STEPS = 48
#: From here on a block is as good as endless [symbols].
_ENDLESS = 1e15

#: Best values, or two ends where the best lies between, which are both tried; what a
#: scenario does not have is left out.
_BEST: dict[str, dict[str, float | tuple[float, float]]] = {
    "cv": {
        "scheme.modulation_variance": (1e-2, 1e3),
        "scheme.target_raw_ber": (1e-9, 0.4),
        "scheme.excess_noise_snu": 0.0,
        "scheme.noise_bob_snu": 0.0,
        "scheme.phase_variance_rad2": 0.0,
        "scheme.beta": 1.0,
        "scheme.frame_error_rate": 0.0,
        "scheme.efficiency": 1.0,
        "scheme.electronic_snu": 0.0,
        "channel.environment_k": 1e-3,
        "channel.receiver_k": 0.0,
        "channel.source_k": 0.0,
        "channel.feed_loss_db": 0.0,
        "channel.feed_k": 0.0,
        "channel.waist_m": (1e-3, 10.0),
        "channel.aperture_radius_m": 10.0,
        "channel.pointing_rad": 0.0,
        "channel.sky_radiance_w_per_m2_um_sr": 0.0,
        "channel.neighbour_dbm": -100.0,
    },
    "dv": {
        "scheme.signal_photons": (1e-2, 2.0),
        "scheme.decoy_photons": (1e-3, 1.0),
        "scheme.dark_yield": 0.0,
        "scheme.stray_yield": 0.0,
        "scheme.misalignment": 0.0,
        "scheme.efficiency": 1.0,
        "scheme.in_gate_share": 1.0,
        "scheme.dead_time_s": 0.0,
        "scheme.correction_efficiency": 1.0,
        "channel.waist_m": (1e-3, 10.0),
        "channel.aperture_radius_m": 10.0,
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
    where, found = answered_points(scenario, (block_size,))
    x = scenario.sweep.values[where]
    nearest = int(np.argmax(found.balance_bits[block_size] / _scale(found)))
    rows = _at(scenario, float(x[nearest]), block_size)
    if all(row["needed"] is None for row in rows):
        # Where hardly any light arrives nothing helps alone: ask where most does.
        brightest = int(np.argmax(found.channel.transmittance))
        other = _at(scenario, float(x[brightest]), block_size)
        rows = rows if all(row["needed"] is None for row in other) else other
    return rows


@dataclass(frozen=True)
class Place:
    """Where a key is asked for.

    Parameters
    ----------
    scenario : Scenario
        Its numbers are those of the place.
    channel_of : callable
        Evaluates the channel of a scenario there, shape (1,).
    block_size : float
        0 is endless.
    by_scheme : bool
        Whether the channel also depends on the scheme, as a pass in bins does.
    """

    scenario: Scenario
    channel_of: Callable[[Scenario], ChannelPoints]
    block_size: float
    by_scheme: bool = False

    @cached_property
    def channel(self) -> ChannelPoints:
        """The channel as it is."""
        return self.channel_of(self.scenario)

    def balance(self, numbers: Mapping[str, float]) -> float:
        """Return the key with other numbers; a channel that stays is not repeated.

        Parameters
        ----------
        numbers : mapping of str to float
            By dotted name [unit of the field].
        """
        other = with_numbers(self.scenario, numbers)
        try:
            moved = self.by_scheme or any(n.startswith("channel.") for n in numbers)
            channel = self.channel_of(other) if moved else self.channel
            return _key(other, channel, self.block_size)
        except NO_ANSWER:
            # Beyond the model there is no answer, so no promise.
            return _NONE

    def brighter(self, gain_db: float) -> float:
        """Return the key with less loss.

        Parameters
        ----------
        gain_db : float
            [dB]
        """
        try:
            return _key(self.scenario, self.channel.amplified(gain_db), self.block_size)
        except NO_ANSWER:
            return _NONE

    def sized(self, block_size: float) -> float:
        """Return the key of another block.

        Parameters
        ----------
        block_size : float
            [symbols]
        """
        try:
            return _key(self.scenario, self.channel, block_size)
        except NO_ANSWER:
            return _NONE


def limits_at(place: Place) -> tuple[dict[str, Any], ...]:
    """Return what would have to change for a key at a place, most promising first.

    Parameters
    ----------
    place : Place

    Returns
    -------
    tuple of dict
        As `what_limits` returns them, without ``at``.
    """
    channel = place.channel
    loss_db = float(channel.total_loss_db[0])
    causes = [Cause("loss_db", loss_db, 0.0, lambda db: place.brighter(loss_db - db))]
    stray = bool(np.any(channel.stray_hz_per_nm + channel.stray_hz > 0.0))
    causes += _settings(place, () if stray else _STRAY)
    if place.block_size:
        causes.append(Cause("block_size", place.block_size, _ENDLESS, place.sized))
    unit = getattr(place.scenario.scheme, "variance_unit", "")
    words = {"scheme.modulation_variance": f" {unit}"}
    scheme = place.scenario.scheme
    if isinstance(scheme, CvScheme) and scheme.beta is None:
        causes.append(_better_code(place, scheme))
        words["scheme.beta"] = f" with frame_error_rate={MEASURED_FER:g}, a better code"
    return tuple(
        _row(turn, words.get(turn.name, "")) for turn in _nearer(turning_points(causes))
    )


def _better_code(place: Place, scheme: CvScheme) -> Cause:
    """Return the efficiency of measured codes as a cause, at the frames they lose."""

    def coded(beta: float) -> float:
        numbers = {"scheme.beta": beta, "scheme.frame_error_rate": MEASURED_FER}
        return place.balance(numbers)

    # Of the deepest fade that decodes: 0 where there is no code for it.
    found = cv_points(scheme, Values(scheme, {}, (1,)), place.channel)
    return Cause("scheme.beta", float(np.min(found.pair.beta)), 1.0, coded)


def _key(scenario: Scenario, channel: ChannelPoints, block_size: float) -> float:
    values = Values(scenario.scheme, {}, (1,))
    got = rates_on(scenario, channel, values, (block_size,))
    return float(got.balance_bits[block_size][0])


def _at(
    scenario: Scenario, value: float, block_size: float
) -> tuple[dict[str, Any], ...]:
    """Return what would have to change at one point of the sweep."""
    place = _place(scenario, value, block_size)
    there = {scenario.sweep.variable: value}
    return tuple(row | {"at": there} for row in limits_at(place))


def _place(scenario: Scenario, value: float, block_size: float) -> Place:
    variable = scenario.sweep.variable
    there = with_radiance(with_numbers(scenario, {variable: value}))
    arrays = part_of("channel", {variable: np.array([value])})

    def channel_of(other: Scenario) -> ChannelPoints:
        return channel_points(other.channel, Values(other.channel, arrays, (1,)))

    return Place(there, channel_of, block_size)


def with_radiance(scenario: Scenario) -> Scenario:
    """Put a number in place of a named sky, so that it can be asked for.

    Parameters
    ----------
    scenario : Scenario
    """
    channel = scenario.channel
    known = getattr(channel, "sky_radiance_w_per_m2_um_sr", None)
    if not isinstance(channel, Telescopes) or known is not None:
        return scenario
    bright = float(radiance(Values(channel, {}, (1,)))[0])
    return with_numbers(scenario, {"channel.sky_radiance_w_per_m2_um_sr": bright})


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
    place = _place(scenario, value, 0.0)

    def key(size: float) -> bool:
        return place.sized(size) > 0.0

    low, high = math.log(1e3), math.log(_ENDLESS)
    if not key(_ENDLESS):
        return None
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if key(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _settings(place: Place, left_out: tuple[str, ...]) -> Iterator[Cause]:
    for key, best in _BEST[place.scenario.scheme.kind].items():
        now = _number(place.scenario, key)
        ends = best if isinstance(best, tuple) else (best,)
        if now is not None and now not in ends and key not in left_out:
            yield from (Cause(key, now, end, _of(place, key)) for end in ends)


def _number(scenario: Scenario, key: str) -> float | None:
    part, _, name = key.partition(".")
    if name == "target_raw_ber" and getattr(scenario.scheme, "psk", "") == "none":
        return None
    now = getattr(getattr(scenario, part), name, None)
    return None if now is None else float(now)


def _of(place: Place, key: str) -> Callable[[float], float]:
    return lambda value: place.balance({key: value})


def _nearer(turns: list[Turn]) -> Iterator[Turn]:
    """Yield the turns; of what was looked for both ways the smaller change."""
    nearest: dict[str, Turn] = {}
    for turn in turns:
        other = nearest.setdefault(turn.name, turn)
        if other is turn or not turn.possible:
            continue
        if not other.possible or _change(turn) < _change(other):
            nearest[turn.name] = turn
    for turn in turns:
        if nearest[turn.name] is turn:
            yield turn


def _change(turn: Turn) -> float:
    if min(turn.needed, turn.value) <= 0.0:
        # Decibels, or from nothing: there is no ratio.
        return abs(turn.needed - turn.value)
    return abs(math.log(turn.needed / turn.value))


def _row(turn: Turn, unit: str) -> dict[str, Any]:
    change = f"{turn.name}: no value of it alone gives a key (now {turn.value:.4g})"
    if turn.possible:
        needed = f"{beyond(turn.needed, turn.value):.4g}"
        change = f"{turn.name} from {turn.value:.4g} to {needed}{unit}"
    return {
        "cause": turn.name,
        "value": turn.value,
        "needed": turn.needed if turn.possible else None,
        "change": change,
    }


def beyond(needed: float, value: float, digits: int = 4) -> float:
    """Return a number rounded away from another, so that it is not too little.

    Parameters
    ----------
    needed : float
        What is rounded.
    value : float
        Where it comes from.
    digits : int
        That are left.
    """
    if needed == 0.0 or needed == value:
        return needed
    step = 10.0 ** (math.floor(math.log10(abs(needed))) + 1 - digits)
    whole = math.ceil if needed > value else math.floor
    # A number that is round already stays what it is.
    nearest = round(needed / step)
    if abs(needed / step - nearest) < 1e-9:
        return nearest * step
    return whole(needed / step) * step
