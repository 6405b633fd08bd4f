r"""Apertures for radio waves and THz: how much of a beam the receiver takes in.

The beam is that of `sim_backends.propagation.beam`, collimated or focused on the
receiver: an aperture of radius `a` takes in :math:`1 - e^{-2a^2/w^2}`. Far away that
is Friis' law with the gain :math:`8\pi^2 w_0^2/\lambda^2`; near by, Friis' law
exceeds one, and `friis` refuses it.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scqc.core.units import LIGHT_SPEED_M_PER_S
from sim_backends.propagation.beam import centred_transmittance, spot_radius_m
from sim_backends.propagation.ranges import positive, within

Focus = Literal["collimated", "focused"]

#: Above this Friis' law is off by more than 14 %: the receiver is in the near field.
FRIIS_WARNING = 0.3


def aperture_coupling(
    frequency_hz: ArrayLike,
    distance_m: ArrayLike,
    waist_m: ArrayLike,
    aperture_radius_m: ArrayLike,
    focus: Focus,
) -> NDArray[np.float64]:
    """Return the share of a centred Gaussian beam that the receiver takes in [1].

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    distance_m : array_like [m]
    waist_m : array_like [m]
        1/e^2 intensity radius at the transmitter.
    aperture_radius_m : array_like [m]
        Of the receiver.
    focus : {"collimated", "focused"}
        A flat wave front at the transmitter, or focused on the receiver.

    Raises
    ------
    ModelRangeError
        If a frequency or length is not positive.
    """
    wavelength = LIGHT_SPEED_M_PER_S / positive("frequency [Hz]", frequency_hz)
    distance = positive("distance [m]", distance_m)
    curvature = distance if focus == "focused" else math.inf
    spot = spot_radius_m(waist_m, wavelength, distance, curvature)
    return centred_transmittance(aperture_radius_m, spot)


def antenna_gain(frequency_hz: ArrayLike, waist_m: ArrayLike) -> NDArray[np.float64]:
    """Return the on-axis gain ``8 pi^2 w0^2/lambda^2`` of a Gaussian aperture [1].

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    waist_m : array_like [m]

    Raises
    ------
    ModelRangeError
        If a frequency or waist is not positive.
    """
    wavelength = LIGHT_SPEED_M_PER_S / positive("frequency [Hz]", frequency_hz)
    return 8.0 * (math.pi * positive("waist [m]", waist_m) / wavelength) ** 2


def friis_ratio(
    frequency_hz: ArrayLike, distance_m: ArrayLike, gains: tuple[ArrayLike, ArrayLike]
) -> NDArray[np.float64]:
    r"""Return what Friis' law says, :math:`G_T G_R (c/4\pi f d)^2`, above one too [1].

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    distance_m : array_like [m]
    gains : tuple of two array_like [1]
        Power gains of the transmitting and the receiving antenna, not in dB.

    Raises
    ------
    ModelRangeError
        If a frequency, distance or gain is not positive.
    """
    wavelength = LIGHT_SPEED_M_PER_S / positive("frequency [Hz]", frequency_hz)
    distance = positive("distance [m]", distance_m)
    sent, received = (positive("antenna gain", x) for x in gains)
    return sent * received * (wavelength / (4.0 * math.pi * distance)) ** 2


def friis(
    frequency_hz: ArrayLike, distance_m: ArrayLike, gains: tuple[ArrayLike, ArrayLike]
) -> NDArray[np.float64]:
    """Return the far-field transmittance [1] by Friis' law, which must be below one.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    distance_m : array_like [m]
    gains : tuple of two array_like [1]

    Raises
    ------
    ModelRangeError
        If the law gives more power than was sent: the receiver is in the near
        field, where `near_field_safe` or `aperture_coupling` hold.
    """
    ratio = friis_ratio(frequency_hz, distance_m, gains)
    why = "near field: use near_field_safe, or go farther away"
    return within("transmittance by Friis' law", ratio, (0.0, 1.0), why)


def near_field_safe(
    frequency_hz: ArrayLike, distance_m: ArrayLike, gains: tuple[ArrayLike, ArrayLike]
) -> NDArray[np.float64]:
    """Return ``1 - exp(-Friis)``: Friis' law far away, and never above one [1].

    It is exactly the coupling of a focused Gaussian beam whose gain is that of
    `antenna_gain`, into an aperture of area ``G_R lambda^2/(4 pi)``.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    distance_m : array_like [m]
    gains : tuple of two array_like [1]

    Raises
    ------
    ModelRangeError
        If a frequency, distance or gain is not positive.
    """
    return -np.expm1(-friis_ratio(frequency_hz, distance_m, gains))


def in_near_field(friis_value: ArrayLike) -> NDArray[np.bool_]:
    """Return where a planner must warn that Friis' law no longer holds.

    Parameters
    ----------
    friis_value : array_like [1]
        As `friis_ratio` gives it.
    """
    return np.asarray(friis_value, dtype=np.float64) > FRIIS_WARNING
