"""The best settings at every point: modulation, intensities, shares, apertures.

All points are searched at once, each from the best of many starts: what the scenario
has, the middle of all bounds, and points spread evenly between them. From there one
variable after the other is moved; then all of them once more as far as the round has
moved them together (Hooke and Jeeves, J. ACM 8, 212 (1961)); then all of them to places
spread evenly around, as intensities and shares form ridges. The steps become finer.

The objective is the key; without any, what is nearest to one: the missing bits beside
those that the eavesdropper has, or beside the clicks. In bits alone, less light would
always be nearer.
"""

from __future__ import annotations

import math
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

#: Starts per variable, spread evenly, besides the scenario's own.
_SPREAD = 16
#: Steps of the rounds, as shares of the bounds, and what of a step is tried.
_STEPS = 0.25 * 0.75 ** np.arange(13)
_PARTS = np.array([-1.0, -0.5, 0.5, 1.0])
#: How often the movement of a round is repeated.
_REPEATS = np.array([1.0, 2.0])
#: Places per variable around the best, at which all of them change.
_AROUND = 8
#: Measured codes have rates on a grid, so the key has teeth: combs that find the tip
#: of the highest one, as half-widths [share of the bounds] and tries.
_COMBS = ((0.04, 33), (0.0025, 17))
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
    search = _Search(scenario, points, size, tuple(variables))
    search.start()
    d = len(variables)
    around = 2.0 * _spread(_STEPS.size * _AROUND * d, d) - 1.0
    for step, places in zip(_STEPS, np.split(around, _STEPS.size), strict=True):
        before = search.shares
        search.move_each(step * _PARTS)
        search.move_on(search.shares - before)
        if d > 1:
            search.move_all(step * places)
    if getattr(scenario.scheme, "beta", 0.0) is None:
        for width, tries in _COMBS:
            search.move_each(np.linspace(-width, width, tries))
    return search.values, search.balance_bits


class _Search:
    """The best settings so far, of all points at once.

    Parameters
    ----------
    scenario : Scenario
    points : dict of str to ndarray, shape (n,), float64 [unit of the field]
    size : float
        Of a block; 0 is endless.
    variables : tuple of str
        Keys of `RANGES`.
    """

    def __init__(
        self,
        scenario: Scenario,
        points: dict[str, Floats],
        size: float,
        variables: tuple[str, ...],
    ) -> None:
        self._scenario, self._points, self._size = scenario, points, size
        self._variables = variables
        n = next(iter(points.values())).size
        #: Shape (variables, n): shares of the ranges.
        self.shares = np.full((len(variables), n), 0.5)
        self.balance_bits = np.full(n, _WORST)
        self._merit = np.full(n, 2.0 * _WORST)

    @property
    def values(self) -> dict[str, Floats]:
        """The settings, shape (n,) [unit of the variable]."""
        return _values(dict(zip(self._variables, self.shares, strict=True)))

    def start(self) -> None:
        """Try the scenario's own settings, the middle, and points between the ends."""
        d = len(self._variables)
        own = [_own_share(self._scenario, name) for name in self._variables]
        starts = np.vstack([own, np.full(d, 0.5), _spread(_SPREAD * d, d)])
        self._try(np.repeat(starts[:, :, np.newaxis], self.shares.shape[1], axis=2))

    def move_each(self, steps: Floats) -> None:
        """Move one variable after the other by each of the steps, shape (m,) [1]."""
        for i in range(len(self._variables)):
            tried = np.repeat(self.shares[np.newaxis], steps.size, axis=0)
            tried[:, i] += steps[:, np.newaxis]
            self._try(tried)

    def move_on(self, moved: Floats) -> None:
        """Repeat a movement, shape (variables, n) [1], where there was one."""
        if np.any(moved):
            self._try(self.shares + _REPEATS[:, np.newaxis, np.newaxis] * moved)

    def move_all(self, steps: Floats) -> None:
        """Move all variables at once, by each of the steps, shape (m, variables)."""
        self._try(self.shares + steps[:, :, np.newaxis])

    def _try(self, tried: Floats) -> None:
        """Take what is better of candidates, shape (m, variables, n)."""
        tried = np.clip(tried, 0.0, 1.0)
        named = dict(zip(self._variables, np.moveaxis(tried, 1, 0), strict=True))
        bits, merit = _balances(self._scenario, self._points, self._size, named)
        top = np.argmax(merit, axis=0)[np.newaxis]
        better = np.take_along_axis(merit, top, axis=0)[0] > self._merit
        found = np.take_along_axis(tried, top[:, np.newaxis], axis=0)[0]
        self.shares = np.where(better, found, self.shares)
        for kept, new in ((self._merit, merit), (self.balance_bits, bits)):
            kept[better] = np.take_along_axis(new, top, axis=0)[0][better]


def _own_share(scenario: Scenario, name: str) -> float:
    part, _, field = name.partition(".")
    return RANGES[name].share_of(float(getattr(getattr(scenario, part), field)))


def _spread(n: int, dimensions: int) -> Floats:
    """Return points spread evenly in the unit cube, shape (n, dimensions) [1].

    The additive recurrence of the generalised golden ratio: x^(d + 1) = x + 1.
    """
    ratio = 2.0
    for _ in range(64):
        ratio = (1.0 + ratio) ** (1.0 / (dimensions + 1))
    steps = ratio ** -np.arange(1.0, dimensions + 1.0)
    return np.asarray((0.5 + np.outer(np.arange(1.0, n + 1.0), steps)) % 1.0)


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
) -> tuple[Floats, Floats]:
    """Evaluate candidates, shape (tries, n): key [bit per use], and what ranks them.

    Where no model holds, the worst.
    """
    shape = next(iter(shares.values())).shape
    arrays = {k: np.broadcast_to(v, shape) for k, v in points.items()}
    flat = {k: np.array(v).ravel() for k, v in (arrays | _values(shares)).items()}

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
