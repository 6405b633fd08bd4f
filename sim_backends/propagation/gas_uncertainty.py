"""How far P.676 may be from the truth, per range of frequency.

P.676 was compared with an independent absorption model (Rosenkranz 2024, as in
pyrtlib 1.2.0) for 288.15 K, 7.5 g/m^3 and 1013.25 hPa in total. On the strong lines
both agree within 2 %, in the windows to 350 GHz within 5.5 %, and in the window at
850 GHz the other model gives 27 % less: there the continuum is extrapolated. Between
350 and 800 GHz only lines were compared; windows get the larger figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim_backends.propagation.gas_absorption import RANGE_HZ
from sim_backends.propagation.ranges import within


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Relative uncertainty of the specific attenuation in windows.

    Parameters
    ----------
    low_hz, high_hz : float
        Range [Hz].
    relative : float
        Half-width [1].
    """

    low_hz: float
    high_hz: float
    relative: float


WINDOWS = (
    Uncertainty(1e9, 350e9, 0.055),
    Uncertainty(350e9, 1000e9, 0.30),
)
#: Centres of the lines that were compared [Hz], and how near counts as on the line.
COMPARED_LINES_HZ = (
    22.235e9,
    60e9,
    118.75e9,
    183.31e9,
    325.15e9,
    556.9e9,
    752e9,
    988e9,
)
ON_LINE_RELATIVE = 0.02
#: Less is no news: in the lower windows other assumptions are worse.
_WORTH_SAYING = 0.1
#: The width of a line at sea level: about 3 GHz.
ON_LINE_HZ = 3e9


def relative_uncertainty(frequency_hz: ArrayLike) -> NDArray[np.float64]:
    """Return the stated relative uncertainty [1] of the gas loss.

    Parameters
    ----------
    frequency_hz : array_like [Hz]

    Raises
    ------
    ModelRangeError
        If a frequency is outside 1 to 1000 GHz.
    """
    frequency = within("frequency [Hz]", frequency_hz, RANGE_HZ, "P.676-13")
    windows = np.where(
        frequency <= WINDOWS[0].high_hz, WINDOWS[0].relative, WINDOWS[1].relative
    )
    lines = np.asarray(COMPARED_LINES_HZ)
    near = np.abs(frequency[..., np.newaxis] - lines) <= ON_LINE_HZ
    return np.where(near.any(axis=-1), ON_LINE_RELATIVE, windows)


def uncertainty_note(frequency_hz: ArrayLike) -> str:
    """Say where the gas loss is uncertain by more than 10 %; empty if nowhere.

    Parameters
    ----------
    frequency_hz : array_like [Hz]

    Raises
    ------
    ModelRangeError
        If a frequency is outside 1 to 1000 GHz.
    """
    frequency = np.ravel(np.asarray(frequency_hz, dtype=np.float64))
    relative = relative_uncertainty(frequency)
    doubtful = frequency[relative > _WORTH_SAYING]
    if not doubtful.size:
        return ""
    low, high = 1e-9 * float(doubtful.min()), 1e-9 * float(doubtful.max())
    where = f"at {low:.4g}"
    if low < high:
        where = f"in windows between {low:.4g} and {high:.4g}"
    return f"P.676: absorption {where} GHz is uncertain to {100 * relative.max():.0f} %"
