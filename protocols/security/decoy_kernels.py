r"""Roots of the decoy bounds: where a tail is as improbable as it may be.

Both are searched from the side that is safe and never leave it: what is returned is
the root, or by rounding what is a little worse than the root.

Notes
-----
With :math:`p = s e^u` and :math:`x = \frac{s}{1-s}(e^u - 1)`, the relative entropy of
two coins in nats is

.. math:: D(s \| p) = -s u - (1-s)\ln(1-x), \quad dD/du = x / (1-x).

Its second derivative is never negative, so steps of Newton that begin outside of the
root stay outside, and come closer with each. Ratios next to one go by their distance
from it: at a count of :math:`10^{18}` a relative entropy has eight digits left.

All loops over these kernels are in this file: compiled code is kept until its own
file changes, and would not notice a change of a kernel in another one.
"""

from __future__ import annotations

import math

import numba

_LN2 = math.log(2.0)
#: Newton needs ten steps or so; a root that rounding never lets it reach, no more.
_STEPS = 200
#: Above it 1 - p is lost in rounding; a bound there claims nothing anyway.
_HIGHEST = 1.0 - 1e-12


@numba.njit(cache=True, nogil=True)
def _nearer(u: float, share: float, budget: float) -> float:
    """Return the logarithm of p over s after one step of Newton."""
    x = share / (1.0 - share) * math.expm1(u)
    excess = -share * u - (1.0 - share) * math.log1p(-x) - budget
    return u - excess * (1.0 - x) / x


@numba.njit(cache=True, nogil=True)
def lowest_share(share: float, budget: float) -> float:
    """Return the least p that is within a relative entropy of a share.

    Parameters
    ----------
    share : float
        That was seen, above 0 and at most one half [1].
    budget : float
        Relative entropy of the share to p, above 0 [nat].
    """
    # The other term takes back at most `share`: ln(1 + x) <= x.
    u = -budget / share - 1.1
    for _ in range(_STEPS):
        more = _nearer(u, share, budget)
        if not u < more < 0.0:
            break
        u = more
    return share * math.exp(u)


@numba.njit(cache=True, nogil=True)
def highest_share(share: float, budget: float) -> float:
    """Return the largest p that is within a relative entropy of a share, or 1.

    Parameters
    ----------
    share : float
        That was seen, above 0 and at most one half [1].
    budget : float
        Relative entropy of the share to p, above 0 [nat].
    """
    # Pinsker's inequality, with room for rounding.
    top = share + math.sqrt(0.51 * budget)
    if top >= _HIGHEST:
        top = _HIGHEST
        rest = (1.0 - share) * math.log((1.0 - share) / (1.0 - top))
        if share * math.log(share / top) + rest < budget:
            return 1.0
    u = math.log(top / share)
    if u <= 0.0:
        return top
    for _ in range(_STEPS):
        less = _nearer(u, share, budget)
        if not 0.0 < less < u:
            break
        u = less
    return share * math.exp(u)


@numba.njit(cache=True, nogil=True)
def _log_ratio(p: float, q: float, step: float) -> float:
    """Return ``ln(q / p)`` of ``q = p + step``, the better known of its two forms."""
    return math.log1p(step / p) if abs(step) < 0.5 * p else math.log(q / p)


@numba.njit(cache=True, nogil=True)
def _relative_bits(p: float, q: float, step: float) -> float:
    """Return the relative entropy of a coin `p` to a coin ``q = p + step`` [bit]."""
    total = -(1.0 - p) * _log_ratio(1.0 - p, 1.0 - q, -step)
    if p > 0.0:
        total -= p * _log_ratio(p, q, step)
    return total / _LN2


@numba.njit(cache=True, nogil=True)
def _tail_bits(rate: float, off: float, sampled: float, unsampled: float) -> float:
    """Return ``-log2`` of the tail where the rest is worse than the sample by `off`."""
    both = sampled + unsampled
    up, down = unsampled * off / both, sampled * off / both
    mean = rate + up
    spread = 8.0 * both * mean * (1.0 - mean)
    of_sample = sampled * _relative_bits(rate, mean, up)
    of_rest = unsampled * _relative_bits(rate + off, mean, -down)
    joint = of_sample + of_rest - 0.5 * math.log2(max(1.0, spread))
    return max(of_sample, of_rest, joint)


@numba.njit(cache=True, nogil=True)
def least_deviation(
    rate: float, unsampled: float, sampled: float, wanted_bits: float
) -> float:
    """Return the deviation at which the tail is improbable enough, by bisection.

    Parameters
    ----------
    rate : float
        Error rate of the sample [1].
    unsampled, sampled : float
        Sizes [1].
    wanted_bits : float
        ``-log2`` of the tail that is allowed [bit].

    Returns
    -------
    float
        At most what takes the unsampled rate to one half [1].
    """
    low, high = 0.0, max(0.0, 0.5 - rate)
    if _tail_bits(rate, high, sampled, unsampled) < wanted_bits:
        return high
    while high - low > 1e-15:
        middle = 0.5 * (low + high)
        if _tail_bits(rate, middle, sampled, unsampled) < wanted_bits:
            low = middle
        else:
            high = middle
    return high
