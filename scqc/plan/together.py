"""Data and key on the same light: the most of the one for every rate of the other.

What a use is made of is chosen anew at every point of the front. Of displaced Gaussian
states that is the raw error rate, the modulation and, of a fading channel, the share of
uses that is given up; of weak pulses, intensities and shares. What the user sets stays
as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

import numpy as np

from protocols.security.coexistence import pareto_front
from protocols.security.displacement import psk_capacity
from scqc.plan.coexistence import FrontScenario
from scqc.plan.evaluate import Evaluated, evaluate_points
from scqc.plan.optimise import RANGES, own_shares, values_at
from scqc.plan.outside import answered
from scqc.plan.records import Floats
from scqc.plan.scenario import Scenario
from scqc.plan.scheme_settings import CvScheme
from scqc.plan.search import Search

_BER, _OUTAGE = "scheme.target_raw_ber", "scheme.outage_share"
_MODULATION = "scheme.modulation_variance"
_PULSES = (
    "scheme.signal_photons",
    "scheme.decoy_photons",
    "scheme.signal_share",
    "scheme.decoy_share",
    "scheme.z_share",
)
#: Raw error rates; fewer where every one has fades and bins of its own.
_BERS = np.concatenate([np.geomspace(1e-6, 0.25, 61), np.linspace(0.27, 0.45, 10)])
_BERS_FADING = np.concatenate(
    [np.geomspace(1e-6, 1e-2, 6), np.geomspace(0.02, 0.4, 10)]
)
_OUTAGES = np.linspace(0.05, 0.85, 17)
#: Modulations, and how finely the best of them are looked around.
_VARIANCES, _NEAR, _ZOOMS = 16, 13, 2
#: Rates of data at which weak pulses have the most key.
_TARGETS = 16
#: Nothing is compared with less [bit per use].
_LEAST_BITS = 1e-300
#: Together at most; each has all bins of its fading.
_MOST_POINTS = 2000


@dataclass(frozen=True, slots=True)
class Front:
    """Data and key, and the settings of every point.

    Parameters
    ----------
    data_bits : ndarray, shape (n,), float64 [bit per use]
        Ascending.
    key_bits : ndarray, shape (n,), float64 [bit per use]
        Descending.
    settings : dict of str to ndarray, shape (n,), float64 [unit in the name]
    """

    data_bits: Floats
    key_bits: Floats
    settings: dict[str, Floats]


def gaussian_front(
    scenario: FrontScenario, value: float, block_size: float, fixed: Set[str]
) -> Front:
    """Return the front of displaced Gaussian states.

    Parameters
    ----------
    scenario : FrontScenario
        Displaced.
    value : float
        Of the swept variable.
    block_size : float
        0 is endless.
    fixed : set of str
        Dotted names of what keeps its value; the raw error rate never does.

    Raises
    ------
    ModelRangeError
        If no model holds at any point.
    """
    channel = evaluate_points(
        without_data(scenario), {scenario.sweep.variable: np.array([value])}, (0.0,)
    ).channel
    fades = (
        channel.weights.size > 1 and getattr(scenario.scheme, "fading", "") != "mean"
    )
    fixed = fixed | {scenario.sweep.variable}
    axes = {_BER: _BERS_FADING if fades else _BERS}
    if scenario.sweep.variable == _BER:
        axes[_BER] = np.array([value])
    if fades and _OUTAGE not in fixed:
        axes[_OUTAGE] = _OUTAGES
    if _MODULATION not in fixed:
        axes[_MODULATION] = _modulations()
    grid = np.meshgrid(*axes.values(), indexing="ij")
    tried = {name: one.ravel() for name, one in zip(axes, grid, strict=True)}
    front = _best_of(scenario, value, block_size, tried)
    if _MODULATION in axes:
        width = np.log(axes[_MODULATION][1] / axes[_MODULATION][0])
        for _ in range(_ZOOMS):
            near = np.exp(np.linspace(-width, width, _NEAR))
            tried = {n: np.repeat(front.settings[n], _NEAR) for n in axes}
            tried[_MODULATION] *= np.tile(near, front.data_bits.size)
            front = _best_of(scenario, value, block_size, tried)
            width /= 0.5 * (_NEAR - 1)
    return front


def best_key_alone(
    scenario: Scenario,
    points: dict[str, Floats],
    block_size: float,
    fixed: Set[str],
) -> Evaluated:
    """Return a Gaussian key without data, at its best modulation.

    Parameters
    ----------
    scenario : Scenario
        Without a displacement.
    points : dict of str to ndarray, shape (1,), float64 [unit of the field]
    block_size : float
        0 is endless.
    fixed : set of str
        Dotted names of what keeps its value.

    Raises
    ------
    ModelRangeError
        Where a model does not hold.
    """
    if _MODULATION in fixed | set(points):
        return evaluate_points(scenario, points, (block_size,))
    tried = _modulations()
    for _ in range(1 + _ZOOMS):
        many = {n: np.repeat(one, tried.size) for n, one in points.items()}
        many[_MODULATION] = tried
        found = evaluate_points(scenario, many, (block_size,))
        best = tried[np.argmax(found.balance_bits[block_size])]
        step = math.log(tried[1] / tried[0])
        tried = best * np.exp(np.linspace(-step, step, 8 * _NEAR))
    one = points | {_MODULATION: np.array([best])}
    return evaluate_points(scenario, one, (block_size,))


def pulses_front(
    scenario: FrontScenario, value: float, block_size: float, fixed: Set[str]
) -> Front:
    """Return the front of weak pulses: the most key at every rate of the payload.

    One point, if everything keeps its value.

    Parameters
    ----------
    scenario : FrontScenario
        Of weak pulses.
    value : float
        Of the swept variable.
    block_size : float
        0 is endless.
    fixed : set of str
        Dotted names of what keeps its value.

    Raises
    ------
    ModelRangeError
        Where no model holds.
    """
    free = [name for name in _PULSES if name not in fixed | {scenario.sweep.variable}]
    there = {scenario.sweep.variable: np.array([value])}
    alone = evaluate_points(scenario, there, (block_size,))
    if not free:
        payload = alone.columns["payload_bits_per_use"]
        return _front(payload, np.maximum(alone.balance_bits[block_size], 0.0), {})
    own = own_shares(scenario, free)

    def rates(shares: Floats) -> Floats:
        named = values_at(dict(zip(free, np.moveaxis(shares, 1, 0), strict=True)))
        return _rates(scenario, value, block_size, named)

    # From the payload where the key is highest to the highest payload of all.
    def end_of(shares: Floats) -> Floats:
        data, key = rates(shares)
        return np.stack([key[:, 0], data[:, 1]], axis=1)

    ends = Search(end_of, own, 2)
    ends.run()
    low, top = np.maximum(rates(ends.shares[np.newaxis])[0, 0], _LEAST_BITS)
    targets = np.linspace(low, top, _TARGETS)

    def merit_of(shares: Floats) -> Floats:
        data, key = rates(shares)
        # Too little data is worse than any key.
        return np.asarray(np.where(data >= targets, key, data / top - 2.0))

    search = Search(merit_of, own, _TARGETS)
    search.run()
    data, key = rates(search.shares[np.newaxis])[:, 0]
    settings = values_at(dict(zip(free, search.shares, strict=True)))
    return _front(data, np.maximum(key, 0.0), settings)


def without_data(scenario: Scenario) -> Scenario:
    """Return a scenario whose payload is not asked for: it has no rate of a code.

    Parameters
    ----------
    scenario : Scenario
    """
    scheme = scenario.scheme
    if isinstance(scheme, CvScheme):
        scheme = scheme.model_copy(update={"classical_rate": "information"})
    return scenario.model_copy(update={"scheme": scheme})


def bits_of_axes(scheme: CvScheme) -> float:
    """Return how many quadratures of a use carry a bit [1].

    Parameters
    ----------
    scheme : CvScheme
    """
    return 2.0 if scheme.psk == "qpsk" else 1.0


def _modulations() -> Floats:
    """Return modulation variances to be tried, shape (n,) [unit of the setting]."""
    found = RANGES[_MODULATION]
    return np.geomspace(found.low, found.high, _VARIANCES)


def _best_of(
    scenario: FrontScenario, value: float, block_size: float, tried: dict[str, Floats]
) -> Front:
    """Return the front of some settings of displaced states."""
    n = tried[_BER].size
    points = tried | {scenario.sweep.variable: np.full(n, value)}
    data, key = np.full(n, np.nan), np.zeros(n)
    scheme, costs = scenario.scheme, scenario.coexistence
    axes = bits_of_axes(scheme) if isinstance(scheme, CvScheme) else 1.0

    def some(part: slice) -> Evaluated:
        inside = {name: values[part] for name, values in points.items()}
        return evaluate_points(without_data(scenario), inside, (block_size,))

    for where, found in _in_parts(some, n):
        bits = axes * costs.code_efficiency * psk_capacity(tried[_BER][where])
        # In the deepest fades neither data nor key come through.
        data[where] = bits * found.columns["decoded_share"]
        key[where] = np.maximum(found.balance_bits[block_size], 0.0)
    if np.all(np.isnan(data)):
        some(slice(0, 1))
    return _front(data, key, tried)


def _in_parts(
    some: Callable[[slice], Evaluated], n: int
) -> Iterator[tuple[slice, Evaluated]]:
    """Yield what models answer for, of many points a part at a time."""
    for start in range(0, n, _MOST_POINTS):

        def shifted(part: slice, start: int = start) -> Evaluated:
            return some(slice(part.start + start, part.stop + start))

        for part, found in answered(shifted, min(_MOST_POINTS, n - start)):
            yield slice(part.start + start, part.stop + start), found


def _front(data: Floats, key: Floats, settings: dict[str, Floats]) -> Front:
    known = np.isfinite(data) & np.isfinite(key)
    data, key = data[known], key[known]
    front = pareto_front(data, key)
    order = np.argsort(data[front])
    kept = {n: one[known][front][order] for n, one in settings.items()}
    return Front(data[front][order], key[front][order], kept)


def _rates(
    scenario: Scenario, value: float, block_size: float, tried: dict[str, Floats]
) -> Floats:
    """Return payload and key of weak pulses, shape (2, ...) [bit per use]."""
    shape = next(iter(tried.values())).shape
    flat = {name: np.array(one).ravel() for name, one in tried.items()}
    flat[scenario.sweep.variable] = np.full(flat[next(iter(flat))].size, value)

    def some(part: slice) -> Floats:
        inside = {name: values[part] for name, values in flat.items()}
        found = evaluate_points(scenario, inside, (block_size,))
        payload = found.columns["payload_bits_per_use"]
        return np.stack([payload, found.balance_bits[block_size]])

    # No model answers: neither data nor key.
    out = np.tile([[0.0], [-1.0]], (1, int(np.prod(shape))))
    for part, found in answered(some, out.shape[1]):
        out[:, part] = found
    return out.reshape(2, *shape)
