"""What a bench shows while its fibres are aligned."""

import json
import math

import numpy as np
import pytest

from scqc import cli
from scqc.cli.monitor_view import monitor_view
from scqc.core.records import Trace
from scqc.runs.monitor import Look, Value, drawn, noise_values

pytestmark = [pytest.mark.hil, pytest.mark.usefixtures("warm_processes")]
CV, DV = "lab_configs/cv_full_bench.toml", "lab_configs/dv_quick.toml"


def looked(capsys, config):
    assert cli.main(["monitor", config, "--once", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found, {one["name"]: one for one in found["values"]}


def test_an_aligned_bench(capsys):
    found, values = looked(capsys, CV)
    assert values["lock"]["value"] is True
    # 150 MHz apart, 0.4 MHz off, and the laser's wavelength is set in 0.1 pm.
    step_mhz = 1e-6 * 0.1e-12 * (193.4e12) ** 2 / 299_792_458.0
    assert abs(values["beat"]["value"] - 150.4) <= 0.4 + step_mhz
    # Of a detector with 0.05 of electronic noise: shot plus electronic over it.
    expected_db = 10.0 * math.log10(1.05 / 0.05)
    assert values["clearance"]["value"] == pytest.approx(expected_db, abs=0.2)
    assert values["laser on"]["value"] is True
    assert values["voa attenuation"]["value"] == pytest.approx(25.4)
    assert values["power"]["value"] > 0.0
    assert values["switch.signal open"]["value"] is True
    assert "at rest" in values["power"]["remark"]
    # The two strongest lines are the strong pilot and its image at the beat.
    peak_hz = found["bin_hz"] * (1 + int(np.argmax(found["spectrum_db"][1:])))
    strong_hz = 1e6 * values["beat"]["value"] - 118e6
    assert abs(peak_hz - strong_hz) <= 2 * found["bin_hz"]


def test_a_dark_bench_says_why_there_is_no_lock(tmp_path, capsys):
    with open(CV, encoding="utf-8") as file:
        text = file.read()
    path = tmp_path / "dark.toml"
    path.write_text(
        text.replace("attenuation_db = 25.4\n\n", "attenuation_db = 60.0\n\n")
    )
    _, values = looked(capsys, str(path))
    assert values["lock"]["value"] is False
    assert values["lock"]["note"]
    assert abs(values["signal over shot"]["value"]) < 0.5


def test_count_rates(capsys):
    found, values = looked(capsys, DV)
    assert values["lock"]["value"] is True
    assert values["rx.z0 open"]["value"] > values["rx.z0 closed"]["value"]
    assert 0.9 < values["visibility z"]["value"] <= 1.05
    assert found["spectrum_db"] == []


def test_a_real_bench_needs_leave_to_send_light(tmp_path):
    with open(DV, encoding="utf-8") as file:
        text = file.read()
    path = tmp_path / "real.toml"
    path.write_text(text[: text.index("[sim]")])
    assert cli.main(["monitor", str(path), "--once"]) == 2


def trace(sigma, clipped=0):
    codes = np.random.default_rng(1).normal(0.0, sigma, (1, 4096)).astype(np.int16)
    return Trace(codes, (1e-4,), (0.0,), 400e6, clipped=(clipped,))


def test_a_blocked_oscillator_is_pointed_out():
    traces = {"signal": trace(50), "shot": trace(20), "electronic": trace(20, 3)}
    values = {one.name: one for one in noise_values(traces)}
    assert values["clearance"].note
    assert values["clipped samples"].value == 3
    assert "range_v" in values["clipped samples"].note


def test_the_view():
    assert drawn([]) == ""
    line = drawn([0.0, *[-30.0] * 63, 45.0])
    assert (line[0], line[-1], len(line)) == (" ", "█", 64)
    look = Look(
        [Value("beat", 150.4, "MHz"), Value("lock", False, note="no")], [1.0] * 9
    )
    assert monitor_view(look)
    assert monitor_view(Look([Value("x", True)]))
