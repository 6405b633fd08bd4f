r"""How bright the sky is behind a link, and what of it a receiver takes in.

A name stands for a radiance near 800 nm [W / (m^2 um sr)]. The colour is that of
sunlight (a black body of 5772 K, which clouds and the Moon return, and a clear sky
falls below in the infrared), on it the light of the air itself: airglow, not more than
`AIRGLOW`, and heat, not more than a black body of 288 K sends.

A receiver that counts takes all modes in its field of view and both polarisations; a
coherent one takes the one mode of its local oscillator, whatever its telescope:

.. math:: n = \frac{L_\lambda \lambda^5}{2 h c^2}

photons per mode and polarisation, the occupation that Planck's law gives a black body.

References
----------
E.-L. Miao et al., New J. Phys. 7, 215 (2005) and S. Pirandola, Phys. Rev. Research 3,
023130 (2021) quote 1.9e18 (cloudy day) and 1.9e13 (clear night) photons / (m^2 s nm
sr), to be collected with the *square* of the aperture's radius: these are 150 and
1.5e-3 W / (m^2 um sr) times pi over the energy of a photon, so nothing is lost. ESO
SkyCalc at Paranal: I = 19.74 mag/arcsec^2 without and 17.95 with a full Moon, 6e-6 and
3e-5 W / (m^2 um sr); H = 14.4, 8e-5. Twilight: 9.3 mag above the dark sky when the Sun
is 6 degrees down, from the polynomial that observatories use (J. Thorstensen, skycalc).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from sim_backends.propagation.ranges import Floats, positive, within
from sim_backends.propagation.sky import photon_radiance
from sim_backends.propagation.thermal import thermal_photons

#: Radiance near 800 nm [W / (m^2 um sr)]; each is an order of magnitude.
SKIES_W_PER_M2_UM_SR = {
    "dark-night": 1.5e-5,
    "night": 1.5e-3,
    "twilight": 0.08,
    "day": 15.0,
    "cloudy-day": 150.0,
}
#: No sky is brighter by its own airglow, 0.9 to 2.5 um [W / (m^2 um sr)].
AIRGLOW = 1e-4
RANGE_M = (0.4e-6, 12e-6)

_NAMED_M = 0.8e-6
_GLOWS_M = 0.9e-6
_SUN_K, _AIR_K = 5772.0, 288.15
_W_PER_M3 = 1e-6
#: Above the dark sky, by (depth of the Sun - 9 degrees) / 9 degrees.
_TWILIGHT_MAGNITUDES = (6.132725, -9.4084495, 1.246602, 2.0635175)
_MAGNITUDE = 0.4 * math.log(10.0)


def sky_radiance(sky: str, wavelength_m: ArrayLike) -> Floats:
    """Return how bright a named sky is [W / (m^2 um sr)].

    Parameters
    ----------
    sky : str
        A key of `SKIES_W_PER_M2_UM_SR`, or ``none``: no light, no heat.
    wavelength_m : array_like
        0.4 to 12 um [m].

    Returns
    -------
    ndarray, shape of `wavelength_m`, float64 [W / (m^2 um sr)]

    Raises
    ------
    ModelRangeError
        If the wavelength is outside the range.
    ValueError
        If the name is unknown; lists the known ones.
    """
    wave_m = within("wavelength of skylight [m]", wavelength_m, RANGE_M, "light")
    if sky == "none":
        return np.zeros_like(wave_m)
    if sky not in SKIES_W_PER_M2_UM_SR:
        known = ", ".join(("none", *SKIES_W_PER_M2_UM_SR))
        raise ValueError(f"sky = {sky!r}: one of {known}")
    return _seen(SKIES_W_PER_M2_UM_SR[sky], wave_m)


def sunlit_radiance(
    sun_elevation_rad: ArrayLike, wavelength_m: ArrayLike, night: str = "night"
) -> Floats:
    """Return how bright a clear sky is under a Sun high or low [W / (m^2 um sr)].

    That of ``day`` while the Sun is up; at the zenith in the twilight; from 18 degrees
    below the horizon on that of the night.

    Parameters
    ----------
    sun_elevation_rad : array_like
        Geometric, -pi/2 to pi/2 [rad].
    wavelength_m : array_like
        0.4 to 12 um; both broadcast [m].
    night : str
        What is left at night: ``night`` or ``dark-night``.

    Returns
    -------
    ndarray, broadcast shape, float64 [W / (m^2 um sr)]

    Raises
    ------
    ModelRangeError
        If an elevation or a wavelength is outside the range.
    """
    wave_m = within("wavelength of skylight [m]", wavelength_m, RANGE_M, "light")
    limits = (-0.5 * math.pi, 0.5 * math.pi)
    sun = within("elevation of the Sun [rad]", sun_elevation_rad, limits)
    y = np.clip((-np.degrees(sun) - 9.0) / 9.0, -1.0, 1.0)
    magnitudes = np.polynomial.polynomial.polyval(y, _TWILIGHT_MAGNITUDES)
    lit = SKIES_W_PER_M2_UM_SR["dark-night"] * np.expm1(_MAGNITUDE * magnitudes)
    lit = np.where(y < 1.0, np.maximum(lit, 0.0), 0.0)
    day = SKIES_W_PER_M2_UM_SR["day"]
    named = np.where(y <= -1.0, day, lit + SKIES_W_PER_M2_UM_SR[night])
    return _seen(np.minimum(named, day), wave_m)


def _seen(named: ArrayLike, wavelength_m: Floats) -> Floats:
    """Return the radiance of a sky that has one of `named` at 800 nm."""
    colour = planck_radiance(wavelength_m, _SUN_K) / planck_radiance(_NAMED_M, _SUN_K)
    glow = np.where(wavelength_m > _GLOWS_M, AIRGLOW, 0.0)
    own = glow + planck_radiance(wavelength_m, _AIR_K)
    return np.asarray(np.asarray(named) * colour + own)


def planck_radiance(wavelength_m: ArrayLike, temperature_k: ArrayLike) -> Floats:
    """Return the radiance of a black body [W / (m^2 um sr)].

    Parameters
    ----------
    wavelength_m, temperature_k : array_like
        Wavelength [m] and temperature [K]; they broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [W / (m^2 um sr)]
    """
    wave_m = positive("wavelength [m]", wavelength_m)
    photons = thermal_photons(LIGHT_SPEED_M_PER_S / wave_m, temperature_k)
    return np.asarray(photons * _mode_radiance(wave_m))


def photons_per_mode(
    radiance_w_per_m2_um_sr: ArrayLike, wavelength_m: ArrayLike
) -> Floats:
    """Return skylight in the one mode, of one polarisation, of a coherent receiver.

    Parameters
    ----------
    radiance_w_per_m2_um_sr : array_like
        [W / (m^2 um sr)]
    wavelength_m : array_like
        Both broadcast [m].

    Returns
    -------
    ndarray, broadcast shape, float64 [photons]

    Raises
    ------
    ModelRangeError
        If a radiance is negative or no number.
    """
    wave_m = positive("wavelength [m]", wavelength_m)
    power = within("radiance [W/(m2 um sr)]", radiance_w_per_m2_um_sr, (0.0, 1e12))
    return np.asarray(power / _mode_radiance(wave_m))


def counted_hz_per_nm(
    radiance_w_per_m2_um_sr: ArrayLike,
    wavelength_m: ArrayLike,
    area_m2: ArrayLike,
    field_of_view_rad: ArrayLike,
) -> Floats:
    """Return skylight that a telescope brings to counting detectors.

    Parameters
    ----------
    radiance_w_per_m2_um_sr : array_like
        [W / (m^2 um sr)]
    wavelength_m : array_like
        [m]
    area_m2 : array_like
        That collects [m^2].
    field_of_view_rad : array_like
        Full angle of the cone; no receiver sees less than one mode, the square of the
        wavelength [rad].

    Returns
    -------
    ndarray, broadcast shape, float64 [photons / (s nm)]

    Raises
    ------
    ModelRangeError
        If a radiance is negative, an area not positive, or the field of view not
        above 0 and below 1 rad.
    """
    wave_m = positive("wavelength [m]", wavelength_m)
    angle = within("field of view [rad]", field_of_view_rad, (1e-12, 1.0))
    collected = positive("collecting area [m^2]", area_m2) * 0.25 * math.pi * angle**2
    bright = photon_radiance(radiance_w_per_m2_um_sr, wave_m)
    return np.asarray(bright * np.maximum(collected, wave_m**2))


def _mode_radiance(wavelength_m: Floats) -> Floats:
    """Return the radiance of one photon in every mode, both polarisations.

    [W / (m^2 um sr)]
    """
    photon = 2.0 * PLANCK_J_S * LIGHT_SPEED_M_PER_S**2 / wavelength_m**5
    return np.asarray(_W_PER_M3 * photon)
