r"""Rain and cloud or fog: optional terms, which dominate every mmWave window.

Rain (P.838-3): :math:`\gamma_R = k R^\alpha` with `k` and `alpha` as sums of bells in
:math:`\log_{10} f`. Cloud and fog (P.840-6 to -8): small droplets absorb in
proportion to the liquid water, by a double-Debye permittivity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim_backends.propagation.ranges import within

RAIN_RANGE_HZ = (1e9, 1e12)
CLOUD_RANGE_HZ = (1e9, 200e9)


@dataclass(frozen=True, slots=True)
class _Bells:
    """Sum of ``a exp(-((x - b)/c)^2)`` over `bells`, plus a line in `x`."""

    bells: tuple[tuple[float, float, float], ...]
    slope: float
    offset: float

    def at(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        total = self.slope * x + self.offset
        for height, centre, width in self.bells:
            total = total + height * np.exp(-(((x - centre) / width) ** 2))
        return total


# P.838-3, Tables 1 to 4: height a_j, centre b_j and width c_j of each bell.
_LOG_K_H = _Bells(
    (
        (-5.33980, -0.10008, 1.13098),
        (-0.35351, 1.26970, 0.45400),
        (-0.23789, 0.86036, 0.15354),
        (-0.94158, 0.64552, 0.16817),
    ),
    -0.18961,
    0.71147,
)
_LOG_K_V = _Bells(
    (
        (-3.80595, 0.56934, 0.81061),
        (-3.44965, -0.22911, 0.51059),
        (-0.39902, 0.73042, 0.11899),
        (0.50167, 1.07319, 0.27195),
    ),
    -0.16398,
    0.63297,
)
_ALPHA_H = _Bells(
    (
        (-0.14318, 1.82442, -0.55187),
        (0.29591, 0.77564, 0.19822),
        (0.32177, 0.63773, 0.13164),
        (-5.37610, -0.96230, 1.47828),
        (16.1721, -3.29980, 3.43990),
    ),
    0.67849,
    -1.95537,
)
_ALPHA_V = _Bells(
    (
        (-0.07771, 2.33840, -0.76284),
        (0.56727, 0.95545, 0.54039),
        (-0.20238, 1.14520, 0.26809),
        (-48.2991, 0.791669, 0.116226),
        (48.5833, 0.791459, 0.116479),
    ),
    -0.053739,
    0.83433,
)


def rain_coefficients(
    frequency_hz: ArrayLike, elevation_rad: float = 0.0, tilt_rad: float = np.pi / 4
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `k` and `alpha` of P.838-3.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
        1 to 1000 GHz.
    elevation_rad : float
        Elevation of the path [rad].
    tilt_rad : float
        Tilt of the polarisation from the horizontal [rad]; pi/4 for circular.

    Raises
    ------
    ModelRangeError
        If a frequency is outside 1 to 1000 GHz.
    """
    x = np.log10(
        1e-9 * within("frequency [Hz]", frequency_hz, RAIN_RANGE_HZ, "P.838-3")
    )
    k_h, k_v = 10.0 ** _LOG_K_H.at(x), 10.0 ** _LOG_K_V.at(x)
    a_h, a_v = k_h * _ALPHA_H.at(x), k_v * _ALPHA_V.at(x)
    mix = np.cos(elevation_rad) ** 2 * np.cos(2.0 * tilt_rad)
    k = 0.5 * (k_h + k_v + (k_h - k_v) * mix)
    return k, 0.5 * (a_h + a_v + (a_h - a_v) * mix) / k


def rain_db_per_km(
    frequency_hz: ArrayLike,
    rain_mm_per_h: ArrayLike,
    elevation_rad: float = 0.0,
    tilt_rad: float = np.pi / 4,
) -> NDArray[np.float64]:
    """Return the specific attenuation by rain [dB/km].

    Parameters
    ----------
    frequency_hz : array_like [Hz]
        1 to 1000 GHz.
    rain_mm_per_h : array_like [mm/h]
        0 to 300.
    elevation_rad : float
        Elevation of the path [rad].
    tilt_rad : float
        Tilt of the polarisation from the horizontal [rad]; pi/4 for circular.

    Raises
    ------
    ModelRangeError
        If a frequency or rain rate is outside its range.
    """
    rate = within("rain rate [mm/h]", rain_mm_per_h, (0.0, 300.0), "P.838-3")
    k, alpha = rain_coefficients(frequency_hz, elevation_rad, tilt_rad)
    return np.asarray(k * rate**alpha)


def cloud_db_per_km(
    frequency_hz: ArrayLike,
    liquid_g_per_m3: ArrayLike,
    temperature_k: ArrayLike = 273.15,
) -> NDArray[np.float64]:
    """Return the specific attenuation by cloud or fog [dB/km].

    Parameters
    ----------
    frequency_hz : array_like [Hz]
        1 to 200 GHz: beyond, droplets are no longer small.
    liquid_g_per_m3 : array_like [g/m^3]
        Liquid water; 0.05 in medium fog (300 m visibility), 0.5 in thick (50 m).
    temperature_k : array_like [K]
        Of the droplets, 253 to 313 K.

    Raises
    ------
    ModelRangeError
        If an argument is outside its range.
    """
    f = 1e-9 * within(
        "frequency [Hz]", frequency_hz, CLOUD_RANGE_HZ, "P.840, to 200 GHz"
    )
    liquid = within("liquid water [g/m3]", liquid_g_per_m3, (0.0, 10.0), "P.840")
    theta = 300.0 / within("temperature [K]", temperature_k, (253.0, 313.0), "droplets")
    static = 77.66 + 103.3 * (theta - 1.0)
    middle, high = 0.0671 * static, 3.52
    first = 20.20 - 146.0 * (theta - 1.0) + 316.0 * (theta - 1.0) ** 2
    second = 39.8 * first
    slow, quick = 1.0 + (f / first) ** 2, 1.0 + (f / second) ** 2
    real = (static - middle) / slow + (middle - high) / quick + high
    imaginary = f * (static - middle) / (first * slow)
    imaginary = imaginary + f * (middle - high) / (second * quick)
    eta = (2.0 + real) / imaginary
    return np.asarray(liquid * 0.819 * f / (imaginary * (1.0 + eta**2)))
