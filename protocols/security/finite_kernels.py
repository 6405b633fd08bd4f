r"""Finite-size terms of a Gaussian block: what bench and planner both evaluate.

The independent unit is the 8-vector (alphabet 256) of multidimensional
reconciliation. All probabilities come as binary logarithms: that of a pattern of
a million accepted and failed frames is far below the smallest float.
"""

from __future__ import annotations

import math

import numba

from protocols.security.gaussian_kernels import bound


@numba.njit(cache=True, nogil=True)
def aep_correction(
    n_quadratures: float, log2_accepted: float, log2_smoothing: float
) -> float:
    """Return the correction of the smooth min-entropy [bit].

    Parameters
    ----------
    n_quadratures : float
        Real quadratures kept for the key [1].
    log2_accepted, log2_smoothing : float
        Logarithms of probabilities [1].
    """
    inner = math.log2(18.0) - 2.0 * log2_accepted - 4.0 * log2_smoothing
    return 4.0 * math.log2(18.0) * math.sqrt(inner) * math.sqrt(n_quadratures / 8.0)


@numba.njit(cache=True, nogil=True)
def hashing_cost(log2_accepted: float, smoothing: float, hashing: float) -> float:
    """Return what privacy amplification costs beyond the entropy [bit].

    Parameters
    ----------
    log2_accepted : float
        Logarithm of a probability [1].
    smoothing, hashing : float
        Parameters [1].
    """
    theta = log2_accepted + math.log2(1.0 - smoothing * smoothing / 3.0)
    return -theta - 2.0 * math.log2(math.sqrt(2.0) * hashing)


@numba.njit(cache=True, nogil=True)
def log2_acceptance(frames_total: float, frames_kept: float) -> float:
    """Return the logarithm of the probability of a pattern of accepted frames.

    Parameters
    ----------
    frames_total, frames_kept : float
        ``0 < kept <= total`` [1].
    """
    rate, failed = frames_kept / frames_total, frames_total - frames_kept
    if failed <= 0.0:
        return 0.0
    return frames_kept * math.log2(rate) + failed * math.log2(1.0 - rate)


@numba.njit(cache=True, nogil=True)
def box_sigmas(epsilon: float) -> float:
    """Return the half-width of a box of three parameters in deviations [1].

    Parameters
    ----------
    epsilon : float
        Probability that any of the three lies outside [1].
    """
    return math.sqrt(2.0 * math.log(3.0 / epsilon))


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
