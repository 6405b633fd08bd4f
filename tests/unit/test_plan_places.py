"""Where a station stands, which air and which heat there is: all of it counts."""

import itertools
import math

import numpy as np
import pytest

from scqc.core.errors import ModelRangeError, ScqcError
from scqc.core.settings import Settings
from scqc.plan.make import make_front, make_plan
from scqc.plan.overrides import settings_of
from scqc.plan.presets import PRESETS
from scqc.plan.schedule import without_overlap
from sim_backends.propagation.beam import Transmitter, diffraction_transmittance
from sim_backends.propagation.thermal import thermal_variance_snu

PASS = ["hours=7", "step_s=10"]
HOUSTON = 500e3


def only(name, *changes):
    """Return the arrays of the one endless curve of a plan at one point."""
    (curve,) = make_plan(name, ["block_sizes=[]", *changes]).curves
    return curve.arrays


def derived(name, *changes):
    return make_plan(name, [*PASS, *changes]).curves[0].derived


def test_heat_makes_clicks():
    """One mode of n photons clicks with eta n / (1 + eta n): Bose and Einstein."""
    settings = ["scheme.kind=dv", "scheme.dark_yield=0", "scheme.stray_yield=0"]
    settings += ["scheme.efficiency=0.5", "distance_m=30", "environment_k=10000"]
    found = only("thz-indoor", *settings)
    frequency_hz = 140e9
    n = 0.5 * (float(thermal_variance_snu(frequency_hz, 1e4)) - 1.0)
    assert n == pytest.approx(1.380649e-23 * 1e4 / (6.62607015e-34 * 140e9), rel=1e-3)
    seen = 0.5 * n * (1.0 - found["transmittance"][0])
    assert found["stray_light_yield"][0] == pytest.approx(seen / (1.0 + seen))
    assert found["key_bits_per_use"][0] == 0.0
    cold = only("thz-indoor", *settings, "environment_k=0.1")
    assert cold["key_bits_per_use"][0] > 0.0
    # Alice's own warmth comes through the loss.
    warm = only("thz-indoor", *settings, "environment_k=0.1", "source_k=300")
    assert warm["stray_light_yield"][0] > cold["stray_light_yield"][0]


def test_a_mountain_has_less_air_above():
    """An exponential atmosphere seen upwards: depth a h0 exp(-h / h0)."""
    sea = only("satellite-dv", "altitude_km=500", "zenith_deg=0")
    high = only(
        "satellite-dv", "altitude_km=500", "zenith_deg=0", "station_altitude_m=4000"
    )
    for found, station_m in ((sea, 0.0), (high, 4000.0)):
        depth = 5e-6 * 6600.0 * math.exp(-station_m / 6600.0)
        loss_db = 10.0 * depth / math.log(10.0)
        assert found["loss_extinction_db"][0] == pytest.approx(loss_db, rel=1e-6)
    assert high["slant_km"][0] == pytest.approx(sea["slant_km"][0] - 4.0, rel=1e-6)


def test_a_station_on_a_mountain_gets_more_key():
    here = "stations=[{altitude_m=0.0}]", "stations=[{altitude_m=4000.0}]"
    low, high = (derived("pass-dv", one)["key_bits_per_day"] for one in here)
    assert high > 1.02 * low > 0.0


def test_clear_air_is_known_at_its_wavelength_only():
    with pytest.raises(ModelRangeError, match=r"1550.*750 to 850.*extinction_nm"):
        only("satellite-dv", "altitude_km=500", "wavelength_nm=1550")
    found = only(
        "satellite-dv",
        *("altitude_km=500", "wavelength_nm=1550", "zenith_deg=0"),
        *("extinction_nm=1550", "extinction_per_m=1e-6"),
    )
    loss_db = 10.0 * 1e-6 * 6600.0 / math.log(10.0)
    assert found["loss_extinction_db"][0] == pytest.approx(loss_db, rel=1e-6)


def test_a_telescope_cuts_the_beam():
    """Against the integral itself; as much as the Gaussian where nothing is cut."""
    place = ["altitude_km=500", "zenith_deg=0", "pointing_rad=0", "spreading=none"]
    whole = only("satellite-dv", *place)
    for kind in ("launched", "source"):
        found = only("satellite-dv", *place, f"truncation={kind}", "exit_radius_m=0.2")
        sender = Transmitter(0.2, 800e-9, 0.2, truncation=kind)
        share = float(diffraction_transmittance(sender, HOUSTON, 0.7))
        parts = found["loss_diffraction_db"][0] + found["loss_truncation_db"][0]
        assert parts == pytest.approx(-10.0 * math.log10(share), rel=1e-9)
        wide = only("satellite-dv", *place, f"truncation={kind}", "exit_radius_m=0.8")
        assert wide["loss_db"][0] == pytest.approx(whole["loss_db"][0], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("wind_m_per_s", (21.0, 57.0)),
        ("ground_cn2", (1.7e-14, 5e-13)),
        ("extinction_per_m", (1e-6, 2e-5)),
        ("scale_height_m", (1000.0, 9000.0)),
        ("station_altitude_m", (0.0, 3000.0)),
    ],
)
def test_what_is_swept_varies(name, values):
    """The ends of a sweep are what the same numbers give when they are set."""
    place = ["altitude_km=500", "spreading=andrews-phillips"]
    sweep = [f"sweep.variable=channel.{name}", "sweep.points=3", "sweep.spacing=linear"]
    sweep += [f"sweep.start={values[0]}", f"sweep.stop={values[1]}"]
    swept = only("satellite-dv", *place, *sweep)["transmittance"]
    ends = [
        only("satellite-dv", *place, f"{name}={v}")["transmittance"][0] for v in values
    ]
    assert ends[0] != ends[1]
    np.testing.assert_allclose(swept[[0, -1]], ends, rtol=1e-12)


def test_every_atmosphere_can_be_chosen():
    for name in ("mid-latitude-winter", "low-latitude", "mean-annual-global"):
        plan = make_plan(
            "review-fig4",
            [f"atmosphere={name}", "fast=true", "frequencies=4", "distances=3"],
        )
        assert np.isfinite(plan.curves[0].arrays["frequency_hz"]).all()
        found = only("thz-slant", f"atmosphere={name}", "altitude_km=25")
        assert 0.0 < found["transmittance"][0] < 1.0


def brute_force(spans, worth):
    """Return the most that spans without overlap are worth, by trying all sets."""
    best = 0.0
    for chosen in range(1 << len(spans)):
        picked = [i for i in range(len(spans)) if chosen >> i & 1]
        times = sorted(spans[i] for i in picked)
        if all(a[1] <= b[0] for a, b in itertools.pairwise(times)):
            best = max(best, sum(worth[i] for i in picked))
    return best


def test_one_telescope_follows_one_satellite():
    rng = np.random.default_rng(7)
    for _ in range(40):
        begin = rng.uniform(0.0, 10.0, 8)
        spans = list(zip(begin, begin + rng.uniform(0.1, 4.0, 8), strict=True))
        worth = list(rng.integers(0, 5, 8).astype(float))
        chosen = without_overlap(spans, worth)
        times = sorted(spans[i] for i in chosen)
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(times))
        assert sum(worth[i] for i in chosen) == brute_force(spans, worth)
    assert without_overlap([], []) == []
    assert without_overlap([(0.0, 1.0), (1.0, 2.0)], [1.0, 1.0]) == [0, 1]


def test_passes_that_overlap_are_counted_once():
    fleet = ["orbit.planes=2", "orbit.satellites_per_plane=2"]
    fleet.append("stations=[{latitude_deg=88.0, longitude_deg=15.0}]")
    one = make_plan("pass-dv", [*PASS, *fleet])
    each = make_plan("pass-dv", [*PASS, *fleet, "telescopes=one-per-satellite"])
    few, many = one.curves[0].derived, each.curves[0].derived
    assert few["passes"] < many["passes"]
    assert 0.0 < few["key_bits_per_day"] < many["key_bits_per_day"]
    assert any("left out" in said for said in one.warnings)
    assert not any("left out" in said for said in each.warnings)
    times = [(c.label[:20], c.derived["duration_s"]) for c in one.curves[1:]]
    stamps = sorted(
        (np.datetime64(label.rstrip("Z")).astype(float), length)
        for label, length in times
    )
    for (begin, length), (after, _) in itertools.pairwise(stamps):
        assert begin + length <= after + 1.0


def test_a_station_below_the_sea_is_refused():
    with pytest.raises(ScqcError, match="altitude_m"):
        make_plan("pass-dv", ["stations=[{altitude_m=-10.0}]"])


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("satellite-cv", ["altitude_km=500", "extinction_per_m=1"]),
        ("satellite-dv", ["altitude_km=500", "extinction_per_m=1"]),
        ("fiber-metro", ["length_km=100", "attenuation_db_per_km=100"]),
    ],
)
def test_what_lets_nothing_through_is_refused(name, changes):
    with pytest.raises(ModelRangeError, match=r"loss \[dB\].*0 to 300: most of it is"):
        only(name, *changes)


def test_radio_data_are_received_by_radio_receivers():
    """kTB of 290 K, 16 dB for noise figure and ratio, 3 dB of margin."""
    plan = make_front("thz-indoor", [], 1.0)
    launch_dbm = {c.label: c.derived for c in plan.curves}["wavelength"]["launch_dbm"]
    bandwidth_hz = settings_of("thz-indoor", [])[0].symbol_rate_hz
    floor_dbm = 10.0 * math.log10(1.380649e-20 * 290.0 * bandwidth_hz)
    assert launch_dbm == pytest.approx(floor_dbm + 19.0, abs=0.1)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_assumption_has_a_meaning(name):
    def without(prefix, model):
        for field, info in type(model).model_fields.items():
            value = getattr(model, field)
            if isinstance(value, Settings):
                yield from without(f"{prefix}{field}.", value)
            elif not info.description and field != "kind":
                yield f"{prefix}{field}"

    assert list(without("", settings_of(name, [])[0])) == []
