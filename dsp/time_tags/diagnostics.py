r"""What the tags say about the receiver itself: detectors, fringes, wiring.

A lit public slot has one of four known phases :math:`\phi_k`. Detector c, waiting
at phase :math:`\theta_c` (z0: 0, z1: pi, x0: pi/2, x1: 3 pi/2), sees

.. math:: n_{ck} \propto 1 + V \cos(\phi_k - \theta_c - \delta),

so :math:`r_c = 2 \sum_k n_{ck} e^{i\phi_k} / \sum_k n_{ck}` is
:math:`V e^{i(\theta_c + \delta)}`: the visibility, the phase error of the
interferometer, and which detector it really is.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.correlation import coincidences
from dsp.time_tags.settings import DETECTORS, TagSettings
from dsp.time_tags.slots import SIGNAL
from scqc.core.errors import SignalError

# Where each detector waits, and the phase of the codes bit + 2 * basis [rad].
WAITS_RAD = np.array([0.0, math.pi, 0.5 * math.pi, 1.5 * math.pi])
CODES_RAD = WAITS_RAD
# Sigmas by which another wiring must fit better before the record is refused.
WIRING_SIGMAS = 6.0


@dataclass(frozen=True, slots=True)
class Fringe:
    """One interferometer, as the public slots show it.

    Parameters
    ----------
    counts : int
        Clicks in lit public slots of the same basis [1].
    errors : int
        Those on the wrong detector [1].
    visibility : float
        Of the fringe [1].
    phase_error_rad, sigma_rad : float
        What a bias controller has to take back, and its uncertainty; infinite
        uncertainty where there is no fringe.
    """

    counts: int
    errors: int
    visibility: float
    phase_error_rad: float
    sigma_rad: float

    @property
    def qber(self) -> float:
        """Error rate, one half where nothing was seen [1]."""
        return self.errors / self.counts if self.counts else 0.5


@dataclass(frozen=True, slots=True)
class Afterpulsing:
    """Afterpulses of one detector.

    Parameters
    ----------
    probability : float
        Tags that follow a tag because of it, per tag [1].
    sigma : float
        Its standard deviation [1].
    """

    probability: float
    sigma: float


def fringes(tally: NDArray[np.int64]) -> tuple[Fringe, Fringe]:
    """Return the Z and the X interferometer from the tally of public slots.

    Parameters
    ----------
    tally : ndarray, shape (4, 2, 2, 4), int64 [1]
        By intensity, basis and bit sent, and detector.
    """
    lit = tally[SIGNAL].reshape(4, 4).astype(np.float64)
    return _fringe(lit, 0), _fringe(lit, 1)


def _fringe(lit: NDArray[np.float64], basis: int) -> Fringe:
    ports = lit[:, 2 * basis : 2 * basis + 2]
    own = ports[2 * basis : 2 * basis + 2]
    counts, errors = int(own.sum()), int(own[0, 1] + own[1, 0])
    # Opposite phases together: whatever the efficiencies of the two detectors are,
    # (n0 - n1 at phi, n1 - n0 at phi + pi) over their sum is V cos(phi - theta - d).
    totals = ports.reshape(2, 4).sum(axis=1)
    if np.any(totals == 0.0):
        return Fringe(counts, errors, 0.0, 0.0, math.inf)
    signs = np.array([1.0, -1.0, -1.0, 1.0])
    contrast = ports.reshape(2, 4) @ signs / totals
    turned = np.sum(contrast * np.exp(1j * (CODES_RAD[::2] - WAITS_RAD[2 * basis])))
    visibility = float(abs(turned))
    # Variance of a contrast is at most 1 / n; half of the sum falls across.
    across = math.sqrt(0.5 * float(np.sum(1.0 / totals)))
    if visibility < 3.0 * across:
        return Fringe(counts, errors, visibility, 0.0, math.inf)
    angle = math.atan2(turned.imag, turned.real)
    return Fringe(counts, errors, visibility, angle, across / visibility)


def check_wiring(tally: NDArray[np.int64], settings: TagSettings) -> None:
    """Refuse detectors that are not what the settings call them.

    Parameters
    ----------
    tally : ndarray, shape (4, 2, 2, 4), int64 [1]
        Of public slots.
    settings : TagSettings

    Raises
    ------
    SignalError
        Another wiring of the same inputs fits the public phases far better.
    """
    lit = tally[SIGNAL].reshape(4, 4).astype(np.float64)
    totals = lit.sum(axis=0)
    if np.any(totals == 0.0):
        return
    response = 2.0 * np.sum(lit * np.exp(1j * CODES_RAD)[:, None], axis=0) / totals
    # Fit of detector c as the one that waits at theta_d, in sigmas of its response.
    fit = np.sqrt(0.5 * totals)[:, None] * np.real(
        response[:, None] * np.exp(-1j * WAITS_RAD)[None, :]
    )
    here = float(np.trace(fit))
    best = max(
        itertools.permutations(range(4)),
        key=lambda order: sum(fit[c, d] for c, d in enumerate(order)),
    )
    gain = (sum(fit[c, d] for c, d in enumerate(best)) - here) / 2.0
    if best == (0, 1, 2, 3) or gain < WIRING_SIGMAS:
        return
    moved = ", ".join(
        f"input {settings.inputs[c]} is wired as {DETECTORS[c]} and acts as "
        f"{DETECTORS[d]}"
        for c, d in enumerate(best)
        if c != d
    )
    z, x = fringes(tally)
    raise SignalError(
        f"channel map: {moved} ({gain:.1f} sigma, limit {WIRING_SIGMAS:g}; public QBER "
        f"Z {z.qber:.2f}, X {x.qber:.2f}): check the wiring, or an interferometer is "
        "half a turn off"
    )


def relative_efficiencies(phases: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each detector's tags against the mean of its basis.

    Parameters
    ----------
    phases : ndarray, shape (4, bins), int64 [1]
        Phase histogram of all tags.

    Returns
    -------
    ndarray, shape (4,), float64 [1]
        1 for equal detectors behind fair bits; NaN in a basis without tags.
    """
    tags = phases.sum(axis=1).astype(np.float64).reshape(2, 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: NDArray[np.float64] = (tags / tags.mean(axis=1, keepdims=True)).ravel()
    return found


def dead_time_corrected(rate_hz: float, dead_time_s: float) -> float:
    """Return the rate a detector with a fixed dead time would have without it [Hz].

    ``n = m / (1 - m tau)``, for a dead time that later photons do not prolong.

    Raises
    ------
    SignalError
        The rate is more than the dead time allows.
    """
    busy = rate_hz * dead_time_s
    if not 0.0 <= busy < 1.0:
        raise SignalError(
            f"dead time: {rate_hz:g} Hz with {dead_time_s:g} s dead, limit "
            f"{1.0 / dead_time_s:g} Hz"
        )
    return rate_hz / (1.0 - busy)


def afterpulsing(
    times_ps: NDArray[np.int64], window_ps: int, bin_ps: int = 1000
) -> Afterpulsing:
    """Return the excess of one detector's autocorrelation over its far level.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
        Tags of one detector, in order.
    window_ps : int
        Lags up to half of it are summed, the other half is the level.
    bin_ps : int

    Raises
    ------
    SignalError
        Fewer than two tags, or the window is no multiple of four bins.
    """
    if times_ps.size < 2 or window_ps % (4 * bin_ps):
        raise SignalError(
            f"afterpulsing: {times_ps.size} tags, window {window_ps} ps, wanted at "
            f"least 2 and a multiple of {4 * bin_ps} ps"
        )
    lags = coincidences(times_ps, times_ps, window_ps, bin_ps)[window_ps // bin_ps :]
    # The first bin holds every tag with itself.
    lags = lags.copy()
    lags[0] -= times_ps.size
    near, far = lags[: lags.size // 2], lags[lags.size // 2 :]
    # Bins before the first pair are the dead time: no level to take off there.
    dead = int(np.argmax(near > 0)) if near.any() else near.size
    level = float(far.mean())
    excess = float(near.sum()) - level * (near.size - dead)
    spread = float(near.sum()) + level * (near.size - dead) ** 2 / far.size
    return Afterpulsing(excess / times_ps.size, math.sqrt(spread) / times_ps.size)
