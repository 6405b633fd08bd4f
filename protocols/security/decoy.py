r"""Decoy-state bounds from counted detections, and the length of the key.

Signal, decoy and vacuum pulses differ only in their mean photon number, so an
eavesdropper who holds `n` photons cannot know which intensity they came from.
With the probability that intensity `k` sends `n` photons,
:math:`p_k e^{-\mu_k}\mu_k^n/n!`, the detections counted per intensity confine
how many of them came from vacuum (`s0`) and from single photons (`s1`).

All bounds concern *counts*, of all intensities together, and so must the key
and its leakage. Counts are added over a whole block, however the loss varied
in it, before any entropy is taken.

References
----------
.. [1] C. C. W. Lim, M. Curty, N. Walenta, F. Xu and H. Zbinden, Phys. Rev. A
   89, 022307 (2014). Its key basis X is our Z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import ndtri, xlogy

from protocols.security.decoy_kernels import highest_share, lowest_share
from protocols.security.decoy_sampling import exact_deviation, sampling_deviation
from scqc.core.errors import ProtocolAbort

Method = Literal["hoeffding", "chernoff", "gaussian"]
Triple = tuple[float, float, float]

#: Statements that may each fail with the same probability, see [1] eq. (B14).
FAILURES = 21


@dataclass(frozen=True, slots=True)
class Intensities:
    """Signal, decoy and vacuum, in this order.

    Parameters
    ----------
    mean_photons : tuple of three float
        Per slot at Alice's exit [1].
    probabilities : tuple of three float
        With which a slot gets each [1].

    Raises
    ------
    ProtocolAbort
        Unless ``mu1 > mu2 + mu3``, ``mu2 > mu3 >= 0`` and the probabilities
        are positive and add up to one: the bounds hold only then.
    """

    mean_photons: Triple
    probabilities: Triple

    def __post_init__(self) -> None:
        mu1, mu2, mu3 = self.mean_photons
        if not (mu1 > mu2 + mu3 and mu2 > mu3 >= 0.0):
            raise ProtocolAbort(
                f"decoy states: mean photon numbers {mu1:g}, {mu2:g}, {mu3:g}; need "
                "signal > decoy + vacuum and decoy > vacuum >= 0"
            )
        total = sum(self.probabilities)
        if min(self.probabilities) <= 0.0 or abs(total - 1.0) > 1e-9:
            raise ProtocolAbort(
                f"decoy states: probabilities {self.probabilities} must be positive "
                f"and add up to 1, not {total:g}"
            )

    def sends(self, n_photons: int) -> float:
        """Return the probability that a slot holds `n_photons` photons [1]."""
        return sum(
            p * math.exp(-mu) * mu**n_photons / math.factorial(n_photons)
            for p, mu in zip(self.probabilities, self.mean_photons, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """What was counted in one basis, by intensity (signal, decoy, vacuum).

    Parameters
    ----------
    detections : tuple of three int
        Sifted detections [1].
    errors : tuple of three int
        Those with a wrong bit [1].
    """

    detections: tuple[int, int, int]
    errors: tuple[int, int, int]

    def __post_init__(self) -> None:
        for n, m in zip(self.detections, self.errors, strict=True):
            if not 0 <= m <= n:
                raise ProtocolAbort(f"decoy states: {m} errors in {n} detections")

    @property
    def total(self) -> int:
        """Detections of all intensities [1]."""
        return sum(self.detections)

    @property
    def error_rate(self) -> float:
        """Share of wrong bits over all intensities; 0.5 without detections [1]."""
        return sum(self.errors) / self.total if self.total else 0.5


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the counts confine, each side in the direction that is safe.

    Parameters
    ----------
    vacuum : float
        Least number of key-basis detections without a photon [1].
    single : float
        Least number of key-basis detections from one photon [1].
    check_single : float
        The same in the check basis [1].
    check_single_errors : float
        Most errors among those [1].
    phase_error : float
        Most phase errors among `single`, as a share, at most 0.5 [1].
    """

    vacuum: float
    single: float
    check_single: float
    check_single_errors: float
    phase_error: float

    @property
    def entropy_bits(self) -> float:
        """Smooth min-entropy of the sifted key before any correction [bit]."""
        return self.vacuum + self.single * (1.0 - binary_entropy(self.phase_error))


def binary_entropy(p: float) -> float:
    """Return the entropy of a coin with probability `p` [bit]."""
    return float(-(xlogy(p, p) + xlogy(1.0 - p, 1.0 - p)) / math.log(2.0))


def estimate(
    key: Counts,
    check: Counts,
    intensities: Intensities,
    epsilon: float,
    method: Method = "hoeffding",
) -> Bounds:
    """Bound vacuum, single photons and phase errors of a block.

    Parameters
    ----------
    key, check : Counts
        Of the bases Z and X.
    intensities : Intensities
    epsilon : float
        Secrecy parameter; every single statement fails with at most a 21st of
        it [1].
    method : {"hoeffding", "chernoff", "gaussian"}
        Tail bound of the counts. ``gaussian`` is a heuristic and proves nothing.

    Returns
    -------
    Bounds
        With zeros and a phase error of 0.5 where the counts confine nothing.
    """
    each = epsilon / FAILURES
    pulses = _Pulses(intensities)
    in_key = _Expected(key.detections, pulses, each, method)
    in_check = _Expected(check.detections, pulses, each, method)
    wrong = _Expected(check.errors, pulses, each, method)
    single = in_key.single()
    check_single = in_check.single()
    errors = wrong.single_errors()
    return Bounds(
        vacuum=in_key.vacuum,
        single=single,
        check_single=check_single,
        check_single_errors=errors,
        phase_error=_phase_error(errors, check_single, single, each, method),
    )


def check_consistency(key: Counts, check: Counts, intensities: Intensities) -> None:
    """Refuse counts that no channel could give.

    Raises
    ------
    ProtocolAbort
        If a vacuum slot clicks more often than a signal slot, or the single
        photon yield comes out negative even without any allowance for chance.
    """
    for name, counts in (("Z", key), ("X", check)):
        gains = [
            n / p
            for n, p in zip(counts.detections, intensities.probabilities, strict=True)
        ]
        spread = [
            math.sqrt(max(n, 1)) / p
            for n, p in zip(counts.detections, intensities.probabilities, strict=True)
        ]
        if gains[2] - gains[0] > 6.0 * math.hypot(spread[2], spread[0]):
            raise ProtocolAbort(
                f"decoy states: in basis {name} vacuum slots click "
                f"{gains[2] / max(gains[0], 1.0):.3g} times as often as signal slots; "
                "intensities mixed up, or the detectors are not Bob's alone"
            )
        mu1, mu2, mu3 = intensities.mean_photons
        slope = mu2 * mu2 / (mu1 * mu1)
        terms = (
            -slope * math.exp(mu1),
            math.exp(mu2),
            -(1.0 - slope) * math.exp(mu3),
        )
        y1 = sum(t * g for t, g in zip(terms, gains, strict=True))
        sigma = math.hypot(*(t * s for t, s in zip(terms, spread, strict=True)))
        if y1 < -6.0 * sigma:
            raise ProtocolAbort(
                f"decoy states: in basis {name} the single-photon yield is negative "
                f"by {-y1 / sigma:.1f} standard deviations, limit 6; the decoy pulses "
                "are treated differently from signals on their way"
            )


class _Pulses:
    """What the bounds ask of the intensities, the same for all counts."""

    def __init__(self, intensities: Intensities) -> None:
        self.mean_photons = intensities.mean_photons
        self.empty, self.single = intensities.sends(0), intensities.sends(1)
        shares = zip(intensities.mean_photons, intensities.probabilities, strict=True)
        self.weights = [math.exp(mu) / p for mu, p in shares]


class _Expected:
    """Expected counts per intensity, bounded on both sides, times e^mu / p."""

    def __init__(
        self,
        observed: tuple[int, int, int],
        pulses: _Pulses,
        epsilon: float,
        method: Method,
    ) -> None:
        self._pulses = pulses
        total = sum(observed)
        self._low: list[float] = []
        self._high: list[float] = []
        self.total = float(total)
        for n, weight in zip(observed, pulses.weights, strict=True):
            low, high = interval(n, total, epsilon, method)
            self._low.append(weight * low)
            self._high.append(weight * high)
        self.vacuum = self._vacuum()

    def _vacuum(self) -> float:
        """Return the least number without a photon, [1] eq. (2)."""
        _, mu2, mu3 = self._pulses.mean_photons
        raw = (mu2 * self._low[2] - mu3 * self._high[1]) / (mu2 - mu3)
        return min(max(0.0, self._pulses.empty * raw), self.total)

    def single(self) -> float:
        """Return the least number from single photons, [1] eq. (3)."""
        mu1, mu2, mu3 = self._pulses.mean_photons
        without = self.vacuum / self._pulses.empty
        ratio = (mu2 * mu2 - mu3 * mu3) / (mu1 * mu1)
        inner = self._low[1] - self._high[2] - ratio * (self._high[0] - without)
        scale = self._pulses.single * mu1
        raw = scale * inner / (mu1 * (mu2 - mu3) - mu2 * mu2 + mu3 * mu3)
        # What came from vacuum did not come from a photon.
        return min(max(0.0, raw), self.total - self.vacuum)

    def single_errors(self) -> float:
        """Return the most errors of single photons, [1] eq. (4)."""
        _, mu2, mu3 = self._pulses.mean_photons
        raw = (self._high[1] - self._low[2]) / (mu2 - mu3)
        return min(max(0.0, self._pulses.single * raw), self.total)


def interval(
    observed: int, total: int, epsilon: float, method: Method
) -> tuple[float, float]:
    """Bound the expectation of a count; each side fails with `epsilon`.

    Parameters
    ----------
    observed : int
        Count of one intensity [1].
    total : int
        Count of all of them, the number of independent choices [1].
    epsilon : float
    method : {"hoeffding", "chernoff", "gaussian"}
        ``chernoff`` inverts the relative entropy exactly and needs no minimum
        count; ``gaussian`` takes the normal quantile.

    Returns
    -------
    low, high : float
        Within 0 and `total` [1].
    """
    if total == 0:
        return 0.0, 0.0
    if method == "hoeffding":
        width = math.sqrt(0.5 * total * math.log(1.0 / epsilon))
        return max(0.0, observed - width), min(float(total), observed + width)
    if method == "gaussian":
        share = observed / total
        width = -float(ndtri(epsilon)) * math.sqrt(total * share * (1.0 - share))
        return max(0.0, observed - width), min(float(total), observed + width)
    return _chernoff(observed, total, epsilon)


def _chernoff(observed: int, total: int, epsilon: float) -> tuple[float, float]:
    """Solve ``total * KL(observed/total || p) = ln(1/epsilon)`` on both sides."""
    share, budget = observed / total, math.log(1.0 / epsilon) / total
    if observed == 0:
        return 0.0, total * -math.expm1(-budget)
    if 2 * observed > total:
        # The same from the other end, where a small rest keeps its digits.
        low, high = _chernoff(total - observed, total, epsilon)
        return max(0.0, total - high), total - low

    return total * lowest_share(share, budget), total * highest_share(share, budget)


def _phase_error(
    errors: float, check_single: float, single: float, epsilon: float, method: Method
) -> float:
    """Carry the error rate of the check basis over to the key basis."""
    if check_single < 1.0 or single < 1.0:
        return 0.5
    rate = min(errors / check_single, 0.5)
    # The closed forms are singular where no error was seen: take one for none.
    floor = min(max(rate, 1.0 / check_single), 0.5)
    if method == "gaussian":
        spread = floor * (1.0 - floor) * (1.0 / check_single + 1.0 / single)
        return min(0.5, floor + -float(ndtri(epsilon)) * math.sqrt(spread))
    top = rate + exact_deviation(rate, single, check_single, epsilon)
    if method == "hoeffding":
        closed = floor + sampling_deviation(floor, single, check_single, epsilon)
        # Few errors: the published formula claims more than the tail allows.
        top = max(top, closed)
    return min(0.5, top)
