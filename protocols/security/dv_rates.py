r"""Decoy-state keys and padded messages over arrays of loss, fading included.

A channel that fades clicks with the *mean* of its click probabilities: detections
of all its moments are added up, and only then is any entropy taken. So gains are
averaged first, with `weights` over the first axis of the transmittance; a mean of
key rates would be wrong.

`protocols.security.decoy_asymptotic` gives the same numbers for one point.

References
----------
.. [1] X. Ma, B. Qi, Y. Zhao and H.-K. Lo, Phys. Rev. A 72, 012326 (2005).
.. [2] D. Vasylyev, W. Vogel and F. Moll, Phys. Rev. A 99, 053830 (2019),
   appendix G: the finite-size form of published satellite curves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from protocols.security.cv_rates import Floats, check_range
from scqc.core.errors import ModelRangeError

#: Error rate of a click that no photon caused.
RANDOM_CLICK = 0.5


@dataclass(frozen=True, slots=True)
class PhotonLink:
    """Loss, background and misalignment; every field broadcasts.

    Parameters
    ----------
    transmittance : float or ndarray, shape (...) or (k, ...)
        From Alice's exit to a click, detectors included [1].
    background_yield : float or ndarray, shape (...)
        Clicks per slot without any photon of Alice [1].
    misalignment : float or ndarray, shape (...)
        Probability that a photon takes the wrong detector [1].
    weights : ndarray, shape (k,), float64 [1], or None
        Of the states of a fading channel, the first axis of the transmittance;
        they add up to 1. None: a channel that stands still.
    ready : float or ndarray, shape (...) or (k, ...)
        Probability that no click of an earlier slot blinds the receiver [1].
    blinding : float or ndarray, shape (...) or (k, ...)
        Transmittance to where a photon blinds the receiver for its own slot: a
        slot of ``n`` photons is missed with ``1 - (1 - blinding)^n``, which does
        not depend on the intensity, as the decoy argument wants [1].
    """

    transmittance: Floats
    background_yield: Floats
    misalignment: Floats
    weights: NDArray[np.float64] | None = None
    ready: Floats = 1.0
    blinding: Floats = 0.0


@dataclass(frozen=True, slots=True)
class Decoys:
    """Mean photon numbers and how the slots are shared.

    Parameters
    ----------
    signal, decoy : float or ndarray, shape (...)
        ``signal > decoy > 0``; the third intensity is vacuum [1].
    sifting : float or ndarray, shape (...)
        Share of the slots that are signals in matching bases [1].
    efficiency : float or ndarray, shape (...)
        Of the error correction, ``f >= 1`` [1].
    """

    signal: Floats = 0.6
    decoy: Floats = 0.2
    sifting: Floats = 0.5
    efficiency: Floats = 1.16


@dataclass(frozen=True, slots=True)
class Gains:
    """Clicks and wrong clicks per slot of each intensity.

    Parameters
    ----------
    signal, decoy, vacuum : ndarray, shape (...), float64 [1]
    wrong_signal, wrong_decoy : ndarray, shape (...), float64 [1]
    """

    signal: NDArray[np.float64]
    decoy: NDArray[np.float64]
    vacuum: NDArray[np.float64]
    wrong_signal: NDArray[np.float64]
    wrong_decoy: NDArray[np.float64]

    @property
    def error_rate(self) -> NDArray[np.float64]:
        """Share of wrong clicks of signals, shape (...) [1]."""
        return np.asarray(self.wrong_signal / self.signal)


def binary_entropy(p: Floats) -> NDArray[np.float64]:
    """Return the entropy of a coin, shape (...) [bit].

    Parameters
    ----------
    p : float or ndarray, shape (...)
        Probability [1].
    """
    rest = np.subtract(1.0, p)
    return np.asarray(-(xlogy(p, p) + xlogy(rest, rest)) / math.log(2.0))


def click_rate(link: PhotonLink, mean_photons: Floats) -> NDArray[np.float64]:
    """Return clicks per slot, [1] eq. (10), averaged over the fading, shape (...) [1].

    Parameters
    ----------
    link : PhotonLink
    mean_photons : float or ndarray, shape (...)
        [1]
    """
    exponent = np.log1p(-np.asarray(link.background_yield)) - np.multiply(
        link.transmittance, mean_photons
    )
    return _averaged(link, -np.expm1(exponent) * _awake(link, mean_photons))


def wrong_click_rate(link: PhotonLink, mean_photons: Floats) -> NDArray[np.float64]:
    """Return wrong clicks per slot, ``E Q`` of [1] eq. (11), shape (...) [1].

    Parameters
    ----------
    link : PhotonLink
    mean_photons : float or ndarray, shape (...)
        [1]
    """
    y0 = np.asarray(link.background_yield, dtype=np.float64)
    photons = -np.expm1(-np.multiply(link.transmittance, mean_photons))
    wrong = RANDOM_CLICK * y0 + link.misalignment * (1.0 - y0) * photons
    return _averaged(link, wrong * _awake(link, mean_photons))


def gains(link: PhotonLink, decoys: Decoys) -> Gains:
    """Return clicks per slot of signal, decoy and vacuum.

    Raises
    ------
    ModelRangeError
        If a parameter is no probability, weights do not add up to 1, or the decoy
        is not weaker than the signal.
    """
    _check(link, decoys)
    return Gains(
        click_rate(link, decoys.signal),
        click_rate(link, decoys.decoy),
        click_rate(link, 0.0),
        wrong_click_rate(link, decoys.signal),
        wrong_click_rate(link, decoys.decoy),
    )


def single_yield(found: Gains, decoys: Decoys) -> NDArray[np.float64]:
    """Return the lower bound of Y1, [1] eq. (34), shape (...) [1]."""
    mu, nu = np.asarray(decoys.signal), np.asarray(decoys.decoy)
    ratio = nu * nu / (mu * mu)
    inside = (
        found.decoy * np.exp(nu)
        - ratio * found.signal * np.exp(mu)
        - (1.0 - ratio) * found.vacuum
    )
    return np.asarray(mu / (mu * nu - nu * nu) * inside)


def single_error(found: Gains, decoys: Decoys) -> NDArray[np.float64]:
    """Return the upper bound of e1, [1] eq. (37), shape (...) [1].

    One half where the bound of Y1 is not positive: nothing is known then.
    """
    y1 = single_yield(found, decoys)
    wrong = found.wrong_decoy * np.exp(decoys.decoy) - RANDOM_CLICK * found.vacuum
    some = y1 > 0.0
    bound = wrong / np.where(some, y1 * decoys.decoy, 1.0)
    return np.where(some, bound, 0.5)


def key_per_slot(found: Gains, decoys: Decoys) -> NDArray[np.float64]:
    """Return fresh key per slot, [1] eq. (1), shape (...) [bit]; may be negative.

    Also the baseline without any message: decoy BB84 in the same slots.
    """
    y1, e1 = single_yield(found, decoys), single_error(found, decoys)
    return _key(found, decoys, y1, e1)


def message_per_slot(found: Gains, decoys: Decoys) -> NDArray[np.float64]:
    """Return padded payload per slot, ``q Q (1 - f h(E))``, shape (...) [bit]."""
    return np.asarray(decoys.sifting * found.signal - _correction(found, decoys))


def refill(found: Gains, decoys: Decoys) -> NDArray[np.float64]:
    """Return fresh key per message bit, shape (...) [1]; always below 1.

    A padded message spends a key bit for each of its own, so ``1 - refill`` per
    message bit is what the key sink loses, tags apart. Zero where there is no key,
    and where there is no message.
    """
    message = message_per_slot(found, decoys)
    some = message > 0.0
    share = np.maximum(key_per_slot(found, decoys), 0.0) / np.where(some, message, 1.0)
    return np.where(some, share, 0.0)


@dataclass(frozen=True, slots=True)
class PublishedBlock:
    """Constants of the published finite-size form.

    Parameters
    ----------
    slots : float or ndarray, shape (...)
        Of one block [1].
    shares : tuple of three float or ndarray, shape (...)
        Of signal, decoy and vacuum slots [1].
    check_basis : float or ndarray, shape (...)
        Probability of the check basis at either end [1].
    epsilon : float
        Of each statement [1].
    """

    slots: Floats
    shares: tuple[Floats, Floats, Floats] = (0.9, 0.05, 0.05)
    check_basis: Floats = 0.6
    epsilon: float = 1e-10


def published_key_per_slot(
    found: Gains, decoys: Decoys, block: PublishedBlock
) -> NDArray[np.float64]:
    r"""Return the key in the form of published satellite curves, shape (...) [bit].

    Chernoff's bound in the simplified form of [2], good for counts above
    :math:`-6\ln(\epsilon/2)` only, and a random-sampling bound for the phase
    error. For comparison: the program itself uses `protocols.security.decoy`.

    Parameters
    ----------
    found : Gains
    decoys : Decoys
    block : PublishedBlock

    Returns
    -------
    ndarray, shape (...), float64 [bit]
        Without single photons, and so negative, where a count is too small.
    """
    n_s, n_d, n_v = (share * np.asarray(block.slots) for share in block.shares)
    low_decoy, _ = _chernoff(found.decoy, n_d, block.epsilon)
    _, high_signal = _chernoff(found.signal, n_s, block.epsilon)
    low_dark, high_dark = _chernoff(found.vacuum, n_v, block.epsilon)
    _, high_wrong = _chernoff(found.wrong_decoy, n_d, block.epsilon)
    pessimist = Gains(high_signal, low_decoy, high_dark, found.wrong_signal, high_wrong)
    y1 = single_yield(pessimist, decoys)
    wrong = high_wrong * np.exp(decoys.decoy) - RANDOM_CLICK * low_dark
    some = np.isfinite(y1) & (y1 > 0.0) & np.isfinite(wrong)
    y1 = np.where(some, y1, 0.0)
    e1 = np.where(some, wrong / np.where(some, y1 * decoys.decoy, 1.0), 0.5)
    single = n_s * y1 * decoys.signal * np.exp(-np.asarray(decoys.signal))
    check = np.asarray(block.check_basis, dtype=np.float64)
    x, z = check**2 * single, (1.0 - check) ** 2 * single
    e1 = e1 + _sampling(e1, x, z, block.epsilon)
    return _key(found, decoys, y1, e1)


def _key(
    found: Gains, decoys: Decoys, y1: NDArray[np.float64], e1: NDArray[np.float64]
) -> NDArray[np.float64]:
    mu = np.asarray(decoys.signal, dtype=np.float64)
    single = np.maximum(y1, 0.0) * mu * np.exp(-mu)
    # Beyond one half the bound says nothing: no single-photon entropy is left.
    secret = decoys.sifting * single * (1.0 - binary_entropy(np.clip(e1, 0.0, 0.5)))
    return np.asarray(secret - _correction(found, decoys))


def _correction(found: Gains, decoys: Decoys) -> NDArray[np.float64]:
    wanted = decoys.efficiency * binary_entropy(found.error_rate)
    return np.asarray(decoys.sifting * found.signal * wanted)


def _awake(link: PhotonLink, mean_photons: Floats) -> NDArray[np.float64]:
    """Return the probability that the receiver sees what comes, shape (...) [1]."""
    blinded = np.multiply(link.blinding, mean_photons)
    return np.asarray(np.multiply(link.ready, np.exp(-blinded)))


def _averaged(link: PhotonLink, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if link.weights is None:
        return np.asarray(values)
    return np.asarray(np.tensordot(link.weights, values, axes=1))


def _chernoff(
    rate: NDArray[np.float64], slots: Floats, epsilon: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lower and upper bound of a rate; infinite for too few counts."""
    log = math.log(epsilon / 2.0)
    counts = rate * slots
    enough = counts > -6.0 * log
    x = np.where(enough, counts, 1e3 - 6.0 * log)
    delta = (-3.0 * log + np.sqrt(log * log - 8.0 * log * x)) / (2.0 * (x + log))
    safe = enough & (delta < 1.0)
    high = np.where(safe, rate / (1.0 - np.where(safe, delta, 0.0)), np.inf)
    return np.where(enough, rate / (1.0 + delta), 0.0), high


def _sampling(
    rate: NDArray[np.float64],
    sampled: NDArray[np.float64],
    unsampled: NDArray[np.float64],
    epsilon: float,
) -> NDArray[np.float64]:
    """Solve the published random-sampling bound for the deviation."""
    some = (sampled > 1.0) & (unsampled > 1.0) & (rate > 0.0) & (rate < 0.5)
    pairs = ((sampled, 2.0), (unsampled, 2.0), (rate, 0.1))
    x, z, e = (np.where(some, a, b) for a, b in pairs)
    both, spread = x + z, e * (1.0 - e)
    bits = 0.5 * np.log2(both / (spread * x * z)) - math.log2(epsilon)
    share = x / both
    width = 2.0 * spread * bits / (both * math.log(2.0) * share * (1.0 - share))
    return np.where(some, np.sqrt(np.maximum(width, 0.0)), 0.5)


def _check(link: PhotonLink, decoys: Decoys) -> None:
    check_range("transmittance", link.transmittance, 0.0, 1.0)
    check_range("background yield", link.background_yield, 0.0, 1.0 - 1e-9)
    check_range("misalignment", link.misalignment, 0.0, 1.0)
    check_range("share of slots with the receiver ready", link.ready, 0.0, 1.0)
    check_range("blinding transmittance", link.blinding, 0.0, 1.0)
    check_range("decoy photons", decoys.decoy, 1e-9, 10.0)
    ratio = np.divide(decoys.decoy, decoys.signal)
    check_range("decoy over signal photons", ratio, 0.0, 1.0 - 1e-9)
    check_range("efficiency of the error correction", decoys.efficiency, 1.0, 10.0)
    check_range("sifting", decoys.sifting, 0.0, 1.0)
    if link.weights is not None:
        check_range("weights of the fading", link.weights, 0.0, 1.0)
        total = float(np.sum(link.weights))
        if abs(total - 1.0) > 1e-6:
            raise ModelRangeError("sum of the weights of the fading", total, (1.0, 1.0))
