r"""Where a satellite is: two-line elements or a circle, seen from a station.

Two-line elements are propagated by sgp4, a package of the extra ``satellite`` that
needs no network. It gives positions in TEME; Greenwich mean sidereal time (IAU 1982)
turns them to the rotating Earth, and the station stands on the WGS-84 ellipsoid. Left
out are polar motion (10 m) and refraction, which lifts the horizon by half a degree
but 20 degrees of elevation by less than 0.05. UT1 - UTC, in which the equator turns by
80 m in most years, is a setting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import OrbitError
from sim_backends.propagation.earth_frame import (
    EQUATOR_M,
    FLATTENING,
    Station,
    UtcGrid,
    sidereal_rad,
)
from sim_backends.propagation.geometry import EARTH_RADIUS_M, seen_from_below
from sim_backends.propagation.ranges import Floats, within

GM_M3_PER_S2 = 3.986004418e14

_LINE_LENGTH = 69
# Beyond these a set of elements says little about where the satellite is [days].
ELEMENTS_LAST_DAYS = 30.0


class Orbit(Protocol):
    """A satellite's way."""

    def inertial_m(self, grid: UtcGrid) -> Floats:
        """Return positions in the frame of the true equator.

        Parameters
        ----------
        grid : UtcGrid

        Returns
        -------
        ndarray, shape (3, count), float64 [m]
        """
        ...


class TwoLineElements:
    """A satellite by its two-line elements.

    Parameters
    ----------
    line1, line2 : str
        Of 69 characters, with their check digits.
    max_age_days : float
        How far from their epoch the elements are used [days].

    Raises
    ------
    OrbitError
        If sgp4 is not installed, a line is damaged, or the lines are of two
        satellites.
    """

    def __init__(
        self, line1: str, line2: str, max_age_days: float = ELEMENTS_LAST_DAYS
    ) -> None:
        lines = line1.rstrip(), line2.rstrip()
        for number, line in enumerate(lines, start=1):
            _check_line(number, line)
        if lines[0][2:7] != lines[1][2:7]:
            raise OrbitError(
                f"two-line elements of two satellites: {lines[0][2:7]}, {lines[1][2:7]}"
            )
        self._sgp4 = _sgp4()
        try:
            self._elements = self._sgp4.Satrec.twoline2rv(*lines)
        except ValueError as error:
            raise OrbitError(f"two-line elements: {error}") from error
        self._max_age_days = max_age_days

    @property
    def epoch_jd(self) -> float:
        """Julian date (UTC) of the elements [days]."""
        return float(self._elements.jdsatepoch + self._elements.jdsatepochF)

    def inertial_m(self, grid: UtcGrid) -> Floats:
        """Return positions in TEME.

        Parameters
        ----------
        grid : UtcGrid

        Returns
        -------
        ndarray, shape (3, count), float64 [m]

        Raises
        ------
        ModelRangeError
            If a time is farther from the epoch than `max_age_days`.
        OrbitError
            If sgp4 gives up, for example because the satellite has decayed.
        """
        day, rest = grid.julian_date
        age_days = (day - self.epoch_jd) + rest[[0, -1]]
        limits = (-self._max_age_days, self._max_age_days)
        within("age of the elements [days]", age_days, limits, "get newer elements")
        found, r_km, _ = self._elements.sgp4_array(np.full(grid.count, day), rest)
        if found.any():
            first = int(np.flatnonzero(found)[0])
            reason = self._sgp4.SGP4_ERRORS.get(int(found[first]), "unknown")
            raise OrbitError(f"sgp4 at {grid.offset_s[first]:g} s: {reason}")
        return np.ascontiguousarray(1e3 * r_km.T)


@dataclass(frozen=True)
class CircularOrbit:
    """A circle around the centre of the Earth, without perturbations.

    Parameters
    ----------
    altitude_m : float
        Above the equatorial radius [m].
    inclination_rad : float
    node_rad : float
        Right ascension of the ascending node [rad].
    epoch : datetime
        When the satellite is at `phase_rad`, with its time zone.
    phase_rad : float
        Angle from the ascending node at the epoch [rad].

    Raises
    ------
    ModelRangeError
        If the altitude is not 100 km to 1e9 m, or the inclination not 0 to pi.
    """

    altitude_m: float
    inclination_rad: float
    node_rad: float
    epoch: datetime
    phase_rad: float = 0.0

    def __post_init__(self) -> None:
        within("altitude of an orbit [m]", self.altitude_m, (1e5, 1e9))
        within("inclination [rad]", self.inclination_rad, (0.0, math.pi))
        if self.epoch.tzinfo is None:
            raise OrbitError(f"epoch {self.epoch}: no time zone; UTC is meant?")

    @property
    def rate_rad_per_s(self) -> float:
        """Angular velocity [rad/s]."""
        return math.sqrt(GM_M3_PER_S2 / (EQUATOR_M + self.altitude_m) ** 3)

    def inertial_m(self, grid: UtcGrid) -> Floats:
        """Return positions in the frame of the true equator.

        Parameters
        ----------
        grid : UtcGrid

        Returns
        -------
        ndarray, shape (3, count), float64 [m]
        """
        since_s = (grid.start - self.epoch).total_seconds() + grid.offset_s
        along = self.phase_rad + self.rate_rad_per_s * since_s
        x, y = np.cos(along), np.sin(along)
        cos_node, sin_node = math.cos(self.node_rad), math.sin(self.node_rad)
        level = y * math.cos(self.inclination_rad)
        unit = np.stack(
            [
                x * cos_node - level * sin_node,
                x * sin_node + level * cos_node,
                y * math.sin(self.inclination_rad),
            ]
        )
        return np.asarray((EQUATOR_M + self.altitude_m) * unit)


class View(NamedTuple):
    """What a station sees of a satellite.

    Parameters
    ----------
    elevation_rad : ndarray, shape (n,), float64 [rad]
        Without refraction; negative below the horizon.
    azimuth_rad : ndarray, shape (n,), float64 [rad]
        From north over east, 0 to 2 pi.
    range_m : ndarray, shape (n,), float64 [m]
    """

    elevation_rad: Floats
    azimuth_rad: Floats
    range_m: Floats


def earth_fixed_m(orbit: Orbit, grid: UtcGrid) -> Floats:
    """Return positions in the frame that turns with the Earth.

    Returns
    -------
    ndarray, shape (3, count), float64 [m]
    """
    x, y, z = orbit.inertial_m(grid)
    angle = sidereal_rad(grid)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack([cosine * x + sine * y, cosine * y - sine * x, z])


def view(orbit: Orbit, station: Station, grid: UtcGrid) -> View:
    """Return elevation, azimuth and range of a satellite over a station."""
    away_m = earth_fixed_m(orbit, grid) - station.position_m[:, None]
    east_m, north_m, up_m = station.axes @ away_m
    level_m = np.hypot(east_m, north_m)
    azimuth = np.arctan2(east_m, north_m) % (2.0 * math.pi)
    return View(np.arctan2(up_m, level_m), azimuth, np.hypot(level_m, up_m))


def ground_track(orbit: Orbit, grid: UtcGrid) -> tuple[Floats, Floats, Floats]:
    """Return the points below a satellite.

    Returns
    -------
    latitude_deg, longitude_deg : ndarray, shape (count,), float64 [deg]
        Geodetic; longitudes within -180 to 180.
    altitude_m : ndarray, shape (count,), float64 [m]
        Above the ellipsoid.
    """
    x, y, z = earth_fixed_m(orbit, grid)
    level_m = np.hypot(x, y)
    squash = FLATTENING * (2.0 - FLATTENING)
    latitude = np.arctan2(z, level_m * (1.0 - squash))
    # Each round gains a factor of 150 and more for anything in orbit.
    for _ in range(6):
        normal_m = EQUATOR_M / np.sqrt(1.0 - squash * np.sin(latitude) ** 2)
        latitude = np.arctan2(z + squash * normal_m * np.sin(latitude), level_m)
    normal_m = EQUATOR_M / np.sqrt(1.0 - squash * np.sin(latitude) ** 2)
    # Holds at the poles too, where level / cos(latitude) does not.
    altitude_m = level_m * np.cos(latitude) + z * np.sin(latitude)
    altitude_m = altitude_m - EQUATOR_M**2 / normal_m
    return np.rad2deg(latitude), np.rad2deg(np.arctan2(y, x)), altitude_m


def overhead_pass(
    altitude_m: float,
    time_s: NDArray[np.float64],
    max_elevation_rad: float = math.pi / 2,
) -> tuple[Floats, Floats]:
    """Return a pass of a circular orbit over a round Earth that stands still.

    Parameters
    ----------
    altitude_m : float
        Above the mean radius [m].
    time_s : ndarray, shape (n,), float64 [s]
        Since culmination.
    max_elevation_rad : float
        At culmination [rad].

    Returns
    -------
    elevation_rad : ndarray, shape (n,), float64 [rad]
        Negative below the horizon.
    range_m : ndarray, shape (n,), float64 [m]

    Raises
    ------
    ModelRangeError
        If the altitude is not 100 km to 1e9 m, or the elevation not 0 to 90 degrees.
    """
    within("altitude of an orbit [m]", altitude_m, (1e5, 1e9))
    within("elevation at culmination [rad]", max_elevation_rad, (0.0, 0.5 * math.pi))
    radius_m = EARTH_RADIUS_M + altitude_m
    nearest = (
        math.acos(EARTH_RADIUS_M / radius_m * math.cos(max_elevation_rad))
        - max_elevation_rad
    )
    along = math.sqrt(GM_M3_PER_S2 / radius_m**3) * np.asarray(time_s)
    # Versines: acos of a cosine near 1 would lose the culmination's digits.
    half = np.sin(0.5 * along) ** 2 * math.cos(nearest) + math.sin(0.5 * nearest) ** 2
    return seen_from_below(2.0 * np.arcsin(np.sqrt(half)), altitude_m)


def _check_line(number: int, line: str) -> None:
    name = f"two-line elements, line {number}"
    if len(line) != _LINE_LENGTH or not line.isascii():
        raise OrbitError(f"{name}: {len(line)} characters, not {_LINE_LENGTH} of ASCII")
    if line[:2] != f"{number} ":
        raise OrbitError(f"{name}: begins with {line[:2]!r}, not '{number} '")
    digit = sum(int(c) if c.isdigit() else c == "-" for c in line[:-1]) % 10
    if line[-1] != str(digit):
        raise OrbitError(f"{name}: check digit {line[-1]!r}, the line gives {digit}")


def _sgp4() -> Any:
    try:
        from sgp4 import api
    except ImportError as error:
        raise OrbitError(
            "two-line elements need sgp4: `pip install 'scqc[satellite]'`; a circular "
            "orbit does not"
        ) from error
    return api
