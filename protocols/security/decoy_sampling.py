"""From the errors seen in the check basis to those not seen in the key basis.

Which single photons were measured in which basis was chosen at random, so the
errors of the check basis are a random sample without replacement of all of them.
Both functions bound how much worse than the sample the rest may be.

References
----------
.. [1] C. C. W. Lim, M. Curty, N. Walenta, F. Xu and H. Zbinden, Phys. Rev. A
   89, 022307 (2014).
.. [2] C.-H. F. Fung, X. Ma and H. F. Chau, Phys. Rev. A 81, 012318 (2010).
.. [3] W. Hoeffding, J. Am. Stat. Assoc. 58, 13 (1963), section 6.
"""

from __future__ import annotations

import math

from protocols.security.decoy_kernels import least_deviation


def sampling_deviation(
    rate: float, unsampled: float, sampled: float, epsilon: float
) -> float:
    """Return how far unsampled errors may exceed the sampled rate, [1] eq. (5).

    The closed form takes the tail for Gaussian: below some thirty errors it is far
    too short, so nobody may use it alone there.

    Parameters
    ----------
    rate : float
        Error rate of the sample [1].
    unsampled, sampled : float
        Sizes [1].
    epsilon : float
        Probability of a larger deviation [1].
    """
    both, product = unsampled + sampled, unsampled * sampled
    spread = rate * (1.0 - rate)
    if spread == 0.0:
        return 0.5
    inner = both / (product * spread * epsilon * epsilon)
    # A large sample at a lax epsilon: the formula's prefactor is below epsilon.
    bits = max(0.0, math.log2(inner))
    return math.sqrt(both * spread / (product * math.log(2.0)) * bits)


def exact_deviation(
    rate: float, unsampled: float, sampled: float, epsilon: float
) -> float:
    """Return that deviation from a proven bound of the hypergeometric tail.

    Holds for any sizes and any number of errors, none included. With the relative
    entropies `a` of the sample and `b` of the rest to the whole, times their sizes,
    the tail is below ``2^-a`` and below ``2^-b`` [3], and below
    ``2^-(a+b) sqrt(8 N p (1-p))``: the exponent of [2], with the prefactor that
    Stirling's formula proves for the whole tail.

    Parameters
    ----------
    rate : float
        Error rate of the sample [1].
    unsampled, sampled : float
        Sizes [1].
    epsilon : float
        Probability of a larger deviation [1].

    Returns
    -------
    float
        At most what takes the unsampled rate to one half [1].
    """
    if rate >= 0.5:
        return 0.0
    return least_deviation(rate, unsampled, sampled, math.log2(1.0 / epsilon))
