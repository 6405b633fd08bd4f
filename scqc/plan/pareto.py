"""Data and key on the same light, or divided: fronts of what both can be.

The simultaneous front varies the raw bit error rate, and with it the displacement
and the rate that a code can have. The divided alternatives give a share of the same
uses to each, with the classical light as strong as the simultaneous one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from protocols.security.coexistence import (
    Division,
    Neighbour,
    Point,
    Shares,
    advantage,
    divided,
    pareto_front,
    stray_photons,
)
from protocols.security.displacement import psk_capacity
from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.settings import Settings
from scqc.plan.evaluate import Evaluated, evaluate_points
from scqc.plan.records import Curve, Floats
from scqc.plan.scenario import Scenario, block_label
from scqc.plan.scheme_settings import CvScheme

_BERS = np.geomspace(1e-6, 0.25, 61)
_SHARES = np.linspace(0.0, 1.0, 51)


class Coexistence(Settings):
    """What dividing the light costs."""

    guard: float = Field(default=0.05, ge=0.0, lt=1.0, description="share of all uses")
    isolation_db: float = Field(
        default=80.0, ge=0.0, le=300.0, description="of the filter before the key"
    )
    raman_photons: float = Field(
        default=1e-9,
        ge=0.0,
        le=1.0,
        description="scattered into one mode per launched photon and use",
    )
    code_efficiency: float = Field(
        default=0.9, gt=0.0, le=1.0, description="rate of the code over capacity"
    )


def fronts(
    scenario: Scenario, value: float, block_size: float, settings: Coexistence
) -> tuple[Curve, ...]:
    """Return the fronts at one point of a scenario's sweep.

    Parameters
    ----------
    scenario : Scenario
        Of the Gaussian scheme.
    value : float
        Of the swept variable.
    block_size : float
        0 is endless.
    settings : Coexistence

    Returns
    -------
    tuple of Curve
        ``simultaneous``, ``time``, ``wavelength``, ``frequency``; the first says by
        how much key it is ahead of the best division.

    Raises
    ------
    PlanSettingsError
        If the scheme is not Gaussian, or not displaced.
    """
    scheme = scenario.scheme
    if not isinstance(scheme, CvScheme) or scheme.psk == "none":
        problem = ConfigProblem(
            "plan", "scheme", "kind", scheme.kind, "a front needs cv with bpsk or qpsk"
        )
        raise PlanSettingsError([problem])
    together, photons = _together(scenario, value, block_size, settings)
    alone = _key_alone(scenario, value, block_size, 0.0)
    loss = float(alone.channel.transmittance[0])
    made = [_curve("simultaneous", together, {"block": block_label(block_size)})]
    others = []
    for division in _DIVISIONS:
        bits = _data_alone(scheme, settings)
        neighbour = Neighbour(photons, settings.isolation_db, settings.raman_photons)
        stray = float(stray_photons(neighbour, division, loss))
        key = _key_alone(scenario, value, block_size, 2.0 * stray / loss)
        shares = Shares(division, _SHARES, settings.guard)
        point = divided(shares, bits, float(key.balance_bits[block_size][0]))
        others.append(point)
        made.append(_curve(division, point, {"stray_photons": stray}))
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


_DIVISIONS: tuple[Division, ...] = ("time", "wavelength", "frequency")


def _together(
    scenario: Scenario, value: float, block_size: float, settings: Coexistence
) -> tuple[Point, float]:
    """Return the simultaneous points, and the photons of the middle one."""
    scheme = scenario.scheme
    points = {
        "scheme.target_raw_ber": _BERS,
        scenario.sweep.variable: np.full(_BERS.size, value),
    }
    found = evaluate_points(_uncoded(scenario), points, (block_size,))
    axes = 2.0 if isinstance(scheme, CvScheme) and scheme.psk == "qpsk" else 1.0
    bits = axes * settings.code_efficiency * psk_capacity(_BERS)
    key = np.maximum(found.balance_bits[block_size], 0.0)
    photons = found.columns["photons_per_use"]
    return Point(bits, key), float(photons[_BERS.size // 2])


def _uncoded(scenario: Scenario) -> Scenario:
    scheme = scenario.scheme.model_copy(update={"fec_rate": 1.0})
    return scenario.model_copy(update={"scheme": scheme})


def _key_alone(
    scenario: Scenario, value: float, block_size: float, xi_snu: float
) -> Evaluated:
    """Evaluate the key without data, with stray light as excess noise."""
    keyed = scenario.scheme.model_copy(update={"psk": "none"})
    noise = float(getattr(scenario.scheme, "excess_noise_snu", 0.0)) + xi_snu
    points = {
        "scheme.excess_noise_snu": np.array([noise]),
        scenario.sweep.variable: np.array([value]),
    }
    plain = scenario.model_copy(update={"scheme": keyed})
    return evaluate_points(plain, points, (block_size,))


def _data_alone(scheme: CvScheme, settings: Coexistence) -> float:
    """Return bits per use of data without a key: the same alphabet, hardly noisy."""
    axes = 2.0 if scheme.psk == "qpsk" else 1.0
    return axes * settings.code_efficiency


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
