r"""Where the Sun stands, seen from a station.

Mean longitude and anomaly, equation of the centre to second order: right to 0.01
degrees from 1950 to 2050 (The Astronomical Almanac, section C, low-precision formulas).
Elevations are geometric; refraction lifts the Sun by half a degree at the horizon.
"""

from __future__ import annotations

import math

import numpy as np

from sim_backends.propagation.earth_frame import Station, UtcGrid, sidereal_rad
from sim_backends.propagation.ranges import Floats, within

_J2000_JD = 2_451_545.0
#: Days from 2000 for which the formulas are given, 1950 to 2050.
_REACH_DAYS = 18_263.0


def sun_elevation_rad(grid: UtcGrid, station: Station) -> Floats:
    """Return the elevation of the Sun's centre, -pi/2 to pi/2.

    Parameters
    ----------
    grid : UtcGrid
        Between 1950 and 2050.
    station : Station

    Returns
    -------
    ndarray, shape (count,), float64 [rad]

    Raises
    ------
    ModelRangeError
        If a time is outside the formulas' range.
    """
    day, rest = grid.julian_date
    days = (day - _J2000_JD) + rest
    why = "the formulas are those of 1950 to 2050"
    within("days from 2000 [d]", days, (-_REACH_DAYS, _REACH_DAYS), why)
    anomaly = np.radians(357.528 + 0.9856003 * days)
    longitude = np.radians(
        280.460
        + 0.9856474 * days
        + 1.915 * np.sin(anomaly)
        + 0.020 * np.sin(2.0 * anomaly)
    )
    tilt = np.radians(23.439 - 4e-7 * days)
    ascension = np.arctan2(np.cos(tilt) * np.sin(longitude), np.cos(longitude))
    sine = np.sin(tilt) * np.sin(longitude)
    hour = sidereal_rad(grid) + math.radians(station.longitude_deg) - ascension
    latitude = math.radians(station.latitude_deg)
    across = np.sqrt(1.0 - sine**2)
    up = math.sin(latitude) * sine + math.cos(latitude) * across * np.cos(hour)
    return np.asarray(np.arcsin(np.clip(up, -1.0, 1.0)))
