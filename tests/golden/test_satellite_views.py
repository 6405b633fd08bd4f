"""Satellites over stations, beside skyfield.

The rows were computed with skyfield 1.55 (``load.timescale(builtin=True)``,
``altaz()`` without refraction, ``wgs84.subpoint_of``, ``height_of``) for the elements
that the documentation of sgp4 uses as its example, on 2019-12-09.
"""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from sim_backends.propagation.earth_frame import (
    Station,
    UtcGrid,
)
from sim_backends.propagation.orbit import (
    TwoLineElements,
    ground_track,
    view,
)
from sim_backends.propagation.passes import passes

LINES = (
    "1 25544U 98067A   19343.69339541  .00001764  00000-0  38792-4 0  9991",
    "2 25544  51.6439 211.2001 0007417  17.6667  85.6398 15.50103472202482",
)
DAY = datetime(2019, 12, 9, tzinfo=UTC)
EDINBURGH = Station(55.9, -3.2, 50.0)
NEAR_SYDNEY = Station(-33.0, 151.0, 800.0)
# Time of day [s], elevation [deg], azimuth [deg], range [m].
OVER_EDINBURGH = [
    (0, -32.46629, 214.37750, 7566138.2),
    (3600, -37.32563, 2.13379, 8407801.7),
    (20000, -27.58327, 72.37799, 6728950.9),
    (48175, 10.01540, 217.11683, 1485479.3),
    (48300, 23.41298, 181.89592, 921359.6),
    (48344, 25.61949, 159.38219, 865778.1),
    (48500, 11.40364, 103.62240, 1410187.9),
    (54000, 18.59181, 240.43652, 1076358.5),
    (54122, 39.65441, 179.10321, 632165.3),
    (54300, 11.30428, 109.73207, 1418402.1),
    (59900, 27.60051, 199.56674, 824919.3),
    (65657, 10.11640, 218.04669, 1489635.6),
    (70000, -41.86702, 318.83470, 9125709.7),
    (86399, -51.46797, 36.56874, 10507743.9),
]
OVER_SYDNEY = [
    (0, -67.97782, 170.28633, 12289389.7),
    (3600, -38.22783, 16.25214, 8495968.1),
    (20000, -44.12073, 308.93704, 9431717.3),
    (48500, -71.01732, 313.28602, 12478879.2),
    (54000, -79.49415, 334.23045, 12944657.2),
    (65657, -81.38352, 321.04192, 13017726.4),
    (70000, -44.32297, 58.87940, 9465903.0),
    (86399, -18.76575, 346.05664, 5131164.7),
]
# Time of day [s], latitude [deg], longitude [deg], height [m].
BELOW = [
    (0, -9.01091, -35.64543, 423809.9),
    (3600, 44.99888, 173.83523, 417623.7),
    (20000, 33.11129, 83.35516, 414043.7),
    (48500, 51.62289, 15.32225, 420617.2),
    (54122, 51.79483, -3.09641, 420913.2),
    (70000, 27.16730, -135.47553, 412719.6),
    (86399, 11.96742, 140.84953, 411365.1),
]


# As skyfield's table has it for that day.
UT1_MINUS_UTC_S = -0.1724
BOTH = pytest.mark.parametrize(
    ("station", "rows"), [(EDINBURGH, OVER_EDINBURGH), (NEAR_SYDNEY, OVER_SYDNEY)]
)


def differences(station, rows, ut1_minus_utc_s):
    grid = UtcGrid(DAY, ut1_minus_utc_s=ut1_minus_utc_s)
    seen = view(TwoLineElements(*LINES), station, grid)
    second, elevation_deg, azimuth_deg, range_m = np.array(rows).T
    at = second.astype(int)
    elevation, azimuth = seen.elevation_rad[at], seen.azimuth_rad[at]
    up_deg = np.rad2deg(elevation) - elevation_deg
    # On the sky a step of azimuth is shorter the higher it is.
    across_deg = (np.rad2deg(azimuth) - azimuth_deg) * np.cos(elevation)
    return up_deg, across_deg, seen.range_m[at] - range_m


@BOTH
def test_views_agree_with_skyfield(station, rows):
    up_deg, across_deg, away_m = differences(station, rows, 0.0)
    assert np.abs(up_deg).max() < 0.002
    assert np.abs(away_m).max() < 50.0
    # Without UT1 the station is 46 m off; the satellite comes as near as 632 km.
    assert np.abs(across_deg).max() < 0.006


@BOTH
def test_views_agree_with_skyfield_on_the_turn_of_the_earth(station, rows):
    up_deg, across_deg, away_m = differences(station, rows, UT1_MINUS_UTC_S)
    # Rows have five digits of a degree, one of a metre; skyfield moves the pole.
    assert np.abs(up_deg).max() < 2e-4
    assert np.abs(across_deg).max() < 2e-4
    assert np.abs(away_m).max() < 2.0


def test_ground_track_agrees_with_skyfield():
    track = ground_track(TwoLineElements(*LINES), UtcGrid(DAY))
    second, *wanted = np.array(BELOW).T
    for here, there, tolerance in zip(track, wanted, (0.001, 0.001, 1.0), strict=True):
        assert np.abs(here[second.astype(int)] - there).max() < tolerance


def test_passes_of_a_day():
    grid = UtcGrid(DAY)
    seen = view(TwoLineElements(*LINES), EDINBURGH, grid)
    found = passes(seen, grid, np.deg2rad(10.0))
    assert [p.rise_s for p in found] == pytest.approx(
        [48175, 53933, 59727, 65638], abs=1.01
    )
    assert [p.duration_s for p in found] == pytest.approx([340, 380, 350, 41], abs=1)
    assert np.rad2deg([p.max_elevation_rad for p in found]) == pytest.approx(
        [25.620, 39.654, 27.602, 10.116], abs=0.002
    )
    assert [p.min_range_m for p in found] == pytest.approx(
        [865.8e3, 632.2e3, 824.9e3, 1489.6e3], abs=100.0
    )
    assert all(p.whole for p in found)


def test_state_of_the_sgp4_example():
    # Julian date 2458826.5 + 0.8625, from the documentation of sgp4.
    start = datetime(2019, 12, 9, 22, 42, tzinfo=timezone(timedelta(hours=2)))
    state_m = TwoLineElements(*LINES).inertial_m(UtcGrid(start, 1.0, 1))
    assert state_m[:, 0] == pytest.approx([-6088922.4, -936136.7, -2866440.9], abs=0.06)
