r"""Spontaneous Raman light of classical channels in the quantum band of a fibre.

A pump of power `P` scatters, per length and bandwidth and in both polarisations,

.. math:: \frac{dP_R}{dz\,d\nu} = 2 h\nu\, C_R(\Omega)\, P\,
   [\,n(\Omega) + 1\,]\ \text{below, or}\ [\,n(\Omega)\,]\ \text{above its frequency},

with the thermal occupation `n` of the vibration :math:`\Omega = |\nu - \nu_P|` and
the gain efficiency :math:`C_R` of depolarised light. The shape of the gain is the
13-line model of silica; its peak is 0.4 per W and km for standard fibre: a gain of
1e-13 m/W for light polarised as a pump at 1 um (Stolen and Ippen), less as the
wavelength grows, at 1.55 um over an area of 80 um^2, and half of that without
polarisation. The curve in GNPy, an open planner of optical networks, has a peak of 0.42
for a pump at 1454 nm, which is 0.39 at 1550 nm; shape and peak together are within 30 %
of it from 0.5 to 14.5 THz. Other fibres differ, and all stray light goes with the gain:
figures hold within a factor of two (`UNCERTAINTY_DB`). Near the pump, Rayleigh and
Brillouin light and four-wave mixing dominate: the model refuses offsets below 50 GHz.

References
----------
D. Hollenbeck and C. D. Cantrell, J. Opt. Soc. Am. B 19, 2886 (2002), Table 1 (the
spectrum); J. Bromage, J. Lightwave Technol. 22, 79 (2004) (noise of Raman gain);
P. Eraerds et al., New J. Phys. 12, 063027 (2010) (growth along the fibre);
R. H. Stolen and E. P. Ippen, Appl. Phys. Lett. 22, 276 (1973) (peak); A. D'Amico et
al., J. Lightwave Technol. 40, 3499 (2022) (GNPy, gnpy.core.parameters).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import exprel, wofz

from scqc.core.units import LIGHT_SPEED_M_PER_S, PLANCK_J_S
from sim_backends.propagation.ranges import within
from sim_backends.propagation.thermal import thermal_photons

#: Largest gain efficiency of depolarised light [1/(W km)], standard fibre, 1550 nm.
PEAK_GAIN_PER_W_KM = 0.4
#: Stated uncertainty of every result [dB].
UNCERTAINTY_DB = 3.0
OFFSET_RANGE_HZ = (50e9, 40e12)
BAND_HZ = (180e12, 240e12)

# Wave number [1/cm], amplitude, Gaussian and Lorentzian full width [1/cm].
_LINES = np.array(
    [
        (56.25, 1.00, 52.10, 17.37),
        (100.00, 11.40, 110.42, 38.81),
        (231.25, 36.67, 175.00, 58.33),
        (362.50, 67.67, 162.50, 54.17),
        (463.00, 74.00, 135.33, 45.11),
        (497.00, 4.50, 24.50, 8.17),
        (611.50, 6.80, 41.50, 13.83),
        (691.67, 4.60, 155.00, 51.67),
        (793.67, 4.20, 59.50, 19.83),
        (835.50, 4.50, 64.30, 21.43),
        (930.00, 2.70, 150.00, 50.00),
        (1080.00, 3.10, 91.00, 30.33),
        (1215.00, 3.00, 160.00, 53.33),
    ]
)
_PER_CM_HZ = 100.0 * LIGHT_SPEED_M_PER_S


@dataclass(frozen=True, slots=True)
class ClassicalChannel:
    """A classical channel on the fibre of a quantum channel.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
        Carrier.
    launch_w : array_like [W]
        Power at its own end of the fibre; both broadcast with the fibre's length.
    counter : bool
        It runs against the quantum light.
    attenuation_db_per_km : array_like or None [dB/km]
        At its wavelength; None: that of the quantum light.
    """

    frequency_hz: ArrayLike
    launch_w: ArrayLike
    counter: bool = False
    attenuation_db_per_km: ArrayLike | None = None


def raman_shape(offset_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the Raman gain of silica at an offset, its peak (13.2 THz) being 1.

    It is the imaginary part of the spectrum of the response of 13 lines, each with
    a Gaussian and a Lorentzian width (a Voigt shape).

    Parameters
    ----------
    offset_hz : array_like [Hz]
        0 to 40 THz.

    Raises
    ------
    ModelRangeError
        If an offset is outside the range of the model.
    """
    limits = (0.0, OFFSET_RANGE_HZ[1])
    offset = within("Raman offset [Hz]", offset_hz, limits, "13-line model of silica")
    return _gain(offset) / _peak()


def _gain(offset_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    x = 2.0 * math.pi * offset_hz[..., np.newaxis]
    centre, amplitude, gauss, lorentz = _LINES.T
    omega = 2.0 * math.pi * _PER_CM_HZ * centre
    broad = math.pi * _PER_CM_HZ * gauss
    damping = math.pi * _PER_CM_HZ * lorentz
    near = wofz((omega - x + 1j * damping) / broad).real
    image = wofz((omega + x + 1j * damping) / broad).real
    return np.asarray((amplitude / broad * (near - image)).sum(axis=-1))


@lru_cache(maxsize=1)
def _peak() -> float:
    return float(_gain(np.linspace(12e12, 15e12, 3001)).max())


def raman_density(
    noise_hz: ArrayLike,
    pump_hz: ArrayLike,
    temperature_k: ArrayLike = 296.0,
    peak_gain_per_w_km: ArrayLike = PEAK_GAIN_PER_W_KM,
) -> NDArray[np.float64]:
    """Return the scattered power in both polarisations [W per W, km and Hz].

    Parameters
    ----------
    noise_hz : array_like [Hz]
        Where the quantum channel is.
    pump_hz : array_like [Hz]
        Where the classical channel is.
    temperature_k : array_like [K]
        Of the fibre.
    peak_gain_per_w_km : array_like [1/(W km)]
        Of depolarised light.

    Raises
    ------
    ModelRangeError
        If a frequency is outside the telecom bands, the offset outside 50 GHz to
        40 THz, or the gain negative.
    """
    noise = within("quantum channel [Hz]", noise_hz, BAND_HZ, "telecom bands")
    pump = within("classical channel [Hz]", pump_hz, BAND_HZ, "telecom bands")
    why = "nearer, other scattering dominates; farther, silica has no lines"
    offset = within("Raman offset [Hz]", np.abs(noise - pump), OFFSET_RANGE_HZ, why)
    phonons = thermal_photons(offset, temperature_k) + np.where(noise < pump, 1.0, 0.0)
    peak = within("Raman gain [1/(W km)]", peak_gain_per_w_km, (0.0, 100.0))
    gain = peak * raman_shape(offset)
    return np.asarray(2.0 * PLANCK_J_S * noise * gain * phonons)


def raman_length_km(
    length_km: ArrayLike,
    noise_db_per_km: ArrayLike,
    pump_db_per_km: ArrayLike,
    counter: bool,
) -> NDArray[np.float64]:
    """Return the length [km] that, without loss, would scatter as much to the end.

    The pump is attenuated before it scatters, what it scatters thereafter:
    ``(e^(-pL) - e^(-qL)) / (q - p)`` along the pump, ``(1 - e^(-(p+q)L)) / (p + q)``
    against it, which is not less for a longer fibre.

    Parameters
    ----------
    length_km : array_like [km]
    noise_db_per_km, pump_db_per_km : array_like [dB/km]
        Attenuation of the scattered light and of the pump; all broadcast.
    counter : bool
        The pump enters where the scattered light leaves.

    Raises
    ------
    ModelRangeError
        If a length or an attenuation is negative.
    """
    length = within("fibre length [km]", length_km, (0.0, 1e5))
    noise, pump = (
        0.1 * math.log(10.0) * within("attenuation [dB/km]", db, (0.0, 100.0))
        for db in (noise_db_per_km, pump_db_per_km)
    )
    if counter:
        return np.asarray(length * exprel(-(pump + noise) * length))
    # Of the two exponentials the slower one leads: no difference overflows.
    slow = np.exp(-np.minimum(pump, noise) * length)
    return np.asarray(length * slow * exprel(-np.abs(noise - pump) * length))


def raman_photons_per_mode(
    noise_hz: ArrayLike,
    channels: Sequence[ClassicalChannel],
    length_km: ArrayLike,
    attenuation_db_per_km: ArrayLike = 0.2,
    temperature_k: ArrayLike = 296.0,
    peak_gain_per_w_km: ArrayLike = PEAK_GAIN_PER_W_KM,
) -> NDArray[np.float64]:
    """Return the Raman photons per mode at the quantum receiver's input [1].

    One mode is one polarisation and a time-bandwidth product of one, which is what
    a coherent receiver sees; a counting receiver takes twice that (unless it has a
    polariser), times filter bandwidth times gate.

    Parameters
    ----------
    noise_hz : array_like [Hz]
        Quantum channel.
    channels : sequence of ClassicalChannel
    length_km : array_like [km]
    attenuation_db_per_km : array_like [dB/km]
        At the quantum channel.
    temperature_k : array_like [K]
        Of the fibre.
    peak_gain_per_w_km : array_like [1/(W km)]
        Of depolarised light; all broadcast.

    Raises
    ------
    ModelRangeError
        As `raman_density` and `raman_length_km`; also if a power is negative.
    """
    largest = float(np.finfo(np.float64).max)
    total = np.zeros_like(within("fibre length [km]", length_km, (0.0, 1e5)))
    for channel in channels:
        power = within("launch power [W]", channel.launch_w, (0.0, largest))
        pump_db = channel.attenuation_db_per_km
        pump_db = attenuation_db_per_km if pump_db is None else pump_db
        grown = raman_length_km(
            length_km, attenuation_db_per_km, pump_db, channel.counter
        )
        density = raman_density(
            noise_hz, channel.frequency_hz, temperature_k, peak_gain_per_w_km
        )
        total = total + power * density * grown
    return np.asarray(total / (2.0 * PLANCK_J_S * np.asarray(noise_hz)))
