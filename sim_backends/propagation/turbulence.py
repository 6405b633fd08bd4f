r"""Turbulence: its strength over height, and what a path through it does to a wave.

A path is a set of quadrature nodes with the strength :math:`C_n^2 dy` at each, so
that every integral of the literature is one weighted sum. Distances on a slant path
count from its lower end, whichever way the light goes.

Formulas as in Andrews and Phillips, Laser Beam Propagation through Random Media
(2005), chapters 6, 8 and 12, in Kolmogorov turbulence without inner or outer scale.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from sim_backends.propagation.extinction import SECANT_LIMIT_RAD
from sim_backends.propagation.geometry import altitude_on_path_m, slant_range_m
from sim_backends.propagation.ranges import Floats, legendre_nodes, positive, within

Direction = Literal["downlink", "uplink"]

# Rytov variance up to which perturbation theory holds.
WEAK_LIMIT = 1.0
_NODES_PER_PANEL = 16
_QUARTER_TURN = 0.5 * math.pi


class Profile(Protocol):
    """Strength of turbulence over height."""

    @property
    def panels_m(self) -> tuple[float, ...]:
        """Heights between which the profile is smooth, from bottom to top [m]."""
        ...

    def cn2(self, altitude_m: ArrayLike) -> Floats:
        """Return Cn2 [m^(-2/3)], shape of `altitude_m` [m], float64."""
        ...


@dataclass(frozen=True)
class HufnagelValley:
    """The Hufnagel-Valley profile.

    0.00594 (v/27)^2 (1e-5 h)^10 e^(-h/1000) + 2.7e-16 e^(-h/1500) + A e^(-h/100).
    The defaults are HV-5/7: r0 = 5 cm and theta0 = 7 urad at 500 nm. Some codes have
    A (1+h)^(-4/3) as last term under the same name; this one has not.

    Parameters
    ----------
    wind_m_per_s : float
        Root mean square wind at 5 to 20 km [m/s].
    ground_cn2 : float
        A [m^(-2/3)].

    Raises
    ------
    ModelRangeError
        If a parameter is negative.
    """

    wind_m_per_s: float = 21.0
    ground_cn2: float = 1.7e-14
    panels_m: tuple[float, ...] = (
        *(0.0, 150.0, 500.0, 1500.0, 4000.0),
        *(8000.0, 12000.0, 18000.0, 30000.0),
    )

    def __post_init__(self) -> None:
        within("wind [m/s]", self.wind_m_per_s, (0.0, 200.0))
        within("Cn2 at the ground [m^-2/3]", self.ground_cn2, (0.0, 1e-10))

    def cn2(self, altitude_m: ArrayLike) -> Floats:
        """Return the structure constant.

        Parameters
        ----------
        altitude_m : array_like
            Height above sea level [m].

        Returns
        -------
        ndarray, shape of the argument, float64 [m^(-2/3)]
        """
        h_m = np.asarray(altitude_m, dtype=np.float64)
        aloft = 0.00594 * (self.wind_m_per_s / 27.0) ** 2 * (1e-5 * h_m) ** 10
        return np.asarray(
            aloft * np.exp(-h_m / 1000.0)
            + 2.7e-16 * np.exp(-h_m / 1500.0)
            + self.ground_cn2 * np.exp(-h_m / 100.0)
        )


HV_57 = HufnagelValley()
# A windy day, as Pirandola, PRR 3, 023130 (2021), has it.
HV_DAY = HufnagelValley(wind_m_per_s=57.0, ground_cn2=2.75e-14)


@dataclass(frozen=True)
class TabulatedProfile:
    """A measured profile; between rows ln Cn2 is linear.

    Parameters
    ----------
    altitude_m : tuple of float
        Rising, from the lowest station to where turbulence ends [m].
    strength : tuple of float
        Cn2 per height, above zero [m^(-2/3)].

    Raises
    ------
    ModelRangeError
        If heights do not rise, or a strength is not positive.
    """

    altitude_m: tuple[float, ...]
    strength: tuple[float, ...]

    def __post_init__(self) -> None:
        rows = len(self.strength)
        within("rows of a Cn2 table", rows, (2, math.inf))
        within("heights of a Cn2 table", len(self.altitude_m), (rows, rows))
        positive("steps of a Cn2 table [m]", np.diff(self.altitude_m))
        positive("Cn2 of a table [m^-2/3]", self.strength)

    @property
    def panels_m(self) -> tuple[float, ...]:
        """Heights of the rows [m]."""
        return self.altitude_m

    def cn2(self, altitude_m: ArrayLike) -> Floats:
        """Return the structure constant.

        Parameters
        ----------
        altitude_m : array_like
            Height above sea level [m].

        Returns
        -------
        ndarray, shape of the argument, float64 [m^(-2/3)]

        Raises
        ------
        ModelRangeError
            Outside the rows.
        """
        low_m, high_m = self.altitude_m[0], self.altitude_m[-1]
        slack_m = 1e-9 * (high_m - low_m)
        limits = (low_m - slack_m, high_m + slack_m)
        h_m = within("Cn2 table: altitude [m]", altitude_m, limits)
        return np.exp(np.interp(h_m, self.altitude_m, np.log(self.strength)))


@dataclass(frozen=True, eq=False)
class TurbulentPath:
    """Quadrature of turbulence along a path.

    Parameters
    ----------
    distance_m : ndarray, shape (..., n), float64 [m]
        Nodes, from the lower end.
    strength : ndarray, shape (..., n), float64 [m^(1/3)]
        Cn2 times the length that the node stands for.
    length_m : ndarray, shape (...), float64 [m]
        Of the whole path, air or vacuum.
    """

    distance_m: Floats
    strength: Floats
    length_m: Floats

    def moment(self, power: float) -> Floats:
        """Return the integral of Cn2 y^power, y from the lower end.

        Returns
        -------
        ndarray, shape (...), float64 [m^(1/3 + power)]
        """
        return np.asarray(np.sum(self.strength * self.distance_m**power, axis=-1))

    def far_moment(self, power: float) -> Floats:
        """Return the integral of Cn2 (z - y)^power, from the upper end.

        Returns
        -------
        ndarray, shape (...), float64 [m^(1/3 + power)]
        """
        rest_m = self.length_m[..., None] - self.distance_m
        return np.asarray(np.sum(self.strength * rest_m**power, axis=-1))


def slant_path(
    profile: Profile,
    zenith_rad: ArrayLike,
    altitude_m: ArrayLike,
    station_altitude_m: float = 0.0,
    flat: bool = False,
) -> TurbulentPath:
    """Return the path from a station to a height above it.

    Parameters
    ----------
    profile : Profile
    zenith_rad, altitude_m : array_like
        Zenith angle at the station [rad] and height of the upper end [m]; they
        broadcast.
    station_altitude_m : float
    flat : bool
        Distances as height x sec(z) inside the air, as most papers have it, up to 80
        degrees; else straight lines over a round Earth, to the horizon.

    Returns
    -------
    TurbulentPath

    Raises
    ------
    ModelRangeError
        If the line of sight is outside the model, or the station outside the profile.
    """
    steepest = SECANT_LIMIT_RAD * (1.0 + 1e-12) if flat else _QUARTER_TURN
    zenith = within("turbulence: zenith angle [rad]", zenith_rad, (0.0, steepest))
    length_m = slant_range_m(altitude_m, zenith, station_altitude_m)
    zenith = np.broadcast_to(zenith, length_m.shape)
    bottom_m, top_m = profile.panels_m[0], profile.panels_m[-1]
    below = math.nextafter(top_m, bottom_m)
    within("turbulence: station altitude [m]", station_altitude_m, (bottom_m, below))
    inner = [edge for edge in profile.panels_m if edge > station_altitude_m]
    far_m = np.asarray(altitude_m, dtype=np.float64)[..., None]
    ends_m = np.minimum(np.array([station_altitude_m, *inner]), far_m)
    if flat:
        edges_m = (ends_m - station_altitude_m) / np.cos(zenith)[..., None]
    else:
        edges_m = slant_range_m(ends_m, zenith[..., None], station_altitude_m)
    x, weight = legendre_nodes(_NODES_PER_PANEL)
    half_m = 0.5 * np.diff(edges_m)[..., None]
    y_m = (edges_m[..., :-1, None] + half_m * (x + 1.0)).reshape(*length_m.shape, -1)
    dy_m = (half_m * weight).reshape(y_m.shape)
    if flat:
        height_m = station_altitude_m + y_m * np.cos(zenith)[..., None]
    else:
        height_m = altitude_on_path_m(y_m, zenith[..., None], station_altitude_m)
    return TurbulentPath(y_m, profile.cn2(height_m) * dy_m, length_m)


def horizontal_path(cn2: ArrayLike, length_m: ArrayLike) -> TurbulentPath:
    """Return a level path through turbulence of one strength.

    Parameters
    ----------
    cn2, length_m : array_like
        Structure constant [m^(-2/3)] and length [m]; they broadcast.

    Returns
    -------
    TurbulentPath

    Raises
    ------
    ModelRangeError
        If a strength is negative, or a length not positive.
    """
    strength = within("Cn2 [m^-2/3]", cn2, (0.0, 1e-10))
    strength, z_m = np.broadcast_arrays(strength, positive("length [m]", length_m))
    # y = z u^6: powers of y in sixths, of either end, stay smooth enough.
    x, weight = legendre_nodes(4 * _NODES_PER_PANEL)
    u, du = 0.5 * (x + 1.0), 0.5 * weight
    y_m = z_m[..., None] * u**6
    dy_m = z_m[..., None] * 6.0 * u**5 * du
    return TurbulentPath(y_m, strength[..., None] * dy_m, np.array(z_m))


def fried_m(path: TurbulentPath, wavelength_m: ArrayLike) -> Floats:
    """Return Fried's parameter r0 of a plane wave that comes down.

    [0.423 k^2 int Cn2 dy]^(-3/5).

    Parameters
    ----------
    path : TurbulentPath
    wavelength_m : array_like
        Broadcasts with the path [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [m]
    """
    return np.asarray((0.423 * _k(wavelength_m) ** 2 * path.moment(0.0)) ** -0.6)


def isoplanatic_rad(path: TurbulentPath, wavelength_m: ArrayLike) -> Floats:
    """Return the isoplanatic angle [2.914 k^2 int Cn2 y^(5/3) dy]^(-3/5).

    Parameters
    ----------
    path : TurbulentPath
    wavelength_m : array_like
        Broadcasts with the path [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [rad]
    """
    integral = path.moment(5.0 / 3.0)
    return np.asarray((2.914 * _k(wavelength_m) ** 2 * integral) ** -0.6)


def rytov_variance(path: TurbulentPath, wavelength_m: ArrayLike) -> Floats:
    """Return the Rytov variance of a plane wave that comes down.

    2.25 k^(7/6) int Cn2 y^(5/6) dy; on a level path 1.23 Cn2 k^(7/6) z^(11/6).

    Parameters
    ----------
    path : TurbulentPath
    wavelength_m : array_like
        Broadcasts with the path [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [1]
    """
    k = _k(wavelength_m)
    return np.asarray(2.25 * k ** (7.0 / 6.0) * path.moment(5.0 / 6.0))


def weak(rytov: ArrayLike, limit: float = WEAK_LIMIT) -> Floats:
    """Return Rytov variances, all of them of weak turbulence.

    Parameters
    ----------
    rytov : array_like
        Any shape [1].
    limit : float
        Up to which the caller's model holds [1].

    Returns
    -------
    ndarray, shape of `rytov`, float64 [1]

    Raises
    ------
    ModelRangeError
        If one exceeds the limit: log-normal statistics do not hold there.
    """
    return within("weak turbulence: Rytov variance [1]", rytov, (0.0, limit))


def spherical_coherence_m(
    path: TurbulentPath, wavelength_m: ArrayLike, direction: Direction
) -> Floats:
    r"""Return the coherence radius that spreads a beam.

    :math:`\rho_0 = [1.46 k^2 \int C_n^2 (1 - \xi/z)^{5/3} d\xi]^{-3/5}` with
    :math:`\xi` from the *transmitter*: turbulence far from the sender has no lever
    left. With the weight reversed a downlink of 1700 km would get a spot of 40 m.

    Parameters
    ----------
    path : TurbulentPath
    wavelength_m : array_like
        Broadcasts with the path [m].
    direction : {"downlink", "uplink"}
        An uplink starts at the lower end; on a level path both are the same.

    Returns
    -------
    ndarray, broadcast shape, float64 [m]
    """
    power = 5.0 / 3.0
    lever = path.moment(power) if is_down(direction) else path.far_moment(power)
    lever = lever / path.length_m**power
    return np.asarray((1.46 * _k(wavelength_m) ** 2 * lever) ** -0.6)


def is_down(direction: Direction) -> bool:
    """Return whether light goes from the upper end to the lower one.

    Raises
    ------
    ValueError
        If the direction has another name.
    """
    if direction not in ("downlink", "uplink"):
        raise ValueError(f"direction = {direction!r}: 'downlink' or 'uplink'")
    return direction == "downlink"


def _k(wavelength_m: ArrayLike) -> Floats:
    return 2.0 * math.pi / positive("wavelength [m]", wavelength_m)
