r"""Root-raised-cosine pulses.

Both ends of the link use the same finite pulse: the root-raised cosine times a
Kaiser window. The window keeps strong pilots, tens of megahertz away, out of
the signal band; what it costs in inter-symbol interference is far below the
shot noise and is cancelled after decoding anyway.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import i0

KAISER_BETA = 4.0


def root_raised_cosine(t: NDArray[np.float64], roll_off: float) -> NDArray[np.float64]:
    """Evaluate the root-raised-cosine pulse of unit energy per symbol.

    Parameters
    ----------
    t : ndarray, shape (n,), float64 [symbol]
        Time in symbol periods.
    roll_off : float
        Excess bandwidth [1].

    Returns
    -------
    ndarray, shape (n,), float64 [1]

    References
    ----------
    J. G. Proakis, Digital Communications, 4th ed., section 9.2.
    """
    a = roll_off
    x = np.asarray(t, dtype=np.float64)
    out = np.empty_like(x)
    at_zero = np.abs(x) < 1e-9
    at_edge = np.abs(np.abs(4.0 * a * x) - 1.0) < 1e-9
    regular = ~(at_zero | at_edge)
    r = x[regular]
    numerator = np.sin(np.pi * r * (1 - a)) + 4 * a * r * np.cos(np.pi * r * (1 + a))
    out[regular] = numerator / (np.pi * r * (1 - (4 * a * r) ** 2))
    out[at_zero] = 1 - a + 4 * a / np.pi
    out[at_edge] = (a / math.sqrt(2.0)) * (
        (1 + 2 / np.pi) * math.sin(np.pi / (4 * a))
        + (1 - 2 / np.pi) * math.cos(np.pi / (4 * a))
    )
    return out


def finite_pulse(
    t: NDArray[np.float64], roll_off: float, span_symbols: int
) -> NDArray[np.float64]:
    """Evaluate the windowed pulse, zero outside ``|t| <= span_symbols / 2``.

    Parameters
    ----------
    t : ndarray, shape (n,), float64 [symbol]
    roll_off : float
        Excess bandwidth [1].
    span_symbols : int
        Total length of the pulse [symbol].

    Returns
    -------
    ndarray, shape (n,), float64 [1]
    """
    half = 0.5 * span_symbols
    inside = np.abs(t) <= half
    window = np.zeros_like(t)
    window[inside] = i0(KAISER_BETA * np.sqrt(1.0 - (t[inside] / half) ** 2)) / float(
        i0(KAISER_BETA)
    )
    shaped: NDArray[np.float64] = root_raised_cosine(t, roll_off) * window
    return shaped
