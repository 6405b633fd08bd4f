"""From the time tags of one burst to detections: the whole receiver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.clock import slot_clock
from dsp.time_tags.counting import Counter, Counts, Detections
from dsp.time_tags.diagnostics import (
    Fringe,
    check_wiring,
    fringes,
    relative_efficiencies,
)
from dsp.time_tags.frame import find_frame
from dsp.time_tags.merge import Merger
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from scqc.core.errors import SignalError
from scqc.core.records import TimeTags

# Rates are watched over windows of this length: an attack may be short.
ALARM_WINDOW_PS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class TagReport:
    """How well one burst was received.

    Parameters
    ----------
    counts : Counts
    fringes : (Fringe, Fringe)
        Z and X interferometer, from the public slots.
    rates_hz : ndarray, shape (4,), float64 [Hz]
        Tags of each detector over the acquisition.
    efficiencies : ndarray, shape (4,), float64 [1]
        Tags against the mean of the basis.
    sync_score, sync_threshold : float
        Log-likelihood of the frame start and what it needed [nat].
    """

    counts: Counts
    fringes: tuple[Fringe, Fringe]
    rates_hz: NDArray[np.float64]
    efficiencies: NDArray[np.float64]
    sync_score: float
    sync_threshold: float


@dataclass(frozen=True, slots=True)
class ReceivedTags:
    """What one burst gave.

    Parameters
    ----------
    clock : SlotClock
        Its `delay_s`, `df` and `residual_s` say where the burst was.
    detections : Detections
    report : TagReport
    """

    clock: SlotClock
    detections: Detections
    report: TagReport


def receive_tags(
    tags: TimeTags,
    layout: SlotLayout,
    settings: TagSettings,
    random_bits: NDArray[np.uint8],
    n_slots: int | None = None,
    prior: SlotClock | None = None,
    bases: NDArray[np.uint8] | None = None,
) -> ReceivedTags:
    """Find clock and frame of a burst and count it.

    Parameters
    ----------
    tags : TimeTags
    layout : SlotLayout
    settings : TagSettings
    random_bits : ndarray, shape (m,), uint8 [bit]
        From an entropy source; one is used per double click, ``tags.times_ps.size //
        2`` are always enough.
    n_slots : int, optional
        Length of the burst [slot].
    prior : SlotClock, optional
        Clock of an earlier burst: narrows the search.
    bases : ndarray, shape (n_slots,), uint8 [0 for Z, 1 for X], optional
        With an active choice of the basis: what Bob's modulator was set to.

    Raises
    ------
    SignalError
        Tags lost or out of order, an unknown input, a rate above the limit, or
        detectors that are not what the settings call them.
    LockError
        No slot clock.
    SyncError
        No frame.
    """
    refuse_bad_record(tags, settings)
    merger = Merger(settings)
    first, _ = merger.feed(tags.times_ps, tags.channels)
    rest, _ = merger.finish()
    times_ps = np.concatenate([first, rest])
    clock = slot_clock(times_ps, layout, settings, prior)
    frame = find_frame(times_ps, clock, layout, settings, prior)
    counter = Counter(
        frame.clock, layout, settings, random_bits, n_slots=n_slots, bases=bases
    )
    parts = [counter.feed(tags.times_ps, tags.channels), counter.finish()]
    counts = counter.counts
    if settings.check_wiring:
        check_wiring(counts.tally, settings)
    detections = Detections(
        np.concatenate([part.slots for part in parts]),
        np.concatenate([part.bases for part in parts]),
        np.concatenate([part.bits for part in parts]),
    )
    report = TagReport(
        counts,
        fringes(counts.tally),
        counts.phases.sum(axis=1) / max(1e-12 * tags.duration_ps, 1e-12),
        relative_efficiencies(counts.phases),
        frame.score,
        frame.threshold,
    )
    return ReceivedTags(frame.clock, detections, report)


def refuse_bad_record(tags: TimeTags, settings: TagSettings) -> None:
    """Refuse what would bias the statistics before anything is looked at.

    Raises
    ------
    SignalError
        Tags lost, none at all, outside the acquisition, or at too high a rate.
    """
    if tags.lost or tags.overflow:
        raise SignalError(
            f"time tags: {tags.lost} lost, overflow {tags.overflow}; limit 0 and no "
            "overflow: lower the rate or shorten the acquisition"
        )
    if tags.times_ps.size == 0:
        raise SignalError("time tags: the record is empty, at least 100 are needed")
    low, high = int(tags.times_ps.min()), int(tags.times_ps.max())
    if low < 0 or high > tags.duration_ps:
        raise SignalError(
            f"time tags: from {low} to {high} ps, limit 0 to the acquisition's "
            f"{tags.duration_ps} ps"
        )
    # A window may end early: its rate is judged by a full window's limit.
    limit = settings.max_count_rate_hz * 1e-12 * ALARM_WINDOW_PS
    for channel in np.unique(tags.channels):
        windows = tags.times_ps[tags.channels == channel] // ALARM_WINDOW_PS
        most = int(np.unique(windows, return_counts=True)[1].max())
        if most > limit:
            raise SignalError(
                f"time tags: input {int(channel)} counts "
                f"{most / (1e-12 * ALARM_WINDOW_PS):.3g} Hz, limit "
                f"{settings.max_count_rate_hz:g} Hz: too much light, or an attempt to "
                "blind the detector"
            )
