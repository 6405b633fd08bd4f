"""How far a key reaches over another number, beside plans of single values."""

import json

import numpy as np
import pytest

from scqc import cli
from scqc.core.errors import PlanSettingsError
from scqc.plan.make import make_plan, make_reach
from scqc.plan.report import page

FEW = ["block_sizes=[]", "points=15", "stop=40"]


def test_reach_is_that_of_each_plan_by_itself():
    plan = make_reach("thz-indoor", FEW, "environment_k=4:296:3")
    (curve,) = plan.curves
    assert curve.x == "environment_k"
    assert curve.arrays["environment_k"].tolist() == [4.0, 150.0, 296.0]
    for i, kelvin in enumerate((4, 150, 296)):
        derived = make_plan("thz-indoor", [*FEW, f"environment_k={kelvin}"]).curves[0]
        name = "secure_distance_m"
        end = derived.derived[name] or derived.derived[f"{name}_at_least"]
        assert curve.arrays[name][i] == pytest.approx(end, rel=1e-9)
        beyond = derived.derived[name] is None
        assert curve.arrays["beyond_sweep"][i] == float(beyond)
    # Heat shortens the reach.
    assert np.all(np.diff(curve.arrays["secure_distance_m"]) <= 0.0)
    assert "reach over environment_k" in page(plan)


def test_where_no_model_holds_there_is_no_reach():
    plan = make_reach("thz-indoor", FEW, "frequency_hz=1e11:3e12:2:log")
    reach = plan.curves[0].arrays["secure_distance_m"]
    assert np.isnan(reach).tolist() == [False, True]
    assert plan.has_key


@pytest.mark.parametrize(
    ("preset", "over", "says"),
    [
        ("thz-indoor", "distance_m=1:2:3", "is what the plan sweeps"),
        ("thz-indoor", "distanc=1:2:3", "no number of this plan"),
        ("thz-indoor", "environment_k=-5:2:3", "nearest valid value 0.001"),
        ("pass-dv", "hours=1:2:2", "has no sweep"),
    ],
)
def test_what_has_no_reach_is_refused(preset, over, says):
    with pytest.raises(PlanSettingsError, match=says):
        make_reach(preset, [], over)


def test_command_writes_figure_and_tables(capsys, tmp_path):
    over = ["--against", "environment_k=200:296:2", "--out", str(tmp_path), "--json"]
    changes = [a for change in FEW for a in ("--set", change)]
    assert cli.main(["plan", "thz-indoor", *over, *changes]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["curves"]["inf"]["arrays"]["secure_distance_m"]) == 2
    rows = (tmp_path / "curves.csv").read_text().splitlines()
    assert any(row.startswith("curve,environment_k,secure_distance_m") for row in rows)
    assert (tmp_path / "figure.png").stat().st_size > 1000
