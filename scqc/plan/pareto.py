"""Data and key on the same light, or divided: fronts of what both can be.

The simultaneous front varies the raw bit error rate, and with it the displacement
and the rate that a code can have. The divided alternatives give a share of the same
uses to each; what the data's light does to the key, `scqc.plan.coexistence` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.security.coexistence import (
    Division,
    Point,
    Shares,
    advantage,
    divided,
    pareto_front,
)
from protocols.security.displacement import psk_capacity
from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.plan.coexistence import Beside, FrontScenario, own_band, own_carrier
from scqc.plan.evaluate import evaluate_points
from scqc.plan.records import Curve, Floats
from scqc.plan.scenario import Scenario, block_label
from scqc.plan.scheme_settings import CvScheme

_BERS = np.geomspace(1e-6, 0.25, 61)
_SHARES = np.linspace(0.0, 1.0, 51)
#: Modulation of data without a key; none at all has no signal-to-noise ratio [SNU].
_HARDLY_SNU = 1e-9


def fronts(
    scenario: FrontScenario, value: float, block_size: float
) -> tuple[Curve, ...]:
    """Return the fronts at one point of a scenario's sweep.

    Parameters
    ----------
    scenario : FrontScenario
        Of the Gaussian scheme.
    value : float
        Of the swept variable.
    block_size : float
        0 is endless.

    Returns
    -------
    tuple of Curve
        ``simultaneous``, ``time``, ``wavelength``, ``frequency``; the first says by
        how much key it is ahead of the best division, the others what of the data's
        light is seen by the key.

    Raises
    ------
    PlanSettingsError
        If the scheme is not Gaussian, or not displaced.
    ModelRangeError
        Where a model does not hold.
    """
    scheme, costs = scenario.scheme, scenario.coexistence
    if not isinstance(scheme, CvScheme) or scheme.psk == "none":
        limit = (
            "a front needs cv with bpsk or qpsk; a key beside a classical channel in "
            "fibre, of any scheme: --set neighbour_dbm=..."
        )
        problem = ConfigProblem("plan", "scheme", "kind", scheme.kind, limit)
        raise PlanSettingsError([problem])
    together = _together(scenario, value, block_size)
    axes = 2.0 if scheme.psk == "qpsk" else 1.0
    ber = np.array(costs.data_raw_ber)
    bits = float(axes * costs.code_efficiency * psk_capacity(ber))
    made = [_curve("simultaneous", together, {"block": block_label(block_size)})]
    others = []
    for division, beside in _divisions(scenario, value).items():
        stray = beside.stray(division)
        key, added = _key_beside(scenario, value, block_size, stray["stray_photons"])
        guard = getattr(costs, f"guard_{division}")
        point = divided(Shares(division, _SHARES, guard), bits, key)
        others.append(point)
        known = stray | {"added_noise_snu": added, "key_alone_bits_per_use": key}
        if np.isfinite(beside.launch_dbm):
            known["launch_dbm"] = beside.launch_dbm
        made.append(_curve(division, point, known))
    every = Point(
        np.concatenate([p.classical_bits for p in others]),
        np.concatenate([p.key_bits for p in others]),
    )
    gains = [
        advantage(Point(c, k), every)
        for c, k in zip(together.classical_bits, together.key_bits, strict=True)
    ]
    best = int(np.argmax(gains))
    made[0].derived.update(
        advantage_bits_per_use=float(gains[best]),
        advantage_at_classical_bits_per_use=float(together.classical_bits[best]),
    )
    return tuple(made)


def _divisions(scenario: FrontScenario, value: float) -> dict[Division, Beside]:
    """Return what stands beside the key in each division; nothing in time."""
    costs = scenario.coexistence
    points = {
        "scheme.target_raw_ber": np.array([costs.data_raw_ber]),
        "scheme.modulation_variance": np.array([_HARDLY_SNU]),
        scenario.sweep.variable: np.array([value]),
    }
    # One strength for all of the fading, as on a carrier of its own.
    steady = scenario.scheme.model_copy(update={"fading": "mean"})
    plain = _uncoded(scenario.model_copy(update={"scheme": steady}))
    found = evaluate_points(plain, points, (0.0,))
    photons = float(found.columns["photons_per_use"][0])
    same = own_band(costs, photons, float(found.channel.transmittance[0]))
    return {
        "time": same,
        "wavelength": own_carrier(scenario, value),
        "frequency": same,
    }


def _together(scenario: FrontScenario, value: float, block_size: float) -> Point:
    """Return data and key on the same light, over the raw bit error rate."""
    points = {
        "scheme.target_raw_ber": _BERS,
        scenario.sweep.variable: np.full(_BERS.size, value),
    }
    found = evaluate_points(_uncoded(scenario), points, (block_size,))
    scheme, costs = scenario.scheme, scenario.coexistence
    axes = 2.0 if isinstance(scheme, CvScheme) and scheme.psk == "qpsk" else 1.0
    bits = axes * costs.code_efficiency * psk_capacity(_BERS)
    # In the deepest fades neither data nor key come through.
    bits = bits * found.columns["decoded_share"]
    return Point(bits, np.maximum(found.balance_bits[block_size], 0.0))


def _uncoded(scenario: Scenario) -> Scenario:
    """Return a scenario whose payload is not asked for: it has no rate of a code."""
    scheme = scenario.scheme.model_copy(update={"classical_rate": "information"})
    return scenario.model_copy(update={"scheme": scheme})


def _key_beside(
    scenario: Scenario, value: float, block_size: float, stray_photons: float
) -> tuple[float, float]:
    """Return the key without data, and what the stray light of data adds to its noise.

    Bits per use, and SNU at the channel's input.
    """
    keyed = scenario.scheme.model_copy(update={"psk": "none"})
    plain = scenario.model_copy(update={"scheme": keyed})
    point = {scenario.sweep.variable: np.array([value])}
    known = {"efficiency": 0.0, "noise_bob_snu": 0.0}
    for name in known:
        own = getattr(scenario.scheme, name)
        known[name] = float(point.get(f"scheme.{name}", np.array([own]))[0])
    # At Bob, where it is as strong in a fade as without: not in proportion to T.
    floor = known["noise_bob_snu"] + 2.0 * known["efficiency"] * stray_photons
    noisy = point | {"scheme.noise_bob_snu": np.array([floor])}
    found = evaluate_points(plain, noisy, (block_size,))
    added = 2.0 * stray_photons / float(found.channel.transmittance[0])
    return float(found.balance_bits[block_size][0]), added


def _curve(label: str, point: Point, derived: dict[str, Any]) -> Curve:
    classical: Floats = np.asarray(point.classical_bits, dtype=np.float64)
    key: Floats = np.asarray(point.key_bits, dtype=np.float64)
    front = pareto_front(classical, key)
    order = np.argsort(classical[front])
    arrays = {
        "classical_bits_per_use": classical[front][order],
        "key_bits_per_use": key[front][order],
    }
    return Curve(label, "classical_bits_per_use", arrays, dict(derived))
