r"""Specific attenuation by oxygen and water vapour, 1 to 1000 GHz.

Each line `i` has a strength :math:`S_i` and a shape :math:`F_i(f)`; with the dry
continuum :math:`N''_D` the specific attenuation is

.. math:: \gamma = 0.1820\, f\, (\textstyle\sum_i S_i F_i + N''_D)
   \quad\mathrm{[dB/km]}, \qquad f\ \mathrm{in\ GHz}.

The pressure of the formulas is that of *dry* air, :math:`p = P - e`. The sheet of
ITU validation values enters 1013.25 hPa as dry pressure; the reference atmospheres
of P.835 state the total. `Air` is made by `dry_air` or by `total_air`, so that the
convention is written where the number is.

References
----------
Recommendation ITU-R P.676-13 (08/2022), Annex 1, section 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import ArrayLike, NDArray

from scqc.core.errors import ModelRangeError
from sim_backends.propagation.gas_lines import line_tables
from sim_backends.propagation.ranges import within

#: Where P.676 is defined [Hz].
RANGE_HZ = (1e9, 1e12)

_WHY = "P.676-13 ends at 1000 GHz; beyond it give a table of dB/km"
#: Vapour pressure [hPa] of 1 g/m^3 at 1 K, inverted: ``e = rho T / 216.7``.
_VAPOUR = 216.7
_MOST_HPA = 2000.0


@dataclass(frozen=True, slots=True)
class Air:
    """Moist air; the arrays broadcast with each other.

    Parameters
    ----------
    dry_hpa : ndarray, any shape, float64 [hPa]
        Pressure of the dry part.
    vapour_hpa : ndarray, any shape, float64 [hPa]
        Partial pressure of the water vapour.
    temperature_k : ndarray, any shape, float64 [K]
    """

    dry_hpa: NDArray[np.float64]
    vapour_hpa: NDArray[np.float64]
    temperature_k: NDArray[np.float64]


def dry_air(
    dry_hpa: ArrayLike, temperature_k: ArrayLike, vapour_g_per_m3: ArrayLike
) -> Air:
    """Return the air whose *dry* part has the pressure given (ITU sheet).

    Parameters
    ----------
    dry_hpa : array_like [hPa]
    temperature_k : array_like [K]
    vapour_g_per_m3 : array_like [g/m^3]

    Raises
    ------
    ModelRangeError
        If a pressure or density is negative, or a temperature not 100 to 400 K.
    """
    temperature = within("air temperature [K]", temperature_k, (100.0, 400.0))
    density = within("water vapour [g/m3]", vapour_g_per_m3, (0.0, 200.0))
    dry = within("dry pressure [hPa]", dry_hpa, (0.0, _MOST_HPA))
    return Air(dry, density * temperature / _VAPOUR, temperature)


def total_air(
    total_hpa: ArrayLike, temperature_k: ArrayLike, vapour_g_per_m3: ArrayLike
) -> Air:
    """Return the air whose barometric pressure is given (P.835, weather stations).

    Parameters
    ----------
    total_hpa : array_like [hPa]
        Dry air and water vapour together.
    temperature_k : array_like [K]
    vapour_g_per_m3 : array_like [g/m^3]

    Raises
    ------
    ModelRangeError
        As `dry_air`; also if the vapour alone has more than the total pressure.
    """
    vapour = dry_air(0.0, temperature_k, vapour_g_per_m3).vapour_hpa
    total = within("total pressure [hPa]", total_hpa, (0.0, _MOST_HPA))
    pressures, vapours = np.broadcast_arrays(total, vapour)
    if np.any(pressures < vapours):
        i = int(np.argmax(vapours - pressures))
        raise ModelRangeError(
            "total pressure [hPa]",
            float(pressures.flat[i]),
            (float(vapours.flat[i]), _MOST_HPA),
            "the water vapour alone has more",
        )
    return dry_air(total - vapour, temperature_k, vapour_g_per_m3)


@dataclass(frozen=True, slots=True)
class Attenuation:
    """Specific attenuation by gas.

    Parameters
    ----------
    oxygen_db_per_km : ndarray, any shape, float64 [dB/km]
        Oxygen lines and the dry continuum.
    water_db_per_km : ndarray, same shape, float64 [dB/km]
        Water vapour lines and its continuum.
    """

    oxygen_db_per_km: NDArray[np.float64]
    water_db_per_km: NDArray[np.float64]

    @property
    def total_db_per_km(self) -> NDArray[np.float64]:
        """Oxygen and water vapour together [dB/km]."""
        return self.oxygen_db_per_km + self.water_db_per_km


def specific_attenuation(frequency_hz: ArrayLike, air: Air) -> Attenuation:
    """Return the specific attenuation; frequency and air broadcast.

    Air along the first axes and frequencies along the last is the fast layout:
    the lines of each parcel of air are then worked out once.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
        1 to 1000 GHz.
    air : Air

    Raises
    ------
    ModelRangeError
        If a frequency is outside the range of P.676.
    """
    frequency = 1e-9 * within("frequency [Hz]", frequency_hz, RANGE_HZ, _WHY)
    states = np.broadcast_arrays(air.dry_hpa, air.vapour_hpa, air.temperature_k)
    shape = np.broadcast_shapes(frequency.shape, states[0].shape)
    # One parcel of air per row; a parcel for every point if it varies along the row.
    shared = states[0].ndim == 0 or states[0].shape[-1] == 1
    n_row = shape[-1] if shape and shared else 1
    rows_shape = (*shape[:-1], 1) if shape and shared else shape
    rows = np.stack([np.broadcast_to(x, rows_shape).ravel() for x in states], axis=1)
    points = np.broadcast_to(frequency, shape).reshape(-1, n_row)
    if frequency.ndim <= 1 and shared:
        points = frequency.reshape(1, -1)
    out = np.zeros((2, rows.shape[0], n_row))
    oxygen, water = line_tables()
    _attenuate(
        np.ascontiguousarray(points),
        rows,
        (oxygen.centre_ghz, oxygen.coefficients),
        (water.centre_ghz, water.coefficients),
        out,
    )
    return Attenuation(out[0].reshape(shape), out[1].reshape(shape))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _attenuate(
    frequency_ghz: NDArray[np.float64],
    states: NDArray[np.float64],
    oxygen: tuple[NDArray[np.float64], NDArray[np.float64]],
    water: tuple[NDArray[np.float64], NDArray[np.float64]],
    out: NDArray[np.float64],
) -> None:
    """Add up lines and continuum; `out[0]` oxygen, `out[1]` water [dB/km].

    Lines outside, frequencies inside: the inner loop is then plain arithmetic on
    neighbouring numbers, which the compiler does four at a time.
    """
    n_rows = frequency_ghz.shape[0]
    for k in range(states.shape[0]):
        f = frequency_ghz[k % n_rows]
        p, e, theta = states[k, 0], states[k, 1], 300.0 / states[k, 2]
        centre, a = oxygen
        strength_at = 1e-7 * p * theta**3
        mixing_at = 1e-4 * (p + e) * theta**0.8
        for i in range(centre.size):
            width = a[i, 2] * 1e-4 * (p * theta ** (0.8 - a[i, 3]) + 1.1 * e * theta)
            # Zeeman splitting: lines stay finite in thin air.
            width = math.sqrt(width * width + 2.25e-6)
            mixing = (a[i, 4] + a[i, 5] * theta) * mixing_at
            strength = a[i, 0] * strength_at * math.exp(a[i, 1] * (1.0 - theta))
            _add_line(f, centre[i], strength, width, mixing, out[0, k])
        centre, a = water
        strength_at = 1e-1 * e * theta**3.5
        for i in range(centre.size):
            width = (
                a[i, 2] * 1e-4 * (p * theta ** a[i, 3] + a[i, 4] * e * theta ** a[i, 5])
            )
            # Doppler broadening, which wins in thin air.
            doppler = 2.1316e-12 * centre[i] * centre[i] / theta
            width = 0.535 * width + math.sqrt(0.217 * width * width + doppler)
            strength = a[i, 0] * strength_at * math.exp(a[i, 1] * (1.0 - theta))
            _add_line(f, centre[i], strength, width, 0.0, out[1, k])
        _finish(f, p, e, theta, out[:, k])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _add_line(
    f: NDArray[np.float64],
    centre: float,
    strength: float,
    width: float,
    mixing: float,
    out: NDArray[np.float64],
) -> None:
    """Add ``S F(f)`` of one line: resonance and image, with line mixing."""
    square = width * width
    scale = strength / centre
    for j in range(f.size):
        below, above = centre - f[j], centre + f[j]
        near, far = below * below + square, above * above + square
        shape = (width - mixing * below) * far + (width - mixing * above) * near
        out[j] += scale * f[j] * shape / (near * far)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _finish(
    f: NDArray[np.float64], p: float, e: float, theta: float, out: NDArray[np.float64]
) -> None:
    """Add the dry continuum (Debye and nitrogen) and scale to dB/km."""
    q = 5.6e-4 * (p + e) * theta**0.8
    for j in range(f.size):
        x = f[j]
        debye = 6.14e-5 * q / (q * q + x * x)
        nitrogen = 1.4e-12 * p * theta**1.5 / (1.0 + 1.9e-5 * x * math.sqrt(x))
        dry = x * p * theta * theta * (debye + nitrogen)
        out[0, j] = 0.1820 * x * (out[0, j] + dry)
        out[1, j] = 0.1820 * x * out[1, j]


@dataclass(frozen=True, slots=True)
class GasTable:
    """Absorption that the user measured or computed elsewhere.

    It holds for the air it was made for: it is not scaled with height.

    Parameters
    ----------
    frequency_hz : ndarray, shape (n,), float64 [Hz]
        Ascending.
    attenuation_db_per_km : ndarray, shape (n,), float64 [dB/km]
    source : str
        Where the numbers come from; reports quote it.

    Raises
    ------
    ModelRangeError
        If frequencies do not ascend or a loss is negative.
    """

    frequency_hz: NDArray[np.float64]
    attenuation_db_per_km: NDArray[np.float64]
    source: str

    def __post_init__(self) -> None:
        steps = np.diff(self.frequency_hz)
        if (
            self.frequency_hz.shape != self.attenuation_db_per_km.shape
            or not steps.size
        ):
            raise ModelRangeError(
                "rows of a gas table", float(self.frequency_hz.size), (2.0, math.inf)
            )
        smallest = math.nextafter(0.0, 1.0)
        within("steps of a gas table [Hz]", steps, (smallest, math.inf), "ascending")
        within("gas table [dB/km]", self.attenuation_db_per_km, (0.0, math.inf))

    def at(self, frequency_hz: ArrayLike) -> NDArray[np.float64]:
        """Return the specific attenuation [dB/km] between rows, linearly.

        Parameters
        ----------
        frequency_hz : array_like [Hz]

        Raises
        ------
        ModelRangeError
            If a frequency is outside the table.
        """
        limits = float(self.frequency_hz[0]), float(self.frequency_hz[-1])
        wanted = within("frequency [Hz]", frequency_hz, limits, f"table {self.source}")
        return np.interp(wanted, self.frequency_hz, self.attenuation_db_per_km)


def gas_db_per_km(
    frequency_hz: ArrayLike, air: Air, table: GasTable | None = None
) -> NDArray[np.float64]:
    """Return the gas loss [dB/km]: P.676 to 1000 GHz, the user's table above.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    air : Air
        Broadcasts with the frequencies.
    table : GasTable, optional

    Raises
    ------
    ModelRangeError
        Above 1000 GHz without a table, or outside the table; below 1 GHz.
    """
    frequency = np.asarray(frequency_hz, dtype=np.float64)
    if table is None or not (frequency > RANGE_HZ[1]).any():
        return specific_attenuation(frequency, air).total_db_per_km
    beyond = frequency > RANGE_HZ[1]
    low = specific_attenuation(np.where(beyond, RANGE_HZ[1], frequency), air)
    high = table.at(np.where(beyond, frequency, table.frequency_hz[-1]))
    return np.where(beyond, high, low.total_db_per_km)
