"""Skylight: how bright, how much of it is received, and what it does to keys."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from scipy.integrate import quad

from scqc.core.errors import ModelRangeError, PlanSettingsError
from scqc.plan import advice
from scqc.plan.make import make_plan
from sim_backends.propagation.earth_frame import Station, UtcGrid
from sim_backends.propagation.sky import FieldOfView, background_photons
from sim_backends.propagation.skylight import (
    SKIES_W_PER_M2_UM_SR,
    counted_hz_per_nm,
    photons_per_mode,
    planck_radiance,
    sky_radiance,
    sunlit_radiance,
)
from sim_backends.propagation.sun import sun_elevation_rad
from sim_backends.propagation.thermal import thermal_photons

LIGHT, PLANCK = 299_792_458.0, 6.62607015e-34
WAVE_M = 0.8e-6
PHOTON_J = PLANCK * LIGHT / WAVE_M
FEW = ["points=9"]
QUICK = ["block_sizes=[]", "finite=published", "fading_nodes=4"]


@pytest.mark.parametrize(("sky", "quoted"), [("cloudy-day", 1.9e18), ("night", 1.9e13)])
def test_quoted_radiances_hold_the_pi_of_the_aperture(sky, quoted):
    # Pirandola (2021): photons / (m^2 s nm sr), collected with the radius squared.
    watts = float(sky_radiance(sky, WAVE_M))
    assert math.pi * 1e-3 * watts / PHOTON_J == pytest.approx(quoted, rel=2e-3)
    angle = 2.0 * math.sqrt(1e-10 / math.pi)
    counted = float(counted_hz_per_nm(watts, WAVE_M, math.pi * 0.49, angle))
    view = FieldOfView(0.7, 1e-10, 1.0, 1.0)
    assert counted == pytest.approx(float(background_photons(quoted, view)), rel=2e-3)


def test_photons_of_the_review_are_of_many_modes():
    # 9.31e-10 photons: 0.1 pm, 10 ns, 1e-10 sr, 70 cm. A local oscillator takes one of
    # them: etendue over wavelength squared, two polarisations, bandwidth times time.
    watts = sky_radiance("night", WAVE_M)
    angle = 2.0 * math.sqrt(1e-10 / math.pi)
    all_of_them = counted_hz_per_nm(watts, WAVE_M, math.pi * 0.49, angle) * 1e-4 * 1e-8
    assert all_of_them == pytest.approx(9.31e-10, rel=2e-3)
    spatial = math.pi * 0.49 * 1e-10 / WAVE_M**2
    temporal = LIGHT / WAVE_M**2 * 1e-13 * 1e-8
    expected = 9.31e-10 / (2.0 * spatial * temporal)
    assert photons_per_mode(watts, WAVE_M) == pytest.approx(expected, rel=2e-3)


def test_a_black_body_fills_every_mode_as_planck_says():
    wave_m = np.array([0.8e-6, 1.55e-6, 10e-6])
    for kelvin in (288.15, 5772.0):
        mode = photons_per_mode(planck_radiance(wave_m, kelvin), wave_m)
        expected = thermal_photons(LIGHT / wave_m, kelvin)
        assert mode == pytest.approx(expected, rel=1e-12)
    # Stefan and Boltzmann: sigma T^4 / pi, here per um.
    total, _ = quad(lambda um: float(planck_radiance(1e-6 * um, 5772.0)), 0.1, 400.0)
    assert total == pytest.approx(5.670374e-8 * 5772.0**4 / math.pi, rel=1e-4)


def test_skies_in_the_infrared_are_those_of_the_air():
    # ESO SkyCalc, no Moon: H = 14.4 mag/arcsec^2 is 8e-5; the dark sky is above it.
    assert sky_radiance("dark-night", 1.6e-6) > 8e-5
    # At 10 um day and night differ by less than 1 %, and heat is below a black body.
    night, day = (float(sky_radiance(s, 10e-6)) for s in ("night", "day"))
    assert night == pytest.approx(day, rel=1e-2)
    assert sky_radiance("none", 10e-6) == 0.0
    for call in (
        lambda: sky_radiance("night", 20e-6),
        lambda: sunlit_radiance(2.0, WAVE_M),
        lambda: counted_hz_per_nm(1.0, WAVE_M, 1.0, 2.0),
        lambda: photons_per_mode(-1.0, WAVE_M),
    ):
        with pytest.raises(ModelRangeError, match="nearest valid value"):
            call()
    with pytest.raises(ValueError, match="cloudy-day"):
        sky_radiance("blue", WAVE_M)


def test_no_telescope_sees_less_than_one_mode():
    # Field of view below diffraction: both polarisations of one mode are left.
    narrow = counted_hz_per_nm(1.0, WAVE_M, 1e-4, 1e-9)
    per_s = LIGHT / WAVE_M**2 * 1e-9
    assert narrow == pytest.approx(
        2.0 * float(photons_per_mode(1.0, WAVE_M)) * per_s, rel=1e-12
    )


def test_twilight_falls_from_day_to_night():
    depth = np.radians(np.linspace(5.0, -25.0, 301))
    bright = sunlit_radiance(depth, WAVE_M)
    assert bright[0] == pytest.approx(SKIES_W_PER_M2_UM_SR["day"])
    assert bright[-1] == pytest.approx(SKIES_W_PER_M2_UM_SR["night"])
    assert np.all(np.diff(bright) <= 0.0)
    at_6 = float(sunlit_radiance(math.radians(-6.0), WAVE_M))
    # The polynomial: 9.3 mag above 1.5e-5; the name "twilight" stands for it.
    assert at_6 == pytest.approx(1.5e-5 * 10 ** (0.4 * 9.33), rel=0.03)
    assert at_6 == pytest.approx(SKIES_W_PER_M2_UM_SR["twilight"], rel=0.05)


@pytest.mark.parametrize(
    ("month", "day", "declination_deg", "late_min"),
    # Solstices, and the extremes of the equation of time: -14.2 and +16.4 minutes.
    [
        (6, 21, 23.44, 1.9),
        (12, 21, -23.44, -1.8),
        (2, 11, -14.0, 14.2),
        (11, 3, -15.1, -16.4),
    ],
)
def test_the_sun_at_greenwich_noon(month, day, declination_deg, late_min):
    start = datetime(2026, month, day, 11, 30, tzinfo=UTC)
    elevation = np.degrees(
        sun_elevation_rad(UtcGrid(start, 1.0, 3600), Station(51.4779, 0.0))
    )
    assert elevation.max() == pytest.approx(90 - 51.4779 + declination_deg, abs=0.2)
    # Symmetric about the transit: the middle of two equal elevations.
    high = np.nonzero(elevation > elevation[[0, -1]].max())[0]
    transit_min = 0.5 * (high[0] + high[-1]) / 60.0 - 30.0
    if abs(late_min) < 10.0:
        assert transit_min == pytest.approx(late_min, abs=0.5)
    else:
        peak = np.polynomial.Polynomial.fit(np.arange(3600) / 60.0, elevation, 4)
        roots = peak.deriv().roots()
        real = roots[np.isreal(roots)].real
        assert min(abs(real - 30.0 - late_min)) < 0.5


def test_sunset_of_an_almanac():
    # Edinburgh, 1 January: 15:49 UTC, the upper rim at a horizon lifted by 34'.
    grid = UtcGrid(datetime(2026, 1, 1, 15, 49, tzinfo=UTC), 1.0, 1)
    sun = np.degrees(sun_elevation_rad(grid, Station(55.95, -3.19)))
    assert sun[0] == pytest.approx(-0.833, abs=0.15)


def test_the_sun_is_up_half_of_the_year_and_refuses_other_centuries():
    grid = UtcGrid(datetime(2026, 1, 1, tzinfo=UTC), 1800.0, 365 * 48)
    for latitude in (0.0, 55.9):
        share = np.mean(sun_elevation_rad(grid, Station(latitude, 0.0)) > 0.0)
        assert share == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ModelRangeError, match="1950 to 2050"):
        sun_elevation_rad(UtcGrid(datetime(2060, 1, 1, tzinfo=UTC)), Station(0.0, 0.0))


def test_clicks_by_the_sky_are_counted_by_hand():
    plan = make_plan(
        "satellite-dv",
        [
            "altitude_km=500",
            "sky=day",
            "obscuration_radius_m=0.2",
            "fixed_loss_db=3",
            "filter_nm=0.3",
            "gate_s=5e-10",
            "field_of_view_rad=2e-5",
            "block_sizes=[]",
        ],
    )
    arrays = plan.curves[0].arrays
    area, cone = math.pi * (0.7**2 - 0.2**2), math.pi / 4.0 * 2e-5**2
    photons = 1e-3 * 15.0 / PHOTON_J * area * cone * 10**-0.3 * 0.3 * 5e-10
    clicks = 1.0 - math.exp(-0.2 * photons)
    assert arrays["stray_light_yield"][0] == pytest.approx(clicks, rel=1e-9)
    # Three independent reasons to click in the dark.
    dark = 1.0 - (1.0 - 2.4e-6) * (1.0 - 1e-6) * (1.0 - clicks)
    assert arrays["gain_vacuum"][0] == pytest.approx(dark, rel=1e-9)
    assumed = {a.key for a in plan.assumptions}
    assert {"channel.sky", "channel.field_of_view_rad", "scheme.gate_s"} <= assumed


def test_noise_of_the_sky_in_a_local_oscillator():
    at = ["altitude_km=500", "fading=mean", "psk=none", "block_sizes=[]"]
    noise = {}
    for sky in ("none", "cloudy-day"):
        arrays = make_plan("satellite-cv", [*at, f"sky={sky}"]).curves[0].arrays
        noise[sky] = float(arrays["excess_noise_snu"][0])
        transmittance = float(arrays["transmittance"][0])
    # 150 W / (m^2 um sr) over 2 h c^2 / lambda^5, and 2 SNU for a photon.
    photons = 150e6 * WAVE_M**5 / (2.0 * PLANCK * LIGHT**2)
    added = noise["cloudy-day"] - noise["none"]
    assert added == pytest.approx(2.0 * photons / transmittance, rel=1e-6)
    # A telescope of any size and cone: one mode.
    wide = [*at, "sky=cloudy-day", "field_of_view_rad=0.01"]
    again = make_plan("satellite-cv", wide).curves[0].arrays
    assert again["excess_noise_snu"][0] == noise["cloudy-day"]


def test_published_figures_have_no_sky_of_their_own():
    for name, column in (
        ("review-fig2", "stray_light_yield"),
        ("review-fig3", "stray_light_snu"),
    ):
        plan = make_plan(name, ["altitude_km=400", "block_sizes=[]"])
        assert np.all(plan.curves[0].arrays[column] == 0.0)


STRAY = ("channel.sky_radiance_w_per_m2_um_sr", "scheme.filter_nm")


def only_causes(monkeypatch, *keys):
    """Ask for few causes: each is a bisection over whole plans."""
    few = {k: v for k, v in advice._BEST["dv"].items() if k in keys}
    assert len(few) == len(keys)
    monkeypatch.setattr(advice, "_BEST", {"dv": few})


def test_daylight_ends_counted_keys_and_says_how_dark_it_must_be(monkeypatch):
    only_causes(monkeypatch, *STRAY)
    day = ["channel.kind=horizontal", "distance_m=3000", "sky=cloudy-day"]
    day += ["wavelength_nm=800", "spreading=none", "block_sizes=[]", "fading_nodes=4"]
    day_dv = [*day, "finite=published"]
    plan = make_plan("satellite-dv", day_dv)
    first = plan.limits[0]
    assert first["cause"] == "channel.sky_radiance_w_per_m2_um_sr"
    assert first["value"] == pytest.approx(150.0)
    for factor, key in ((0.99, True), (1.01, False)):
        change = f"{first['cause']}={factor * first['needed']}"
        assert make_plan("satellite-dv", [*day_dv, change]).has_key is key
    helps = {row["cause"] for row in plan.limits if row["needed"] is not None}
    assert helps == set(STRAY)
    # A local oscillator is a filter that no glass makes.
    assert make_plan("satellite-cv", day).has_key


def test_without_stray_light_its_filter_is_no_cause(monkeypatch):
    only_causes(monkeypatch, "scheme.filter_nm", "scheme.dark_yield")
    dark = ["channel.kind=horizontal", "sky=none", "distance_m=1000"]
    dark += ["misalignment=0.2", *QUICK]
    causes = {row["cause"] for row in make_plan("satellite-dv", dark).limits}
    assert causes == {"loss_db", "scheme.dark_yield"}


@pytest.mark.soak
def test_plan_asks_the_brightest_point_where_nothing_helps_alone():
    plan = make_plan("satellite-dv", ["sky=cloudy-day", *FEW, *QUICK])
    assert plan.limits[0]["needed"] is not None
    assert plan.limits[0]["at"] == {"channel.altitude_km": 150.0}


def test_every_telescope_has_a_sky():
    for changes in (["channel.kind=horizontal"], ["channel.kind=inter-satellite"]):
        column = []
        for sky in ("none", "day"):
            plan = make_plan("satellite-cv", [*changes, *FEW, f"sky={sky}"])
            column.append(plan.curves[0].arrays["stray_light_snu"].max())
        assert column[0] == 0.0
        assert column[1] > 0.0
    with pytest.raises(PlanSettingsError, match="cloudy-day"):
        make_plan("satellite-cv", ["sky=blue"])


def test_passes_at_dusk_by_the_sun():
    # Sunset is at 15:49: civil twilight at 16:00, nautical at 17:34.
    when = ["start_utc=2026-01-01T15:50:00Z", "hours=2", "fading_nodes=2", "step_s=5"]
    night = make_plan("pass-dv", when).curves
    dusk = make_plan("pass-dv", [*when, "sky_by_sun=true"]).curves
    keys = [[c.derived["pass_key_bits"] for c in one[1:]] for one in (night, dusk)]
    assert len(keys[0]) == len(keys[1]) == 2
    assert keys[1][0] == 0.0 < keys[0][0]
    assert 0.99 * keys[0][1] < keys[1][1] <= keys[0][1]
    down = [float(c.arrays["sun_elevation_deg"].mean()) for c in dusk[1:]]
    assert down[0] > -4.0
    assert -18.0 < down[1] < -12.0
