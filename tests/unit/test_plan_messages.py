"""What a plan refuses: named as the user set it, with what would be valid."""

import pytest

from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan.grids import grid_of
from scqc.plan.make import make_plan
from scqc.plan.output import write_all
from scqc.plan.sweeps import run_sweep
from scqc.plan.workers import Workers


def test_angles_are_said_in_degrees():
    with pytest.raises(ModelRangeError) as caught:
        make_plan(
            "satellite-cv", ["altitude_km=500", "zenith_deg=89", "extinction=secant"]
        )
    text = str(caught.value)
    assert "zenith angle [deg] = 89" in text
    assert "nearest valid value 80" in text


def test_friis_in_the_near_field_names_setting_and_distance():
    near = ["coupling=friis", "distance_m=1", "block_sizes=[]"]
    with pytest.raises(ModelRangeError, match="coupling = gaussian") as caught:
        make_plan("thz-indoor", near)
    assert caught.value.quantity.startswith("distance_m")
    far = f"distance_m={caught.value.nearest:g}"
    made = make_plan("thz-indoor", ["coupling=friis", far, "block_sizes=[]"])
    assert made.curves[0].arrays["loss_diffraction_db"][0] == pytest.approx(
        0.0, abs=1e-3
    )


def test_a_note_on_the_near_field_says_what_is_computed():
    said = {
        coupling: make_plan("thz-indoor", ["distance_m=1", f"coupling={coupling}"])
        for coupling in ("gaussian", "friis-saturated")
    }
    assert any("Gaussian beams" in n for n in said["gaussian"].warnings)
    assert not any("Gaussian beams" in n for n in said["friis-saturated"].warnings)


def test_an_aperture_needs_more_than_its_obscuration():
    changes = ["altitude_km=500", "obscuration_radius_m=0.7"]
    with pytest.raises(ModelRangeError, match=r"nearest valid value 0\.999"):
        make_plan("satellite-cv", changes)


def test_an_item_of_a_list_is_refused_once_with_what_is_valid():
    with pytest.raises(PlanSettingsError) as caught:
        make_plan("pass-dv", ["stations=[{latitude_deg=99}]"])
    (problem,) = caught.value.problems
    assert "nearest valid value 90" in str(problem)


def test_elements_of_one_satellite_are_no_constellation():
    tle = 'orbit.tle=["1 25544U", "2 25544"]'
    with pytest.raises(PlanSettingsError, match="is one satellite"):
        make_plan("pass-dv", [tle, "orbit.planes=2"])


def test_a_folder_that_cannot_be_is_an_error_of_its_option(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    plan = make_plan("fiber-metro", ["length_km=10", "block_sizes=[]"])
    with pytest.raises(PlanSettingsError, match="--out"):
        write_all(file, plan)
    grid = grid_of("fiber-metro", [], ["length_km=0:1:2"])
    with pytest.raises(PlanSettingsError, match="--results"):
        list(run_sweep(grid, file, Workers(1)))


def test_a_value_beside_its_limit_is_told_from_it():
    text = str(ModelRangeError("yield", 1.0, (0.0, 1.0 - 1e-9)))
    assert text.endswith("range 0 to 0.999999999; nearest valid value 0.999999999")
    assert "= -4.97289 " in str(ModelRangeError("dry", -4.9728937, (0.0, 2000.0)))
