"""A plan and the run of it: the run finds what the plan says."""

import json

import pytest

from scqc.core.errors import ConfigError, PlanSettingsError
from scqc.plan.overrides import settings_of
from scqc.runs.lab_config import load_config
from scqc.runs.live import run_live
from scqc.runs.plan_bench import expected_run, write_lab_config
from scqc.runs.progress import Silent

PAYLOAD = bytes(range(200))


def planned_and_found(tmp_path, changes):
    path = tmp_path / "lab.toml"
    written = write_lab_config(path, "fiber-metro", changes)
    assert [p.name for p in written] == ["lab.toml", "lab-expected.json"]
    loaded = load_config(path)
    scenario, _, _ = settings_of("fiber-metro", changes)
    intervals = expected_run(scenario, loaded.config)
    folder = tmp_path / "run"
    folder.mkdir()
    data = run_live(loaded, PAYLOAD, folder, Silent()).data
    found = {
        "transmittance": data["quantum"]["transmittance"]["value"],
        "xi_snu": data["quantum"]["xi_snu"]["value"],
        "ber_raw": data["classical"]["ber_raw"],
        "secret_bits_per_symbol": data["key"]["secret_bits_per_symbol"],
    }
    found["gain"] = 0.5 * scenario.scheme.efficiency * found["transmittance"]
    return intervals, found, data["quantum"]["truth"]


def check(intervals, found):
    outside = {
        n: (v, intervals[n]) for n, v in found.items() if not intervals[n].holds(v)
    }
    assert not outside


def test_a_small_run_finds_what_was_planned(tmp_path):
    intervals, found, truth = planned_and_found(
        tmp_path, ["length_km=10", "block_sizes=[1e5]"]
    )
    check(intervals, found)
    # Plan and bench add up the same parts of the excess noise, each by its own code.
    assert intervals["xi_snu"].value == pytest.approx(
        truth["xi_expected_snu"], rel=0.01
    )
    beside = json.loads((tmp_path / "lab-expected.json").read_text())
    assert beside["transmittance"]["value"] == intervals["transmittance"].value


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "changes",
    [
        ["length_km=10"],
        ["length_km=20", "excess_noise_snu=0.012", "modulation_variance=3"],
        ["length_km=5", "psk=bpsk", "fec_rate=0.75", "fixed_loss_db=0.6"],
    ],
)
def test_plan_and_key_of_large_runs(tmp_path, changes):
    intervals, found, _ = planned_and_found(tmp_path, changes)
    check(intervals, found)
    assert found["secret_bits_per_symbol"] > 0.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["excess_noise_snu=0.001"], "the bench itself makes"),
        (["detection=homodyne"], "the bench has 'heterodyne' only"),
        (["phase_variance_rad2=0.0"], "on this bench"),
        (["scheme.kind=dv"], "a bench runs cv"),
    ],
)
def test_what_no_bench_can_run(tmp_path, changes, says):
    with pytest.raises(PlanSettingsError, match=says):
        write_lab_config(tmp_path / "lab.toml", "fiber-metro", changes)


def test_a_file_that_exists_is_left_alone(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        write_lab_config(path, "fiber-metro", [])
    assert path.read_text() == "mine"
