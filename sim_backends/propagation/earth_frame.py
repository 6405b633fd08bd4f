"""The frame that turns with the Earth: time, sidereal time, stations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from scqc.core.errors import OrbitError
from sim_backends.propagation.ranges import Floats, positive, within

# WGS-84: equatorial radius and flattening.
EQUATOR_M = 6_378_137.0
FLATTENING = 1.0 / 298.257223563

_DAY_S = 86_400.0
_UNIX_EPOCH_JD = 2_440_587.5
_J2000_JD = 2_451_545.0


@dataclass(frozen=True)
class UtcGrid:
    """Evenly spaced points of time.

    Parameters
    ----------
    start : datetime
        With its time zone.
    step_s : float
    count : int
        Points [1].
    ut1_minus_utc_s : float
        How far the Earth's turn is ahead of the clock, as the IERS publishes it; 0 is
        good to 80 m in most years [s].

    Raises
    ------
    ModelRangeError
        If the step is not positive, there is no point, or UT1 - UTC beyond 0.9 s.
    OrbitError
        If the start has no time zone.
    """

    start: datetime
    step_s: float = 1.0
    count: int = 86_400
    ut1_minus_utc_s: float = 0.0

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise OrbitError(f"start {self.start}: no time zone; UTC is meant?")
        positive("step of time [s]", self.step_s)
        within("points of time", self.count, (1, 10_000_000))
        within("UT1 - UTC [s]", self.ut1_minus_utc_s, (-0.9, 0.9))

    @property
    def offset_s(self) -> Floats:
        """Time since the start, shape (count,), float64 [s]."""
        return np.arange(self.count, dtype=np.float64) * self.step_s

    @property
    def julian_date(self) -> tuple[float, Floats]:
        """Julian date (UTC): a day, and the rest, shape (count,), float64 [days]."""
        start = self.start.astimezone(UTC)
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
        since_epoch = midnight - datetime(1970, 1, 1, tzinfo=UTC)
        of_day_s = (start - midnight).total_seconds()
        return _UNIX_EPOCH_JD + since_epoch.days, (of_day_s + self.offset_s) / _DAY_S


@dataclass(frozen=True)
class Station:
    """A place on the WGS-84 ellipsoid.

    Parameters
    ----------
    latitude_deg, longitude_deg : float
        Geodetic; north and east are positive [deg].
    altitude_m : float
        Above the ellipsoid [m].

    Raises
    ------
    ModelRangeError
        If an angle or the height is impossible.
    """

    latitude_deg: float
    longitude_deg: float
    altitude_m: float = 0.0

    def __post_init__(self) -> None:
        within("latitude [deg]", self.latitude_deg, (-90.0, 90.0))
        within("longitude [deg]", self.longitude_deg, (-180.0, 360.0))
        within("altitude of the station [m]", self.altitude_m, (-500.0, 1e5))

    @property
    def position_m(self) -> Floats:
        """Place in the rotating frame, shape (3,), float64 [m]."""
        latitude, longitude = map(math.radians, (self.latitude_deg, self.longitude_deg))
        squash = FLATTENING * (2.0 - FLATTENING)
        normal_m = EQUATOR_M / math.sqrt(1.0 - squash * math.sin(latitude) ** 2)
        across_m = (normal_m + self.altitude_m) * math.cos(latitude)
        up_m = (normal_m * (1.0 - squash) + self.altitude_m) * math.sin(latitude)
        return np.array(
            [across_m * math.cos(longitude), across_m * math.sin(longitude), up_m]
        )

    @property
    def axes(self) -> Floats:
        """East, north and up as rows, shape (3, 3), float64 [1]."""
        latitude, longitude = map(math.radians, (self.latitude_deg, self.longitude_deg))
        sin_lat, cos_lat = math.sin(latitude), math.cos(latitude)
        sin_lon, cos_lon = math.sin(longitude), math.cos(longitude)
        return np.array(
            [
                [-sin_lon, cos_lon, 0.0],
                [-sin_lat * cos_lon, -sin_lat * sin_lon, cos_lat],
                [cos_lat * cos_lon, cos_lat * sin_lon, sin_lat],
            ]
        )


def sidereal_rad(grid: UtcGrid) -> Floats:
    """Return Greenwich mean sidereal time (IAU 1982), 0 to 2 pi.

    Returns
    -------
    ndarray, shape (count,), float64 [rad]
    """
    day, rest = grid.julian_date
    rest = rest + grid.ut1_minus_utc_s / _DAY_S
    # The two parts apart: a Julian date as one number is good to 40 us only.
    whole, part = (day - _J2000_JD) / 36_525.0, rest / 36_525.0
    t = whole + part
    turns_s = 876_600.0 * 3600.0
    seconds = (
        math.fmod(67_310.54841 + turns_s * whole, _DAY_S)
        + turns_s * part
        + (8_640_184.812866 + (0.093104 - 6.2e-6 * t) * t) * t
    )
    return np.asarray(np.mod(seconds, _DAY_S) * (2.0 * math.pi / _DAY_S))
