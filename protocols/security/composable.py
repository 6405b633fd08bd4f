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

from protocols.security.finite_kernels import (
    aep_correction,
    hashing_cost,
    log2_acceptance,
)
from scqc.core.errors import ProtocolAbort


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
        """Bits disclosed on the public channel about the kept frames."""
        return (
            self.syndrome_bits
            + self.revealed_bits
            + self.verification_bits
            + self.flag_bits
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


def aep_bits(n_quadratures: int, accepted: float, smoothing: float) -> float:
    """Return the finite-size correction of the smooth min-entropy [bit].

    Parameters
    ----------
    n_quadratures : int
        Real quadratures kept for the key [1].
    accepted : float
        Probability of the accepted event [1].
    smoothing : float
        Smoothing parameter [1].
    """
    _check_probability("accepted event", accepted)
    _check_probability("smoothing", smoothing)
    # In logarithms: (1 - FER)^F may be far below the smallest float squared.
    logs = math.log2(accepted), math.log2(smoothing)
    return float(aep_correction(float(n_quadratures), *logs))


def hashing_bits(accepted: float, smoothing: float, hashing: float) -> float:
    """Return what privacy amplification costs beyond the entropy [bit]."""
    _check_probability("accepted event", accepted)
    _check_probability("hashing", hashing)
    return float(hashing_cost(math.log2(accepted), smoothing, hashing))


def acceptance_probability(frames_total: int, frames_kept: int) -> float:
    """Return the probability of the pattern of accepted frames.

    Every frame is accepted or disclosed by a public flag. The event that the key
    is conditioned on is the whole pattern of flags: with `k` of `F` frames kept,
    its probability is ``r^k (1 - r)^(F - k)`` with ``r = k / F``.
    """
    if not 0 < frames_kept <= frames_total:
        raise ProtocolAbort(
            f"security: {frames_kept} of {frames_total} frames kept; nothing to hash"
        )
    return float(2.0 ** log2_acceptance(float(frames_total), float(frames_kept)))


def _check_probability(name: str, value: float) -> None:
    if not 0.0 < value <= 1.0:
        raise ProtocolAbort(f"security: {name} = {value} is no probability in (0, 1]")
