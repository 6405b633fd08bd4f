r"""Background light that a telescope collects.

.. math:: n_B = H \, \Omega \, a^2 \, \Delta\lambda \, \Delta t

photons per pulse before the receiver's efficiency: H is the spectral radiance in
photons, a the radius of the aperture. The literature on quantum links (Miao et al.,
NJP 7, 215 (2005); Pirandola, PRR 3, 023130 (2021)) writes a^2; radiometry collects
with the area pi a^2. `collected` names the convention; the two differ by pi.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from sim_backends.propagation.ranges import Floats, positive, within

Collected = Literal["radius-squared", "area"]

# Spectral radiance near 800 nm [photons / (m^2 s nm sr)]; orders of magnitude, as
# quoted by Miao et al. (2005) and Pirandola (2021).
SKY_RADIANCE = {
    "clear-night": 1.9e13,
    "cloudy-day": 1.9e18,
}
# Sunlight outside the atmosphere near 800 nm, seen by a receiver that looks at a
# body lit by it [photons / (m^2 s nm sr)]; Pirandola (2021).
SOLAR_RADIANCE = 4.6e18
_RADIANCE = "radiance [photons/(m2 s nm sr)]"


@dataclass(frozen=True)
class FieldOfView:
    """What a receiver lets in.

    Parameters
    ----------
    aperture_radius_m : float
    solid_angle_sr : float
        Field of view [sr].
    bandwidth_nm : float
        Width of the spectral filter [nm].
    gate_s : float
        Length of the detection window [s].
    collected : {"radius-squared", "area"}
        a^2, as the literature on quantum links has it, or pi a^2.

    Raises
    ------
    ModelRangeError
        If a number is not positive, or the field of view exceeds a hemisphere.
    """

    aperture_radius_m: float
    solid_angle_sr: float
    bandwidth_nm: float
    gate_s: float
    collected: Collected = "radius-squared"

    def __post_init__(self) -> None:
        positive("radius of the aperture [m]", self.aperture_radius_m)
        hemisphere = (1e-30, 2.0 * math.pi)
        within("field of view [sr]", self.solid_angle_sr, hemisphere)
        positive("spectral filter [nm]", self.bandwidth_nm)
        positive("detection window [s]", self.gate_s)
        if self.collected not in get_args(Collected):
            raise ValueError(
                f"field of view: collected = {self.collected!r}: one of "
                f"{', '.join(get_args(Collected))}"
            )

    @property
    def etendue(self) -> float:
        """Radiance times this are photons per window [m^2 s nm sr]."""
        shape = math.pi if self.collected == "area" else 1.0
        collected_m2 = shape * self.aperture_radius_m**2
        return collected_m2 * self.solid_angle_sr * self.bandwidth_nm * self.gate_s


def background_photons(radiance: ArrayLike, view: FieldOfView) -> Floats:
    """Return the mean background photons in one detection window.

    Parameters
    ----------
    radiance : array_like
        Any shape; of sky or scene [photons / (m^2 s nm sr)].
    view : FieldOfView

    Returns
    -------
    ndarray, shape of `radiance`, float64 [photons]

    Raises
    ------
    ModelRangeError
        If a radiance is negative or no number.
    """
    return within(_RADIANCE, radiance, (0.0, 1e30)) * view.etendue


def background_hz(radiance: ArrayLike, view: FieldOfView) -> Floats:
    """Return background photons per second at the receiver's input.

    Parameters
    ----------
    radiance : array_like
        Any shape; of sky or scene [photons / (m^2 s nm sr)].
    view : FieldOfView

    Returns
    -------
    ndarray, shape of `radiance`, float64 [Hz]
    """
    return background_photons(radiance, view) / view.gate_s


def uplink_photons(view: FieldOfView, albedo: ArrayLike = 0.3) -> Floats:
    """Return what a satellite that looks at the sunlit Earth collects per window.

    n = albedo x `SOLAR_RADIANCE` x etendue (Pirandola, PRR 3, 023130 (2021)).

    Parameters
    ----------
    view : FieldOfView
        Of the satellite.
    albedo : array_like
        Any shape; reflected share [1].

    Returns
    -------
    ndarray, shape of `albedo`, float64 [photons]

    Raises
    ------
    ModelRangeError
        If the albedo is outside 0 to 1.
    """
    share = within("albedo [1]", albedo, (0.0, 1.0))
    return share * SOLAR_RADIANCE * view.etendue


def matched_bandwidth_nm(wavelength_m: ArrayLike, pulse_s: ArrayLike) -> Floats:
    r"""Return the width of the filter that a local oscillator is.

    :math:`\Delta\lambda = \lambda^2 / (c \Delta t)`: 0.2 pm at 800 nm and 10 ns.

    Parameters
    ----------
    wavelength_m, pulse_s : array_like
        Wavelength [m] and length of the pulse [s]; they broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [nm]
    """
    wave_m = positive("wavelength [m]", wavelength_m)
    length_s = positive("pulse [s]", pulse_s)
    return 1e9 * wave_m**2 / (LIGHT_SPEED_M_PER_S * length_s)


def photon_radiance(
    radiance_w_per_m2_um_sr: ArrayLike, wavelength_m: ArrayLike
) -> Floats:
    """Convert a radiance as radiometers give it into photons.

    Parameters
    ----------
    radiance_w_per_m2_um_sr : array_like
        Spectral radiance [W / (m^2 um sr)].
    wavelength_m : array_like
        Wavelength [m]; both broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [photons / (m^2 s nm sr)]
    """
    power = within("radiance [W/(m2 um sr)]", radiance_w_per_m2_um_sr, (0.0, 1e12))
    photon_j = (
        PLANCK_J_S * LIGHT_SPEED_M_PER_S / positive("wavelength [m]", wavelength_m)
    )
    return np.asarray(1e-3 * power / photon_j)


def named_radiance(sky: str) -> float:
    """Return the spectral radiance of a named sky [photons / (m^2 s nm sr)].

    Raises
    ------
    ValueError
        If the name is unknown; lists the known ones.
    """
    if sky not in SKY_RADIANCE:
        raise ValueError(f"sky = {sky!r}: one of {', '.join(SKY_RADIANCE)}")
    return SKY_RADIANCE[sky]
