"""Data and key on the same light, or divided: fronts of what both can be.

The divided alternatives give a share of the same uses to each; what the data's light
does to the key, `scqc.plan.coexistence` says, and what the same light can do,
`scqc.plan.together`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
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
from scqc.plan.records import Curve
from scqc.plan.scenario import Scenario, block_label
from scqc.plan.scheme_settings import CvScheme, DvScheme
from scqc.plan.together import (
    Front,
    best_key_alone,
    bits_of_axes,
    gaussian_front,
    pulses_front,
    without_data,
)

_SHARES = np.linspace(0.0, 1.0, 51)
#: Modulation of data without a key; none at all has no signal-to-noise ratio [SNU].
_HARDLY_SNU = 1e-9


def fronts(
    scenario: FrontScenario, value: float, block_size: float, fixed: Set[str]
) -> tuple[Curve, ...]:
    """Return the fronts at one point of a scenario's sweep.

    Parameters
    ----------
    scenario : FrontScenario
        Displaced, or of weak pulses.
    value : float
        Of the swept variable.
    block_size : float
        0 is endless.
    fixed : set of str
        Dotted names of settings that keep their value along the fronts.

    Returns
    -------
    tuple of Curve
        ``simultaneous``, ``time`` and, of Gaussian states, ``wavelength`` and
        ``frequency``; the first says by how much key it is ahead of the best division,
        the others what of the data's light is seen by the key.

    Raises
    ------
    PlanSettingsError
        If the scheme is Gaussian and not displaced.
    ModelRangeError
        Where a model does not hold.
    """
    scheme = scenario.scheme
    if isinstance(scheme, DvScheme):
        together = pulses_front(scenario, value, block_size, fixed)
        others = {"time": _slots_divided(scenario, together)}
    else:
        if scheme.psk == "none":
            limit = "a front needs data: psk=bpsk or qpsk"
            problem = ConfigProblem("plan", "scheme", "psk", scheme.psk, limit)
            raise PlanSettingsError([problem])
        together = gaussian_front(scenario, value, block_size, fixed)
        others = dict(_divided(scenario, scheme, (value, block_size, fixed)))
    known: dict[str, Any] = {"block": block_label(block_size)}
    known |= _ahead(together, [front for front, _ in others.values()])
    return tuple(
        _curve(name, front, derived, scheme.kind)
        for name, (front, derived) in {
            "simultaneous": (together, known),
            **others,
        }.items()
    )


def _ahead(together: Front, others: Sequence[Front]) -> dict[str, Any]:
    """Return by how much key the same light is ahead of all divisions, and where."""
    every = Point(
        np.concatenate([front.data_bits for front in others]),
        np.concatenate([front.key_bits for front in others]),
    )
    gains = [
        advantage(Point(c, k), every)
        for c, k in zip(together.data_bits, together.key_bits, strict=True)
    ]
    best = int(np.argmax(gains))
    return {
        "advantage_bits_per_use": float(gains[best]),
        "advantage_at_classical_bits_per_use": float(together.data_bits[best]),
    }


def _slots_divided(
    scenario: FrontScenario, together: Front
) -> tuple[Front, dict[str, Any]]:
    """Return slots of the best payload beside slots of the best key."""
    key = float(np.max(together.key_bits))
    shares = Shares("time", _SHARES, scenario.coexistence.guard_time)
    point = divided(shares, float(np.max(together.data_bits)), key)
    front = Front(point.classical_bits, point.key_bits, {})
    return front, {"key_alone_bits_per_use": key}


def _divided(
    scenario: FrontScenario, scheme: CvScheme, at: tuple[float, float, Set[str]]
) -> Iterator[tuple[str, tuple[Front, dict[str, Any]]]]:
    """Yield what each division of a Gaussian link gives, and what it is made of."""
    costs, value = scenario.coexistence, at[0]
    capacity = psk_capacity(np.array(costs.data_raw_ber))
    bits = float(bits_of_axes(scheme) * costs.code_efficiency * capacity)
    for division, beside in _divisions(scenario, value).items():
        stray = beside.stray(division)
        key, added = _key_beside(scenario, at, stray["stray_photons"])
        guard = getattr(costs, f"guard_{division}")
        point = divided(Shares(division, _SHARES, guard), bits, key)
        known = stray | {"added_noise_snu": added, "key_alone_bits_per_use": key}
        if np.isfinite(beside.launch_dbm):
            known["launch_dbm"] = beside.launch_dbm
        yield division, (Front(point.classical_bits, point.key_bits, {}), known)


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
    plain = without_data(scenario.model_copy(update={"scheme": steady}))
    found = evaluate_points(plain, points, (0.0,))
    photons = float(found.columns["photons_per_use"][0])
    same = own_band(costs, photons, float(found.channel.transmittance[0]))
    return {
        "time": same,
        "wavelength": own_carrier(scenario, value),
        "frequency": same,
    }


def _key_beside(
    scenario: Scenario, at: tuple[float, float, Set[str]], stray_photons: float
) -> tuple[float, float]:
    """Return the key without data, and what the stray light of data adds to its noise.

    Bits per use, and SNU at the channel's input.
    """
    value, block_size, fixed = at
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
    found = best_key_alone(plain, noisy, block_size, fixed)
    added = 2.0 * stray_photons / float(found.channel.transmittance[0])
    return float(found.balance_bits[block_size][0]), added


def _curve(label: str, front: Front, derived: dict[str, Any], kind: str) -> Curve:
    x = "payload_bits_per_use" if kind == "dv" else "classical_bits_per_use"
    order = pareto_front(front.data_bits, front.key_bits)
    rising = np.argsort(front.data_bits[order])
    arrays = {
        x: front.data_bits[order][rising],
        "key_bits_per_use": front.key_bits[order][rising],
    }
    for name, values in front.settings.items():
        arrays[name.rpartition(".")[2]] = values[order][rising]
    return Curve(label, x, arrays, derived)
