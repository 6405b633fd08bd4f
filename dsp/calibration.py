"""Shot-noise unit from calibration traces.

Both traces run through the very same demodulator as the signal: same taps,
same gains. What that chain does to white noise it does to all three alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp.demodulator import Demodulator
from scqc.core.errors import CalibrationError


@dataclass(frozen=True, slots=True)
class NoiseVariance:
    """Variance of a noise trace after the matched filter.

    Parameters
    ----------
    sum_x2, sum_p2 : float
        Sums of squares of both quadratures [code^2].
    n_symbols : int
    """

    sum_x2: float
    sum_p2: float
    n_symbols: int

    @property
    def variance(self) -> float:
        """Mean variance per quadrature [code^2]."""
        return (self.sum_x2 + self.sum_p2) / (2 * self.n_symbols)


@dataclass(frozen=True, slots=True)
class ShotNoiseUnit:
    """The scale from codes to sqrt(SNU), with its uncertainty.

    Parameters
    ----------
    scale : float
        Standard deviation of the shot noise after the filter [code/sqrt(SNU)].
    electronic_snu : float
        Electronic noise per quadrature [SNU].
    n_shot, n_electronic : int
        Real samples behind the two variances [1].
    """

    scale: float
    electronic_snu: float
    n_shot: int
    n_electronic: int


def noise_variance(
    demodulator: Demodulator, chunks: Iterable[NDArray[np.int16]]
) -> NoiseVariance:
    """Measure a noise trace through the signal's own filters.

    Parameters
    ----------
    demodulator : Demodulator
        The one that demodulates the signal.
    chunks : iterable of ndarray, shape (n,), int16 [code]

    Raises
    ------
    CalibrationError
        If the trace is too short to hold a symbol.
    """
    x2 = p2 = 0.0
    count = 0
    for symbols in demodulator.replay(chunks):
        x2 += float(np.sum(np.square(symbols.real, dtype=np.float64)))
        p2 += float(np.sum(np.square(symbols.imag, dtype=np.float64)))
        count += symbols.size
    if count < 1000:
        raise CalibrationError(
            f"calibration trace: {count} symbols, at least 1000 are needed"
        )
    return NoiseVariance(x2, p2, count)


def shot_noise_unit(shot: NoiseVariance, electronic: NoiseVariance) -> ShotNoiseUnit:
    """Combine both calibrations.

    Parameters
    ----------
    shot : NoiseVariance
        Local oscillator on, signal blocked.
    electronic : NoiseVariance
        Local oscillator blocked as well.

    Raises
    ------
    CalibrationError
        If the shot trace is not clearly above the electronic trace.
    """
    total, dark = shot.variance, electronic.variance
    n0 = total - dark
    if not n0 > 0.1 * dark or not math.isfinite(n0):
        raise CalibrationError(
            f"calibration: local oscillator on gives {total:.4g} code^2, off gives "
            f"{dark:.4g} code^2; the shot noise between them must exceed a tenth of "
            "the electronic noise: traces missing or swapped?"
        )
    return ShotNoiseUnit(
        math.sqrt(n0),
        dark / n0,
        2 * shot.n_symbols,
        2 * electronic.n_symbols,
    )
