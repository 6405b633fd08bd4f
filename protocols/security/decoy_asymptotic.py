r"""Decoy-state rates of an infinitely long run, for one channel that stands still.

The arithmetic is that of `protocols.security.dv_rates`, which takes arrays.

A channel of transmittance `eta` (detectors included) with background yield `y0`
clicks on `i` photons with probability :math:`Y_i = 1-(1-Y_0)(1-\eta)^i`; a photon
takes the wrong detector with `misalignment`, a background click is random.

References
----------
.. [1] X. Ma, B. Qi, Y. Zhao and H.-K. Lo, Phys. Rev. A 72, 012326 (2005).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from scipy.optimize import brentq

from protocols.security import dv_rates
from protocols.security.decoy import binary_entropy
from protocols.security.dv_rates import Decoys, Gains, PhotonLink
from scqc.core.errors import ProtocolAbort


@dataclass(frozen=True, slots=True)
class PhotonChannel:
    """Loss, background and misalignment.

    Parameters
    ----------
    transmittance : float
        From Alice's exit to a click, detectors included [1].
    background_yield : float
        Clicks per slot without any photon of Alice [1].
    misalignment : float
        Probability that a photon takes the wrong detector [1].
    """

    transmittance: float
    background_yield: float
    misalignment: float

    def gain(self, mean_photons: float) -> float:
        """Return clicks per slot of that mean photon number, [1] eq. (10)."""
        return float(dv_rates.click_rate(self._link, mean_photons))

    def wrong_gain(self, mean_photons: float) -> float:
        """Return wrong clicks per slot, ``E Q`` of [1] eq. (11)."""
        return float(dv_rates.wrong_click_rate(self._link, mean_photons))

    def error_rate(self, mean_photons: float) -> float:
        """Return the share of wrong clicks [1]."""
        return self.wrong_gain(mean_photons) / self.gain(mean_photons)

    @property
    def _link(self) -> PhotonLink:
        return PhotonLink(self.transmittance, self.background_yield, self.misalignment)

    def gains(self, signal: float, decoy: float) -> tuple[Gains, Decoys]:
        """Return what the rates of `protocols.security.dv_rates` take."""
        decoys = Decoys(signal, decoy)
        return dv_rates.gains(self._link, decoys), decoys


def single_yield(channel: PhotonChannel, signal: float, decoy: float) -> float:
    """Return the lower bound of Y1 from signal, decoy and vacuum, [1] eq. (34).

    Parameters
    ----------
    channel : PhotonChannel
    signal, decoy : float
        Mean photon numbers, ``signal > decoy > 0`` [1].
    """
    _check(signal, decoy)
    return float(dv_rates.single_yield(*channel.gains(signal, decoy)))


def single_error(channel: PhotonChannel, signal: float, decoy: float) -> float:
    """Return the upper bound of e1, [1] eq. (37)."""
    _check(signal, decoy)
    return float(dv_rates.single_error(*channel.gains(signal, decoy)))


def key_per_slot(
    channel: PhotonChannel,
    signal: float,
    decoy: float,
    *,
    sifting: float = 0.5,
    efficiency: float = 1.05,
) -> float:
    """Return fresh key per slot; negative beyond the limit, [1] eq. (1) [bit].

    Parameters
    ----------
    channel : PhotonChannel
    signal, decoy : float
        Mean photon numbers [1].
    sifting : float
        Share of slots that are signals in matching bases [1].
    efficiency : float
        Of the error correction, ``f >= 1`` [1].
    """
    _check(signal, decoy)
    found, decoys = channel.gains(signal, decoy)
    decoys = replace(decoys, sifting=sifting, efficiency=efficiency)
    return float(dv_rates.key_per_slot(found, decoys))


def message_per_slot(
    channel: PhotonChannel,
    signal: float,
    *,
    sifting: float = 0.5,
    efficiency: float = 1.05,
) -> float:
    """Return padded payload per slot, ``q Q (1 - f h(E))`` [bit]."""
    correction = efficiency * binary_entropy(channel.error_rate(signal))
    return sifting * channel.gain(signal) * (1.0 - correction)


def least_transmittance(
    background_yield: float,
    misalignment: float,
    signal: float,
    decoy: float,
    efficiency: float = 1.05,
) -> float:
    """Return the transmittance at which the fresh key vanishes [1].

    Raises
    ------
    ProtocolAbort
        If there is no key even without loss.
    """

    def rate(log_eta: float) -> float:
        channel = PhotonChannel(math.exp(log_eta), background_yield, misalignment)
        # Relative to the gain, so that the root is as sharp at high loss.
        key = key_per_slot(channel, signal, decoy, efficiency=efficiency)
        return key / channel.gain(signal)

    low, high = math.log(max(1e-3 * background_yield, 1e-12)), 0.0
    if rate(high) <= 0.0 or rate(low) >= 0.0:
        raise ProtocolAbort(
            f"decoy states: background {background_yield:g} and misalignment "
            f"{misalignment:g} leave no zero of the key between transmittance "
            f"{math.exp(low):.3g} and 1"
        )
    return math.exp(float(brentq(rate, low, high, xtol=1e-14)))


def _check(signal: float, decoy: float) -> None:
    if not signal > decoy > 0.0:
        raise ProtocolAbort(
            f"decoy states: signal {signal:g} and decoy {decoy:g} photons; need "
            "signal > decoy > 0"
        )
