"""The best settings at every point: modulation, intensities, shares, apertures.

All points are searched at once (`scqc.plan.search`), from what the scenario has and
from all over the bounds. The objective is the key; without any, what is nearest to
one: the missing bits beside those that the eavesdropper has, or beside the clicks. In
bits alone, less light would always be nearer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.hints import meant
from scqc.plan.evaluate import evaluate_points
from scqc.plan.outside import answered
from scqc.plan.passes import PassPlan
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, block_label
from scqc.plan.search import Search

#: Of candidates that no model answers for.
_WORST = -1e300
#: Nothing is compared with less [bit per use].
_LEAST_BITS = 1e-300


@dataclass(frozen=True, slots=True)
class Range:
    """Where the best value of a variable is looked for.

    Parameters
    ----------
    low, high : float
        In the variable's unit.
    logarithmic : bool
    """

    low: float
    high: float
    logarithmic: bool = False

    def at(self, share: Floats) -> Floats:
        """Return values at shares of the range, shape (...) [unit of the variable]."""
        if self.logarithmic:
            return np.asarray(self.low * (self.high / self.low) ** share)
        return np.asarray(self.low + share * (self.high - self.low))

    def share_of(self, value: float) -> float:
        """Return at which share of the range a value is, the nearer end beyond it."""
        inside = min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(inside / self.low) / math.log(self.high / self.low)
        return (inside - self.low) / (self.high - self.low)


RANGES: dict[str, Range] = {
    "scheme.modulation_variance": Range(0.02, 1000.0, True),
    "scheme.target_raw_ber": Range(1e-9, 0.2, True),
    "scheme.outage_share": Range(0.0, 0.9),
    "scheme.signal_photons": Range(0.05, 1.2),
    "scheme.decoy_photons": Range(0.01, 0.6),
    "scheme.signal_share": Range(0.05, 0.97),
    "scheme.decoy_share": Range(0.01, 0.7),
    "scheme.z_share": Range(0.5, 0.99),
    "channel.waist_m": Range(0.005, 2.0, True),
    "channel.aperture_radius_m": Range(0.005, 5.0, True),
}


def check_variables(scenario: Scenario | PassPlan, variables: Sequence[str]) -> None:
    """Refuse variables that cannot be optimised.

    Parameters
    ----------
    scenario : Scenario or PassPlan
        Passes have nothing that can be optimised.
    variables : sequence of str
        Keys of `RANGES`.

    Raises
    ------
    PlanSettingsError
        Naming all of them, each with the nearest that can be.
    """
    known = [
        key
        for key in RANGES
        if isinstance(scenario, Scenario)
        and hasattr(getattr(scenario, key.partition(".")[0]), key.partition(".")[2])
    ]
    problems = [
        ConfigProblem(
            "plan", "", "optimise", name, meant(name, known) or _offered(name, known)
        )
        for name in variables
        if name not in known
    ]
    if problems:
        raise PlanSettingsError(problems)


def _offered(name: str, known: Sequence[str]) -> str:
    if name.endswith(("block_size", "block_sizes")):
        return "a larger block never has less key per use: set block_sizes"
    return ", ".join(known) or "passes are swept, not optimised"


def optimise_points(
    scenario: Scenario,
    points: dict[str, Floats],
    sizes: tuple[float, ...],
    variables: Sequence[str],
) -> dict[str, Floats]:
    """Return the best settings and what they give, point by point.

    Parameters
    ----------
    scenario : Scenario
    points : dict of str to ndarray, shape (n,), float64 [unit of the field]
    sizes : tuple of float
        Block sizes; every one is optimised for itself.
    variables : sequence of str
        Keys of `RANGES`.

    Returns
    -------
    dict of str to ndarray, shape (n,), float64 [unit in the name]
        Key and best settings for every block size.

    Raises
    ------
    PlanSettingsError
        If a variable cannot be optimised.
    """
    check_variables(scenario, variables)
    out: dict[str, Floats] = {}
    for size in sizes:
        best, balance = _best(scenario, points, size, variables)
        label = block_label(size)
        out[f"key_bits_per_use_{label}"] = np.maximum(balance, 0.0)
        for name, values in best.items():
            out[f"best_{name.rpartition('.')[2]}_{label}"] = values
    return out


def _best(
    scenario: Scenario,
    points: dict[str, Floats],
    size: float,
    variables: Sequence[str],
) -> tuple[dict[str, Floats], Floats]:
    def merit_of(shares: Floats) -> Floats:
        named = dict(zip(variables, np.moveaxis(shares, 1, 0), strict=True))
        return _balances(scenario, points, size, named)[1]

    n = next(iter(points.values())).size
    search = Search(merit_of, own_shares(scenario, variables), n)
    search.run()
    if getattr(scenario.scheme, "beta", 0.0) is None:
        # Measured codes have rates on a grid, so the key has teeth.
        search.comb()
    search.settle()
    best = dict(zip(variables, search.shares, strict=True))
    last = {name: share[np.newaxis] for name, share in best.items()}
    return values_at(best), _balances(scenario, points, size, last)[0][0]


def own_shares(scenario: Scenario, variables: Sequence[str]) -> Floats:
    """Return where a scenario's own settings are, shape (variables,) [1].

    Parameters
    ----------
    scenario : Scenario
    variables : sequence of str
        Keys of `RANGES`.
    """
    return np.array([_own_share(scenario, name) for name in variables])


def _own_share(scenario: Scenario, name: str) -> float:
    part, _, field = name.partition(".")
    return RANGES[name].share_of(float(getattr(getattr(scenario, part), field)))


def values_at(shares: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return settings for shares of their ranges; decoys stay below signals.

    Parameters
    ----------
    shares : mapping of str to ndarray, shape (...), float64 [1]
        By name.
    """
    values = {name: RANGES[name].at(share) for name, share in shares.items()}
    signal, decoy = "scheme.signal_photons", "scheme.decoy_photons"
    if signal in values and decoy in values:
        values[decoy] = np.minimum(values[decoy], 0.9 * values[signal])
    signal, decoy = "scheme.signal_share", "scheme.decoy_share"
    if signal in values and decoy in values:
        values[decoy] = np.minimum(values[decoy], 0.995 - values[signal])
    return values


def _balances(
    scenario: Scenario,
    points: dict[str, Floats],
    size: float,
    shares: dict[str, Floats],
) -> tuple[Floats, Floats]:
    """Evaluate candidates, shape (tries, n): key [bit per use], and what ranks them.

    Where no model holds, the worst.
    """
    shape = next(iter(shares.values())).shape
    arrays = {k: np.broadcast_to(v, shape) for k, v in points.items()}
    flat = {k: np.array(v).ravel() for k, v in (arrays | values_at(shares)).items()}

    def some(part: slice) -> Floats:
        inside = {name: values[part] for name, values in flat.items()}
        found = evaluate_points(scenario, inside, (size,))
        bits = found.balance_bits[size]
        name = "holevo_bits_per_use" if "snr" in found.columns else "gain_signal"
        beside = np.maximum(found.columns[name], _LEAST_BITS)
        return np.stack([bits, np.where(bits > 0.0, bits, bits / beside)])

    found = np.full((2, next(iter(flat.values())).size), _WORST)
    for part, balances in answered(some, found.shape[1]):
        found[:, part] = balances
    bits, merit = found.reshape(2, *shape)
    return bits, merit
