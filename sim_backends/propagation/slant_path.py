"""Loss by gas along a slant path: ground, balloon, aircraft or satellite.

The total is the sum over layers of length times specific attenuation; the running
sum gives the loss against distance. Within a layer the loss per kilometre is
constant, so distances between boundaries interpolate exactly.

References
----------
Recommendation ITU-R P.676-13, Annex 1, section 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim_backends.propagation.gas_absorption import Air, specific_attenuation
from sim_backends.propagation.ranges import within
from sim_backends.propagation.refraction import SlantPath, lengths_in_air_km, trace
from sim_backends.propagation.thermal import thermal_photons


@dataclass(frozen=True, slots=True)
class Emission:
    """A path through warm air.

    Parameters
    ----------
    loss_db : ndarray, shape (n,), float64 [dB]
        By gas, from end to end.
    down_photons, up_photons : ndarray, shape (n,), float64 [1]
        Thermal photons per mode of the air, at the lower and at the upper end.
    length_km : float
        Of the ray from end to end [km].
    """

    loss_db: NDArray[np.float64]
    down_photons: NDArray[np.float64]
    up_photons: NDArray[np.float64]
    length_km: float


#: Elevations worked on at once: 922 layers of them fit into the cache.
_ROWS = 256


def slant_attenuation_db(
    frequency_hz: ArrayLike, path: SlantPath
) -> NDArray[np.float64]:
    """Return the loss by gas [dB] from end to end of a path.

    Parameters
    ----------
    frequency_hz : array_like, any shape [Hz]
        1 to 1000 GHz.
    path : SlantPath

    Returns
    -------
    ndarray, shape of `frequency_hz`, float64 [dB]

    Raises
    ------
    ModelRangeError
        As `trace`, and if a frequency is outside P.676: a user's table of dB/km
        holds for one air and cannot follow a slant path.
    """
    frequency = np.asarray(frequency_hz, dtype=np.float64)
    ray = trace(path)
    return (ray.lengths_km @ _layers(frequency.ravel(), ray.air)).reshape(
        frequency.shape
    )


def cumulative_attenuation_db(
    frequency_hz: NDArray[np.float64], distance_km: ArrayLike, path: SlantPath
) -> NDArray[np.float64]:
    """Return the loss by gas [dB] from the lower end to distances along the ray.

    Parameters
    ----------
    frequency_hz : ndarray, shape (n,), float64 [Hz]
        1 to 1000 GHz.
    distance_km : array_like, shape (m,) [km]
        Measured along the ray; above the atmosphere nothing is added. A path that
        ends at the top of the atmosphere takes any distance.
    path : SlantPath

    Returns
    -------
    ndarray, shape (n, m), float64 [dB]

    Raises
    ------
    ModelRangeError
        As `slant_attenuation_db`, and if a distance is negative or beyond the end.
    """
    ray = trace(path)
    end = ray.length_km * (1.0 + 1e-12) if np.isfinite(path.end_km) else np.inf
    distance = within("distance [km]", distance_km, (0.0, float(end)), "the path ends")
    runs = _runs(np.atleast_1d(distance), ray.lengths_km)
    return _layers(np.atleast_1d(frequency_hz), ray.air).T @ runs


def attenuation_by_elevation_db(
    frequency_hz: ArrayLike, elevation_rad: ArrayLike, path: SlantPath
) -> NDArray[np.float64]:
    """Return the loss by gas [dB] at many elevations, as a pass needs it.

    Parameters
    ----------
    frequency_hz : array_like, shape (n,) [Hz]
        1 to 1000 GHz.
    elevation_rad : array_like, shape (m,) [rad]
        Apparent elevations at the lower end; they replace that of the path.
    path : SlantPath

    Returns
    -------
    ndarray, shape (n, m), float64 [dB]

    Raises
    ------
    ModelRangeError
        As `slant_attenuation_db`.
    """
    frequency = np.atleast_1d(np.asarray(frequency_hz, dtype=np.float64))
    elevation = np.atleast_1d(np.asarray(elevation_rad, dtype=np.float64))
    total = np.empty((frequency.size, elevation.size))
    gamma: NDArray[np.float64] | None = None
    for start in range(0, elevation.size, _ROWS):
        rows = slice(start, start + _ROWS)
        lengths, air = lengths_in_air_km(elevation[rows], path)
        if gamma is None:
            gamma = _layers(frequency, air)
        total[:, rows] = (lengths @ gamma).T
    return total


def slant_emission(frequency_hz: ArrayLike, path: SlantPath) -> Emission:
    """Return loss and heat of the air along a path, seen from both of its ends.

    Every layer adds its share of loss times the thermal photons of its own
    temperature, and those nearer to the receiver dim it (radiative transfer without
    scattering). Air of one temperature `t` gives ``(1 - T) n(t)``.

    Parameters
    ----------
    frequency_hz : array_like, shape (n,) [Hz]
        1 to 1000 GHz.
    path : SlantPath

    Returns
    -------
    Emission

    Raises
    ------
    ModelRangeError
        As `slant_attenuation_db`.
    """
    frequency = np.atleast_1d(np.asarray(frequency_hz, dtype=np.float64))
    ray = trace(path)
    layer_db = ray.lengths_km[:, np.newaxis] * _layers(frequency, ray.air)
    depth = 0.1 * np.log(10.0) * layer_db
    photons = thermal_photons(frequency, ray.air.temperature_k[:, np.newaxis])
    born = -np.expm1(-depth) * photons
    below = np.cumsum(depth, axis=0) - depth
    above = depth.sum(axis=0) - below - depth
    return Emission(
        loss_db=layer_db.sum(axis=0),
        down_photons=(born * np.exp(-below)).sum(axis=0),
        up_photons=(born * np.exp(-above)).sum(axis=0),
        length_km=ray.length_km,
    )


def _layers(frequency_hz: NDArray[np.float64], air: Air) -> NDArray[np.float64]:
    """Return the specific attenuation, shape (layers, frequencies) [dB/km]."""
    column = Air(
        air.dry_hpa[:, np.newaxis],
        air.vapour_hpa[:, np.newaxis],
        air.temperature_k[:, np.newaxis],
    )
    return specific_attenuation(frequency_hz, column).total_db_per_km


def _runs(
    distance_km: NDArray[np.float64], lengths_km: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far each distance runs in each layer, (layers, distances) [km]."""
    begin = np.concatenate(([0.0], np.cumsum(lengths_km)[:-1]))
    run = distance_km[np.newaxis, :] - begin[:, np.newaxis]
    return np.clip(run, 0.0, lengths_km[:, np.newaxis])
