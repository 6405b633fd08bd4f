"""What keeps passes from having a key: asked of the one with the least loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scqc.plan.advice import Place, limits_at, with_radiance
from scqc.plan.channel_settings import DownlinkChannel
from scqc.plan.passes import Flight, PassPlan
from scqc.plan.points import ChannelPoints
from scqc.plan.records import Curve
from scqc.plan.scenario import Scenario

#: Points of a pass that stand for all of it: causes are tried a thousand times.
_POINTS = 48


def pass_limits(plan: PassPlan, flown: Sequence[Curve]) -> tuple[dict[str, Any], ...]:
    """Return what would have to change for a key, what limits most first.

    Parameters
    ----------
    plan : PassPlan
    flown : sequence of Curve
        Its passes, none with a key.

    Returns
    -------
    tuple of dict
        As `scqc.plan.advice.what_limits`; ``at`` names the pass. Empty without any
        pass: there the mask, the station or the orbit would have to change.
    """
    if not flown:
        return ()
    best = min(flown, key=lambda curve: float(np.min(curve.arrays["loss_db"])))
    flight = _flight(best)

    def channel_of(other: Scenario) -> ChannelPoints:
        if not isinstance(other.channel, DownlinkChannel):
            raise TypeError(f"{other.channel.kind}: passes are downlinks")
        parts = {"channel": other.channel, "scheme": other.scheme}
        return plan.model_copy(update=parts).block(flight)

    symbols = float(best.derived["block_symbols"])
    place = Place(with_radiance(plan.scenario), channel_of, symbols, by_scheme=True)
    return tuple(row | {"at": {"pass": best.label}} for row in limits_at(place))


def _flight(curve: Curve) -> Flight:
    """Return where satellite and Sun were, at a few points of a pass."""
    step = -(-curve.arrays["time_s"].size // _POINTS)
    arrays = {name: values[::step] for name, values in curve.arrays.items()}
    return Flight(
        elevation_rad=np.radians(arrays["elevation_deg"]),
        range_m=1e3 * arrays["range_km"],
        sun_rad=np.radians(arrays["sun_elevation_deg"]),
        station_m=float(curve.derived["station_altitude_m"]),
    )
