"""What a plan without a key says it lacks: enough, if followed to the letter."""

import math
import re

import numpy as np
import pytest

from scqc.plan import advice as plan_advice
from scqc.plan import pass_advice
from scqc.plan.advice import beyond, what_limits
from scqc.plan.evaluate import evaluate_points
from scqc.plan.make import make_front, make_plan
from scqc.plan.overrides import settings_of

ENDLESS = "block_sizes=[]"


def key_at(preset, changes, size=0.0):
    scenario, _, _ = settings_of(preset, changes)
    point = {scenario.sweep.variable: np.array([scenario.sweep.start])}
    return float(evaluate_points(scenario, point, (size,)).balance_bits[size][0])


def only(monkeypatch, scheme, *names):
    """Ask for few causes: each is a bisection."""
    known = plan_advice._BEST[scheme]
    few = {key: known[key] for key in known if key.partition(".")[2] in names}
    assert len(few) == len(names)
    monkeypatch.setattr(plan_advice, "_BEST", {scheme: few})


def advice(preset, changes, size=0.0):
    scenario, _, _ = settings_of(preset, changes)
    return {row["cause"]: row for row in what_limits(scenario, size)}


@pytest.mark.parametrize(
    ("preset", "changes", "names"),
    [
        (
            "fiber-metro",
            ["length_km=30", "beta=0.6", "frame_error_rate=0.05", ENDLESS],
            ("beta", "efficiency"),
        ),
        (
            "fiber-metro",
            ["length_km=54", ENDLESS],
            ("modulation_variance", "excess_noise_snu"),
        ),
        (
            "fiber-metro",
            ["length_km=10", "scheme.kind=dv", "misalignment=0.09", ENDLESS],
            ("misalignment", "decoy_photons"),
        ),
    ],
)
def test_printed_advice_followed_to_the_letter_gives_a_key(
    preset, changes, names, monkeypatch
):
    only(monkeypatch, "dv" if "scheme.kind=dv" in changes else "cv", *names)
    assert key_at(preset, changes) <= 0.0
    followed = 0
    for cause, row in advice(preset, changes).items():
        if row["needed"] is None or "." not in cause:
            continue
        said = re.search(r" to (\S+)", row["change"]).group(1)
        kept = [c for c in changes if not cause.endswith(f".{c.partition('=')[0]}")]
        if cause.endswith("variance"):
            assert row["change"].endswith(" SNU")
            kept.append("variance_unit=SNU")
        # A code is two numbers.
        kept += re.findall(r"with (frame_error_rate=[^,]+)", row["change"])
        assert key_at(preset, [*kept, f"{cause}={said}"]) > 0.0, row["change"]
        followed += 1
    assert followed


def test_the_efficiency_of_the_reconciliation_is_a_cause(monkeypatch):
    only(monkeypatch, "cv", "beta")
    changes = ["length_km=30", "frame_error_rate=0.05", ENDLESS]
    row = advice("fiber-metro", [*changes, "beta=0.6"])["scheme.beta"]
    for more, key in ((1e-3, True), (-1e-3, False)):
        again = [*changes, f"beta={row['needed'] + more}"]
        assert (key_at("fiber-metro", again) > 0.0) is key


def test_a_code_that_is_missing_is_a_cause(monkeypatch):
    only(monkeypatch, "cv")
    # At 12 dB the SNR is below that of the lowest code rate.
    changes = ["length_km=60", ENDLESS]
    row = advice("fiber-metro", changes)["scheme.beta"]
    assert row["value"] == 0.0
    said = re.search(r" to (\S+) with (\S+),", row["change"])
    for beta, key in ((said.group(1), True), (row["needed"] - 1e-3, False)):
        again = [*changes, f"beta={beta}", said.group(2)]
        assert (key_at("fiber-metro", again) > 0.0) is key


@pytest.mark.parametrize("power_dbm", [0, 6])
def test_advice_on_decibels_that_have_no_ratio(power_dbm, monkeypatch):
    only(monkeypatch, "dv", "neighbour_dbm")
    changes = ["length_km=30", ENDLESS]
    told = [*changes, f"neighbour_dbm={power_dbm}"]
    needed = advice("fiber-decoy", told)["channel.neighbour_dbm"]["needed"]
    assert needed < 0.0
    for more, key in ((-0.01, True), (0.01, False)):
        again = [*changes, f"neighbour_dbm={needed + more}"]
        assert (key_at("fiber-decoy", again) > 0.0) is key


def test_a_larger_telescope_is_advised(monkeypatch):
    only(monkeypatch, "cv", "aperture_radius_m")
    changes = ["altitude_km=2000", "fading_nodes=8", ENDLESS]
    row = advice("satellite-cv", changes)["channel.aperture_radius_m"]
    assert row["needed"] > 0.7
    for factor, key in ((1.01, True), (0.99, False)):
        again = [*changes, f"aperture_radius_m={factor * row['needed']}"]
        assert (key_at("satellite-cv", again) > 0.0) is key


def test_the_modulation_is_a_cause_both_ways(monkeypatch):
    only(monkeypatch, "cv", "modulation_variance")
    # Strong modulation is cut off by phase noise, weak modulation by the SNR.
    for length, variance, wrong in ((40, 0.05, "less"), (20, 100.0, "more")):
        changes = [f"length_km={length}", f"modulation_variance={variance}", ENDLESS]
        changes.append("variance_unit=SNU")
        row = advice("fiber-metro", changes)["scheme.modulation_variance"]
        assert (row["needed"] > variance) is (wrong == "less")


@pytest.mark.parametrize(
    ("needed", "value", "rounded"),
    [
        (0.135123, 0.3, 0.1351),
        (0.135123, 0.1, 0.1352),
        (1.78799e-7, 1e-3, 1.787e-7),
        (0.5, 0.3, 0.5),
        (-34.0112, -20.0, -34.02),
        (0.0, 1.0, 0.0),
    ],
)
def test_numbers_are_rounded_beyond_what_is_needed(needed, value, rounded):
    assert math.isclose(beyond(needed, value), rounded, rel_tol=1e-9)


def test_a_block_without_a_key_is_told_what_it_lacks(monkeypatch):
    only(monkeypatch, "cv")
    plan = make_plan("fiber-metro", ["length_km=10", "block_sizes=[1e5]"])
    assert plan.has_key
    rows = {row["cause"]: row for row in plan.limits}
    needed = rows["block_size"]["needed"]
    assert needed > 1e5
    assert rows["block_size"]["change"].startswith("blocks of 100000: block_size from")
    for factor, key in ((1.01, True), (0.99, False)):
        size = factor * needed
        found = key_at("fiber-metro", ["length_km=10", f"block_sizes=[{size}]"], size)
        assert (found > 0.0) is key


@pytest.mark.parametrize(
    ("preset", "setting", "worse", "others"),
    [
        pytest.param("pass-dv", "misalignment", 0.2, (), marks=pytest.mark.soak),
        ("pass-cv", "excess_noise_snu", 0.5, ("fading_nodes=8",)),
    ],
)
def test_passes_without_a_key_say_what_they_lack(
    preset, setting, worse, others, monkeypatch
):
    only(monkeypatch, preset.rpartition("-")[2], setting)
    monkeypatch.setattr(pass_advice, "_POINTS", 1000)
    few = ["hours=7", "step_s=60", *others]
    plan = make_plan(preset, [*few, f"{setting}={worse}"])
    row = next(r for r in plan.limits if r["cause"] == f"scheme.{setting}")
    assert row["at"]["pass"] in {curve.label for curve in plan.curves}
    assert f"from {worse} to" in row["change"]
    for factor, key in ((0.97, True), (1.03, False)):
        again = make_plan(preset, [*few, f"{setting}={factor * row['needed']}"])
        flown = next(c for c in again.curves if c.label == row["at"]["pass"])
        assert (flown.derived["pass_key_bits"] > 0.0) is key


def test_a_front_without_a_key_says_why(monkeypatch):
    only(monkeypatch, "cv", "excess_noise_snu")
    changes = ["excess_noise_snu=0.5", "block_sizes=[]"]
    plan = make_front("fiber-metro", changes, 10.0)
    assert not plan.has_key
    assert re.match("scheme.excess_noise_snu from 0.5 to", plan.limits[0]["change"])
