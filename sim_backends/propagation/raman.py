r"""Spontaneous Raman light of classical channels in the quantum band of a fibre.

A pump of power `P` scatters, per length and bandwidth and in both polarisations,

.. math:: \frac{dP_R}{dz\,d\nu} = 2 h\nu\, C_R(\Omega)\, P\,
   [\,n(\Omega) + 1\,]\ \text{below, or}\ [\,n(\Omega)\,]\ \text{above its frequency},

with the thermal occupation `n` of the vibration :math:`\Omega = |\nu - \nu_P|` and
the gain efficiency :math:`C_R` of depolarised light. The shape of the gain is the
13-line model of silica; its peak, 0.4 per W and km for standard fibre, is a textbook
value and not measured here: figures hold within a factor of two (`UNCERTAINTY_DB`).
Near the pump, Rayleigh and Brillouin light and four-wave mixing dominate: the model
refuses offsets below 50 GHz.

References
----------
D. Hollenbeck and C. D. Cantrell, J. Opt. Soc. Am. B 19, 2886 (2002), Table 1 (the
spectrum); J. Bromage, J. Lightwave Technol. 22, 79 (2004) (noise of Raman gain);
P. Eraerds et al., New J. Phys. 12, 063027 (2010) (growth along the fibre).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import wofz

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
    frequency_hz : float
        Carrier [Hz].
    launch_w : float
        Power at its own end of the fibre [W].
    counter : bool
        It runs against the quantum light.
    """

    frequency_hz: float
    launch_w: float
    counter: bool = False


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
    noise_hz: ArrayLike, pump_hz: ArrayLike, temperature_k: ArrayLike = 296.0
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

    Raises
    ------
    ModelRangeError
        If a frequency is outside the telecom bands, or the offset outside 50 GHz
        to 40 THz.
    """
    noise = within("quantum channel [Hz]", noise_hz, BAND_HZ, "telecom bands")
    pump = within("classical channel [Hz]", pump_hz, BAND_HZ, "telecom bands")
    why = "nearer, other scattering dominates; farther, silica has no lines"
    offset = within("Raman offset [Hz]", np.abs(noise - pump), OFFSET_RANGE_HZ, why)
    phonons = thermal_photons(offset, temperature_k) + np.where(noise < pump, 1.0, 0.0)
    gain = PEAK_GAIN_PER_W_KM * raman_shape(offset)
    return np.asarray(2.0 * PLANCK_J_S * noise * gain * phonons)


def raman_photons_per_mode(
    noise_hz: float,
    channels: Sequence[ClassicalChannel],
    length_km: ArrayLike,
    attenuation_db_per_km: float = 0.2,
    temperature_k: float = 296.0,
) -> NDArray[np.float64]:
    """Return the Raman photons per mode at the quantum receiver's input [1].

    One mode is one polarisation and a time-bandwidth product of one, which is what
    a coherent receiver sees; a counting receiver takes twice that (unless it has a
    polariser), times filter bandwidth times gate.

    Parameters
    ----------
    noise_hz : float
        Quantum channel [Hz].
    channels : sequence of ClassicalChannel
    length_km : array_like [km]
    attenuation_db_per_km : float
        The same for all channels [dB/km].
    temperature_k : float
        Of the fibre [K].

    Raises
    ------
    ModelRangeError
        As `raman_density`; also if a length, attenuation or power is negative.
    """
    largest = float(np.finfo(np.float64).max)
    length = within("fibre length [km]", length_km, (0.0, 1e5))
    tiny = float(np.finfo(np.float64).tiny)
    loss = within("attenuation [dB/km]", attenuation_db_per_km, (tiny, 100.0))
    per_km = float(loss) * math.log(10.0) / 10.0
    along = length * np.exp(-per_km * length)
    against = -np.expm1(-2.0 * per_km * length) / (2.0 * per_km)
    total = np.zeros_like(length)
    for channel in channels:
        power = float(within("launch power [W]", channel.launch_w, (0.0, largest)))
        density = float(raman_density(noise_hz, channel.frequency_hz, temperature_k))
        total = total + power * density * (against if channel.counter else along)
    return np.asarray(total / (2.0 * PLANCK_J_S * noise_hz))
