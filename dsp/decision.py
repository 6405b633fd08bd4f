"""PSK bits: mapping, blind scale, and soft decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scqc.core.errors import SignalError

Psk = Literal["qpsk", "bpsk"]


def bits_per_symbol(psk: Psk) -> int:
    """Return 2 for QPSK, 1 for BPSK."""
    return 2 if psk == "qpsk" else 1


def map_bits(bits: NDArray[np.uint8], psk: Psk) -> NDArray[np.complex64]:
    """Map coded bits to displacement directions.

    QPSK takes two bits, one per quadrature. BPSK puts the same sign on both
    quadratures, so that either quadrature decodes the bit.

    Parameters
    ----------
    bits : ndarray, shape (n_symbols * bits_per_symbol,), uint8 [bit]

    Returns
    -------
    ndarray, shape (n_symbols,), complex64 [1]
        Components +-1; bit 0 is +1.
    """
    signs = (1.0 - 2.0 * bits.astype(np.float32)).astype(np.float32)
    if psk == "bpsk":
        return (signs + 1j * signs).astype(np.complex64)
    return np.ascontiguousarray(signs).view(np.complex64)


@dataclass(frozen=True, slots=True)
class DecisionScale:
    """Displacement and noise seen by the bit decision, per quadrature.

    Parameters
    ----------
    amplitude : float
        [code or sqrt(SNU)]
    variance : float
        Of everything that is not displacement [code^2 or SNU].
    """

    amplitude: float
    variance: float

    @property
    def raw_ber(self) -> float:
        """Raw bit error rate of Gaussian noise, QPSK [1]."""
        return 0.5 * math.erfc(self.amplitude / math.sqrt(2.0 * self.variance))


def decision_scale(symbols: NDArray[np.complex64]) -> DecisionScale:
    r"""Estimate displacement and noise blindly from moments.

    With :math:`y = \pm A + n` the second and fourth moments give
    :math:`A^4 = (3 m_2^2 - m_4)/2`, whatever the raw error rate.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [code or sqrt(SNU)]

    Raises
    ------
    SignalError
        If the moments show no displacement.
    """
    y = symbols.view(np.float32)
    m2 = float(np.mean(np.square(y, dtype=np.float64)))
    m4 = float(np.mean(np.square(y, dtype=np.float64) ** 2))
    fourth = 0.5 * (3.0 * m2 * m2 - m4)
    if fourth <= 0.0:
        raise SignalError(
            f"decision: moments m2 = {m2:.4g}, m4 = {m4:.4g} show no displacement "
            "(m4 must be below 3 m2^2)"
        )
    amplitude2 = math.sqrt(fourth)
    variance = m2 - amplitude2
    if variance <= 0.0:
        raise SignalError(
            f"decision: displacement^2 {amplitude2:.4g} leaves no noise in m2 {m2:.4g}"
        )
    return DecisionScale(math.sqrt(amplitude2), variance)


def soft_bits(
    symbols: NDArray[np.complex64], scale: DecisionScale, psk: Psk
) -> NDArray[np.float32]:
    """Return log-likelihood ratios, positive for bit 0.

    Parameters
    ----------
    symbols : ndarray, shape (n,), complex64 [code or sqrt(SNU)]

    Returns
    -------
    ndarray, shape (n * bits_per_symbol,), float32 [nat]
    """
    y = symbols.view(np.float32)
    llr = y * np.float32(2.0 * scale.amplitude / scale.variance)
    if psk == "qpsk":
        return llr
    both: NDArray[np.float32] = llr[0::2] + llr[1::2]
    return both
