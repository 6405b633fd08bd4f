"""The best settings at every point: modulation, intensities, shares, apertures.

All points are searched at once: one variable after the other is tried on a grid
between its bounds, the grid closes in on the best, and the round is repeated until
every variable has had its turn three times. The objective is the key of the largest
finite block, or of the endless one; without any key, what is nearest to one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scqc.core.errors import ConfigProblem, PlanSettingsError
from scqc.core.hints import meant
from scqc.plan.evaluate import evaluate_points
from scqc.plan.outside import answered
from scqc.plan.passes import PassPlan
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario, block_label

_ROUNDS, _TRIES, _CLOSE = 3, 13, 0.25
#: Of candidates that no model answers for.
_WORST = -1e300


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
    n = next(iter(points.values())).size
    shares = {name: np.full(n, 0.5) for name in variables}
    balance = np.full(n, _WORST)
    width = 0.5
    for _ in range(_ROUNDS):
        for name in variables:
            steps = np.linspace(-width, width, _TRIES)[:, np.newaxis]
            tried = np.clip(shares[name] + steps, 0.0, 1.0)
            trial = {k: np.broadcast_to(v, tried.shape) for k, v in shares.items()}
            found = _balances(scenario, points, size, trial | {name: tried})
            top = np.argmax(found, axis=0)
            better = np.take_along_axis(found, top[np.newaxis], axis=0)[0]
            chosen = np.take_along_axis(tried, top[np.newaxis], axis=0)[0]
            shares[name] = np.where(better > balance, chosen, shares[name])
            balance = np.maximum(better, balance)
        width *= _CLOSE
    return _values(shares), balance


def _values(shares: dict[str, Floats]) -> dict[str, Floats]:
    """Return settings for shares of their ranges; decoys stay below signals."""
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
) -> Floats:
    """Evaluate candidates, shape (tries, n); where no model holds, the worst."""
    shape = next(iter(shares.values())).shape
    arrays = {k: np.broadcast_to(v, shape) for k, v in points.items()}
    flat = {k: np.array(v).ravel() for k, v in (arrays | _values(shares)).items()}

    def some(part: slice) -> Floats:
        inside = {name: values[part] for name, values in flat.items()}
        return evaluate_points(scenario, inside, (size,)).balance_bits[size]

    found = np.full(next(iter(flat.values())).size, _WORST)
    for part, balances in answered(some, found.size):
        found[part] = balances
    return found.reshape(shape)
