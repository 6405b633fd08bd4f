"""The shipped benches with the other family of waveform generators."""

import pytest
from photon_run_kit import MESSAGE, run
from run_kit import CONFIGS, PAYLOAD

from scqc.runs import live
from scqc.runs.lab_config import LoadedConfig, parse_config
from scqc.runs.progress import Silent

OTHER = ('driver = "keysight.m8190a"', 'driver = "tektronix.awg70000"')
# The benches of this file live for a second: see warm_kit.
pytestmark = pytest.mark.usefixtures("warm_processes", "undrawn")
# Half a volt of full scale instead of 0.7 V: the amplifiers make up for it.
PHOTON = (
    OTHER,
    ("amplitude_vpp = 0.7", "amplitude_vpp = 0.5"),
    ("intensity_gain = 10.0", "intensity_gain = 14.0"),
    ("phase_gain = 10.0", "phase_gain = 14.0"),
    (
        "[sim.intensity_modulator]\n",
        "[sim.intensity_modulator]\ndriver_gain_db = 22.92256\n",
    ),
    (
        "[sim.phase_modulator]\n",
        "[sim.phase_modulator]\ndriver_gain_db = 22.92256\n",
    ),
)


@pytest.mark.soak
def test_photon_bench_delivers(tmp_path):
    result = run(tmp_path / "run", *PHOTON)
    assert (tmp_path / "run" / "payload.received").read_bytes() == MESSAGE
    assert result.data["key"]["agree"] is True
    assert result.exit_code == 0


def test_cv_bench_delivers(tmp_path):
    text = (CONFIGS / "cv_quick.toml").read_text().replace(*OTHER)
    loaded = LoadedConfig(parse_config(text), text, CONFIGS / "cv_quick.toml")
    result = live.run_live(loaded, PAYLOAD, tmp_path / "run", Silent())
    assert (tmp_path / "run" / "payload.received").read_bytes() == PAYLOAD
    assert result.as_json()["key"]["agree"] is True
