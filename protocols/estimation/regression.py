"""Sufficient statistics of the linear channel, per quadrature and bit class."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import ProtocolAbort

QUADRATURES = ("x", "p")


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over one class of samples.

    Parameters
    ----------
    n : int
        Real samples [1].
    xx, xy, yy : float
        Sums of products of Alice's variable [SNU] and Bob's [SNU].
    """

    n: int
    xx: float
    xy: float
    yy: float

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.n + other.n,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    @property
    def gain(self) -> float:
        """Regression of Bob on Alice [1]."""
        return self.xy / self.xx

    @property
    def residual_snu(self) -> float:
        """Variance of Bob given Alice [SNU]."""
        return (self.yy - self.xy**2 / self.xx) / self.n

    @property
    def gain_sigma(self) -> float:
        """Standard deviation of `gain` [1]."""
        return math.sqrt(self.residual_snu / self.xx)

    @property
    def residual_sigma_snu(self) -> float:
        """Standard deviation of `residual_snu` [SNU]."""
        return self.residual_snu * math.sqrt(2.0 / self.n)

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio of Bob's quadrature [1]."""
        return self.gain**2 * (self.xx / self.n) / self.residual_snu

    @property
    def snr_sigma(self) -> float:
        """Standard deviation of `snr` [1].

        The gain adds ``4/snr``, Alice's and the residual's variance 2 each.
        """
        return self.snr * math.sqrt((4.0 / self.snr + 4.0) / self.n)


def regress(alice: NDArray[np.float32], bob: NDArray[np.float32]) -> Sums:
    """Accumulate the sums of one class in double precision.

    Parameters
    ----------
    alice, bob : ndarray, shape (n,), float32 [sqrt(SNU)]

    Raises
    ------
    ProtocolAbort
        If lengths differ or a value is not finite.
    """
    if alice.shape != bob.shape:
        raise ProtocolAbort(
            f"estimation: {alice.size} values from Alice, {bob.size} from Bob"
        )
    x, y = alice.astype(np.float64), bob.astype(np.float64)
    sums = Sums(x.size, float(x @ x), float(x @ y), float(y @ y))
    if not all(map(math.isfinite, (sums.xx, sums.xy, sums.yy))):
        raise ProtocolAbort("estimation: a symbol is not a finite number")
    return sums


def regress_classes(
    alice: NDArray[np.float32],
    bob: NDArray[np.float32],
    quadrature: NDArray[np.uint8],
    bit: NDArray[np.uint8],
) -> dict[str, Sums]:
    """Accumulate per quadrature and per classical bit of that quadrature.

    A modulator's non-linearity shows as a difference between the bit classes.

    Parameters
    ----------
    alice, bob : ndarray, shape (n,), float32 [sqrt(SNU)]
    quadrature : ndarray, shape (n,), uint8 [1]
        0 for x, 1 for p.
    bit : ndarray, shape (n,), uint8 [bit]

    Returns
    -------
    dict
        Keys ``"x0", "x1", "p0", "p1"``.
    """
    label = 2 * quadrature + bit
    return {
        f"{name}{b}": regress(alice[label == 2 * q + b], bob[label == 2 * q + b])
        for q, name in enumerate(QUADRATURES)
        for b in (0, 1)
        if np.any(label == 2 * q + b)
    }
