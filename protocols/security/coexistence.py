r"""Data and key side by side, or on the same light: what each choice gives.

The resources are the same for all: one band, one time, so many uses. Simultaneous
transmission spends every use on both. The alternatives divide the uses:

- *time*: a share of the slots carries data, the rest key; every change-over costs
  a guard time, and the key sees no classical light.
- *wavelength*: two carriers in one fibre; a guard band between them, and the data
  scatters (Raman) and leaks (filter) into the key's channel.
- *frequency*: two bands on one carrier and one receiver; a guard band, and the
  leak through the electrical filter.

Stray photons of the data are noise of the key: `n` photons per mode at the
receiver's input are :math:`2n` SNU at the channel's output, or :math:`n \eta`
clicks per slot of a photon counter.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.security.cv_rates import Floats, Link, check_range
from protocols.security.dv_rates import PhotonLink

Division = Literal["time", "wavelength", "frequency"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The classical signal beside the key.

    Parameters
    ----------
    photons_per_use : float or ndarray, shape (...)
        Mean photons of the data per use at the transmitter [1].
    isolation_db : float
        Of the filter between the two: of light that arrives in the data's band,
        what is seen in the key's [dB].
    raman_photons : float or ndarray, shape (...)
        Scattered into one mode of the key at the receiver per launched data photon
        and use, as the propagation model of the fibre says [1].
    """

    photons_per_use: Floats
    isolation_db: float = 80.0
    raman_photons: Floats = 0.0


@dataclass(frozen=True, slots=True)
class Shares:
    """How the uses are divided.

    Parameters
    ----------
    division : {"time", "wavelength", "frequency"}
    key : float or ndarray, shape (...)
        Share of the uses that is given to the key, 0 to 1 [1].
    guard : float
        Share that is lost between the two, of all uses [1].
    """

    division: Division
    key: Floats
    guard: float = 0.05

    @property
    def used(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Shares that carry data and key, shape (...) [1].

        The guard is paid by both in proportion; whoever divides nothing, with
        all uses on one side, needs none.
        """
        check_range("share of the key", self.key, 0.0, 1.0)
        check_range("guard", self.guard, 0.0, 1.0)
        key = np.asarray(self.key, dtype=np.float64)
        alone = (key == 0.0) | (key == 1.0)
        left = np.where(alone, 1.0, 1.0 - self.guard)
        return left * (1.0 - key), left * key


@dataclass(frozen=True, slots=True)
class Point:
    """Data and key of one way to transmit, per use of all resources.

    Parameters
    ----------
    classical_bits : ndarray, shape (...), float64 [bit]
    key_bits : ndarray, shape (...), float64 [bit]
        Zero where there is no key.
    """

    classical_bits: NDArray[np.float64]
    key_bits: NDArray[np.float64]


def stray_photons(
    neighbour: Neighbour, division: Division, transmittance: Floats
) -> NDArray[np.float64]:
    """Return stray photons per mode of the key at the receiver's input [1].

    Shape (...). None in separate time slots, no scattering within one carrier.

    Parameters
    ----------
    neighbour : Neighbour
    division : {"time", "wavelength", "frequency"}
    transmittance : float or ndarray, shape (...)
        Of the channel, for the data [1].
    """
    check_range("isolation [dB]", neighbour.isolation_db, 0.0, 300.0)
    check_range("photons of the data", neighbour.photons_per_use, 0.0, 1e15)
    check_range("scattered photons", neighbour.raman_photons, 0.0, 1.0)
    sent = np.asarray(neighbour.photons_per_use, dtype=np.float64)
    if division == "time":
        return np.zeros(np.broadcast_shapes(sent.shape, np.shape(transmittance)))
    leaked = sent * transmittance * 10.0 ** (-0.1 * neighbour.isolation_db)
    if division == "frequency":
        return np.asarray(leaked)
    return np.asarray(leaked + sent * neighbour.raman_photons)


def beside_gaussian(link: Link, neighbour: Neighbour, division: Division) -> Link:
    """Return the link of a Gaussian key with the data's stray light in it.

    Parameters
    ----------
    link : Link
    neighbour : Neighbour
    division : {"time", "wavelength", "frequency"}
    """
    stray = stray_photons(neighbour, division, link.transmittance)
    more = 2.0 * stray / np.asarray(link.transmittance)
    return replace(link, xi_snu=np.asarray(link.xi_snu + more))


def beside_photons(
    link: PhotonLink, neighbour: Neighbour, division: Division, efficiency: float
) -> PhotonLink:
    """Return the link of a photon-counting key with the data's stray light in it.

    Parameters
    ----------
    link : PhotonLink
    neighbour : Neighbour
    division : {"time", "wavelength", "frequency"}
    efficiency : float
        Of the detectors, contained in the link's transmittance [1].
    """
    check_range("detector efficiency", efficiency, 1e-9, 1.0)
    through = np.asarray(link.transmittance) / efficiency
    if link.weights is not None:
        through = np.tensordot(link.weights, through, axes=1)
    stray = stray_photons(neighbour, division, np.minimum(through, 1.0))
    clicks = -np.expm1(-efficiency * stray)
    dark = np.asarray(link.background_yield, dtype=np.float64)
    return replace(link, background_yield=np.asarray(dark + (1.0 - dark) * clicks))


def divided(shares: Shares, classical_bits: Floats, key_bits: Floats) -> Point:
    """Return what dividing the uses gives.

    Parameters
    ----------
    shares : Shares
    classical_bits : float or ndarray, shape (...)
        Per use that carries data [bit].
    key_bits : float or ndarray, shape (...)
        Per use that carries key, stray light included [bit].
    """
    for_data, for_key = shares.used
    return Point(
        np.asarray(for_data * classical_bits),
        np.asarray(for_key * np.maximum(key_bits, 0.0)),
    )


def advantage(simultaneous: Point, alternatives: Point) -> float:
    """Return the key that simultaneous transmission gives beyond dividing [bit].

    At the same classical rate, per use; negative where dividing is better.

    Parameters
    ----------
    simultaneous : Point
        One point.
    alternatives : Point
        Many points of divided uses.
    """
    rate = float(simultaneous.classical_bits)
    return float(simultaneous.key_bits) - key_at(alternatives, rate)


def key_at(point: Point, classical_bits: float) -> float:
    """Return the largest key among points of at least that classical rate [bit].

    Zero if none of them reaches it.

    Parameters
    ----------
    point : Point
        Many points, of one or several divisions.
    classical_bits : float
        [bit per use]
    """
    enough = point.classical_bits >= classical_bits
    return float(np.max(np.where(enough, point.key_bits, 0.0), initial=0.0))


def pareto_front(
    classical_bits: NDArray[np.float64], key_bits: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which points nothing else beats in both rates, shape (n,), bool.

    Parameters
    ----------
    classical_bits : ndarray, shape (n,), float64 [bit]
    key_bits : ndarray, shape (n,), float64 [bit]

    Notes
    -----
    Of equal points the first one stays.
    """
    order = np.lexsort((np.arange(key_bits.size), -key_bits, -classical_bits))
    sorted_key = key_bits[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(sorted_key)[:-1]])
    front = np.zeros(key_bits.size, dtype=np.bool_)
    front[order] = sorted_key > before
    return front
