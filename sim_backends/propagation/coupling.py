r"""What a round aperture passes of a Gaussian beam that misses its centre.

With the centre of a beam of 1/e^2 radius w at the distance r from the centre of an
aperture of radius a, the share is exactly the distribution function of a non-central
chi-square variable with two degrees of freedom (a Marcum Q function),

.. math:: \eta(r) = F\big((2a/w)^2;\; 2,\; (2r/w)^2\big),

and its mean over a centre that wanders with the variance s^2 per axis is that of a
beam with :math:`w^2 + 4 s^2`: exact, since a Gaussian of Gaussians is one. The mean of
its square has a closed form, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from sim_backends.propagation.beam import clear_aperture
from sim_backends.propagation.ranges import Floats, positive, within

# Below this 4 a^2 / w^2 the logarithms of the Weibull form cancel: a series instead.
_SMALL_X = 0.1
_TERMS = 12
# A spot is a point to an aperture 1e5 times as wide; the distribution has no digits.
_POINT = 1e-5


def offset_transmittance(
    offset_m: ArrayLike,
    aperture_radius_m: ArrayLike,
    spot_m: ArrayLike,
    obscuration_radius_m: ArrayLike = 0.0,
) -> Floats:
    """Return the share that an aperture passes of a displaced Gaussian beam; exact.

    Parameters
    ----------
    offset_m : array_like
        Distance of the beam's centre from that of the aperture [m].
    aperture_radius_m, spot_m : array_like
        Radius of the aperture and 1/e^2 intensity radius of the beam [m].
    obscuration_radius_m : array_like
        Of a disc in the middle of the aperture [m]; all broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [1]

    Raises
    ------
    ModelRangeError
        If a length is negative or no number, or the obscuration not within the
        aperture.
    """
    a_m, b_m = clear_aperture(aperture_radius_m, obscuration_radius_m)
    w_m = positive("radius of the spot [m]", spot_m)
    r_m = within("offset of the spot [m]", offset_m, (0.0, 1e12))
    miss = (2.0 * r_m / w_m) ** 2
    share = special.chndtr((2.0 * a_m / w_m) ** 2, 2.0, miss)
    if np.any(b_m > 0.0):
        share = share - special.chndtr((2.0 * b_m / w_m) ** 2, 2.0, miss)
    return np.asarray(share)


def mean_transmittance(
    aperture_radius_m: ArrayLike,
    spot_m: ArrayLike,
    wander_m: ArrayLike,
    boresight_m: ArrayLike = 0.0,
    obscuration_radius_m: ArrayLike = 0.0,
) -> Floats:
    """Return the mean share for a beam whose centre wanders; exact.

    1 - exp(-2 a^2 / (w^2 + 4 s^2)) without boresight error and obscuration.

    Parameters
    ----------
    aperture_radius_m, spot_m : array_like
        Radius of the aperture and 1/e^2 intensity radius of the beam [m].
    wander_m : array_like
        Standard deviation s of the beam's centre, per axis [m].
    boresight_m : array_like
        Distance of the mean centre from that of the aperture [m].
    obscuration_radius_m : array_like
        Of a disc in the middle of the aperture [m]; all broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [1]

    Raises
    ------
    ModelRangeError
        As `offset_transmittance`.
    """
    w_m = positive("radius of the spot [m]", spot_m)
    s_m = within("wander of the spot [m]", wander_m, (0.0, 1e12))
    long_m = np.hypot(w_m, 2.0 * s_m)
    return offset_transmittance(
        boresight_m, aperture_radius_m, long_m, obscuration_radius_m
    )


def mean_square_transmittance(
    aperture_radius_m: ArrayLike,
    spot_m: ArrayLike,
    wander_m: ArrayLike,
    obscuration_radius_m: ArrayLike = 0.0,
) -> Floats:
    r"""Return the mean of the squared share for a centre that wanders; exact.

    The share is the probability that a photon of the spot hits the aperture; its
    square, that two do. Two photons share the centre: their places are Gaussian with
    the variance :math:`v = s^2 + w^2/4` and the correlation :math:`s^2/v` per axis, and
    that both radii are below `a` is the bivariate Rayleigh distribution (Simon and
    Alouini, Digital Communication over Fading Channels, 2005, section 6.1). Higher
    moments, and those about a boresight error, have no such form.

    Parameters
    ----------
    aperture_radius_m, spot_m : array_like
        Radius of the aperture and 1/e^2 intensity radius of the beam [m].
    wander_m : array_like
        Standard deviation s of the beam's centre, per axis [m].
    obscuration_radius_m : array_like
        Of a disc in the middle of the aperture [m]; all broadcast.

    Returns
    -------
    ndarray, broadcast shape, float64 [1]

    Raises
    ------
    ModelRangeError
        As `offset_transmittance`.
    """
    a_m, b_m = clear_aperture(aperture_radius_m, obscuration_radius_m)
    real_m = positive("radius of the spot [m]", spot_m)
    s_m = within("wander of the spot [m]", wander_m, (0.0, 1e12))
    # A point hits or misses: what the square lacks of the share goes with the rim
    # that the spot straddles, as its radius.
    w_m = np.maximum(real_m, _POINT * a_m)
    total, own = s_m**2 + 0.25 * w_m**2, 0.25 * w_m**2
    shared = (s_m**2 / total) ** 2
    # 1 - shared without a difference: a wide wander leaves little of it.
    apart = own * (s_m**2 + total) / total**2
    both = _both_within(a_m, a_m, total, (shared, apart))
    if np.any(b_m > 0.0):
        both = both - 2.0 * _both_within(a_m, b_m, total, (shared, apart))
        both = both + _both_within(b_m, b_m, total, (shared, apart))
    if np.all(w_m == real_m):
        return np.asarray(both)
    mean, least = (
        mean_transmittance(a_m, spot, s_m, obscuration_radius_m=b_m)
        for spot in (real_m, w_m)
    )
    straddling = mean - real_m / w_m * (least - both)
    return np.asarray(np.where(w_m == real_m, both, straddling))


def _both_within(
    one_m: Floats, other_m: Floats, variance_m2: Floats, power: tuple[Floats, Floats]
) -> Floats:
    """Return the bivariate Rayleigh distribution at two radii, shape (...) [1].

    `power` is the correlation squared, and one minus it.
    """
    shared, apart = power
    x, y = (0.5 * r**2 / variance_m2 for r in (one_m, other_m))
    # Where both are small the closed form cancels; there the series is short.
    small = np.maximum(x, y) < 0.5 * apart
    near_x, near_y = (np.where(small, v / apart, 0.0) for v in (x, y))
    series = np.zeros(np.broadcast_shapes(small.shape, near_x.shape))
    for k in range(_TERMS):
        both = special.gammainc(k + 1.0, near_x) * special.gammainc(k + 1.0, near_y)
        series = series + shared**k * both
    p, q = 2.0 * x / apart, 2.0 * y / apart
    first = -np.expm1(-x) + np.exp(-x) * special.chndtr(shared * p, 2.0, q)
    closed = first - np.exp(-y) * special.chndtr(p, 2.0, shared * q)
    return np.where(small, apart * series, closed)


@dataclass(frozen=True, eq=False)
class WeibullForm:
    r"""Fast approximation :math:`\eta(r) = \eta_0 \exp[-(r/R)^\lambda]`.

    Exact at r = 0 and at r = a; elsewhere off by up to 0.0089 for w = a, 0.001 for
    w = 2a, 0.02 for w = 0.4a. Vasylyev, Semenov and Vogel, PRL 108, 220501 (2012).

    Parameters
    ----------
    centre : ndarray, shape (...), float64 [1]
        eta_0.
    scale_m : ndarray, shape (...), float64 [m]
        R.
    exponent : ndarray, shape (...), float64 [1]
        lambda.
    """

    centre: Floats
    scale_m: Floats
    exponent: Floats

    def transmittance(self, offset_m: ArrayLike) -> Floats:
        """Return the share at an offset.

        Parameters
        ----------
        offset_m : array_like
            Broadcasts with the form [m].

        Returns
        -------
        ndarray, broadcast shape, float64 [1]
        """
        r_m = within("offset of the spot [m]", offset_m, (0.0, 1e12))
        return np.asarray(
            self.centre * np.exp(-((r_m / self.scale_m) ** self.exponent))
        )

    def density(self, transmittance: ArrayLike, wander_m: ArrayLike) -> Floats:
        """Return the log-negative Weibull density of the share under wander.

        Parameters
        ----------
        transmittance : array_like
            Zero outside 0 to `centre` [1].
        wander_m : array_like
            Standard deviation of the centre per axis [m]; both broadcast.

        Returns
        -------
        ndarray, broadcast shape, float64 [1]
        """
        s_m = positive("wander of the spot [m]", wander_m)
        eta = np.asarray(transmittance, dtype=np.float64)
        inside = (eta > 0.0) & (eta < self.centre)
        safe = np.where(inside, eta, 0.5 * self.centre)
        depth = np.log(self.centre / safe)
        power = 2.0 / self.exponent
        spread = (self.scale_m / s_m) ** 2
        value = spread / (self.exponent * safe) * depth ** (power - 1.0)
        return np.where(inside, value * np.exp(-0.5 * spread * depth**power), 0.0)


def weibull_form(aperture_radius_m: ArrayLike, spot_m: ArrayLike) -> WeibullForm:
    r"""Return the Weibull form of an aperture and a spot.

    With :math:`x = 4 a^2/w^2`, :math:`D = 1 - e^{-x} I_0(x)` and :math:`L =
    \ln(2 \eta_0 / D)`: :math:`\lambda = 2 x e^{-x} I_1(x) / (D L)`, :math:`R = a
    L^{-1/\lambda}`.

    Parameters
    ----------
    aperture_radius_m, spot_m : array_like
        Radius of the aperture and 1/e^2 intensity radius of the beam [m]; they
        broadcast.

    Returns
    -------
    WeibullForm

    Raises
    ------
    ModelRangeError
        If a length is not positive, or the aperture is not 1e-12 to 1e6
        spots.
    """
    a_m = positive("radius of the aperture [m]", aperture_radius_m)
    w_m = positive("radius of the spot [m]", spot_m)
    ratio = within("Weibull form: aperture / spot [1]", a_m / w_m, (1e-12, 1e6))
    x = 4.0 * ratio**2
    centre = -np.expm1(-0.5 * x)
    missing = np.where(
        x < _SMALL_X, _series(np.minimum(x, _SMALL_X))[0], 1.0 - special.i0e(x)
    )
    gain = np.where(
        x < _SMALL_X, _series(np.minimum(x, _SMALL_X))[1], 2.0 * centre - missing
    )
    log_ratio = np.log1p(gain / missing)
    exponent = 2.0 * x * special.i1e(x) / (missing * log_ratio)
    scale_m = a_m * log_ratio ** (-1.0 / exponent)
    return WeibullForm(np.asarray(centre), np.asarray(scale_m), np.asarray(exponent))


def _series(x: Floats) -> tuple[Floats, Floats]:
    """Return 1 - exp(-x) I_0(x) and 2 eta_0 minus that, for small x, digit by digit.

    exp(-x) I_0(x) = sum binom(2n, n) (-x/2)^n / n!; in the second the terms of first
    order cancel exactly.
    """
    missing, gain = np.zeros_like(x), np.zeros_like(x)
    for n in range(1, _TERMS):
        term = -((-0.5 * x) ** n) / math.factorial(n)
        missing = missing + math.comb(2 * n, n) * term
        gain = gain + (2 - math.comb(2 * n, n)) * term
    return missing, gain
