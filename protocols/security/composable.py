r"""Composable key length as a ledger.

The raw key are the uniform sign bits of multidimensional reconciliation, so its
entropy needs no estimate. What is subtracted is counted, not assumed:

.. math:: \ell = \lfloor n_{bits} - \mathrm{leak} - n_{sym}\,\chi_{max}
          - \Delta_{AEP} + \Theta \rfloor

with the independent unit being the 8-vector (alphabet 256):
:math:`\Delta = 4\log_2(16+2)\sqrt{\log_2(18/(p^2\epsilon_s^4))}\sqrt{n_q/8}` and
:math:`\Theta = \log_2[p(1-\epsilon_s^2/3)] + 2\log_2(\sqrt2\,\epsilon_h)`,
where `p` is the probability of the accepted event.

References
----------
S. Pirandola, Phys. Rev. Research 3, 043014 (2021), for the form of the two
corrections; the counted leakage replaces its efficiency `beta`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from scqc.core.errors import ProtocolAbort

Floats = float | NDArray[np.float64]
#: Of a number on the public channel [bit]; sums of a class; deviations of Bob's data.
_NUMBER_BITS, _SUMS, _DEVIATIONS = 64, 3, 2


@dataclass(frozen=True, slots=True)
class EpsilonBudget:
    """How the total security parameter is spent [1].

    Parameters
    ----------
    correctness, smoothing, hashing, estimation : float
        ``estimation`` is shared by all estimated parameters.
    """

    correctness: float
    smoothing: float
    hashing: float
    estimation: float

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.correctness + self.smoothing + self.hashing + self.estimation


def split_epsilon(total: float) -> EpsilonBudget:
    """Give each part a quarter of `total`."""
    quarter = 0.25 * total
    return EpsilonBudget(quarter, quarter, quarter, quarter)


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every bit that leaves the raw key, from top to bottom.

    Parameters
    ----------
    raw_bits : int
        Sign bits of all reconciliation frames.
    failed_bits : int
        Of frames that did not reconcile and were disclosed.
    syndrome_bits, revealed_bits, verification_bits, flag_bits : int
        Disclosed about the kept frames (flags: all frames).
    estimation_bits : int
        Of the statistics that both parties' data were told by; see `estimation_bits`.
    holevo_bits : float
        Kept symbols times the worst-case Holevo information.
    aep_bits, hashing_bits : float
        Finite-size corrections.
    frames_total, frames_kept : int
    """

    raw_bits: int
    failed_bits: int
    syndrome_bits: int
    revealed_bits: int
    verification_bits: int
    flag_bits: int
    estimation_bits: int
    holevo_bits: float
    aep_bits: float
    hashing_bits: float
    frames_total: int
    frames_kept: int

    @property
    def kept_bits(self) -> int:
        """Raw bits of the frames that reconciled."""
        return self.raw_bits - self.failed_bits

    @property
    def leak_bits(self) -> int:
        """Bits disclosed on the public channel about the kept frames [bit]."""
        return (
            self.syndrome_bits
            + self.revealed_bits
            + self.verification_bits
            + self.flag_bits
            + self.estimation_bits
        )

    @property
    def balance_bits(self) -> float:
        """What is left; negative when the block is too small or too noisy."""
        return (
            self.kept_bits
            - self.leak_bits
            - self.holevo_bits
            - self.aep_bits
            - self.hashing_bits
        )

    @property
    def secret_bits(self) -> int:
        """Length of the key, never negative."""
        return max(0, math.floor(self.balance_bits))

    def as_dict(self) -> dict[str, float]:
        """Return all entries and the sums, for reports."""
        entries: dict[str, float] = asdict(self)
        return entries | {
            "kept_bits": self.kept_bits,
            "leak_bits": self.leak_bits,
            "balance_bits": self.balance_bits,
            "secret_bits": self.secret_bits,
        }


def estimation_bits(classes: int, bursts: int) -> int:
    """Return what the statistics of the estimate tell of the raw key, at most [bit].

    The parties estimate with all their data, the key's included: per bit class and per
    burst the sums of squares of both and of their products go over the public channel,
    and before that the deviation of Bob's data per quadrature. No number tells more
    than it has bits (A. Leverrier, Phys. Rev. Lett. 114, 070501 (2015), has ``n_PE``).

    Parameters
    ----------
    classes, bursts : int
        For which sums were told [1].
    """
    return _NUMBER_BITS * (_SUMS * (classes + bursts) + _DEVIATIONS)


def aep_correction(
    n_quadratures: Floats, log2_accepted: Floats, log2_smoothing: float
) -> NDArray[np.float64]:
    """Return `aep_bits` of arrays and of logarithms, shape (...) [bit].

    The probability of a pattern of a million frames is below the smallest float.

    Parameters
    ----------
    n_quadratures : float or ndarray, shape (...)
        Real quadratures kept for the key [1].
    log2_accepted : float or ndarray, shape (...)
        Logarithm of a probability [1].
    log2_smoothing : float
        Logarithm of a probability [1].
    """
    inner = math.log2(18.0) - 2.0 * np.asarray(log2_accepted) - 4.0 * log2_smoothing
    units = np.asarray(n_quadratures) / 8.0
    return np.asarray(4.0 * math.log2(18.0) * np.sqrt(inner) * np.sqrt(units))


def hashing_cost(
    log2_accepted: Floats, smoothing: float, hashing: float
) -> NDArray[np.float64]:
    """Return `hashing_bits` of an array of logarithms, shape (...) [bit].

    Parameters
    ----------
    log2_accepted : float or ndarray, shape (...)
        Logarithm of a probability [1].
    smoothing, hashing : float
        Parameters [1].
    """
    theta = np.asarray(log2_accepted) + math.log2(1.0 - smoothing**2 / 3.0)
    return np.asarray(-theta - 2.0 * math.log2(math.sqrt(2.0) * hashing))


def log2_acceptance(frames_total: Floats, failure_rate: Floats) -> NDArray[np.float64]:
    """Return the logarithm of the probability of a pattern of frames, shape (...) [1].

    Parameters
    ----------
    frames_total : float or ndarray, shape (...)
        [1]
    failure_rate : float or ndarray, shape (...)
        Share of them that is disclosed, below 1 [1].
    """
    lost = np.asarray(failure_rate, dtype=np.float64)
    nats = xlogy(1.0 - lost, 1.0 - lost) + xlogy(lost, lost)
    return np.asarray(frames_total * nats / math.log(2.0))


def box_sigmas(epsilon: float) -> float:
    """Return the half-width of a confidence box in standard deviations [1].

    ``sqrt(2 ln(1/eps))`` bounds a Gaussian tail.

    Parameters
    ----------
    epsilon : float
        Probability that any of three parameters lies outside [1].
    """
    return math.sqrt(2.0 * math.log(3.0 / epsilon))


def log2_pattern(frames_total: int, frames_kept: int) -> float:
    """Return the logarithm of the probability of the pattern of accepted frames [1].

    Every frame is accepted or disclosed by a public flag. The event that the key
    is conditioned on is the whole pattern of flags: with `k` of `F` frames kept,
    its probability is ``r^k (1 - r)^(F - k)`` with ``r = k / F``.

    Raises
    ------
    ProtocolAbort
        If no frame was kept.
    """
    if not 0 < frames_kept <= frames_total:
        raise ProtocolAbort(
            f"security: {frames_kept} of {frames_total} frames kept; nothing to hash"
        )
    lost = (frames_total - frames_kept) / frames_total
    return float(log2_acceptance(frames_total, lost))


def aep_bits(n_quadratures: int, log2_accepted: float, smoothing: float) -> float:
    """Return the finite-size correction of the smooth min-entropy [bit].

    Parameters
    ----------
    n_quadratures : int
        Real quadratures kept for the key [1].
    log2_accepted : float
        Logarithm of the probability of the accepted event [1].
    smoothing : float
        Smoothing parameter [1].
    """
    _check_logarithm("accepted event", log2_accepted)
    _check_probability("smoothing", smoothing)
    correction = aep_correction(
        float(n_quadratures), log2_accepted, math.log2(smoothing)
    )
    return float(correction)


def hashing_bits(log2_accepted: float, smoothing: float, hashing: float) -> float:
    """Return what privacy amplification costs beyond the entropy [bit].

    Parameters
    ----------
    log2_accepted : float
        Logarithm of the probability of the accepted event [1].
    smoothing, hashing : float
        Parameters [1].
    """
    _check_logarithm("accepted event", log2_accepted)
    _check_probability("hashing", hashing)
    return float(hashing_cost(log2_accepted, smoothing, hashing))


def _check_logarithm(name: str, value: float) -> None:
    if not -math.inf < value <= 0.0:
        raise ProtocolAbort(f"security: {name} of 2^{value} is no probability")


def _check_probability(name: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise ProtocolAbort(f"security: {name} = {value} is no probability in (0, 1]")
