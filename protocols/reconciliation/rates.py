"""Which code rate an estimated SNR allows, from measured thresholds.

`MEASURED` lists, per circulant size, pairs (rate, efficiency) at which random
words were reconciled through the whole path with at most one frame in twenty
lost after the retry row (`python -m benchmarks.reconciliation` repeats it). The
efficiency is ``rate / C`` with ``C = 0.5 log2(1 + SNR)`` per real quadrature,
the loss of the eight-dimensional rotation included.
"""

from __future__ import annotations

import math

import numpy as np

from protocols.reconciliation.met_ldpc import (
    HIGHEST_RATE,
    LOWEST_RATE,
)
from scqc.core.errors import ProtocolAbort

MEASURED: dict[int, tuple[tuple[float, float], ...]] = {
    2560: (
        (0.1, 0.92),
        (0.15, 0.9),
        (0.2, 0.89),
        (0.255, 0.91),
        (0.3, 0.89),
        (0.35, 0.86),
        (0.4, 0.83),
        (0.5, 0.765),
    ),
    1024: (
        (0.1, 0.9),
        (0.15, 0.87),
        (0.2, 0.87),
        (0.255, 0.89),
        (0.3, 0.88),
        (0.35, 0.85),
        (0.5, 0.76),
    ),
    256: (
        (0.1, 0.86),
        (0.15, 0.84),
        (0.2, 0.84),
        (0.255, 0.86),
        (0.3, 0.84),
        (0.35, 0.81),
        (0.5, 0.73),
    ),
}


def capacity(snr: float) -> float:
    """Return ``0.5 log2(1 + snr)`` [bit per real quadrature]."""
    return 0.5 * math.log2(1 + snr)


def efficiency(snr: float, size: int = 2560) -> float:
    """Return the measured efficiency at this SNR, interpolated over capacity.

    Raises
    ------
    ProtocolAbort
        If no thresholds were measured for this size.
    """
    if size not in MEASURED:
        raise ProtocolAbort(f"reconciliation: no thresholds for size {size}")
    rates, betas = np.array(MEASURED[size]).T
    return float(np.interp(capacity(snr), rates / betas, betas))


def choose_rate(
    snr: float,
    snr_sigma: float = 0.0,
    n_sigma: float = 3.0,
    size: int = 2560,
    beta: float | None = None,
) -> float:
    """Choose the code rate for an estimated SNR.

    Parameters
    ----------
    snr : float
        Per real quadrature, from disclosed symbols [1].
    snr_sigma : float
        Its standard deviation [1].
    n_sigma : float
        Margin: the rate holds for ``snr - n_sigma snr_sigma``.
    size : int
        Circulant size of the code.
    beta : float, optional
        Wanted efficiency; by default the measured one.

    Returns
    -------
    float
        0.1 to 0.5 [1].

    Raises
    ------
    ProtocolAbort
        If the SNR is too low for the lowest rate.
    """
    low = snr - n_sigma * snr_sigma
    if not low > 0:
        raise ProtocolAbort(f"reconciliation: SNR {snr} +- {snr_sigma} is not positive")
    wanted = (efficiency(low, size) if beta is None else beta) * capacity(low)
    if wanted < LOWEST_RATE - 1e-9:
        raise ProtocolAbort(
            f"reconciliation: SNR {low:.4f} allows rate {wanted:.4f}, "
            f"the lowest is {LOWEST_RATE}"
        )
    return min(wanted, HIGHEST_RATE)
