"""Set-points that an instrument cannot take: all told by the survey, none sent."""

from types import SimpleNamespace

import pytest
from run_kit import CONFIGS

from driver.attenuator.ozoptics_dd100 import OzOpticsDd100
from driver.bias_controller.thorlabs_mbx import ThorlabsMbx
from driver.laser.itla_msa import ItlaLaser
from driver.laser.keysight_n7776c import KeysightN7776C
from driver.polarisation_controller.ozoptics_epc import OzOpticsEpc
from driver.power_meter.thorlabs_pm100 import ThorlabsPm100
from driver.set_point_ranges import misfits
from driver.set_points import SetPoints
from scqc.runs import devices
from scqc.runs.lab_config import load_config

FULL = (CONFIGS / "cv_full_bench.toml").read_text()
# Far outside of every such instrument, and for the lasers in both keys.
OUTSIDE = (
    ("frequency_hz = 193.4e12", "frequency_hz = 400e12"),
    ("power_dbm = 10.0\n\n[alice.instruments.voa]", "power_dbm = -90.0\n\n"
     "[alice.instruments.voa]"),
    ("attenuation_db = 25.4\n\n[alice", "attenuation_db = 199.0\n\n[alice"),
    ('bias_point = "null"', "hold_v = 900.0"),
    ("wavelength_m = 1550e-9", "wavelength_m = 0.5"),
    ("frequency_hz = 193.39985e12", "frequency_hz = 1e9"),
    ("polarisation_v = [0.0, 0.0, 0.0, 0.0]",
     "polarisation_v = [0.0, 800.0, 0.0, -800.0, 0.0]"),
)  # fmt: skip
SETTERS = (
    (ItlaLaser, "configure"),
    (KeysightN7776C, "configure"),
    (OzOpticsDd100, "set_attenuation"),
    (ThorlabsMbx, "set_bias"),
    (ThorlabsPm100, "configure_meter"),
    (OzOpticsEpc, "set_polarisation"),
)
TOLD = {
    "laser": ("frequency_hz = 4e+14", "power_dbm = -90"),
    "voa": ("attenuation_db = 199",),
    "bias": ("hold_v = 900",),
    "power": ("wavelength_m = 0.5",),
    "lo": ("frequency_hz = 1e+09",),
    "polarisation": (
        "polarisation_v[2] = 800",
        "polarisation_v[4] = -800",
        "5 values for 4 channels",
    ),
}


@pytest.mark.hil
def test_the_survey_tells_every_set_point_that_does_not_fit(tmp_path, monkeypatch):
    text = FULL
    for old, new in OUTSIDE:
        assert old in text, old
        text = text.replace(old, new, 1)
    path = tmp_path / "outside.toml"
    path.write_text(text)
    sent = []
    for driver, setter in SETTERS:
        monkeypatch.setattr(driver, setter, lambda *_: sent.append("set"))
    rows = {row["name"]: row for row in devices.survey(load_config(path))}
    assert {name for name, row in rows.items() if "error" in row} == set(TOLD)
    for name, said in TOLD.items():
        error = rows[name]["error"]
        assert all(one in error for one in said), error
        assert error.count("set_points.") == len(said), error
    assert sent == []


class Supply:
    """Detectors 1 to 4, up to 40 uA."""

    name, identity = "it", None
    channels, bias_range_a = (1, 2, 3, 4), (0.0, 40e-6)

    def open(self):
        raise AssertionError

    close = ping = safe_state = snapshot = open
    set_detectors = count_rates_hz = open


@pytest.mark.parametrize(
    ("points", "count"),
    [
        ({"bias_a": (0.0, 40e-6)}, 0),
        ({"bias_a": (41e-6, -1e-6, 10e-6)}, 2),
        ({"bias_a": (0.0,) * 5, "trigger_level_v": (0.1,) * 6}, 2),
    ],
)
def test_currents_and_lists_of_a_detector_supply(points, count):
    settings = SimpleNamespace(roles=("detector-bias",), set_points=SetPoints(**points))
    assert len(misfits(Supply(), settings)) == count
