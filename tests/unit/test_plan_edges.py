"""Where a key begins and ends, and how a plan says so."""

import numpy as np
import pytest

from protocols.verification.tags import TAG_BITS
from scqc.plan import make
from scqc.plan.curves import curves
from scqc.plan.evaluate import evaluate_points
from scqc.plan.figures import plan_figure
from scqc.plan.make import make_plan
from scqc.plan.overrides import settings_of
from scqc.plan.report import verdict

ENDLESS = "block_sizes=[]"


def balance(scenario, value):
    point = {scenario.sweep.variable: np.array([value])}
    return float(evaluate_points(scenario, point, (0.0,)).balance_bits[0.0][0])


def test_a_sweep_downwards_finds_the_same_end():
    ends = []
    for start, stop in ((0, 80), (80, 0)):
        changes = [ENDLESS, "points=9", f"sweep.start={start}", f"sweep.stop={stop}"]
        scenario, _, _ = settings_of("fiber-metro", changes)
        (curve,), _ = curves(scenario)
        ends.append(curve.derived["secure_length_km"])
    assert ends[0] == pytest.approx(ends[1], abs=1e-4)
    assert balance(scenario, ends[1] - 1e-3) > 0.0 >= balance(scenario, ends[1] + 1e-3)


def test_where_the_key_begins_is_said_too():
    sweep = ["sweep.variable=scheme.efficiency", "sweep.start=0.1", "sweep.stop=1"]
    scenario, _, _ = settings_of("fiber-metro", ["length_km=25", ENDLESS, *sweep])
    (curve,), _ = curves(scenario)
    begins = curve.derived["secure_efficiency_from"]
    assert curve.derived["secure_efficiency"] is None
    assert curve.derived["secure_efficiency_at_least"] == 1.0
    assert balance(scenario, begins - 1e-4) <= 0.0 < balance(scenario, begins + 1e-4)


def test_points_outside_a_model_cost_no_other():
    """As in a grid: NaN there, a note that says why, all else as without them."""
    sweep = ["sweep.variable=channel.frequency_hz", "sweep.start=8e11", ENDLESS]
    sweep += ["distance_m=0.3", "spacing=linear"]
    whole = make_plan("thz-indoor", [*sweep, "sweep.stop=1.2e12", "points=5"])
    inside = make_plan("thz-indoor", [*sweep, "sweep.stop=1e12", "points=3"])
    (curve,), (known,) = whole.curves, inside.curves
    assert curve.arrays["frequency_hz"].size == 5
    for name, values in known.arrays.items():
        np.testing.assert_array_equal(curve.arrays[name][:3], values)
        if name != "frequency_hz":
            assert np.isnan(curve.arrays[name][3:]).all()
    assert curve.derived == known.derived
    (note,) = set(whole.warnings) - set(inside.warnings)
    assert note.startswith("no answer at 2 of 5 points; at frequency_hz = 1.1e+12: ")
    assert "nearest valid value 1e+12" in note


def test_where_models_end_no_key_ends():
    changes = ["sweep.variable=channel.frequency_hz", "spacing=linear", ENDLESS]
    changes += ["sweep.start=9e11", "sweep.stop=1.1e12", "points=3", "distance_m=0.1"]
    plan = make_plan("thz-indoor", changes)
    (curve,) = plan.curves
    assert curve.derived["secure_frequency_hz"] is None
    assert curve.derived["secure_frequency_hz_at_least"] == 1e12
    assert "to where the models end, 1e+12" in verdict(plan)
    assert plan_figure(plan, "png").startswith(b"\x89PNG")


def test_the_verdict_leaves_no_curve_out(monkeypatch):
    # What a block lacks is said elsewhere.
    monkeypatch.setattr(make, "what_limits", lambda scenario, size: ())
    changes = ["sweep.stop=20", "points=5", "block_sizes=[1e9, 1e5]"]
    plan = make_plan("fiber-metro", changes)
    said = verdict(plan)
    assert "inf: secure length [km] to the end of the sweep, 20" in said
    assert "1e9: " in said
    assert "100000: no key" in said
    one = verdict(make_plan("fiber-metro", ["length_km=10", ENDLESS]))
    assert "inf: 0." in one
    assert "bit per use" in one


def test_a_figure_of_one_point_shows_it(monkeypatch):
    from matplotlib.axes import Axes

    drawn = []
    original = Axes.plot

    def plot(axis, x, y, *style, **more):
        drawn.append((np.size(x), style))
        return original(axis, x, y, *style, **more)

    monkeypatch.setattr(Axes, "plot", plot)
    plan_figure(make_plan("fiber-metro", ["length_km=10", ENDLESS]))
    assert len(drawn) >= 4
    assert all(n == 1 and style[0] in {"o", "s"} for n, style in drawn)


def test_one_photon_is_where_it_is_and_not_on_the_grid():
    plan = make_plan("review-fig5", ["frequencies=5"])
    found = {c.label: c.derived["below_one_photon_hz"] for c in plan.curves}
    # h f = k T ln 2.
    assert found["296 K"] == pytest.approx(4.275e12, rel=1e-3)
    assert found["300 K"] == pytest.approx(4.333e12, rel=1e-3)
    assert found["0.02 K"] == pytest.approx(2.89e8, rel=1e-3)


def test_windows_of_air_lie_between_its_lines():
    plan = make_plan("review-fig4", ["fast=true"])
    derived = plan.curves[0].derived
    windows = np.array(derived["windows_hz"])
    # Between the lines of water at 183 and 325 GHz, and beyond that.
    assert np.any((windows > 200e9) & (windows < 300e9))
    assert np.any((windows > 330e9) & (windows < 370e9))
    # The least of all is where the range ends, which says nothing of the air.
    end = "is the end of the range"
    assert derived["least_to_space_hz"] == 1e9
    assert any(end in note for note in plan.warnings)
    inside = make_plan("review-fig4", ["fast=true", "lowest_hz=184e9"])
    assert 200e9 < inside.curves[0].derived["least_to_space_hz"] < 230e9
    assert not any(end in note for note in inside.warnings)


def test_notes_and_title_do_not_speak_for_what_was_changed():
    plain = make_plan("fiber-metro", ["length_km=10", ENDLESS])
    assert any(note.startswith("excess noise: ") for note in plain.warnings)
    assert "changed" not in plain.title
    changes = ["length_km=10", "excess_noise_snu=0.02", ENDLESS]
    changed = make_plan("fiber-metro", changes)
    assert not any(note.startswith("excess noise: ") for note in changed.warnings)
    assert changed.title.endswith("changed in scheme.excess_noise_snu")


def entropy(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


@pytest.mark.parametrize("length_km", [10.0, 80.0, 150.0])
def test_endless_weak_pulses_are_endless(length_km):
    changes = ["scheme.kind=dv", f"length_km={length_km}", "vacuum_photons=0", ENDLESS]
    found = make_plan("fiber-metro", [*changes, "correction_efficiency=1.16"])
    scenario, _, _ = settings_of("fiber-metro", changes)
    own = scenario.scheme
    # Lim et al. (2014) with bounds that need no statistics, for vacuum without light.
    t = own.efficiency * 10 ** (-0.02 * length_km)
    y0 = own.dark_yield + own.stray_yield - own.dark_yield * own.stray_yield
    mu = np.array([own.signal_photons, own.decoy_photons, 0.0])
    share = np.array([own.signal_share, own.decoy_share, own.vacuum_share])
    light = 1 - np.exp(-t * mu)
    gain = y0 + (1 - y0) * light
    wrong = 0.5 * y0 + own.misalignment * (1 - y0) * light
    grown, bad = gain * np.exp(mu), wrong * np.exp(mu)
    s, d = mu[0], mu[1]
    y1 = grown[1] - grown[2] - (d / s) ** 2 * (grown[0] - grown[2])
    y1 *= s / (s * d - d**2)
    e1 = (bad[1] - bad[2]) / (d * y1)
    one, none = np.sum(share * mu * np.exp(-mu)), np.sum(share * np.exp(-mu))
    total = np.sum(share * gain)
    leak = own.correction_efficiency * total * entropy(np.sum(share * wrong) / total)
    # Every frame of 1e5 bits is verified by a tag, and told to be kept.
    leak += total * (TAG_BITS + 1) / 1e5
    key = own.z_share**2 * (none * gain[2] + one * y1 * (1 - entropy(e1)) - leak)
    assert found.curves[0].arrays["balance_bits_per_use"][0] == pytest.approx(
        key, rel=2e-4
    )
