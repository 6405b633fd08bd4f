"""Plans: changes of settings, bad input, what limits a key."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scqc import cli
from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan import advice, cv_blocks
from scqc.plan.make import make_plan
from scqc.plan.overrides import settings_of
from scqc.plan.passes import PassPlan
from scqc.plan.presets import PRESETS
from scqc.plan.report import page

FAST = {"pass-cv": ["hours=7"], "pass-dv": ["hours=7"], "review-fig4": ["fast=true"]}
FEW = ["points=9"]


def small(name):
    return FAST.get(name, [] if name == "review-fig5" else FEW)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_makes_a_plan_that_json_can_say(name):
    plan = make_plan(name, small(name))
    said = json.loads(json.dumps(plan.as_json(), allow_nan=False))
    assert said["curves"]
    assert said["assumptions"]
    for curve in plan.curves:
        for array in curve.arrays.values():
            assert len(array) in {curve.arrays[curve.x].size, 60}
    if "inf" in said["curves"]:
        assert plan.has_key


def test_all_problems_at_once_with_nearest_key_and_value():
    changes = ["lengthkm=3", "epsilon=2", "efficiency=1.2", "foo=1", "beta=0.9"]
    with pytest.raises(PlanSettingsError) as caught:
        make_plan("fiber-metro", changes)
    text = str(caught.value)
    assert "did you mean 'length_km'" in text
    assert "epsilon = 2: must be above 0 and below 1; nearest valid value 0.999" in text
    assert "efficiency = 1.2: must be above 0 and at most 1; nearest valid" in text
    assert "foo = 1" in text
    assert len(caught.value.problems) >= 4


def test_half_a_pair_is_refused():
    with pytest.raises(PlanSettingsError, match="are a pair"):
        make_plan("fiber-metro", ["beta=0.95"])


@pytest.mark.parametrize(
    ("preset", "change", "says"),
    [
        ("satellite-cv", "zenith_deg=95", "nearest valid value 90"),
        ("satellite-cv", "sweep.start=-5", "nearest valid value 0.1"),
        ("review-fig4", "highest_hz=2e12", "nearest valid value 1e+12"),
        ("fiber-metro", "variance_unit=volts", "'SNU' or 'N0=1/4'"),
        ("satellite-dv", "decoy_photons=0.9", "must exceed decoy"),
        ("satellite-dv", "signal_share=0.9", "share above 0 for the vacuum"),
        ("fiber-metro", "sweep.variable=channel.lenght_km", "channel.length_km"),
        ("pass-dv", "start_utc=2026-01-01", "time zone"),
        ("no-such", "a=1", "known: "),
        ("satelite-cv", "a=1", "did you mean 'satellite-cv'"),
    ],
)
def test_bad_input_names_the_range(preset, change, says):
    with pytest.raises(PlanSettingsError) as caught:
        make_plan(preset, [change])
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("preset", "changes", "says"),
    [
        ("thz-indoor", ["frequency_hz=2e12"], "P.676"),
        ("thz-indoor", ["coupling=friis", "sweep.stop=10"], "near field"),
        ("thz-indoor", ["pressure_hpa=5"], "water vapour alone"),
        ("satellite-cv", ["extinction=modtran-785"], "wavelength"),
        ("satellite-dv", ["field_of_view_rad=1"], "every gate clicks"),
        ("fiber-metro", ["phase_variance_rad2=0.5"], "bit error rate"),
    ],
)
def test_models_refuse_what_they_do_not_know(preset, changes, says):
    with pytest.raises(ModelRangeError, match="nearest valid value") as caught:
        make_plan(preset, [*FEW, *changes])
    assert says in str(caught.value)


def test_a_table_of_absorption_reaches_beyond_1_thz():
    rows = "[[1e12, 100.0], [3e12, 300.0]]"
    plan = make_plan(
        "thz-indoor",
        ["frequency_hz=2e12", f"absorption_table={rows}", "distance_m=0.5"],
    )
    gas = plan.curves[0].arrays["loss_gas_db"][0]
    assert gas == pytest.approx(200.0 * 0.5e-3)


def test_units_of_the_variance_are_a_factor_of_four():
    quarter = ["variance_unit=N0=1/4", "modulation_variance=0.5", "length_km=10"]
    snu = ["modulation_variance=2.0", "variance_unit=SNU", "length_km=10"]
    one, other = (
        make_plan("fiber-metro", c).curves[0].arrays["key_bits_per_use"]
        for c in (quarter, snu)
    )
    assert one == pytest.approx(other, rel=1e-14)


def test_without_a_key_the_cause_and_its_change_are_said():
    plan = make_plan(
        "fiber-metro", ["length_km=10", "excess_noise_snu=0.5", "block_sizes=[]"]
    )
    assert not plan.has_key
    causes = {row["cause"]: row for row in plan.limits}
    needed = causes["scheme.excess_noise_snu"]["needed"]
    assert 0.0 < needed < 0.5
    # The value itself is right: a little better has a key, a little worse has none.
    for factor, key in ((0.99, True), (1.01, False)):
        again = [
            "length_km=10",
            f"excess_noise_snu={needed * factor}",
            "block_sizes=[]",
        ]
        assert make_plan("fiber-metro", again).has_key is key
    assert causes["scheme.electronic_snu"]["needed"] is None
    assert "excess_noise_snu from 0.5 to" in page(plan)


def test_a_block_that_is_too_small_is_told_how_large_it_must_be(monkeypatch):
    # Other causes are bisections of their own.
    monkeypatch.setattr(advice, "_BEST", {"cv": {}})
    plan = make_plan("fiber-metro", ["length_km=10", "block_sizes=[1e5]"])
    note = next(n for n in plan.warnings if "it takes" in n)
    size = float(note.rpartition(" ")[2])
    for factor, key in ((0.97, False), (1.03, True)):
        changes = ["length_km=10", f"block_sizes=[{factor * size:.0f}]"]
        finite = make_plan("fiber-metro", changes).curves[1]
        assert (finite.arrays["key_bits_per_use"][0] > 0.0) is np.bool_(key)


def test_a_set_variable_is_not_swept():
    plan = make_plan("fiber-metro", ["length_km=12.5"])
    assert plan.curves[0].arrays["length_km"].tolist() == [12.5]
    origin = {a.key: a.origin for a in plan.assumptions}
    assert origin["channel.length_km"] == "set"
    assert origin["scheme.modulation_variance"] == "preset"
    assert origin["channel.attenuation_db_per_km"] == "default"


def test_another_kind_of_scheme_takes_its_own_settings():
    plan = make_plan("fiber-metro", ["scheme.kind=dv", *FEW])
    assert "payload_bits_per_use" in plan.curves[0].arrays
    settings, _, _ = settings_of("fiber-metro", ["channel.kind=radio"])
    assert settings.channel.kind == "radio"
    assert settings.sweep.variable == "channel.distance_m"


def test_heat_is_excess_noise_for_a_finite_block_but_not_less():
    # A block must never promise more than the endless one.
    plan = make_plan("thz-indoor", ["points=15", "stop=20"])
    endless, *finite = (c.arrays["key_bits_per_use"] for c in plan.curves)
    for one in finite:
        assert np.all(one <= endless + 1e-12)


def test_heat_that_a_block_forgets_would_be_seen(monkeypatch):
    monkeypatch.setattr(
        cv_blocks,
        "as_excess_noise",
        lambda link: replace(link, environment_snu=1.0, source_snu=1.0),
    )
    plan = make_plan("thz-indoor", ["distance_m=12", "block_sizes=[1e11]"])
    endless, finite = (c.arrays["key_bits_per_use"][0] for c in plan.curves)
    assert finite > endless


def test_what_a_bin_hides_costs_key():
    # Two bins instead of sixteen: less is known of the transmittance, never more.
    keys = []
    for bins in (2, 16):
        settings, _, _ = settings_of("pass-cv", ["hours=7", f"bins={bins}"])
        (total, *_), _ = settings.curves()
        keys.append(total.derived["key_bits_per_day"])
    assert 0.0 <= keys[0] < keys[1]


def test_a_pass_is_one_block_and_less_than_its_endless_sum():
    settings, _, _ = settings_of("pass-dv", ["hours=7"])
    assert isinstance(settings, PassPlan)
    (total, *every), _ = settings.curves()
    assert total.derived["passes"] == len(every) > 0
    keys = [c.derived["pass_key_bits"] for c in every]
    assert total.arrays["key_bits"].tolist() == keys
    for curve in every:
        derived = curve.derived
        assert 0 < derived["pass_key_bits"] < 1.05 * derived["asymptotic_key_bits"]
        elevation = curve.arrays["elevation_deg"]
        assert elevation.min() >= 20.0 - 0.1
        assert elevation.max() == pytest.approx(derived["max_elevation_deg"], abs=0.01)
        # Highest means nearest and least lossy.
        assert np.argmin(curve.arrays["loss_db"]) == pytest.approx(
            np.argmax(elevation), abs=2
        )


def test_report_holds_every_assumption_and_nothing_from_elsewhere():
    plan = make_plan("satellite-cv", FEW)
    text = page(plan)
    for assumption in plan.assumptions:
        assert assumption.key in text
    assert "http" not in text.replace("http-equiv", "")


def run(capsys, *arguments):
    code = cli.main(["plan", *arguments])
    return code, capsys.readouterr()


def test_command_prints_one_object(capsys, tmp_path):
    code, said = run(
        capsys, "review-fig3", "--json", "--set", "points=41", "--out", str(tmp_path)
    )
    found = json.loads(said.out)
    assert code == 0
    assert found["curves"]["inf"]["secure_altitude_km"] == pytest.approx(487, rel=0.01)
    assert found["curves"]["inf"]["classical_bits_per_use"] > 0.0
    names = {"report.html", "figure.png", "plan.json", "curves.csv", "curves.h5"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_command_says_why_there_is_no_key(capsys):
    code, said = run(
        capsys, "fiber-metro", "--set", "excess_noise_snu=0.5", "--set", "points=9"
    )
    assert code == 3
    assert "to get a key: scheme.excess_noise_snu from 0.5 to" in said.out


def test_command_lists_presets_and_refuses_bad_keys(capsys):
    assert run(capsys, "list")[0] == 0
    code, said = run(capsys, "fiber-metro", "--set", "lenght_km=3", "--json")
    assert code == 2
    assert "length_km" in json.loads(said.out)["error"]["message"]
