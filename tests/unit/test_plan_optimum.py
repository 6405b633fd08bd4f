"""The best settings at a point: beside other searches, and beside doing nothing."""

import numpy as np
import pytest
from scipy.optimize import minimize

from scqc.core.errors import ModelRangeError
from scqc.plan.evaluate import evaluate_points
from scqc.plan.optimise import RANGES, optimise_points
from scqc.plan.overrides import settings_of

SHARES = ("scheme.signal_share", "scheme.decoy_share", "scheme.z_share")
PULSES = ("scheme.signal_photons", "scheme.decoy_photons", *SHARES)


def keys(scenario, points, size):
    return evaluate_points(scenario, points, (size,)).balance_bits[size]


def best_of(found, name):
    return next(v for k, v in found.items() if k.startswith(f"best_{name}_"))


def test_optimum_is_not_below_any_other_modulation():
    scenario, _, _ = settings_of("fiber-metro", [])
    lengths, name = np.array([5.0, 20.0, 45.0]), "scheme.modulation_variance"
    points = {"channel.length_km": lengths}
    best = optimise_points(scenario, points, (1e9,), (name,))["key_bits_per_use_1e9"]
    variances = np.geomspace(0.3, 20.0, 2000)[:, np.newaxis]
    tried = {name: np.broadcast_to(variances, (2000, 3))}
    tried["channel.length_km"] = np.broadcast_to(lengths, (2000, 3))
    # Rates of the code lie on a grid: the key has teeth.
    assert np.all(best >= 0.99 * np.max(keys(scenario, tried, 1e9), axis=0))


def test_another_search_finds_no_better_pulses():
    scenario, _, _ = settings_of("fiber-decoy", [])
    points, size = {"channel.length_km": np.array([20.0])}, 8388608.0
    own = keys(scenario, points, size)[0]
    found = optimise_points(scenario, points, (size,), PULSES)
    best = next(v for k, v in found.items() if k.startswith("key_"))[0]
    assert best > own > 0.0

    def lost(numbers):
        tried = dict(zip(PULSES, numbers[:, np.newaxis], strict=True))
        try:
            return -keys(scenario, points | tried, size)[0] / best
        except ModelRangeError:
            return 1.0

    start = np.array([best_of(found, n.partition(".")[2])[0] for n in PULSES])
    assert lost(start) == pytest.approx(-1.0, rel=1e-9)
    bounds = [(RANGES[name].low, RANGES[name].high) for name in PULSES]
    again = minimize(
        lost, start, method="Nelder-Mead", bounds=bounds, options={"maxfev": 250}
    )
    assert -again.fun < 1.02


def test_more_variables_are_never_worse():
    scenario, _, _ = settings_of("fiber-decoy", [])
    points, size = {"channel.length_km": np.array([30.0])}, 8388608.0
    few, more = (
        next(iter(optimise_points(scenario, points, (size,), names).values()))
        for names in (SHARES, PULSES)
    )
    assert more[0] > few[0] > 0.0


def test_what_does_not_matter_stays():
    scenario, _, _ = settings_of("fiber-metro", [])
    points = {"channel.length_km": np.array([10.0, 60.0])}
    names = ("scheme.modulation_variance", "scheme.outage_share")
    found = optimise_points(scenario, points, (1e9,), names)
    # A fibre does not fade.
    assert best_of(found, "outage_share") == pytest.approx([0.5, 0.5], rel=1e-12)
    assert best_of(found, "modulation_variance")[0] > 2.0


def test_without_a_key_the_nearest_is_not_the_weakest_light():
    scenario, _, _ = settings_of("fiber-decoy", ["misalignment=0.2"])
    points = {"channel.length_km": np.array([50.0])}
    names = ("scheme.signal_photons", "scheme.decoy_photons")
    found = optimise_points(scenario, points, (1e9,), names)
    assert found["key_bits_per_use_1e9"][0] == 0.0
    assert best_of(found, "signal_photons")[0] > 2.0 * RANGES[names[0]].low
