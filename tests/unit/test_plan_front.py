"""Data against key: nothing beats a front, and every point of it can be set."""

import numpy as np
import pytest

from protocols.security.coexistence import Point, key_at
from protocols.security.displacement import psk_capacity
from scqc.core.errors import PlanSettingsError
from scqc.plan.evaluate import evaluate_points
from scqc.plan.make import make_front, make_plan
from scqc.plan.overrides import settings_of
from scqc.plan.report import verdict

FEW_PULSES = ["signal_share=0.8", "decoy_share=0.12", "z_share=0.9", "block_sizes=[]"]


def together(plan):
    first = plan.curves[0]
    assert first.label == "simultaneous"
    return Point(first.arrays[first.x], first.arrays["key_bits_per_use"])


def test_a_front_is_one_and_says_who_is_ahead():
    plan = make_front("fiber-metro", [], 10.0)
    assert [c.label for c in plan.curves[1:]] == ["time", "wavelength", "frequency"]
    for curve in plan.curves:
        data, key = curve.arrays[curve.x], curve.arrays["key_bits_per_use"]
        # More of the one is less of the other.
        assert np.all(np.diff(data) > 0.0)
        assert np.all(np.diff(key) < 0.0)
    gain = plan.curves[0].derived["advantage_bits_per_use"]
    assert gain > 0.0
    assert f"the same light gives {gain:.4g} bit more key" in verdict(plan)


def test_no_other_settings_of_displaced_light_are_beyond_the_front():
    front = together(make_front("fiber-metro", ["block_sizes=[]"], 20.0))
    scenario, _, _ = settings_of("fiber-metro", [])
    stream = np.random.default_rng(5)
    ber = 10.0 ** stream.uniform(-6.0, -0.5, 4000)
    tried = {
        "scheme.target_raw_ber": ber,
        "scheme.modulation_variance": 10.0 ** stream.uniform(-1.0, 2.0, 4000),
        "channel.length_km": np.full(4000, 20.0),
    }
    coded = scenario.scheme.model_copy(update={"classical_rate": "information"})
    scenario = scenario.model_copy(update={"scheme": coded})
    key = evaluate_points(scenario, tried, (0.0,)).balance_bits[0.0]
    # Two quadratures, codes at nine tenths of capacity.
    data = 2.0 * 0.9 * psk_capacity(ber)
    best = [key_at(front, rate) for rate in 0.999 * data]
    assert np.max(key / best) < 1.01


def test_what_is_set_stays_along_the_front():
    own = ["modulation_variance=2", "variance_unit=SNU", "block_sizes=[]"]
    plan = make_front("fiber-metro", own, 20.0)
    assert set(plan.curves[0].arrays) == {
        "classical_bits_per_use",
        "key_bits_per_use",
        "target_raw_ber",
    }
    alone = make_plan("fiber-metro", [*own, "psk=none", "length_km=20"]).curves[0]
    assert plan.curves[1].derived["key_alone_bits_per_use"] == pytest.approx(
        float(alone.arrays["key_bits_per_use"][0]), rel=1e-12
    )
    free = make_front("fiber-metro", ["block_sizes=[]"], 20.0)
    assert np.max(together(free).key_bits) > np.max(together(plan).key_bits)


def test_fades_that_are_given_up_are_chosen_along_the_front():
    changes = ["fading_nodes=8", "fading_bins=4", "block_sizes=[]"]
    plan = make_front("satellite-cv", changes, 500.0)
    arrays = plan.curves[0].arrays
    data, given_up = arrays["classical_bits_per_use"], arrays["outage_share"]
    # A use in two is far from the most data, and from the most key.
    assert np.max(data) > 0.8
    assert given_up.min() < 0.2 < given_up.max()
    middle = data.size // 2
    names = ("target_raw_ber", "modulation_variance", "outage_share")
    told = [f"{name}={float(arrays[name][middle])!r}" for name in names]
    told += ["variance_unit=SNU", "altitude_km=500", "classical_rate=information"]
    again = make_plan("satellite-cv", [*changes, *told]).curves[0].arrays
    assert again["key_bits_per_use"][0] == pytest.approx(
        arrays["key_bits_per_use"][middle], rel=1e-9
    )
    capacity = psk_capacity(arrays["target_raw_ber"][middle])
    kept = 1.0 - given_up[middle]
    assert data[middle] == pytest.approx(0.9 * float(capacity) * kept, rel=1e-9)


def test_weak_pulses_have_a_front_of_payload_and_key():
    plan = make_front("fiber-decoy", FEW_PULSES, 20.0)
    first, time = plan.curves
    assert first.x == time.x == "payload_bits_per_use"
    data, key = first.arrays[first.x], first.arrays["key_bits_per_use"]
    assert data.size > 5
    # Settings of the preset, which are for small blocks, are not beyond it.
    told = [*FEW_PULSES, "length_km=20"]
    own = make_plan("fiber-decoy", told).curves[0].arrays
    at_least = key_at(Point(data, key), float(own["payload_bits_per_use"][0]))
    assert at_least > float(own["key_bits_per_use"][0]) > 0.0
    # Any point of it can be set.
    middle = data.size // 2
    names = ("signal_photons", "decoy_photons")
    told += [f"{name}={float(first.arrays[name][middle])!r}" for name in names]
    again = make_plan("fiber-decoy", told).curves[0].arrays
    for name, values in (("payload", data), ("key", key)):
        assert again[f"{name}_bits_per_use"][0] == pytest.approx(values[middle])
    # Slots of one kind beside slots of the other.
    assert np.max(time.arrays["key_bits_per_use"]) == np.max(key)
    assert np.max(time.arrays[time.x]) == np.max(data)
    assert first.derived["advantage_bits_per_use"] > 0.0


def test_pulses_that_are_all_set_are_one_point():
    every = [*FEW_PULSES, "signal_photons=0.6", "decoy_photons=0.2"]
    front = together(make_front("fiber-decoy", every, 20.0))
    own = make_plan("fiber-decoy", [*every, "length_km=20"]).curves[0].arrays
    assert front.classical_bits.tolist() == own["payload_bits_per_use"].tolist()


def test_a_front_without_data_is_refused():
    with pytest.raises(PlanSettingsError, match="psk=bpsk or qpsk"):
        make_front("fiber-metro", ["psk=none"], 20.0)
