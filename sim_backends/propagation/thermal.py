r"""Thermal photons per mode: Planck's law, and which temperature counts.

.. math:: \bar n = \frac{1}{e^{hf/kT} - 1}, \qquad W = 2\bar n + 1\ \mathrm{[SNU]}.

Loss couples a link to whatever absorbs or scatters: a piece of transmittance `T` at
temperature `t` adds :math:`(1-T)\,\bar n(t)` photons per mode at its end. Air, walls
and ground are at *ambient* temperature and no cold receiver takes that away. Cold
helps where the loss itself is cold: a cryogenic waveguide, or diffraction into the
sky between satellites. A beam that sees the Earth sees ambient, one that sees the
Sun 5800 K.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scqc.core.errors import ModelRangeError
from scqc.core.units import PLANCK_J_S
from sim_backends.propagation.ranges import positive, within

BOLTZMANN_J_PER_K = 1.380649e-23

#: What the loss of a link couples to [K].
AMBIENT_K = 296.0
CRYOGENIC_K = 4.0
MILLIKELVIN_K = 0.02
SKY_K = 2.725
SUN_K = 5800.0


def thermal_photons(
    frequency_hz: ArrayLike, temperature_k: ArrayLike
) -> NDArray[np.float64]:
    """Return the mean thermal photon number per mode [1].

    Right at any frequency and temperature: ``expm1`` where it is large, and zero
    where it underflows.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    temperature_k : array_like [K]
        Broadcasts with the frequencies; 0 K gives 0.

    Raises
    ------
    ModelRangeError
        If a frequency is not positive or a temperature negative.
    """
    frequency = positive("frequency [Hz]", frequency_hz)
    largest = float(np.finfo(np.float64).max)
    temperature = within("temperature [K]", temperature_k, (0.0, largest))
    with np.errstate(divide="ignore", over="ignore"):
        x = PLANCK_J_S * frequency / (BOLTZMANN_J_PER_K * temperature)
        return np.asarray(1.0 / np.expm1(x))


def thermal_variance_snu(
    frequency_hz: ArrayLike, temperature_k: ArrayLike
) -> NDArray[np.float64]:
    """Return the quadrature variance `W` of a thermal mode [SNU, vacuum 1].

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    temperature_k : array_like [K]

    Raises
    ------
    ModelRangeError
        As `thermal_photons`.
    """
    return 2.0 * thermal_photons(frequency_hz, temperature_k) + 1.0


def cascade(
    frequency_hz: ArrayLike, pieces: Sequence[tuple[ArrayLike, float]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return one lossy channel that does what several in a row do.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    pieces : sequence of (array_like, float)
        Transmittance [1] and temperature [K] of each piece, in the order in which
        the signal meets them. They broadcast with the frequencies.

    Returns
    -------
    transmittance : ndarray, broadcast shape, float64 [1]
    photons : ndarray, broadcast shape, float64 [1]
        Photons per mode of the one environment that adds the same noise.

    Raises
    ------
    ModelRangeError
        If there is no piece, a transmittance is not 0 to 1, or as
        `thermal_photons`.
    """
    if not pieces:
        raise ModelRangeError("pieces of a link", 0.0, (1.0, np.inf))
    total = np.ones_like(np.asarray(frequency_hz, dtype=np.float64))
    loss = np.zeros_like(total)
    noise = np.zeros_like(total)
    for transmittance, temperature_k in pieces:
        t = within("transmittance", transmittance, (0.0, 1.0), "a passive link")
        photons = thermal_photons(frequency_hz, temperature_k)
        noise = t * noise + (1.0 - t) * photons
        # 1 - T summed from losses: the difference would lose small ones.
        loss = t * loss + (1.0 - t)
        total = total * t
    # A link without any loss couples to nothing; its environment is the last one.
    safe = np.where(loss > 0.0, loss, 1.0)
    return total, np.where(loss > 0.0, noise / safe, photons)


def amplifier_noise_snu(
    frequency_hz: ArrayLike, noise_temperature_k: ArrayLike
) -> NDArray[np.float64]:
    """Return the noise of a receiver of noise temperature `T_N` [SNU].

    A phase-insensitive amplifier adds ``2 k T_N/(h f)`` per quadrature, counted
    before it; the quantum limit of measuring both quadratures is not in it.

    Parameters
    ----------
    frequency_hz : array_like [Hz]
    noise_temperature_k : array_like [K]

    Raises
    ------
    ModelRangeError
        If a frequency is not positive or a temperature negative.
    """
    frequency = positive("frequency [Hz]", frequency_hz)
    largest = float(np.finfo(np.float64).max)
    noise = within("noise temperature [K]", noise_temperature_k, (0.0, largest))
    return 2.0 * BOLTZMANN_J_PER_K * noise / (PLANCK_J_S * frequency)
