"""Orbits, views and passes: geometry by hand, and what bad elements get."""

import builtins
import math
from datetime import UTC, datetime

import numpy as np
import pytest

from scqc.core.errors import ModelRangeError, OrbitError
from sim_backends.propagation.earth_frame import (
    EQUATOR_M,
    FLATTENING,
    Station,
    UtcGrid,
    sidereal_rad,
)
from sim_backends.propagation.geometry import EARTH_RADIUS_M, slant_range_m
from sim_backends.propagation.orbit import (
    GM_M3_PER_S2,
    CircularOrbit,
    TwoLineElements,
    View,
    earth_fixed_m,
    ground_track,
    overhead_pass,
    view,
)
from sim_backends.propagation.passes import passes

START = datetime(2026, 3, 1, tzinfo=UTC)
LINE1 = "1 25544U 98067A   19343.69339541  .00001764  00000-0  38792-4 0  9991"
LINE2 = "2 25544  51.6439 211.2001 0007417  17.6667  85.6398 15.50103472202482"


def test_sidereal_time_of_the_almanac():
    # Meeus, Astronomical Algorithms, example 12.a: 1987 April 10, 0 h UT.
    grid = UtcGrid(datetime(1987, 4, 10, tzinfo=UTC), 1.0, 1)
    seconds = sidereal_rad(grid)[0] / (2 * math.pi) * 86400
    assert seconds == pytest.approx(13 * 3600 + 10 * 60 + 46.3668, abs=1e-3)


def test_sidereal_time_gains_a_turn_a_year():
    grid = UtcGrid(START, 86400.0, 3)
    gained = np.diff(sidereal_rad(grid)) / (2 * math.pi) * 86400
    assert gained == pytest.approx([236.5554] * 2, abs=1e-3)


def test_a_station_stands_on_the_ellipsoid():
    assert Station(0.0, 0.0).position_m == pytest.approx([EQUATOR_M, 0.0, 0.0])
    polar_m = EQUATOR_M * (1.0 - FLATTENING)
    pole = Station(90.0, 0.0, 100.0).position_m
    assert pole == pytest.approx([0.0, 0.0, polar_m + 100.0], abs=1e-6)
    axes = Station(40.0, 70.0).axes
    assert axes @ axes.T == pytest.approx(np.eye(3), abs=1e-15)
    assert np.linalg.det(axes) == pytest.approx(1.0)


def test_a_circular_orbit_returns_after_its_period():
    orbit = CircularOrbit(600e3, 1.7, 0.4, START, 0.3)
    period_s = 2 * math.pi * math.sqrt((EQUATOR_M + 600e3) ** 3 / GM_M3_PER_S2)
    grid = UtcGrid(START, period_s / 4, 5)
    way_m = orbit.inertial_m(grid)
    assert np.linalg.norm(way_m, axis=0) == pytest.approx(EQUATOR_M + 600e3)
    assert way_m[:, 4] == pytest.approx(way_m[:, 0], abs=1e-3)
    assert way_m[:, 2] == pytest.approx(-way_m[:, 0], abs=1e-3)
    normal = np.cross(way_m[:, 0], way_m[:, 1])
    normal /= np.linalg.norm(normal)
    tilt = [math.sin(1.7) * math.sin(0.4), -math.sin(1.7) * math.cos(0.4)]
    assert normal == pytest.approx([*tilt, math.cos(1.7)])


def test_the_point_below_sees_the_satellite_overhead():
    orbit, grid = CircularOrbit(600e3, 1.2, 0.4, START), UtcGrid(START, 100.0, 60)
    latitude_deg, longitude_deg, altitude_m = ground_track(orbit, grid)
    for i in range(0, 60, 7):
        below = Station(latitude_deg[i], longitude_deg[i])
        seen = view(orbit, below, grid)
        assert seen.elevation_rad[i] == pytest.approx(math.pi / 2, abs=1e-7)
        assert seen.range_m[i] == pytest.approx(altitude_m[i], abs=1e-3)
    assert np.abs(latitude_deg).max() <= math.degrees(1.2) + 0.2


def test_ground_tracks_have_heights_over_the_poles():
    orbit = CircularOrbit(500e3, math.pi / 2, 0.0, START, math.pi / 2)
    latitude_deg, _, altitude_m = ground_track(orbit, UtcGrid(START, 1.0, 1))
    assert latitude_deg[0] == pytest.approx(90.0, abs=1e-6)
    assert altitude_m[0] == pytest.approx(500e3 + EQUATOR_M * FLATTENING, abs=1e-3)


def test_north_is_azimuth_zero_and_east_ninety():
    class Fixed:
        def __init__(self, position_m):
            self.position_m = position_m

        def inertial_m(self, grid):
            # Undo the turn of the Earth.
            angle = sidereal_rad(grid)[0]
            x, y, z = self.position_m
            cosine, sine = math.cos(angle), math.sin(angle)
            return np.array([[cosine * x - sine * y], [sine * x + cosine * y], [z]])

    station, grid = Station(30.0, 20.0), UtcGrid(START, 1.0, 1)
    up, east, north = station.axes[2], station.axes[0], station.axes[1]
    for away, azimuth in ((north, 0.0), (east, 0.5), (-north, 1.0), (-east, 1.5)):
        orbit = Fixed(station.position_m + 1e6 * (away + up))
        assert earth_fixed_m(orbit, grid)[:, 0] == pytest.approx(orbit.position_m)
        seen = view(orbit, station, grid)
        assert seen.elevation_rad[0] == pytest.approx(math.pi / 4)
        turned = (seen.azimuth_rad[0] - azimuth * math.pi + 1.0) % (2 * math.pi) - 1.0
        assert turned == pytest.approx(0.0, abs=1e-9)


def test_an_overhead_pass_of_500_km_lasts_692_seconds():
    # SatQuMA's pass table (500 km, 90 degrees): 692 s from horizon to horizon.
    time_s = np.arange(-400.0, 401.0)
    elevation, range_m = overhead_pass(500e3, time_s)
    assert (elevation > 0.0).sum() == pytest.approx(692, abs=1)
    assert range_m.min() == 500e3
    assert elevation.max() == pytest.approx(math.pi / 2)
    up = elevation > 0.0
    straight_m = slant_range_m(500e3, math.pi / 2 - elevation[up])
    assert range_m[up] == pytest.approx(straight_m, rel=1e-9)


def test_a_lower_pass_culminates_where_it_is_told():
    elevation, range_m = overhead_pass(700e3, np.array([-100.0, 0.0, 100.0]), 0.5)
    assert elevation[1] == pytest.approx(0.5, abs=1e-12)
    assert elevation[0] == pytest.approx(elevation[2])
    assert elevation[0] < 0.5
    radius = EARTH_RADIUS_M + 700e3
    by_cosines = math.sqrt(
        radius**2 - (EARTH_RADIUS_M * math.cos(0.5)) ** 2
    ) - EARTH_RADIUS_M * math.sin(0.5)
    assert range_m[1] == pytest.approx(by_cosines, rel=1e-12)


def test_passes_that_the_grid_cuts():
    grid = UtcGrid(START, 2.0, 7)
    height = np.array([0.3, 0.1, -0.1, -0.3, 0.1, 0.2, 0.25])
    seen = View(height, np.zeros(7), np.full(7, 1e6) - np.arange(7))
    first, second = passes(seen, grid, 0.0)
    assert (first.rise_s, first.whole, first.set_s) == (0.0, False, 3.0)
    assert first.points == slice(0, 2)
    assert (second.set_s, second.whole) == (12.0, False)
    assert second.rise_s == pytest.approx(7.5)
    assert second.min_range_m == 1e6 - 6
    assert passes(seen, grid, 0.5) == []
    with pytest.raises(OrbitError, match=r"shape \(7,\) for a grid of 8"):
        passes(seen, UtcGrid(START, 1.0, 8), 0.0)
    with pytest.raises(ModelRangeError, match="mask"):
        passes(seen, grid, -0.1)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ((LINE1[:-1] + "2", LINE2), "check digit '2', the line gives 1"),
        ((LINE1[:-1], LINE2), "68 characters, not 69"),
        ((LINE2, LINE1), "line 1: begins with '2 '"),
        ((LINE1, LINE2.replace("25544", "25553")), "of two satellites: 25544, 25553"),
        (("", ""), "0 characters"),
        ((LINE1.replace("U", "é"), LINE2), "ASCII"),
    ],
)
def test_damaged_elements_are_refused(lines, reason):
    with pytest.raises(OrbitError, match=reason):
        TwoLineElements(*lines)


def test_elements_without_sgp4_say_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name.startswith("sgp4"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(OrbitError, match=r"scqc\[satellite\]"):
        TwoLineElements(LINE1, LINE2)


def test_old_elements_and_decayed_satellites():
    elements = TwoLineElements(LINE1, LINE2)
    with pytest.raises(ModelRangeError, match=r"age of the elements.*get newer"):
        elements.inertial_m(UtcGrid(START))
    # Strong drag: sgp4 says that it has decayed.
    line = LINE1.replace("38792-4", "99999+0")[:-1]
    digit = sum(int(c) if c.isdigit() else c == "-" for c in line) % 10
    dragged = TwoLineElements(line + str(digit), LINE2)
    with pytest.raises(OrbitError, match="sgp4 at"):
        dragged.inertial_m(UtcGrid(datetime(2020, 1, 5, tzinfo=UTC), 60.0, 1000))


@pytest.mark.parametrize(
    "make",
    [
        lambda: UtcGrid(datetime(2026, 3, 1)),
        lambda: CircularOrbit(5e5, 1.0, 0.0, datetime(2026, 3, 1)),
    ],
)
def test_times_have_a_zone(make):
    with pytest.raises(OrbitError, match="no time zone"):
        make()


@pytest.mark.parametrize(
    ("make", "nearest"),
    [
        (lambda: Station(90.5, 0.0), 90.0),
        (lambda: Station(0.0, -190.0), -180.0),
        (lambda: CircularOrbit(5e4, 1.0, 0.0, START), 1e5),
        (lambda: CircularOrbit(5e5, 4.0, 0.0, START), math.pi),
        (lambda: UtcGrid(START, 1.0, 0), 1.0),
        (lambda: overhead_pass(5e5, np.zeros(1), 2.0), math.pi / 2),
    ],
)
def test_impossible_settings_name_the_nearest_valid_value(make, nearest):
    with pytest.raises(ModelRangeError, match="nearest valid value") as caught:
        make()
    assert caught.value.nearest == nearest
