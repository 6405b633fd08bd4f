"""Sweeps: the same numbers however they are cut, and nothing computed twice."""

import os

import numpy as np
import pytest

from scqc.core.errors import CaptureError, PlanSettingsError
from scqc.plan import sweeps
from scqc.plan.evaluate import evaluate_points
from scqc.plan.sweeps import Grid, chunk_path, grid_of, read_sweep, run_sweep
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


def test_another_scenario_shares_no_result(tmp_path, monkeypatch):
    grid = made()
    finish(grid, tmp_path)
    other = made(changes=("block_sizes=[1e8]", "electronic_snu=0.06"))
    assert finish(other, tmp_path).reused == 0
    monkeypatch.setattr(sweeps, "MODEL_VERSION", sweeps.MODEL_VERSION + 1)
    assert finish(grid, tmp_path).reused == 0


def test_a_point_outside_a_model_costs_no_other(tmp_path):
    axes = ["distance_m=1:4:2", "frequency_hz=5e11:2e12:2"]
    grid = grid_of("thz-indoor", ["block_sizes=[]"], axes)
    finish(grid, tmp_path)
    key = read_sweep(grid, tmp_path)["key_bits_per_use_inf"]
    np.testing.assert_array_equal(np.isnan(key), [False, True, False, True])


def double(value):
    return 2 * value


def test_processes_map_everything():
    assert sorted(run_chunks(double, range(5), Workers(2))) == [0, 2, 4, 6, 8]


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
        list(run_chunks(double, [1], Workers(dask="tcp://127.0.0.1:1")))
