r"""Straight lines over a round Earth: ranges, heights, horizons.

The Earth is a sphere of mean radius 6371 km and light goes straight. A station at
radius :math:`r_0` sees a point at radius :math:`r_1` under the zenith angle
:math:`\theta` at the distance

.. math:: z = \sqrt{r_1^2 - r_0^2 \sin^2\theta} - r_0 \cos\theta .

Orbits over the ellipsoid are in `orbit`; bending of the ray is in the slant paths
through the atmosphere.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from sim_backends.propagation.ranges import Floats, within

EARTH_RADIUS_M = 6.371e6
_HALF_TURN = 0.5 * math.pi
_HIGHEST_M = 1e9


def horizon_dip_rad(station_altitude_m: ArrayLike) -> Floats:
    """Return how far the horizon lies below the horizontal.

    Parameters
    ----------
    station_altitude_m : array_like
        Any shape; above the sphere [m].

    Returns
    -------
    ndarray, shape of the argument, float64 [rad]

    Raises
    ------
    ModelRangeError
        If the station is below the surface.
    """
    height_m = _height("altitude of the station", station_altitude_m)
    # acos(R / (R + h)) loses half its digits for low stations.
    return np.asarray(
        np.arctan2(
            np.sqrt(height_m * (2.0 * EARTH_RADIUS_M + height_m)), EARTH_RADIUS_M
        )
    )


def slant_range_m(
    altitude_m: ArrayLike, zenith_rad: ArrayLike, station_altitude_m: ArrayLike = 0.0
) -> Floats:
    """Return the distance to a point of given height under a zenith angle.

    Parameters
    ----------
    altitude_m : array_like
        Height of the far end above the sphere, not below the station [m].
    zenith_rad : array_like
        Zenith angle at the station; broadcasts with the heights [rad].
    station_altitude_m : array_like
        Height of the station above the sphere [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [m]

    Raises
    ------
    ModelRangeError
        If the line of sight goes below the horizon, or the far end is below the
        station; names the limit.
    """
    low_m = _height("altitude of the station", station_altitude_m)
    high_m = _height("altitude", altitude_m)
    within("altitude above the station [m]", high_m - low_m, (0.0, 1e9))
    zenith = line_of_sight(zenith_rad, low_m)
    near_m, far_m = EARTH_RADIUS_M + low_m, EARTH_RADIUS_M + high_m
    along_m = near_m * np.cos(zenith)
    # (r1 - r0)(r1 + r0) instead of r1^2 - r0^2: no digits lost for low links.
    gained = (far_m - near_m) * (far_m + near_m)
    root_m = np.sqrt(gained + along_m**2)
    upward = along_m >= 0.0
    # Either form cancels on one side of the horizontal.
    total_m = np.where(upward, root_m + along_m, 1.0)
    return np.where(
        upward, gained / np.where(total_m > 0, total_m, 1.0), root_m - along_m
    )


def line_of_sight(zenith_rad: ArrayLike, station_altitude_m: ArrayLike) -> Floats:
    """Return zenith angles, none of them below the station's horizon.

    Parameters
    ----------
    zenith_rad, station_altitude_m : array_like
        Shapes that broadcast [rad], [m].

    Returns
    -------
    ndarray, shape of `zenith_rad`, float64 [rad]

    Raises
    ------
    ModelRangeError
        If an angle is negative or below the horizon.
    """
    zenith = np.asarray(zenith_rad, dtype=np.float64)
    why = "below the horizon nothing is seen"
    angle, lowest = np.broadcast_arrays(
        zenith, _HALF_TURN + horizon_dip_rad(station_altitude_m)
    )
    if not angle.size:
        return zenith
    # Each station has its own horizon: the angle farthest below its own is reported.
    worst = np.unravel_index(np.argmax(angle - lowest), angle.shape)
    within("zenith angle [rad]", angle[worst], (0.0, float(lowest[worst])), why)
    within("zenith angle [rad]", zenith, (0.0, math.inf), why)
    return zenith


def altitude_on_path_m(
    distance_m: ArrayLike, zenith_rad: ArrayLike, station_altitude_m: ArrayLike = 0.0
) -> Floats:
    """Return the height of a point on a straight line from a station.

    Parameters
    ----------
    distance_m : array_like
        From the station along the line [m].
    zenith_rad : array_like
        Zenith angle at the station; broadcasts with the distance [rad].
    station_altitude_m : array_like
        Height of the station above the sphere [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [m]
    """
    y_m = np.asarray(distance_m, dtype=np.float64)
    low_m = np.asarray(station_altitude_m, dtype=np.float64)
    near_m = EARTH_RADIUS_M + low_m
    gained = y_m * (y_m + 2.0 * near_m * np.cos(zenith_rad))
    # r - r0 = (r^2 - r0^2) / (r + r0): heights of metres stay exact.
    return np.asarray(low_m + gained / (np.sqrt(near_m**2 + gained) + near_m))


def zenith_of_range_rad(
    range_m: ArrayLike, altitude_m: ArrayLike, station_altitude_m: ArrayLike = 0.0
) -> Floats:
    """Return the zenith angle under which a height is seen at a distance.

    Parameters
    ----------
    range_m : array_like
        Distance from the station [m].
    altitude_m, station_altitude_m : array_like
        Heights of the far end and of the station [m]; all broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [rad]

    Raises
    ------
    ModelRangeError
        If the height is not reached at that distance above the horizon.
    """
    low_m = _height("altitude of the station", station_altitude_m)
    high_m = _height("altitude", altitude_m)
    z_m = within("slant range [m]", range_m, (1e-6, 2e9))
    near_m, far_m = EARTH_RADIUS_M + low_m, EARTH_RADIUS_M + high_m
    gained = (far_m - near_m) * (far_m + near_m)
    cosine = (gained - z_m**2) / (2.0 * near_m * z_m)
    # Straight up the quotient may exceed 1 by the rounding of its parts.
    why = f"no point {float(np.max(high_m)):.6g} m high is that far away"
    within("cosine of the zenith angle [1]", cosine, (-1.0, 1.0 + 1e-9), why)
    # So it may fall below 0 at the horizon, which a station on the ground does not see.
    cosine = np.where(np.abs(cosine) < 1e-12, 0.0, np.minimum(cosine, 1.0))
    return line_of_sight(np.arccos(cosine), low_m)


def seen_from_below(
    central_angle_rad: ArrayLike, altitude_m: ArrayLike
) -> tuple[Floats, Floats]:
    """Return elevation and distance of a point a central angle away from the station.

    Parameters
    ----------
    central_angle_rad : array_like
        Angle at the Earth's centre between station and far end [rad].
    altitude_m : array_like
        Height of the far end above the sphere [m]; both broadcast.

    Returns
    -------
    elevation_rad : ndarray, broadcast shape, float64 [rad]
        Negative below the horizon.
    range_m : ndarray, broadcast shape, float64 [m]
    """
    angle = np.asarray(central_angle_rad, dtype=np.float64)
    far_m = EARTH_RADIUS_M + _height("altitude", altitude_m)
    across_m = far_m * np.sin(angle)
    up_m = far_m * np.cos(angle) - EARTH_RADIUS_M
    return np.arctan2(up_m, np.abs(across_m)), np.hypot(across_m, up_m)


def _height(name: str, height_m: ArrayLike) -> Floats:
    return within(f"{name} [m]", height_m, (0.0, _HIGHEST_M))
