"""Efficiency and frame error rate of reconciliation, as one thing that was measured.

An efficiency alone says nothing: any code reaches any efficiency if enough of its
frames may fail. What `rates.MEASURED` lists was reconciled with at most one frame
in twenty lost after the retry, so that is the pair. A preset that repeats a
publication fixes both numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.reconciliation.construct import INFORMATION_COLUMNS
from protocols.reconciliation.met_ldpc import HIGHEST_RATE, LOWEST_RATE
from protocols.reconciliation.rates import MEASURED
from protocols.verification.tags import TAG_BITS
from scqc.core.errors import ModelRangeError

#: Frames that the measured efficiencies may lose, and those that need the retry [1].
MEASURED_FER, MEASURED_RETRIED = 0.05, 0.1
#: A limit as a message prints it is not refused.
_PRINTED = 1.0 - 1e-5


@dataclass(frozen=True, slots=True)
class Pair:
    """What reconciliation gives at one SNR or many.

    Parameters
    ----------
    beta : ndarray, shape (...), float64 [1]
        Code rate over capacity.
    fer : ndarray, shape (...), float64 [1]
        Frames that are lost in the end.
    frame_bits : ndarray, shape (...), float64 [bit]
        Raw bits, one per real quadrature.
    extra_bits : ndarray, shape (...), float64 [bit]
        Disclosed per kept frame besides the syndrome: retries and tags.
    """

    beta: NDArray[np.float64]
    fer: NDArray[np.float64]
    frame_bits: NDArray[np.float64]
    extra_bits: NDArray[np.float64]


def fixed(beta: float, fer: float, frame_bits: float = 4e5) -> Pair:
    """Return a pair that somebody else states.

    Parameters
    ----------
    beta, fer : float
        Both, always [1].
    frame_bits : float
        [bit]

    Raises
    ------
    ModelRangeError
        If the efficiency is not in (0, 1], or the error rate not in [0, 1).
    """
    if not 0.0 < beta <= 1.0:
        raise ModelRangeError("reconciliation efficiency", beta, (1e-6, 1.0))
    if not 0.0 <= fer < 1.0:
        raise ModelRangeError("frame error rate", fer, (0.0, 0.999999))
    if not 1.0 <= frame_bits <= 1e12:
        raise ModelRangeError("bits of a frame", frame_bits, (1.0, 1e12))
    numbers = (
        np.asarray(v, dtype=np.float64) for v in (beta, fer, frame_bits, TAG_BITS)
    )
    return Pair(*numbers)


def measured(snr: float | NDArray[np.float64], size: int = 2560) -> Pair:
    """Return the pair of this program's own codes.

    Parameters
    ----------
    snr : float or ndarray, shape (...)
        Per real quadrature [1].
    size : int
        Circulant size of the code: 256, 1024 or 2560.

    Returns
    -------
    Pair
        At the next rate of the code's grid. Above the highest rate the code stays
        there, and the efficiency falls.

    Raises
    ------
    ModelRangeError
        If the SNR is below what the lowest rate needs; `reconcilable` tells
        beforehand.
    """
    capacity = 0.5 * np.log1p(np.asarray(snr, dtype=np.float64)) / np.log(2.0)
    least = _capacities(size)[0]
    if not np.all(capacity >= least * _PRINTED):
        worst = float(np.min(snr))
        raise ModelRangeError(
            "SNR per quadrature",
            worst,
            (least_snr(size), 1e9),
            "no code of so low a rate",
        )
    wanted = np.interp(capacity, *_table(size)) * capacity
    wanted = np.clip(wanted, LOWEST_RATE, HIGHEST_RATE)
    columns = np.ceil(INFORMATION_COLUMNS / wanted - 1e-9)
    rate = INFORMATION_COLUMNS / columns
    return Pair(
        beta=np.asarray(rate / capacity),
        fer=np.full(capacity.shape, MEASURED_FER),
        frame_bits=np.asarray(columns * size),
        extra_bits=np.full(capacity.shape, MEASURED_RETRIED * size + TAG_BITS),
    )


def least_snr(size: int = 2560) -> float:
    """Return the lowest SNR per real quadrature that a code is there for [1]."""
    return float(4.0 ** _capacities(size)[0] - 1.0)


def reconcilable(
    snr: float | NDArray[np.float64], size: int = 2560
) -> NDArray[np.bool_]:
    """Return where `measured` has an answer, shape (...), bool.

    Parameters
    ----------
    snr : float or ndarray, shape (...)
        Per real quadrature [1].
    size : int
        Circulant size of the code.
    """
    return np.asarray(snr) >= least_snr(size) * _PRINTED


def _table(size: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if size not in MEASURED:
        raise ModelRangeError(
            "circulant size", size, (min(MEASURED), max(MEASURED)), "not measured"
        )
    rates, betas = np.array(MEASURED[size]).T
    return rates / betas, betas


def _capacities(size: int) -> NDArray[np.float64]:
    return _table(size)[0]
