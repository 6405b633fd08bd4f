r"""Light that air scatters and absorbs.

Three descriptions, none of which replaces another:

- `ExponentialAtmosphere`: one coefficient that falls exponentially with height;
- `ElevationTable`: transmittances to space computed line by line by MODTRAN;
- `fog_db_per_km`: haze and fog on a level path, from the visibility (Kim).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import interpolate

from sim_backends.propagation.geometry import (
    altitude_on_path_m,
    slant_range_m,
)
from sim_backends.propagation.ranges import Floats, legendre_nodes, positive, within

Contrast = Literal["2 %", "5 %"]

_HALF_TURN_DEG = 90.0
# Heights beyond this many scale heights hold e^-40 of the air.
_DEEPEST = 40.0
_NODES = 96
# Above this zenith angle sec(z) is no air mass of a round Earth [rad].
SECANT_LIMIT_RAD = math.radians(80.0)


@dataclass(frozen=True)
class ExponentialAtmosphere:
    """Extinction that falls exponentially with height.

    alpha(h) = alpha_0 exp(-h / h_0). The defaults are those of Vasylyev et al.,
    PRA 99, 053830 (2019) and Pirandola, PRR 3, 023130 (2021) for clear air at
    800 nm.

    Parameters
    ----------
    coefficient_per_m : float
        At sea level [1/m].
    scale_height_m : float

    Raises
    ------
    ModelRangeError
        If the coefficient is negative, or the scale height not positive.
    """

    coefficient_per_m: float = 5e-6
    scale_height_m: float = 6600.0

    def __post_init__(self) -> None:
        within("extinction coefficient [1/m]", self.coefficient_per_m, (0.0, 1e3))
        positive("scale height [m]", self.scale_height_m)

    def transmittance(
        self,
        zenith_rad: ArrayLike,
        altitude_m: ArrayLike,
        station_altitude_m: ArrayLike = 0.0,
    ) -> Floats:
        """Integrate Beer and Lambert's law along a straight line over a round Earth.

        Parameters
        ----------
        zenith_rad : array_like
            Zenith angle at the lower end [rad].
        altitude_m, station_altitude_m : array_like
            Heights of the two ends [m]; all broadcast.

        Returns
        -------
        ndarray, broadcast shape, float64 [1]

        Raises
        ------
        ModelRangeError
            If the zenith angle is negative or beyond the horizontal: a line that
            goes down first has its own depth.
        """
        zenith = within("zenith angle [rad]", zenith_rad, (0.0, 0.5 * math.pi))
        low_m = np.asarray(station_altitude_m, dtype=np.float64)
        top_m = np.minimum(altitude_m, low_m + _DEEPEST * self.scale_height_m)
        length_m = slant_range_m(top_m, zenith, low_m)
        x, weight = legendre_nodes(_NODES)
        y_m = 0.5 * (x + 1.0) * length_m[..., None]
        height_m = altitude_on_path_m(
            y_m, np.asarray(zenith)[..., None], low_m[..., None]
        )
        column_m = 0.5 * length_m * (np.exp(-height_m / self.scale_height_m) @ weight)
        return np.asarray(np.exp(-self.coefficient_per_m * column_m))

    def transmittance_flat(
        self,
        zenith_rad: ArrayLike,
        altitude_m: ArrayLike,
        station_altitude_m: ArrayLike = 0.0,
    ) -> Floats:
        """Return exp(-tau sec z): the Earth is flat, as many papers have it.

        Parameters
        ----------
        zenith_rad : array_like
            Zenith angle at the lower end [rad].
        altitude_m, station_altitude_m : array_like
            Heights of the two ends [m]; all broadcast.

        Returns
        -------
        ndarray, broadcast shape, float64 [1]

        Raises
        ------
        ModelRangeError
            Beyond `SECANT_LIMIT_RAD`, where the secant is no air mass any more.
        """
        limits = (0.0, SECANT_LIMIT_RAD * (1.0 + 1e-12))
        zenith = within("sec(z): zenith angle [rad]", zenith_rad, limits)
        low_m = np.asarray(station_altitude_m, dtype=np.float64)
        rise_m = np.asarray(altitude_m, dtype=np.float64) - low_m
        within("altitude above the station [m]", rise_m, (0.0, 1e9))
        share = np.exp(-low_m / self.scale_height_m)
        share = share * -np.expm1(-rise_m / self.scale_height_m)
        depth = self.coefficient_per_m * self.scale_height_m * share
        return np.asarray(np.exp(-depth / np.cos(zenith)))


@dataclass(frozen=True)
class ElevationTable:
    """Transmittance from the ground to space over elevation.

    Between rows the air mass times sin(elevation), that is -ln(eta) sin(elevation),
    is interpolated monotonically: it is nearly constant where -ln(eta) varies
    tenfold, and Beer and Lambert's law on a flat Earth comes out exactly.

    Parameters
    ----------
    source : str
        Who computed it, and for what air.
    wavelength_m : float
    elevation_deg : tuple of float
        Rising, at most 90 [deg].
    share : tuple of float
        Transmittance, one per elevation, between 0 and 1 [1].

    Raises
    ------
    ModelRangeError
        If elevations do not rise within 0 to 90 degrees, or a share is not within
        0 to 1.
    """

    source: str
    wavelength_m: float
    elevation_deg: tuple[float, ...]
    share: tuple[float, ...]

    def __post_init__(self) -> None:
        positive("wavelength [m]", self.wavelength_m)
        within("rows of an elevation table", len(self.share), (2.0, math.inf))
        within(
            "elevations of a table beside its shares",
            len(self.elevation_deg),
            (len(self.share), len(self.share)),
        )
        tiny = float(np.finfo(np.float64).tiny)
        within("elevation of a table [deg]", self.elevation_deg, (tiny, _HALF_TURN_DEG))
        steps = np.diff(self.elevation_deg)
        within("steps of an elevation table [deg]", steps, (tiny, _HALF_TURN_DEG))
        within("share of an elevation table [1]", self.share, (tiny, 1.0))

    def transmittance(self, elevation_rad: ArrayLike) -> Floats:
        """Return the transmittance from the ground to space.

        Parameters
        ----------
        elevation_rad : array_like
            Any shape [rad].

        Returns
        -------
        ndarray, shape of the argument, float64 [1]

        Raises
        ------
        ModelRangeError
            Outside the rows of the table.
        """
        rows_rad = np.deg2rad(self.elevation_deg)
        rounding = 1e-12
        limits = (float(rows_rad[0]) - rounding, float(rows_rad[-1]) + rounding)
        angle = within("elevation [rad]", elevation_rad, limits, self.source)
        inside = np.clip(angle, rows_rad[0], rows_rad[-1])
        reduced = -np.log(self.share) * np.sin(rows_rad)
        curve = interpolate.PchipInterpolator(np.sin(rows_rad), reduced)
        return np.asarray(np.exp(-curve(np.sin(inside)) / np.sin(inside)))


_ELEVATIONS_DEG = (5.0, 10.0, 20.0, 30.0, 40.0, 60.0, 90.0)
_MODTRAN = "MODTRAN, sea level to 500 km, as shipped with SatQuMA 2.0 (MIT)"
MODTRAN_785 = ElevationTable(
    _MODTRAN,
    785e-9,
    _ELEVATIONS_DEG,
    (0.2538, 0.4826, 0.6842, 0.7696, 0.8149, 0.8585, 0.8760),
)
MODTRAN_810 = ElevationTable(
    _MODTRAN,
    810e-9,
    _ELEVATIONS_DEG,
    (0.1882, 0.3907, 0.5922, 0.6860, 0.7386, 0.7916, 0.8136),
)
MODTRAN_850 = ElevationTable(
    _MODTRAN,
    850e-9,
    _ELEVATIONS_DEG,
    (0.3105, 0.5390, 0.7261, 0.8024, 0.8422, 0.8801, 0.8952),
)


def fog_db_per_km(
    visibility_km: ArrayLike, wavelength_m: ArrayLike, contrast: Contrast = "2 %"
) -> Floats:
    """Return the attenuation by haze or fog from the visibility.

    (10 / ln 10) ln(1/contrast) / V (lambda / 550 nm)^-q with q by Kim, McArthur and
    Korevaar, Proc. SPIE 4214, 26 (2001): 1.6 beyond 50 km, 1.3 beyond 6 km, 0.16 V +
    0.34 beyond 1 km, V - 0.5 beyond 0.5 km, else 0. The visibility is the distance at
    which the contrast has fallen to 2 % (Koschmieder, as Kim has it: 16.99/V) or to
    5 % (the meteorological optical range of airports: 13.01/V).

    Parameters
    ----------
    visibility_km, wavelength_m : array_like
        Visibility [km] and wavelength [m]; they broadcast.
    contrast : {"2 %", "5 %"}
        Threshold that defines the visibility.

    Returns
    -------
    ndarray, broadcast shape, float64 [dB/km]

    Raises
    ------
    ModelRangeError
        If the visibility is not within 0.01 to 300 km, or the wavelength not within
        0.4 to 1.6 um.
    """
    v_km = within("visibility [km]", visibility_km, (0.01, 300.0))
    wave_m = within("fog: wavelength [m]", wavelength_m, (0.4e-6, 1.6e-6))
    if contrast not in ("2 %", "5 %"):
        raise ValueError(f"contrast = {contrast!r}: '2 %' or '5 %'")
    # 3.912 is what Kim and all after him write for ln 50.
    neper = 3.912 if contrast == "2 %" else math.log(20.0)
    q = np.select(
        [v_km > 50.0, v_km > 6.0, v_km > 1.0, v_km > 0.5],
        [1.6, 1.3, 0.16 * v_km + 0.34, v_km - 0.5],
        0.0,
    )
    per_neper_db = 10.0 / math.log(10.0)
    return np.asarray(per_neper_db * neper / v_km * (wave_m / 550e-9) ** -q)
