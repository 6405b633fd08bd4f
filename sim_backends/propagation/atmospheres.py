r"""The six reference atmospheres of ITU-R P.835-6: temperature, pressure, vapour.

Every profile is a list of layers, each with its upper end and a formula with
coefficients; the formulas are those of Annex 1. The mean annual global atmosphere
counts *geopotential* height up to 86 km,

.. math:: h' = \frac{6356.766\, h}{6356.766 + h}\quad\mathrm{[km]},

and its vapour never falls below a mixing ratio :math:`e/P = 2\cdot10^{-6}`: without
that floor the ITU slant-path example is missed in the seventh digit. The other five
have no vapour above 15 km (10 km in winter). Pressures are totals.

At some joins the formulas of P.835 do not meet: the temperature of the mid-latitude
summer falls by 19 K at 80 km. That is so in the Recommendation.

References
----------
Recommendation ITU-R P.835-6 (12/2017), Annex 1. The coefficients of the five
seasonal atmospheres were compared between four independent transcriptions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim_backends.propagation.gas_absorption import Air, total_air
from sim_backends.propagation.ranges import within

TOP_KM = 100.0

AtmosphereName = Literal[
    "mean-annual-global",
    "low-latitude",
    "mid-latitude-summer",
    "mid-latitude-winter",
    "high-latitude-summer",
    "high-latitude-winter",
]

Heights = NDArray[np.float64]
Formula = Callable[[Heights], Heights]
#: Upper end [km] and formula of each layer, upwards; a join belongs to the upper
#: layer, where it matters.
Layers = tuple[tuple[float, Formula], ...]

_MEAN_RADIUS_KM = 6356.766
#: g M / R of the standard atmosphere [K/km].
_GMR = 34.1632
_MIXING_FLOOR = 2e-6
_SURFACE_G_PER_M3 = 7.5


def _polynomial(*c: float) -> Formula:
    """Return ``c0 + c1 h + c2 h^2 + ...``."""
    return lambda h: _horner(h, c)


def _horner(h: Heights, c: tuple[float, ...]) -> Heights:
    result = np.full_like(h, c[-1])
    for coefficient in c[-2::-1]:
        result = result * h + coefficient
    return result


def _exponential(value: float, base_km: float, slope: float) -> Formula:
    """Return ``value exp(slope (h - base))``."""
    return lambda h: value * np.exp(slope * (h - base_km))


def _ramp(value: float, base_km: float, slope: float) -> Formula:
    """Return ``value + slope (h - base)``."""
    return lambda h: value + slope * (h - base_km)


def _power(pressure: float, base_km: float, base_k: float, lapse: float) -> Formula:
    """Return the hydrostatic pressure where the temperature changes linearly."""
    return lambda h: (
        pressure * (base_k / (base_k + lapse * (h - base_km))) ** (_GMR / lapse)
    )


def _vapour(surface: float, *c: float) -> Formula:
    """Return ``surface exp(c1 h + c2 h^2 + ...)``."""
    return lambda h: surface * np.exp(_horner(h, (0.0, *c)))


def _pressure(c: tuple[float, float, float], lower: float, upper: float) -> Layers:
    """Return a parabola to 10 km and two exponentials, continuous as P.835 says."""
    at_10 = c[0] + 10.0 * c[1] + 100.0 * c[2]
    at_72 = at_10 * math.exp(62.0 * lower)
    return (
        (10.0, _polynomial(*c)),
        (72.0, _exponential(at_10, 10.0, lower)),
        (TOP_KM, _exponential(at_72, 72.0, upper)),
    )


@dataclass(frozen=True, slots=True)
class _Profile:
    temperature_k: Layers
    pressure_hpa: Layers
    vapour_g_per_m3: Layers


_SEASONAL: dict[str, _Profile] = {
    "low-latitude": _Profile(
        (
            (17.0, _polynomial(300.4222, -6.3533, 0.005886)),
            (47.0, _ramp(194.0, 17.0, 2.533)),
            (52.0, _polynomial(270.0)),
            (80.0, _ramp(270.0, 52.0, -3.0714)),
            (TOP_KM, _polynomial(184.0)),
        ),
        _pressure((1012.0306, -109.0338, 3.6316), -0.147, -0.165),
        ((15.0, _vapour(19.6542, -0.2313, -0.1122, 0.01351, -0.0005923)),),
    ),
    "mid-latitude-summer": _Profile(
        (
            (13.0, _polynomial(294.9838, -5.2159, -0.07109)),
            (17.0, _polynomial(215.15)),
            (47.0, _exponential(215.15, 17.0, 0.008128)),
            (53.0, _polynomial(275.0)),
            (80.0, lambda h: 275.0 + 20.0 * (1.0 - np.exp(0.06 * (h - 53.0)))),
            (TOP_KM, _polynomial(175.0)),
        ),
        _pressure((1012.8186, -111.5569, 3.8646), -0.147, -0.165),
        ((15.0, _vapour(14.3542, -0.4174, -0.02290, 0.001007)),),
    ),
    "mid-latitude-winter": _Profile(
        (
            (10.0, _polynomial(272.7241, -3.6217, -0.1759)),
            (33.0, _polynomial(218.0)),
            (47.0, _ramp(218.0, 33.0, 3.3571)),
            (53.0, _polynomial(265.0)),
            (80.0, _ramp(265.0, 53.0, -2.0370)),
            (TOP_KM, _polynomial(210.0)),
        ),
        _pressure((1018.8627, -124.2954, 4.8307), -0.147, -0.155),
        ((10.0, _vapour(3.4742, -0.2697, -0.03604, 0.0004489)),),
    ),
    "high-latitude-summer": _Profile(
        (
            (10.0, _polynomial(286.8374, -4.7805, -0.1402)),
            (23.0, _polynomial(225.0)),
            (48.0, _exponential(225.0, 23.0, 0.008317)),
            (53.0, _polynomial(277.0)),
            (79.0, _ramp(277.0, 53.0, -4.0769)),
            (TOP_KM, _polynomial(171.0)),
        ),
        _pressure((1008.0278, -113.2494, 3.9408), -0.140, -0.165),
        ((15.0, _vapour(8.988, -0.3614, -0.005402, -0.001955)),),
    ),
    "high-latitude-winter": _Profile(
        (
            (8.5, _polynomial(257.4345, 2.3474, -1.5479, 0.08473)),
            (30.0, _polynomial(217.5)),
            (50.0, _ramp(217.5, 30.0, 2.125)),
            (54.0, _polynomial(260.0)),
            (TOP_KM, _ramp(260.0, 54.0, -1.667)),
        ),
        _pressure((1010.8828, -122.2411, 4.554), -0.147, -0.150),
        ((10.0, _vapour(1.2319, 0.07481, -0.0981, 0.00281)),),
    ),
}

# Mean annual global: below 86 km in geopotential height, above in geometric height.
_MEAN_T_LOW: Layers = (
    (11.0, _ramp(288.15, 0.0, -6.5)),
    (20.0, _polynomial(216.65)),
    (32.0, _ramp(216.65, 20.0, 1.0)),
    (47.0, _ramp(228.65, 32.0, 2.8)),
    (51.0, _polynomial(270.65)),
    (71.0, _ramp(270.65, 51.0, -2.8)),
    (TOP_KM, _ramp(214.65, 71.0, -2.0)),
)
_MEAN_P_LOW: Layers = (
    (11.0, _power(1013.25, 0.0, 288.15, -6.5)),
    (20.0, _exponential(226.3226, 11.0, -_GMR / 216.65)),
    (32.0, _power(54.74980, 20.0, 216.65, 1.0)),
    (47.0, _power(8.680422, 32.0, 228.65, 2.8)),
    (51.0, _exponential(1.109106, 47.0, -_GMR / 270.65)),
    (71.0, _power(0.6694167, 51.0, 270.65, -2.8)),
    (TOP_KM, _power(0.03956649, 71.0, 214.65, -2.0)),
)
_MEAN_HIGH_KM = 86.0
_MEAN_LOG_P_HIGH = (95.571899, -4.011801, 6.424731e-2, -4.789660e-4, 1.340543e-6)


@dataclass(frozen=True, slots=True)
class Atmosphere:
    """One reference atmosphere, 0 to 100 km above sea level.

    Parameters
    ----------
    name : AtmosphereName
        Low latitude: below 22 degrees; mid: 22 to 45; high: above.
    surface_vapour_g_per_m3 : float, optional
        Vapour density at sea level [g/m^3] of the mean annual global atmosphere,
        which falls with a scale height of 2 km; 7.5 if not given. The seasonal ones
        have their own.

    Raises
    ------
    ModelRangeError
        If the surface vapour is negative, or given to a seasonal atmosphere.
    """

    name: AtmosphereName = "mean-annual-global"
    surface_vapour_g_per_m3: float | None = None

    def __post_init__(self) -> None:
        if self.surface_vapour_g_per_m3 is None:
            return
        limits, why = (0.0, 200.0), "P.835-6"
        if self.name != "mean-annual-global":
            own = float(_evaluate(_SEASONAL[self.name].vapour_g_per_m3, np.zeros(1))[0])
            limits, why = (own, own), f"{self.name} has its own"
        within("water vapour [g/m3]", self.surface_vapour_g_per_m3, limits, why)

    def air(self, height_km: ArrayLike) -> Air:
        """Return the air at geometric heights above sea level.

        Parameters
        ----------
        height_km : array_like [km]

        Raises
        ------
        ModelRangeError
            If a height is outside 0 to 100 km.
        """
        height = within("height [km]", height_km, (0.0, TOP_KM), "P.835-6")
        if self.name == "mean-annual-global":
            return self._mean(height)
        profile = _SEASONAL[self.name]
        return total_air(
            _evaluate(profile.pressure_hpa, height),
            _evaluate(profile.temperature_k, height),
            _evaluate(profile.vapour_g_per_m3, height),
        )

    def _mean(self, height: Heights) -> Air:
        low = height < _MEAN_HIGH_KM
        bent = np.minimum(height, _MEAN_HIGH_KM)
        bent = _MEAN_RADIUS_KM * bent / (_MEAN_RADIUS_KM + bent)
        high = np.maximum(height, _MEAN_HIGH_KM)
        arc = np.maximum(high - 91.0, 0.0) / 19.9429
        # Constant to 91 km, then an ellipse that begins with that value.
        cold = np.where(
            high <= 91.0, 186.8673, 263.1905 - 76.3232 * np.sqrt(1 - arc**2)
        )
        temperature = np.where(low, _evaluate(_MEAN_T_LOW, bent), cold)
        thin = np.exp(_horner(high, _MEAN_LOG_P_HIGH))
        pressure = np.where(low, _evaluate(_MEAN_P_LOW, bent), thin)
        surface = _SURFACE_G_PER_M3
        if self.surface_vapour_g_per_m3 is not None:
            surface = self.surface_vapour_g_per_m3
        vapour = surface * np.exp(-0.5 * height)
        floor = _MIXING_FLOOR * pressure * 216.7 / temperature
        # A planner's "dry air" stays dry: the floor is the stratosphere's, not zero's.
        return total_air(
            pressure, temperature, np.maximum(vapour, np.minimum(floor, surface))
        )


def _evaluate(layers: Layers, height: Heights) -> Heights:
    """Return the profile at `height`, zero above the last layer."""
    result = np.zeros_like(height)
    below = -math.inf
    for top, formula in layers:
        inside = (height >= below) & ((height < top) | (height == layers[-1][0]))
        result[inside] = formula(height[inside])
        below = top
    return result


def atmosphere_at(
    latitude_deg: float, season: Literal["summer", "winter"]
) -> Atmosphere:
    """Return the seasonal atmosphere of a latitude (P.835-6, Annex 1, 2 to 4).

    Raises
    ------
    ModelRangeError
        If the latitude is not -90 to 90 degrees.
    """
    limits = (-90.0, 90.0)
    latitude = abs(float(within("latitude [deg]", latitude_deg, limits)))
    if latitude < 22.0:
        return Atmosphere("low-latitude")
    if latitude <= 45.0:
        summer = season == "summer"
        return Atmosphere("mid-latitude-summer" if summer else "mid-latitude-winter")
    summer = season == "summer"
    return Atmosphere("high-latitude-summer" if summer else "high-latitude-winter")
