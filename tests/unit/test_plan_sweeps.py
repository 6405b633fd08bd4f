"""Sweeps: the same numbers however they are cut, and nothing computed twice."""

import json
import operator
import os

import numpy as np
import pytest

from scqc import cli
from scqc.core.errors import CaptureError, ModelRangeError, PlanSettingsError
from scqc.plan import grids, sources, sweeps
from scqc.plan.evaluate import evaluate_points
from scqc.plan.grids import Grid, grid_of
from scqc.plan.optimise import optimise_points
from scqc.plan.outside import answered
from scqc.plan.overrides import settings_of
from scqc.plan.sweeps import chunk_path, read_sweep, run_sweep, without_answer
from scqc.plan.workers import Workers, run_chunks

AXES = ["length_km=0:40:5", "modulation_variance=0.5:8:4:log"]
HERE = Workers(processes=1)


def made(chunk_points=6, axes=AXES, changes=("block_sizes=[1e8]",)):
    grid = grid_of("fiber-metro", list(changes), axes)
    return Grid.model_validate(grid.model_dump() | {"chunk_points": chunk_points})


def finish(grid, folder, workers=HERE):
    *_, last = run_sweep(grid, folder, workers)
    return last


def test_points_do_not_depend_on_chunks(tmp_path):
    small, whole = made(6), made(20)
    for grid in (small, whole):
        finish(grid, tmp_path)
    one, other = (read_sweep(grid, tmp_path) for grid in (small, whole))
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    # And they are the points of the model, in the order of the axes.
    length, variance = np.meshgrid(
        np.linspace(0, 40, 5), np.geomspace(0.5, 8, 4), indexing="ij"
    )
    points = {
        "channel.length_km": length.ravel(),
        "scheme.modulation_variance": variance.ravel(),
    }
    found = evaluate_points(small.scenario, points, (0.0, 1e8))
    np.testing.assert_allclose(
        one["key_bits_per_use_1e8"], np.maximum(found.balance_bits[1e8], 0.0)
    )


def test_a_killed_sweep_computes_the_rest_only(tmp_path, monkeypatch):
    grid, computed = made(), []
    original = sweeps.compute_chunk

    def counted(grid, chunk):
        computed.append(chunk)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return original(grid, chunk)

    monkeypatch.setattr(sweeps, "compute_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        finish(grid, tmp_path)
    assert computed == [0, 1, 2]
    state = finish(grid, tmp_path)
    assert computed[3:] == [2, 3]
    assert (state.reused, state.done, state.total) == (2, 4, 4)
    assert finish(grid, tmp_path).reused == 4
    assert len(computed) == 5


def test_half_a_file_is_not_a_result(tmp_path):
    grid = made()
    finish(grid, tmp_path)
    path = chunk_path(grid, tmp_path, 1)
    os.truncate(path, 100)
    with pytest.raises(CaptureError):
        read_sweep(grid, tmp_path)
    # Nor does it end the sweep for good: that chunk alone is made anew.
    state = finish(grid, tmp_path)
    assert (state.reused, state.done) == (3, 4)
    assert read_sweep(grid, tmp_path)["scheme.modulation_variance"].size == 20


def test_another_scenario_shares_no_result(tmp_path, monkeypatch):
    grid = made()
    finish(grid, tmp_path)
    other = made(changes=("block_sizes=[1e8]", "electronic_snu=0.06"))
    assert finish(other, tmp_path).reused == 0
    monkeypatch.setattr(grids, "model_digest", lambda: "other sources")
    assert finish(grid, tmp_path).reused == 0


def test_a_point_outside_a_model_costs_no_other(tmp_path):
    axes = ["distance_m=1:4:2", "frequency_hz=5e11:2e12:2"]
    grid = grid_of("thz-indoor", ["block_sizes=[]"], axes)
    finish(grid, tmp_path)
    key = read_sweep(grid, tmp_path)["key_bits_per_use_inf"]
    np.testing.assert_array_equal(np.isnan(key), [False, True, False, True])


def test_points_that_no_bound_holds_for_cost_no_other(tmp_path):
    changes = ["block_sizes=[]", "altitude_km=500", "decoy_share=0.05"]
    grid = grid_of("satellite-dv", changes, ["signal_share=0.5:0.98:4"])
    finish(grid, tmp_path)
    found = read_sweep(grid, tmp_path)
    # 0.98 leaves nothing for the vacuum.
    assert np.isnan(found["key_bits_per_use_inf"]).tolist() == [False] * 3 + [True]
    assert without_answer(found) == 1


def test_an_optimum_is_found_beside_what_no_bound_holds_for():
    scenario, _, _ = settings_of("satellite-dv", ["decoy_photons=0.2"])
    points = {"channel.altitude_km": np.array([400.0])}
    name = "scheme.signal_photons"
    best = optimise_points(scenario, points, (0.0,), (name,))
    assert best["key_bits_per_use_inf"][0] > 0.0
    assert best["best_signal_photons_inf"][0] > 0.2


def test_answers_are_found_in_every_place_but_the_forbidden_ones():
    calls = []

    def evaluate(part):
        calls.append(part)
        if any(i in {0, 6, 7} for i in range(part.start, part.stop)):
            raise ModelRangeError("point", 0.0, (1.0, 2.0))
        return list(range(part.start, part.stop))

    found = sorted(i for part, some in answered(evaluate, 20) for i in some)
    assert found == [i for i in range(20) if i not in {0, 6, 7}]
    assert len(calls) < 20


@pytest.mark.parametrize(
    ("preset", "axes", "says"),
    [
        ("fiber-metro", ["length_km=0:5000:3"], "nearest valid value 1000"),
        ("fiber-metro", ["excess_noise_snu=-1:1:3"], "nearest valid value 0"),
        ("fiber-metro", ["beta=0.8:0.9:3"], "are a pair"),
        ("pass-dv", ["orbit.altitude_km=10:600:3"], "nearest valid value 100"),
    ],
)
def test_ends_that_no_plan_may_have_are_refused(preset, axes, says):
    with pytest.raises(PlanSettingsError, match=says):
        grid_of(preset, [], axes)


def test_values_that_only_fit_together_are_accepted():
    axes = ["beta=0.8:0.9:2", "frame_error_rate=0.1:0.2:2"]
    assert grid_of("fiber-metro", [], axes).n_points == 4
    # A signal of 0.1 needs weaker decoys than the preset's; the grid has them.
    grid_of(
        "satellite-dv", [], ["signal_photons=0.1:0.8:3", "decoy_photons=0.01:0.1:3"]
    )


@pytest.mark.parametrize(
    ("preset", "axes", "optimise", "least"),
    [
        ("satellite-dv", ["altitude_km=200:2000:100", "zenith_deg=0:80:50"], True, 300),
        ("satellite-dv", ["altitude_km=200:2000:100", "zenith_deg=0:80:50"], False, 30),
        ("satellite-dv", ["altitude_km=200:2000:40"], True, 20),
        ("pass-dv", ["orbit.altitude_km=400:600:20"], False, 20),
    ],
)
def test_chunks_are_enough_for_many_cores(preset, axes, optimise, least):
    names = ["signal_photons", "decoy_photons"] if optimise else []
    assert grid_of(preset, [], axes, names).n_chunks >= least
    assert grid_of(preset, [], axes, names, 7).chunk_points == 7


def test_a_sweep_of_passes_gives_what_its_plans_give(tmp_path):
    changes = ["hours=2", "step_s=20", "start_utc=2026-01-01T08:00:00Z"]
    axes = ["orbit.altitude_km=500:600:2", "stations.0.latitude_deg=62:70:2"]
    grid = grid_of("pass-dv", changes, axes)
    finish(grid, tmp_path)
    found = read_sweep(grid, tmp_path)
    last = [*changes, "orbit.altitude_km=600", "stations=[{latitude_deg=70}]"]
    plan, _, _ = settings_of("pass-dv", last)
    (total, *_), _ = plan.curves()
    assert found["passes"][3] == total.derived["passes"]
    assert found["key_bits_per_day"][3] == total.derived["key_bits_per_day"]
    bits = found["classical_bits_per_day"]
    assert 0.0 < bits[1] < bits[3]


def test_sources_name_the_results(monkeypatch, tmp_path):
    (tmp_path / "module.py").write_text("a = 1\n")
    monkeypatch.setattr(sources, "files", lambda package: tmp_path)
    digests = set()
    for text in ("a = 1\n", "a = 2\n"):
        (tmp_path / "module.py").write_text(text)
        digests.add(sources.model_digest.__wrapped__())
    assert len(digests) == 2


def test_options_of_sweeps_need_a_grid(capsys):
    arguments = [
        "fiber-metro",
        "--optimise",
        "modulation_variance",
        "--dask",
        "tcp://a",
    ]
    assert cli.main(["plan", *arguments]) == 2
    assert "--dask" in (said := capsys.readouterr().err)
    assert "--optimise" in said
    assert "needs --grid" in said


def test_command_says_how_many_points_have_no_answer(capsys, tmp_path):
    arguments = ["--grid", "frequency_hz=5e11:2e12:4", "--set", "block_sizes=[]"]
    arguments += ["--results", str(tmp_path), "--processes", "1", "--json"]
    arguments += ["--set", "distance_m=1"]
    assert cli.main(["plan", "thz-indoor", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["without_answer"] == 2


def test_processes_map_everything():
    # Of the standard library: a function of this file would cost its imports.
    assert sorted(run_chunks(operator.neg, range(5), Workers(2))) == [-4, -3, -2, -1, 0]


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        (["length_km=0:40"], "write variable=start:stop:points"),
        (["lenght=0:1:2"], "no number of this plan"),
        (["length_km=0:1:2:cubic"], "write variable"),
    ],
)
def test_axes_are_checked(axes, says):
    with pytest.raises(PlanSettingsError, match=says):
        grid_of("fiber-metro", [], axes)


def test_presets_without_points_and_unknown_variables():
    with pytest.raises(PlanSettingsError, match="no points to sweep"):
        grid_of("review-fig5", [], ["frequencies=1:2:2"])
    with pytest.raises(PlanSettingsError, match="modulation_variance"):
        grid_of("fiber-metro", [], AXES[:1], ["modulation_varianc"])


def test_no_cluster_is_an_error_that_says_so():
    with pytest.raises(PlanSettingsError, match="--dask"):
        list(run_chunks(operator.neg, [1], Workers(dask="tcp://127.0.0.1:1")))
