"""The shipped examples run as they are."""

import importlib.util
import math
from pathlib import Path

import pytest

from scqc.runs.lab_config import load_config

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_examples_are_shipped():
    assert EXAMPLES


@pytest.mark.hil
def test_first_look_shows_the_clearance(monkeypatch, capsys):
    """Shot noise 1, electronic noise 0.05, and the steps of ten bits on both."""
    monkeypatch.chdir(ROOT)
    found_db = load(ROOT / "examples/first_look.py").main()
    sim = load_config(ROOT / "lab_configs/cv_quick.toml").config.sim
    step_snu = 0.5 / 2**sim.digitizer.bits / sim.receiver.shot_noise_v_rms
    dark = sim.receiver.electronic_noise_snu + step_snu**2 / 12
    # Two variances of n Gaussian samples each, five standard deviations.
    tolerance_db = 5 * 10 / math.log(10) * math.sqrt(2 * 2 / 200_000)
    expected_db = 10 * math.log10((1 + dark) / dark)
    assert f"{found_db:.1f} dB" in capsys.readouterr().out
    assert found_db == pytest.approx(expected_db, abs=tolerance_db)
