r"""Entropies of Eve's two modes behind a Gaussian channel, without cancellation.

Eve holds both halves of the entangled state (variance `W`) whose one half meets
the light (variance `V`) at a beam splitter of transmittance `T`. With the loss
:math:`q = 1 - T` and the noise :math:`N = q(W-1)` that the channel adds at its
output, her covariance matrix has the invariants

.. math:: P = qVW + T, \quad d = q(V-W), \quad
          (P-1)^2 - d^2 = N(N+2q)(V^2-1)

and every conditional matrix has invariants of the same kind. The kernels write
the symplectic eigenvalues as *excess over one*, as sums and products of terms
that are never negative: nothing cancels at :math:`T = 10^{-6}`, at
:math:`W = 10^4`, or at `T = 1`, where `W` is infinite and `N` is not.

Notes
-----
Derivation. The light Bob's detector splits off, of variance
:math:`B = TV + q + N`, is seen with efficiency `eta` and the noise
:math:`n = 1-\eta+\nu`, plus 1 for heterodyne detection. Subtracting
:math:`uu^T/(\eta B + n)` from one or both quadratures and collecting terms with
:math:`PB - q(\ldots) = V` leaves the sums below. The purification formulas of
Fossier et al., J. Phys. B 42, 114014 (2009) give the same numbers and cancel.

All loops over these kernels are in this file: compiled code is kept until its own
file changes, and would not notice a change of a kernel in another one.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

_LN2 = math.log(2.0)


@numba.njit(cache=True, nogil=True)
def thermal_entropy(excess: float) -> float:
    r"""Return the entropy [bit] of a mode of symplectic eigenvalue ``1 + excess``.

    With :math:`m` photons, :math:`\log_2(1+m) + m \log_2(1+1/m)`.
    """
    m = 0.5 * excess
    # Below, 1 / m overflows; such a mode holds nothing.
    if m < 1e-300:
        return 0.0
    return (math.log1p(m) + m * math.log1p(1.0 / m)) / _LN2


@numba.njit(cache=True, nogil=True)
def _standard_form(above: float, difference: float, gap: float) -> float:
    """Entropy of two modes with cross terms ``(c, -c)``.

    ``above`` is the product of the eigenvalues less one, ``difference`` their
    difference, ``gap`` the square of the one less the square of the other.
    """
    total = math.sqrt(difference * difference + 4.0 * (1.0 + above))
    both = (difference * difference + 4.0 * above) / (total + 2.0)
    larger = 0.5 * (both + abs(difference))
    if larger <= 0.0:
        return 0.0
    smaller = gap / (above + 2.0 + total) / larger
    return thermal_entropy(larger) + thermal_entropy(smaller)


@numba.njit(cache=True, nogil=True)
def _squared_form(total: float, product: float) -> float:
    """Entropy of two modes whose squared eigenvalues exceed one by `a` and `b`.

    ``total`` is ``a + b``, ``product`` is ``a b``.
    """
    if total <= 0.0:
        return 0.0
    larger = 0.5 * (total + math.sqrt(max(0.0, total * total - 4.0 * product)))
    smaller = product / larger
    return thermal_entropy(larger / (math.sqrt(1.0 + larger) + 1.0)) + thermal_entropy(
        smaller / (math.sqrt(1.0 + smaller) + 1.0)
    )


@numba.njit(cache=True, nogil=True)
def eve_entropy(t: float, n: float, v: float) -> float:
    """Return Eve's entropy [bit] before anybody tells her a result.

    Parameters
    ----------
    t : float
        Transmittance of the channel, 0 to 1 [1].
    n : float
        Noise that the channel adds at its output [SNU].
    v : float
        Variance of the light that enters [SNU].
    """
    q, v1 = 1.0 - t, v - 1.0
    gap = n * (n + 2.0 * q) * v1 * (v1 + 2.0)
    return _standard_form(n * v + q * v1, q * v1 - n, gap)


@numba.njit(cache=True, nogil=True)
def holevo_reverse(
    t: float, n: float, v: float, eta: float, nu: float, heterodyne: bool
) -> float:
    """Return what Eve knows of Bob's results [bit per symbol].

    Parameters
    ----------
    t, n, v : float
        As for `eve_entropy`.
    eta : float
        Trusted efficiency [1].
    nu : float
        Trusted noise, referred to the whole light (heterodyne: twice that of one
        quadrature) [SNU].
    heterodyne : bool
    """
    q, v1 = 1.0 - t, v - 1.0
    above, difference = n * v + q * v1, q * v1 - n
    gap = n * (n + 2.0 * q) * v1 * (v1 + 2.0)
    light = t * v + q + n
    lost = 1.0 - eta + nu
    if heterodyne:
        noise, seen = lost + 1.0, eta * light + lost + 1.0
        # noise - eta and noise + eta, neither of them negative.
        less, more = 2.0 * (1.0 - eta) + nu, 2.0 + nu
        after = _standard_form(
            (n * (noise * v1 + less) + q * v1 * more) / seen,
            (eta * above + noise * difference) / seen,
            less * more * gap / (seen * seen),
        )
    else:
        seen = eta * light + lost
        total = eta * (q + n) * v1 * (v1 + 2.0)
        total += lost * (difference * difference + 2.0 * above)
        after = _squared_form(total / seen, lost * gap / seen)
    return _standard_form(above, difference, gap) - after


@numba.njit(cache=True, nogil=True)
def holevo_direct(t: float, n: float, v: float, v0: float, heterodyne: bool) -> float:
    """Return what Eve knows of Alice's variables [bit per symbol].

    Parameters
    ----------
    t, n, v : float
        As for `eve_entropy`.
    v0 : float
        Variance of Alice's light without modulation, 1 for vacuum [SNU].
    heterodyne : bool
        Whether both of Alice's variables are used, or one.
    """
    if heterodyne:
        return eve_entropy(t, n, v) - eve_entropy(t, n, v0)
    q, a, b = 1.0 - t, v - 1.0, v0 - 1.0
    total = n * t * (a + b) + n * (2.0 + n) + q * (a + b) + q * q * a * b
    product = n * (n + 2.0 * q) * (a * b + a + b)
    return eve_entropy(t, n, v) - _squared_form(total, product)


@numba.njit(cache=True, nogil=True)
def shannon_bits(snr: float, heterodyne: bool) -> float:
    """Return the information [bit per symbol] of a Gaussian channel."""
    return math.log1p(snr) / _LN2 * (1.0 if heterodyne else 0.5)


@numba.njit(cache=True, nogil=True)
def bound(
    v_a: float, t: float, xi: float, eta: float, nu: float, heterodyne: bool
) -> float:
    """Return `holevo_reverse` of coherent states, from measured parameters.

    An estimate of the transmittance may exceed one and one of the excess noise
    may be negative; both are clamped, which helps Eve.

    Parameters
    ----------
    v_a : float
        Modulation variance [SNU].
    t : float
        Channel transmittance [1].
    xi : float
        Excess noise at the channel input [SNU].
    eta : float
        Efficiency [1].
    nu : float
        Electronic noise per measured quadrature [SNU].
    heterodyne : bool
    """
    t = min(t, 1.0)
    mu = 2.0 if heterodyne else 1.0
    n = t * max(0.0, xi)
    return holevo_reverse(t, n, v_a + 1.0, eta, mu * max(0.0, nu), heterodyne)


@numba.njit(cache=True, nogil=True)
def fill_rates(
    columns: tuple[NDArray[np.float64], ...],
    heterodyne: bool,
    direct: bool,
    out: NDArray[np.float64],
) -> None:
    """Write SNR, information and Holevo bound of every point.

    Parameters
    ----------
    columns : tuple of ndarray, shape (n,), float64
        Transmittance [1], noise of the channel at its output, variance of the
        source, modulation [SNU], efficiency [1], trusted noise [SNU].
    heterodyne, direct : bool
    out : ndarray, shape (3, n), float64 [1, bit, bit]
    """
    ts, noises, sources, modulations, etas, owns = columns
    unit = 1.0 if heterodyne else 0.0
    for i in range(ts.size):
        t, n, v0, eta, own = ts[i], noises[i], sources[i], etas[i], owns[i]
        v = v0 + modulations[i]
        rest = eta * (t * v0 + (1.0 - t) + n) + 1.0 - eta + own + unit
        snr = eta * t * modulations[i] / rest
        out[0, i] = snr
        out[1, i] = shannon_bits(snr, heterodyne)
        if direct:
            out[2, i] = holevo_direct(t, n, v, v0, heterodyne)
        else:
            out[2, i] = holevo_reverse(t, n, v, eta, own, heterodyne)


@numba.njit(cache=True, nogil=True)
def fill_unlimited(
    columns: tuple[NDArray[np.float64], ...],
    heterodyne: bool,
    direct: bool,
    out: NDArray[np.float64],
) -> None:
    """Write the closed forms of `protocols.security.closed_forms`.

    Parameters
    ----------
    columns : tuple of ndarray, shape (n,), float64
        Loss [1], variances of environment and source [SNU].
    heterodyne, direct : bool
    out : ndarray, shape (n,), float64 [bit]
    """
    losses, environments, sources = columns
    for i in range(losses.size):
        q, w, v0 = losses[i], environments[i], sources[i]
        t = 1.0 - q
        seen, kept = t * v0 + q * w, t * w + q * v0
        if heterodyne:
            known = 2.0 * t / (math.e * q * (1.0 + seen))
            if direct:
                left = eve_entropy(t, q * (w - 1.0), v0)
            else:
                left = thermal_entropy(q * (w + 1.0) / t)
        elif direct:
            known = math.sqrt(t * kept / (q * seen))
            above = q * v0 * (w * w - 1.0) / kept
            left = thermal_entropy(above / (math.sqrt(1.0 + above) + 1.0))
        else:
            known, left = math.sqrt(w / (q * seen)), 0.0
        out[i] = math.log2(known) + left - thermal_entropy(w - 1.0)


@numba.njit(cache=True, nogil=True)
def worst_bound(
    modulation: float,
    transmittance: tuple[float, float],
    noise: float,
    electronic: tuple[float, float],
    efficiency: float,
    heterodyne: bool,
    trusted: bool,
) -> tuple[float, float, float]:
    """Maximise the Holevo bound over a box of transmittance and electronic noise.

    At fixed output noise the bound can rise or fall with the transmittance, so
    the middle and both ends are tried.

    Parameters
    ----------
    modulation : float
        Variance of the modulation [SNU].
    transmittance, electronic : tuple of two float
        Value and half-width of the box [1], [SNU].
    noise : float
        Largest excess noise per quadrature at Bob [SNU].
    efficiency : float
        [1]
    heterodyne, trusted : bool

    Returns
    -------
    tuple of three float
        The bound [bit per symbol], and the transmittance [1] and the electronic
        noise [SNU] where it is taken.
    """
    mu = 2.0 if heterodyne else 1.0
    best, best_t, best_nu = -1.0, transmittance[0], electronic[0]
    for step in (-1.0, 0.0, 1.0):
        t = transmittance[0] + step * transmittance[1]
        xi = mu * noise / (efficiency * t)
        for side in (-1.0, 1.0):
            nu = max(0.0, electronic[0] + side * electronic[1])
            if trusted:
                found = bound(modulation, t, xi, efficiency, nu, heterodyne)
            else:
                whole = efficiency * t
                more = xi + mu * nu / whole
                found = bound(modulation, whole, more, 1.0, 0.0, heterodyne)
            if found > best:
                best, best_t, best_nu = found, t, nu
    return best, best_t, best_nu


@numba.njit(cache=True, nogil=True)
def fill_worst(
    columns: tuple[NDArray[np.float64], ...],
    heterodyne: bool,
    trusted: bool,
    out: NDArray[np.float64],
) -> None:
    """Write `worst_bound` of every point; infinite where the box reaches zero.

    Parameters
    ----------
    columns : tuple of ndarray, shape (n,), float64
        Modulation [SNU], transmittance and half-width [1], largest noise at Bob,
        electronic noise and half-width [SNU], efficiency [1].
    heterodyne, trusted : bool
    out : ndarray, shape (n,), float64 [bit]
    """
    modulations, ts, half_ts, noises, nus, half_nus, etas = columns
    for i in range(ts.size):
        out[i] = math.inf
        if half_ts[i] < ts[i]:
            box, own = (ts[i], half_ts[i]), (nus[i], half_nus[i])
            out[i] = worst_bound(
                modulations[i], box, noises[i], own, etas[i], heterodyne, trusted
            )[0]
