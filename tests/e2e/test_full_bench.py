"""A run with every instrument of the optical table, and what they do to it."""

import json

import pytest
from run_kit import CONFIGS, PAYLOAD, scqc

from scqc.runs.lab_config import load_config

FULL = CONFIGS / "cv_full_bench.toml"
MORE_DB = 1.0


def test_instruments_of_the_table_make_the_light(tmp_path):
    """One decibel more on the attenuator is one decibel less transmittance."""
    text = FULL.read_text()
    nominal_db = load_config(FULL).config.sim.attenuator_db
    line = f"attenuation_db = {nominal_db}"
    assert line in text
    path = tmp_path / "full.toml"
    path.write_text(text.replace(line, f"attenuation_db = {nominal_db + MORE_DB}"))
    (tmp_path / "payload").write_bytes(PAYLOAD[:200])
    folder = tmp_path / "run"
    options = ("--payload", tmp_path / "payload", "--out", folder, "--json")
    done = scqc("run", path, *options)
    found = json.loads(done.stdout)
    assert done.returncode == 3, found
    assert found["payload"]["delivered"]
    measured = found["quantum"]["transmittance"]
    expected = found["quantum"]["truth"]["transmittance"] * 10 ** (-MORE_DB / 10)
    assert measured["low"] <= expected <= measured["high"]
    assert expected < found["quantum"]["truth"]["transmittance"] * 0.8
    # The whole station is in the journal, with what was set.
    entries = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    bench = json.loads(next(e["text"] for e in entries if e["kind"] == "bench"))
    assert {"laser", "lo", "voa", "bias", "power", "polarisation"} <= bench.keys()


def test_without_its_oscillator_the_run_ends_as_a_lost_signal(tmp_path):
    """Two gigahertz off, the beat is outside what the digitiser sees."""
    text = FULL.read_text()
    path = tmp_path / "full.toml"
    assert "193.39985e12" in text
    path.write_text(text.replace("193.39985e12", "193.398e12"))
    (tmp_path / "payload").write_bytes(PAYLOAD[:200])
    options = ("--payload", tmp_path / "payload", "--out", tmp_path / "run", "--json")
    done = scqc("run", path, *options)
    assert done.returncode == 5, done.stdout
    error = json.loads(done.stdout)["error"]
    assert error["class"] in {"LockError", "SyncError", "CalibrationError"}


@pytest.mark.parametrize("key", ["frequency_hz", "power_dbm"])
def test_a_laser_that_nothing_switches_on_is_a_problem_of_the_config(tmp_path, key):
    lines = FULL.read_text().splitlines()
    start = lines.index("[alice.instruments.laser.set_points]")
    at = next(i for i in range(start, len(lines)) if lines[i].startswith(key))
    path = tmp_path / "full.toml"
    path.write_text("\n".join([*lines[:at], *lines[at + 1 :]]))
    done = scqc("config", "check", path)
    assert done.returncode == 2
    assert "laser needs both" in done.stderr
