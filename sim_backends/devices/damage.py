"""What faults do to records of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sim_backends.faults import SAMPLE_KINDS, FaultPlan

# Beyond any range that a digitiser has.
SURGE_V = 100.0


def seen_by_converter(
    volts: NDArray[np.float32], faults: FaultPlan
) -> NDArray[np.float32]:
    """Return the voltages as the converter gets them, after the fault that strikes.

    ``clipping`` is a surge at the input in an eighth of the record. Behind
    ``dropped-samples`` the record goes on a sixteenth of its length early; its end
    is filled up with what was there before.

    Parameters
    ----------
    volts : ndarray, shape (n,), float32 [V]
    faults : FaultPlan

    Returns
    -------
    ndarray, shape (n,), float32 [V]
    """
    kind = faults.take_data("fetch", *SAMPLE_KINDS)
    if kind is None:
        return volts
    third = volts.size // 3
    if kind == "clipping":
        surged = volts.copy()
        surged[third : third + max(1, volts.size // 8)] = SURGE_V
        return surged
    gap = max(1, volts.size // 16)
    kept = np.delete(volts, np.s_[third : third + gap])
    return np.concatenate([kept, volts[:gap]])


def is_stale(faults: FaultPlan) -> bool:
    """Return whether the record stays that of the trigger before, and count it."""
    return faults.take_data("fetch", "stale-trigger") is not None


def as_long_as(codes: NDArray[np.int16], n_samples: int) -> NDArray[np.int16]:
    """Return an old record with another length, shape (n_samples,), int16 [code].

    Parameters
    ----------
    codes : ndarray, shape (n,), int16 [code]
        Memory that never held a record has zeros.
    n_samples : int
    """
    if not codes.size:
        return np.zeros(n_samples, dtype=np.int16)
    return np.resize(codes, n_samples)
