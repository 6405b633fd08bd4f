"""A plan and the run of it: the run finds what the plan says."""

import json
import re

import pytest

from scqc.core.errors import ConfigError, PlanSettingsError
from scqc.plan.overrides import settings_of
from scqc.runs.lab_config import load_config
from scqc.runs.live import run_live
from scqc.runs.plan_bench import (
    expected_run,
    found_by_run,
    lab_config,
    write_lab_config,
)
from scqc.runs.progress import Silent

PAYLOAD = bytes(range(200))


def planned_and_found(tmp_path, changes, lie=lambda text: text, preset="fiber-metro"):
    """Return intervals, what a run found, and its truth; the bench may lie."""
    path = tmp_path / "lab.toml"
    written = write_lab_config(path, preset, changes)
    assert [p.name for p in written] == ["lab.toml", "lab-expected.json"]
    scenario, _, _ = settings_of(preset, changes)
    intervals = expected_run(scenario, load_config(path).config)
    text = path.read_text()
    path.write_text(lie(text))
    loaded = load_config(path)
    folder = tmp_path / "run"
    folder.mkdir()
    data = run_live(loaded, PAYLOAD, folder, Silent()).data
    found = found_by_run(loaded.config, data)
    return intervals, found, data["quantum"]["truth"]


def outside(intervals, found):
    return {n: (v, intervals[n]) for n, v in found.items() if not intervals[n].holds(v)}


def test_a_small_run_finds_what_was_planned(tmp_path):
    intervals, found, truth = planned_and_found(
        tmp_path, ["length_km=10", "block_sizes=[1e5]"]
    )
    assert not outside(intervals, found)
    # Plan and bench add up the same parts of the excess noise, each by its own code.
    assert intervals["xi_snu"].value == pytest.approx(
        truth["xi_expected_snu"], rel=0.01
    )
    beside = json.loads((tmp_path / "lab-expected.json").read_text())
    assert beside["transmittance"]["value"] == intervals["transmittance"].value


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("fiber-metro", []),
        (
            "fiber-metro",
            [
                "length_km=20",
                "excess_noise_snu=0.012",
                "modulation_variance=3",
                "variance_unit=SNU",
            ],
        ),
        ("fiber-access", []),
    ],
)
def test_plan_and_key_of_large_runs(tmp_path, preset, changes):
    intervals, found, _ = planned_and_found(tmp_path, changes, preset=preset)
    assert not outside(intervals, found)
    assert found["secret_bits_per_symbol"] > 0.0


# So much planned noise that twice as much can be told.
NOISY = ["length_km=10", "block_sizes=[2e6]", "excess_noise_snu=0.06"]


def times(key, factor, table):
    """Return what multiplies a number of a table in a config's text."""

    def lie(text):
        head, mark, rest = text.partition(f"[{table}]\n")
        found = re.search(rf"^{key} = (\S+)$", rest, re.MULTILINE)
        value = factor * float(found.group(1))
        return f"{head}{mark}{rest[: found.start(1)]}{value!r}{rest[found.end(1) :]}"

    return lie


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("lie", "seen"),
    [
        (lambda text: text, set()),
        (times("length_km", 1.1, "sim.channel"), {"transmittance", "gain"}),
        (times("efficiency", 0.9, "sim.receiver"), {"transmittance", "gain"}),
        (times("excess_noise_snu", 2.0, "sim.channel"), {"xi_snu"}),
    ],
    ids=["none", "a fibre 1 km longer", "10 % less efficient", "twice the noise"],
)
def test_another_bench_is_not_what_was_planned(tmp_path, lie, seen):
    intervals, found, _ = planned_and_found(tmp_path, NOISY, lie)
    if seen:
        assert seen <= outside(intervals, found).keys()
    else:
        assert not outside(intervals, found)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["excess_noise_snu=0.001"], "the bench itself makes"),
        (["detection=homodyne", "psk=bpsk"], "the bench has 'heterodyne' only"),
        (["phase_variance_rad2=0.0"], "on this bench"),
        (["beta=0.95", "frame_error_rate=0.05"], "the bench measures its own"),
        (["finite=literature", "disclosed_share=0.1"], "the bench has 'ledger' only"),
        (["trust_electronic=false", "block_sizes=[]"], "the bench has True only"),
        (["gain_variance=1e-4"], "the bench has 0.0 only"),
        (["scheme.kind=dv"], "the bench's interferometers have 0.5 only"),
    ],
)
def test_what_no_bench_can_run(tmp_path, changes, says):
    with pytest.raises(PlanSettingsError, match=says):
        write_lab_config(tmp_path / "lab.toml", "fiber-metro", changes)


def test_what_is_outside_the_ranges_of_the_bench(tmp_path):
    with pytest.raises(ConfigError, match="v_a_snu"):
        write_lab_config(
            tmp_path / "a.toml",
            "fiber-metro",
            ["modulation_variance=200", "variance_unit=SNU"],
        )


def test_every_noise_of_the_plan_is_on_the_bench():
    """A floor at Bob is a part of the excess noise, so the bench makes it, too."""

    def channel_noise(*changes):
        scenario, _, _ = settings_of("fiber-metro", ["length_km=10", *changes])
        return lab_config(scenario).sim.channel.excess_noise_snu

    floor, eta, t = 2e-3, 0.85, 10**-0.2
    more = channel_noise(f"noise_bob_snu={floor}") - channel_noise()
    assert more == pytest.approx(floor / (eta * t), rel=0.02)


def test_a_file_that_exists_is_left_alone(tmp_path):
    path = tmp_path / "lab.toml"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists"):
        write_lab_config(path, "fiber-metro", [])
    assert path.read_text() == "mine"
