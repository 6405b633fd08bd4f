r"""How late each detector's path to the time tagger is, from the public slots.

The slot clock and the frame come from the detector that clicks most, alone, because
the others may be many slots away from it. Then, for each detector:

- **Fine.** Light lies in the middle of a slot and, not interfering, half a slot away.
  The circular mean of the tags' positions at twice the slot rate takes both for one,
  and gives the delay modulo half a slot. Its variance is

  .. math:: \sigma^2 = \frac{1 - \rho_2}{2 n \rho_1^2}\,\mathrm{rad}^2,

  with :math:`\rho_1, \rho_2` the resultant lengths at that angle and at twice it [1]_.
- **Coarse.** Of all delays within `SEARCH_SLOTS`, in steps of half a slot, the
  likeliest, by the clicks that fall on public lit and on public dark slots, with the
  weights of `dsp.time_tags.frame`. Half a slot beside the right one, half of the light
  is a neighbour's and fills the dark slots.

References
----------
.. [1] K. V. Mardia, P. E. Jupp, Directional Statistics, Wiley (2000), section 4.8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.clock import FALSE_ALARM, FEWEST_DETECTIONS, slot_clock
from dsp.time_tags.frame import DARK, LIT, find_frame
from dsp.time_tags.pipeline import refuse_bad_record
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.slots import VACUUM, intensity
from dsp.time_tags.sync import sync_pattern
from scqc.core.errors import LockError, SyncError
from scqc.core.records import TimeTags

#: Delays are searched this far to either side [slot].
SEARCH_SLOTS = 50


@dataclass(frozen=True, slots=True)
class PathDelay:
    """How late one detector's tags are.

    Parameters
    ----------
    delay_ps : float
        Behind the detector that gave the clock [ps].
    sigma_ps : float
        Its standard deviation [ps].
    tags : int
    """

    delay_ps: float
    sigma_ps: float
    tags: int


@dataclass(frozen=True, slots=True)
class PathDelays:
    """What one burst says about the paths.

    Parameters
    ----------
    paths : tuple of PathDelay
        In the order of the detectors.
    clock : SlotClock
        Of the detector that clicks most.
    """

    paths: tuple[PathDelay, ...]
    clock: SlotClock

    def after_first(self) -> list[tuple[float, float]]:
        """Return each path's delay behind the first one's, and its sigma [ps]."""
        first = self.paths[0]
        others = [
            (p.delay_ps - first.delay_ps, math.hypot(p.sigma_ps, first.sigma_ps))
            for p in self.paths[1:]
        ]
        return [(0.0, 0.0), *others]


def path_delays(
    tags: TimeTags, layout: SlotLayout, settings: TagSettings, names: tuple[str, ...]
) -> PathDelays:
    """Measure the delays of the detectors' paths in one burst.

    Parameters
    ----------
    tags : TimeTags
    layout : SlotLayout
    settings : TagSettings
        Its `skew_s` is removed first: what is found is what it leaves.
    names : tuple of str
        Of the detectors, in the order of ``settings.inputs``; inputs beyond them
        have none.

    Raises
    ------
    SignalError
        Tags lost, or a rate above the limit.
    LockError
        A detector sees no light with the slots' rhythm.
    SyncError
        No frame, or a detector whose delay is not clear.
    """
    refuse_bad_record(tags, settings)
    times = []
    for name, channel, skew_s in zip(
        names, settings.inputs, settings.skew_s, strict=False
    ):
        found = np.sort(tags.times_ps[tags.channels == channel])
        if found.size < FEWEST_DETECTIONS:
            raise LockError(
                f"{name}: {found.size} tags, at least {FEWEST_DETECTIONS} are needed: "
                "is there light, is the detector on?"
            )
        times.append(found - round(1e12 * skew_s))
    busiest = max(times, key=len)
    clock = slot_clock(busiest, layout, settings)
    clock = find_frame(busiest, clock, layout, settings).clock
    paths = [
        _path(name, clock.at(one), layout, settings)
        for name, one in zip(names, times, strict=True)
    ]
    slot_ps = 1e12 * layout.slot_s / (1.0 + clock.df)
    return PathDelays(
        tuple(
            PathDelay(slot_ps * slots, slot_ps * sigma, one.size)
            for (slots, sigma), one in zip(paths, times, strict=True)
        ),
        clock,
    )


def _path(
    name: str,
    positions: NDArray[np.float64],
    layout: SlotLayout,
    settings: TagSettings,
) -> tuple[float, float]:
    """Return one detector's delay and its sigma [slot]."""
    n = positions.size
    turns = np.exp(4j * np.pi * (positions % 1.0))
    mean = complex(turns.mean())
    if n * abs(mean) ** 2 < -math.log(FALSE_ALARM):
        raise LockError(
            f"{name}: the line at twice {layout.slot_rate_hz:g} Hz is "
            f"{n * abs(mean) ** 2:.1f} x the noise in {n} tags, limit "
            f"{-math.log(FALSE_ALARM):.1f} x: is there light?"
        )
    unit = mean / abs(mean)
    second = float(np.real(np.mean((turns * unit.conjugate()) ** 2)))
    spread = max(1.0 - second, 0.0) / (2.0 * n * abs(mean) ** 2)
    fine = math.atan2(mean.imag, mean.real) / (4.0 * math.pi)
    coarse = _coarse(name, positions - fine, layout, settings)
    return fine + coarse, math.sqrt(spread) / (4.0 * math.pi)


def _coarse(
    name: str,
    positions: NDArray[np.float64],
    layout: SlotLayout,
    settings: TagSettings,
) -> float:
    """Return the delay in whole and half slots at which the public slots fit."""
    pattern = sync_pattern(layout)
    weights = np.zeros(layout.frame_slots, dtype=np.float32)
    dark = intensity(pattern.codes) == VACUUM
    weights[pattern.positions] = np.where(dark, math.log(DARK), math.log(LIT))
    # What makes the likelihood ratio of a click 1 on average at a wrong delay.
    per_click = math.log1p(0.5 * (LIT + DARK - 2.0) / layout.sync_every)
    doubled = np.rint(2.0 * positions).astype(np.int64)
    gated = np.abs(2.0 * positions - doubled) <= 2.0 * settings.gate
    doubled = doubled[gated]
    candidates = np.arange(-2 * SEARCH_SLOTS, 2 * SEARCH_SLOTS + 1)
    scores = np.zeros(candidates.size)
    for parity in (0, 1):
        slots = (doubled[doubled % 2 == parity] - parity) // 2
        for k in np.flatnonzero(candidates % 2 == parity):
            lag = (candidates[k] - parity) // 2
            hit = weights[np.mod(slots - lag, layout.frame_slots)]
            scores[k] = hit.sum(dtype=np.float64) - per_click * slots.size
    second, best = np.argsort(scores)[-2:]
    lead, limit = float(scores[best] - scores[second]), -math.log(FALSE_ALARM)
    if not (lead > limit and scores[best] > limit):
        raise SyncError(
            f"{name}: the best delay scores {scores[best]:.1f} nat and leads by "
            f"{lead:.1f} nat, limit {limit:.1f}: too few clicks, or more than "
            f"{SEARCH_SLOTS} slots away from the others"
        )
    return 0.5 * float(candidates[best])
