r"""Find which slot is slot 0: correlate the clicks with the public slots.

Clicks are rare, so what tells most is where they are *missing*: a public dark slot
has almost none, a public lit one a little more than the average. Each click is
worth the logarithm of its likelihood ratio, :math:`\ln g` on a lit slot,
:math:`\ln\varepsilon` on a dark one, 0 elsewhere, and one transform sums that for
every lag.

At a wrong lag a click meets the pattern by chance: lit or dark with probability
:math:`1/(2K)` each, K being `sync_every`. So for any :math:`\theta > 0`

.. math:: \ln P(S \ge t) \le
   \sum_c N_c \ln M(c\theta) - \theta t,\quad
   M(\theta) = 1 + \frac{g^\theta + \varepsilon^\theta - 2}{2K},

with :math:`N_c` folded slots that hold c clicks (Chernoff). The threshold is where
this bound, times the number of lags and the two half-slot hypotheses, is 1e-9.

Light half a slot from the centre is a quarter each of two neighbours, which
fills the dark slots: the wrong half correlates less, and is told by its score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from dsp.time_tags.clock import FALSE_ALARM
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.slots import VACUUM, intensity
from dsp.time_tags.sync import sync_pattern
from scqc.core.errors import SyncError

# Design brightness of lit and dark public slots, relative to the mean slot.
LIT, DARK = 1.3, 0.15


@dataclass(frozen=True, slots=True)
class FrameStart:
    """What the correlation found.

    Parameters
    ----------
    clock : SlotClock
        Position 0 is the centre of slot 0.
    score, threshold, runner_up : float
        Log-likelihood of the lag, what was needed, and the other half slot's [nat].
    """

    clock: SlotClock
    score: float
    threshold: float
    runner_up: float


def find_frame(
    times_ps: NDArray[np.int64],
    clock: SlotClock,
    layout: SlotLayout,
    settings: TagSettings,
    prior: SlotClock | None = None,
) -> FrameStart:
    """Find slot 0 within the range of the delay.

    Parameters
    ----------
    times_ps : ndarray, shape (n,), int64 [ps]
        Detections of all inputs, skews removed.
    clock : SlotClock
        As `slot_clock` found it.
    layout : SlotLayout
    settings : TagSettings
    prior : SlotClock, optional
        Narrows the delay, if `settings.prior_delay_s` says that it repeats.

    Raises
    ------
    SyncError
        No lag stands out, or both halves of the slot do.
    """
    first, n_lags = _lags(clock, layout, settings, prior)
    folded = np.zeros(layout.frame_slots, dtype=np.complex64)
    positions = clock.at(times_ps)
    spread = []
    # One transform for both halves: one in the real part, one in the imaginary.
    for half, unit in enumerate((1.0, 1.0j)):
        moved = positions - 0.5 * half
        slot = np.rint(moved)
        inside = np.abs(moved - slot) <= settings.gate
        index = np.mod(slot[inside].astype(np.int64), layout.frame_slots)
        filled, clicks = np.unique(index, return_counts=True)
        folded[filled] += (unit * clicks).astype(np.complex64)
        spread.append(np.bincount(clicks))
    correlation = scipy.fft.ifft(scipy.fft.fft(folded) * _template(layout))
    lags = np.mod(first + np.arange(n_lags), layout.frame_slots)
    near = correlation[lags]
    thresholds = [_threshold(counts, layout, 2 * n_lags) for counts in spread]
    offsets = [_normaliser(counts, layout) for counts in spread]
    scores = [part + o for part, o in zip((near.real, near.imag), offsets, strict=True)]
    best = [int(np.argmax(part)) for part in scores]
    peaks = [float(part[at]) for part, at in zip(scores, best, strict=True)]
    half = int(np.argmax([p - t for p, t in zip(peaks, thresholds, strict=True)]))
    score, threshold, other = peaks[half], thresholds[half], peaks[1 - half]
    if not score > threshold:
        raise SyncError(
            f"frame: best lag scores {score:.1f} nat over {spread[half].sum()} clicked "
            f"slots, limit {threshold:.1f}: too few clicks, another sync_seed, or a "
            f"delay outside {settings.min_delay_s:g} to {settings.max_delay_s:g} s"
        )
    if score - other < -math.log(FALSE_ALARM):
        raise SyncError(
            f"frame: both halves of the slot fit ({score:.1f} and {other:.1f} nat), "
            f"limit {-math.log(FALSE_ALARM):.1f} apart: too few clicks"
        )
    found = clock.moved(float(first + best[half]) + 0.5 * half)
    return FrameStart(found, score, threshold, other)


def _lags(
    clock: SlotClock,
    layout: SlotLayout,
    settings: TagSettings,
    prior: SlotClock | None,
) -> tuple[int, int]:
    """Return the first position that may be slot 0, and how many there are."""
    low_s, high_s = settings.min_delay_s, settings.max_delay_s
    if prior is not None and settings.prior_delay_s is not None:
        low_s = max(low_s, prior.delay_s - settings.prior_delay_s)
        high_s = min(high_s, prior.delay_s + settings.prior_delay_s)
    if high_s - low_s > 0.999 * layout.frame_s:
        raise SyncError(
            f"frame: the delay may lie anywhere in {high_s - low_s:g} s, limit one "
            f"frame of {layout.frame_s:g} s: raise frame_slots or narrow the delay"
        )
    bounds = clock.at(np.array([low_s * 1e12, high_s * 1e12], dtype=np.int64))
    first = math.floor(bounds[0]) - 1
    return first, math.ceil(bounds[1]) + 2 - first


@lru_cache(maxsize=1)
def _template(layout: SlotLayout) -> NDArray[np.complex64]:
    """Return the conjugate transform of the click weights of one frame."""
    pattern = sync_pattern(layout)
    weights = np.zeros(layout.frame_slots, dtype=np.float32)
    dark = intensity(pattern.codes) == VACUUM
    weights[pattern.positions] = np.where(dark, math.log(DARK), math.log(LIT))
    spectrum = scipy.fft.fft(weights.astype(np.complex64)).conj()
    spectrum.flags.writeable = False
    found: NDArray[np.complex64] = spectrum
    return found


def _log_moment(theta: NDArray[np.float64], layout: SlotLayout) -> NDArray[np.float64]:
    """Return ln E exp(theta w) of one click's weight w at a wrong lag."""
    chance = 0.5 / layout.sync_every
    grown: NDArray[np.float64] = np.log1p(chance * (LIT**theta + DARK**theta - 2.0))
    return grown


def _normaliser(clicked: NDArray[np.int64], layout: SlotLayout) -> float:
    """Return what makes the score's likelihood ratio 1 on average at a wrong lag."""
    clicks = float(np.arange(clicked.size) @ clicked)
    return -clicks * float(_log_moment(np.array(1.0), layout))


def _threshold(clicked: NDArray[np.int64], layout: SlotLayout, n_lags: int) -> float:
    """Return the score that chance passes with probability `FALSE_ALARM` [nat].

    Parameters
    ----------
    clicked : ndarray, shape (n,), int64 [1]
        How many folded slots hold 0, 1, 2, ... clicks.
    """
    wanted = math.log(n_lags / FALSE_ALARM)
    clicks = np.arange(clicked.size, dtype=np.float64)

    def bound(theta: float) -> float:
        grown = float(clicked @ _log_moment(np.multiply(clicks, theta), layout))
        return (grown + wanted) / theta

    best = minimize_scalar(bound, bounds=(1e-3, 20.0), method="bounded")
    return float(best.fun) + _normaliser(clicked, layout)
