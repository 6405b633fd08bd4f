r"""Bent rays: a spherical atmosphere in layers of constant refractive index.

In spherical layers :math:`n r \sin\beta` is the same along the whole ray (Bouguer),
so every layer follows from the first without recursion. `Ray` holds the pieces of
the path; the attenuation along it is a sum over layers.

Layers grow exponentially from 10 cm at sea level to 1 km at 100 km, as in P.676-13,
section 2.2.1; a start or end height cuts the layer it falls in. Every layer takes
the air at its middle.

References
----------
Recommendation ITU-R P.676-13, Annex 1, section 2.2 (layers, ray, index of
refraction of P.453); L. C. Andrews and R. L. Phillips, Laser Beam Propagation
through Random Media (2005), section 12.2 (index for light); D. Vasylyev, W. Vogel
and F. Moll, Phys. Rev. A 99, 053830 (2019) (the published elongation factor).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from scqc.core.errors import ModelRangeError
from sim_backends.propagation.atmospheres import TOP_KM, Atmosphere
from sim_backends.propagation.gas_absorption import Air
from sim_backends.propagation.ranges import within

EARTH_RADIUS_KM = 6371.0

_N_LAYERS = 922
_THIN = 1e-4
#: More than any reference atmosphere bends a ray, at the horizon.
_MOST_BENT_RAD = math.radians(3.0)
#: Layers joined in the fast mode: 185 are left, at most 0.03 % off at the zenith.
_FAST_STRIDE = 5
#: Fit of Vasylyev et al. for a satellite at 780 km, zenith angle in degrees.
_PUBLISHED = (
    1.0,
    0.0,
    1.818908e-4,
    -4.066061e-5,
    3.813573e-6,
    -1.920844e-7,
    5.710429e-9,
    -1.032821e-10,
    1.117105e-12,
    -6.644358e-15,
    1.672433e-17,
)


@dataclass(frozen=True, slots=True)
class SlantPath:
    """Where a path begins and ends, and through what air.

    Ground to space and space to ground are the same path, named from its lower end.

    Parameters
    ----------
    elevation_rad : float
        *Apparent* elevation at the lower end, 0 to pi/2 [rad]: where the ray leaves.
    start_km : float
        Height of the lower end above sea level, 0 to 100 [km].
    end_km : float
        Height of the upper end [km]; beyond 100 km the ray runs on in vacuum.
        Infinity: the top of the atmosphere.
    atmosphere : Atmosphere
    refraction : bool
        Without it the ray is straight.
    fast : bool
        185 instead of 922 layers.
    wavelength_m : float, optional
        Wavelength of light [m]; None: radio waves.
    """

    elevation_rad: float
    start_km: float = 0.0
    end_km: float = math.inf
    atmosphere: Atmosphere = field(default_factory=Atmosphere)
    refraction: bool = True
    fast: bool = False
    wavelength_m: float | None = None


@dataclass(frozen=True, slots=True)
class Ray:
    """A traced ray through `n` layers.

    Parameters
    ----------
    lengths_km : ndarray, shape (n,), float64 [km]
        Length of the ray in each layer, upwards.
    air : Air
        The air in the middle of each layer, arrays of shape (n,).
    vacuum_km : float
        Length above the atmosphere [km]; 0 for a path that ends at its top.
    centre_rad : float
        Angle between both ends seen from the centre of the earth [rad].
    start_km, end_km : float
        Heights of both ends [km].
    """

    lengths_km: NDArray[np.float64]
    air: Air
    vacuum_km: float
    centre_rad: float
    start_km: float
    end_km: float

    @property
    def length_km(self) -> float:
        """Length of the ray from end to end [km]."""
        return float(self.lengths_km.sum()) + self.vacuum_km

    @property
    def chord_km(self) -> float:
        """Straight distance of both ends [km]."""
        low, high = EARTH_RADIUS_KM + self.start_km, EARTH_RADIUS_KM + self.end_km
        sine = math.sin(0.5 * self.centre_rad)
        return math.sqrt((high - low) ** 2 + 4.0 * low * high * sine**2)

    @property
    def true_elevation_rad(self) -> float:
        """Elevation at which the upper end would be seen without air [rad]."""
        low, high = EARTH_RADIUS_KM + self.start_km, EARTH_RADIUS_KM + self.end_km
        rise = high * math.cos(self.centre_rad) - low
        return math.atan2(rise, high * math.sin(self.centre_rad))


def layer_bounds_km(start_km: float, end_km: float, fast: bool) -> NDArray[np.float64]:
    """Return the boundaries [km] of the layers between two heights, ends included."""
    steps = np.arange(0, _N_LAYERS + 1, _FAST_STRIDE if fast else 1)
    if steps[-1] != _N_LAYERS:
        steps = np.append(steps, _N_LAYERS)
    bounds = _THIN * np.expm1(0.01 * steps) / math.expm1(0.01)
    top = min(end_km, float(bounds[-1]))
    # A sliver above the start would be all step and no height: its index belongs to
    # the middle, and horizontal rays would find a mirror there. It joins the next.
    first = start_km + 0.5 * (0.01 * start_km + _THIN) * (5.0 if fast else 1.0)
    inside = bounds[(bounds > min(first, top)) & (bounds < top)]
    return np.concatenate(([start_km], inside, [top]))


def refractive_index(
    air: Air, wavelength_m: float | None = None
) -> NDArray[np.float64]:
    """Return the refractive index [1] of air.

    Parameters
    ----------
    air : Air
    wavelength_m : float, optional
        Light, 0.3 to 12 um [m]: the dry dispersion formula; at 15 C its n - 1 is above
        that of Edlen, Metrologia 2, 71 (1966), by 1.0 % at 400 nm, 0.4 % at 800 nm and
        0.2 % at 1550 nm, and an elongation as much. None: radio waves (P.453, as
        P.676 uses it), where vapour counts much more.

    Raises
    ------
    ModelRangeError
        If the wavelength is not that of light.
    """
    t, e = air.temperature_k, air.vapour_hpa
    if wavelength_m is None:
        wet = 72.0 * e / t + 3.75e5 * e / t**2
        return np.asarray(1.0 + 1e-6 * (77.6 * air.dry_hpa / t + wet))
    within("wavelength [m]", wavelength_m, (0.3e-6, 12e-6), "light; None is radio")
    dispersion = 1.0 + 7.52e-3 / (1e6 * wavelength_m) ** 2
    return np.asarray(1.0 + 77.6e-6 * dispersion * (air.dry_hpa + e) / t)


def trace(path: SlantPath) -> Ray:
    """Follow a ray from its lower end to its upper end.

    Raises
    ------
    ModelRangeError
        If the elevation is below the horizon or above the zenith, a height is
        outside the atmosphere, the ends are in the wrong order, or the ray is
        trapped near the ground.
    """
    bounds, n, air = _column(path)
    limits = (0.0, 0.5 * math.pi)
    within("elevation [rad]", path.elevation_rad, limits, "horizon to zenith")
    lengths, centre = _pieces(bounds, n, np.asarray(path.elevation_rad))
    n_air = air.temperature_k.size
    vacuum_km = float(lengths[n_air:].sum())
    end_km = float(bounds[-1])
    return Ray(lengths[:n_air], air, vacuum_km, float(centre), path.start_km, end_km)


def lengths_in_air_km(
    elevation_rad: ArrayLike, path: SlantPath
) -> tuple[NDArray[np.float64], Air]:
    """Return how far rays of many elevations run in each layer: one pass at once.

    Parameters
    ----------
    elevation_rad : array_like, shape (m,) [rad]
        Apparent elevations; they replace that of the path.
    path : SlantPath

    Returns
    -------
    lengths : ndarray, shape (m, n), float64 [km]
    air : Air
        In the middle of each of the `n` layers.

    Raises
    ------
    ModelRangeError
        As `trace`.
    """
    limits = (0.0, 0.5 * math.pi)
    elevation = within("elevation [rad]", elevation_rad, limits, "horizon to zenith")
    bounds, n, air = _column(path)
    lengths, _ = _pieces(bounds, n, elevation)
    return lengths[:, : air.temperature_k.size], air


def _column(path: SlantPath) -> tuple[NDArray[np.float64], NDArray[np.float64], Air]:
    """Return boundaries [km] and indices of all layers, and the air they hold."""
    within("start height [km]", path.start_km, (0.0, TOP_KM), "P.835-6")
    above = (math.nextafter(path.start_km, math.inf), math.inf)
    within("end height [km]", path.end_km, above, "above the start")
    bounds = layer_bounds_km(path.start_km, path.end_km, path.fast)
    middle = np.minimum(0.5 * (bounds[1:] + bounds[:-1]), TOP_KM)
    air = path.atmosphere.air(middle)
    n = np.ones_like(middle)
    if path.refraction:
        n = refractive_index(air, path.wavelength_m)
    if math.isfinite(path.end_km) and path.end_km > bounds[-1]:
        bounds, n = np.append(bounds, path.end_km), np.append(n, 1.0)
    return bounds, n, air


def _pieces(
    bounds: NDArray[np.float64],
    n: NDArray[np.float64],
    elevation_rad: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the length of rays in each layer [km] and their centre angle [rad]."""
    low, high = EARTH_RADIUS_KM + bounds[:-1], EARTH_RADIUS_KM + bounds[1:]
    ratio = n[0] * low[0] / (n * low)
    start = elevation_rad[..., np.newaxis]
    # cos^2 by the difference of the ratio from one: near the horizon the sine is
    # so close to one that it would lose every digit.
    cosine2 = (ratio * np.sin(start)) ** 2 + (1.0 - ratio) * (1.0 + ratio)
    if (cosine2 < 0.0).any():
        escape = math.asin(math.sqrt(1.0 - float(ratio.max()) ** -2))
        limits = (math.nextafter(escape, 1.0), 0.5 * math.pi)
        why = "the air near the ground traps lower rays"
        raise ModelRangeError(
            "elevation [rad]", float(elevation_rad.min()), limits, why
        )
    down = low * np.sqrt(cosine2)
    rise = (high - low) * (low + high)
    # The stable form of sqrt(down^2 + rise) - down.
    up = np.sqrt(down * down + rise)
    # Angles from the vertical at the bottom and at the top of each layer.
    sine = ratio * np.cos(start) * low
    centre = (np.arctan2(sine, down) - np.arctan2(sine, up)).sum(axis=-1)
    return rise / (up + down), np.asarray(centre)


def elongation(path: SlantPath) -> float:
    """Return the ray's length over the straight line at the *apparent* elevation [1].

    The bent ray stays lower than a straight line that leaves in the same direction,
    and travels farther to the same height. The factor applies to straight slant
    ranges worked out from the apparent angle; from the true angle to a satellite
    the range is right as it is (the detour itself is of order 1e-6, see `Ray`).

    Raises
    ------
    ModelRangeError
        As `trace`.
    """
    ray = trace(path)
    ends = np.array([ray.start_km, ray.end_km])
    straight, _ = _pieces(ends, np.ones(1), np.asarray(path.elevation_rad))
    return ray.length_km / float(straight[0])


def towards(true_elevation_rad: float, path: SlantPath) -> SlantPath:
    """Return the path whose bent ray ends where the straight line would point.

    A satellite stands at its true elevation; the ray to it leaves higher.

    Parameters
    ----------
    true_elevation_rad : float
        Geometric elevation of the upper end [rad].
    path : SlantPath
        Its elevation is replaced.

    Raises
    ------
    ModelRangeError
        If no ray that leaves at or above the horizon gets there.
    """

    def excess(elevation_rad: float) -> float:
        ray = trace(replace(path, elevation_rad=elevation_rad))
        return ray.true_elevation_rad - true_elevation_rad

    limits = (excess(0.0) + true_elevation_rad, 0.5 * math.pi)
    within("true elevation [rad]", true_elevation_rad, limits, "below the horizon")
    low = max(0.0, true_elevation_rad - 1e-9)
    high = min(0.5 * math.pi, max(0.0, true_elevation_rad) + _MOST_BENT_RAD)
    # At the zenith both ends of the bracket round to the same direction.
    if excess(high) <= 0.0:
        return replace(path, elevation_rad=high)
    return replace(path, elevation_rad=float(brentq(excess, low, high, xtol=1e-13)))


def published_elongation(zenith_rad: ArrayLike) -> NDArray[np.float64]:
    """Return the elongation [1] *as published* by Vasylyev et al. for 780 km.

    It is about 25 times larger than what a ray traced through the same refractive
    profile gives (1.076 against 1.003 at 80 degrees). Use it only to reproduce
    figures that were made with it.

    Parameters
    ----------
    zenith_rad : array_like [rad]
        0 to 85 degrees.

    Raises
    ------
    ModelRangeError
        If an angle is outside the range of the fit.
    """
    limits = (0.0, math.radians(85.0))
    angle = np.degrees(
        within("zenith angle [rad]", zenith_rad, limits, "published fit")
    )
    return np.asarray(np.polynomial.polynomial.polyval(angle, _PUBLISHED))
