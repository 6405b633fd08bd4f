"""From tags to detections: slot, gate, dead time, double clicks, tally.

One pass, in blocks of any size: the result does not depend on how the tags were
split, and memory does not grow.

*Dead time* acts on the whole receiver: a click counts only if none of the four
detectors clicked, in the gate or out of it, during the dead time before. Otherwise
the detectors that did not click would be favoured afterwards, and the raw bits
would be anticorrelated.

*Double clicks* within one slot: in one basis they become a random bit, never
nothing, because dropping them would let an attacker choose which bits survive;
across the bases the slot is dropped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.merge import Merger
from dsp.time_tags.settings import SlotLayout, TagSettings
from dsp.time_tags.slot_clock import SlotClock
from dsp.time_tags.slots import SYNC_FLAG
from dsp.time_tags.sync import sync_pattern
from scqc.core.errors import SignalError

PHASE_BINS = 128
# Tags per call of the kernel: its buffers stay in the cache.
PIECE = 1 << 16
# Places in the kernel's integer state; the totals come last.
_LAST, _SLOT, _MASK, _LIVE, _DETECTOR, _KNOT, _RANDOM, _TOTALS = range(8)
_IN_GATE, _DEAD, _DOUBLE, _CROSS, _OUTSIDE, _TAGS, _N_TOTALS = range(7)


@dataclass(frozen=True, slots=True)
class Detections:
    """What the receiver saw: one entry per slot with a valid click.

    Parameters
    ----------
    slots : ndarray, shape (n,), int64 [slot]
        Rising.
    bases : ndarray, shape (n,), uint8 [0 for Z, 1 for X]
    bits : ndarray, shape (n,), uint8 [bit]
    """

    slots: NDArray[np.int64]
    bases: NDArray[np.uint8]
    bits: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Counts:
    """Totals of one pass.

    Parameters
    ----------
    tally : ndarray, shape (4, 2, 2, 4), int64 [1]
        Detections by intensity, basis and bit sent, and detector (z0, z1, x0, x1).
    phases : ndarray, shape (4, 128), int64 [1]
        Tags by detector and place in the slot, from -1/2 to 1/2 slot.
    tags, in_gate, dead, double, cross, outside, late : int
        Tags; tags in a gate; slots in the dead time; double clicks made random;
        across the bases dropped; slots outside the burst; tags out of order.
    """

    tally: NDArray[np.int64]
    phases: NDArray[np.int64]
    tags: int
    in_gate: int
    dead: int
    double: int
    cross: int
    outside: int
    late: int


class Counter:
    """Counts a stream of tags against a slot clock.

    Parameters
    ----------
    clock : SlotClock
    layout : SlotLayout
    settings : TagSettings
    random_bits : ndarray, shape (m,), uint8 [bit]
        One is used for each double click within a basis.
    table : ndarray, shape (k,), uint8 [code], optional
        Slot bytes to tally against: the whole burst, or a power of two that repeats.
        By default the public slots, which is all that Bob may know.
    n_slots : int, optional
        Length of the burst; detections outside it are left out.
    bases : ndarray, shape (n_slots,), uint8 [0 for Z, 1 for X], optional
        What Bob's modulator was set to, slot by slot, when two detectors serve
        both bases; they count as z0 and z1, or x0 and x1.
    """

    def __init__(
        self,
        clock: SlotClock,
        layout: SlotLayout,
        settings: TagSettings,
        random_bits: NDArray[np.uint8],
        table: NDArray[np.uint8] | None = None,
        n_slots: int | None = None,
        bases: NDArray[np.uint8] | None = None,
    ) -> None:
        if bases is not None and (n_slots is None or bases.size < n_slots):
            raise SignalError(
                f"bases of Bob's modulator: {bases.size} slots, the burst has {n_slots}"
            )
        self._bases = bases
        slopes = np.diff(clock.positions) / np.diff(clock.knots_ps)
        self._clock = (clock.knots_ps, clock.positions, slopes)
        self._gate = (settings.gate, round(1e12 * settings.dead_time_s))
        needed = SYNC_FLAG if table is None else 0
        if table is None:
            table = sync_pattern(layout).table(layout.frame_slots)
        stop = (1 << 62) if n_slots is None else n_slots
        # A division would cost more than all the rest: wrap with a mask, or not at all.
        wrap = table.size - 1
        if stop <= table.size:
            wrap = (1 << 62) - 1
        elif table.size & wrap:
            raise SignalError(
                f"slot table: {table.size} slots for {stop} slots, wanted as many, "
                "or a power of two to repeat"
            )
        self._stop, self._rules = stop, (wrap, needed)
        self._table, self._random_bits = table, random_bits
        self._merger = Merger(settings)
        self._state = np.zeros(_TOTALS + _N_TOTALS, dtype=np.int64)
        self._state[_LAST] = -(1 << 62)
        self._tally = np.zeros((4, 2, 2, 4), dtype=np.int64)
        self._phases = np.zeros((4, PHASE_BINS), dtype=np.int64)

    def feed(
        self, times_ps: NDArray[np.int64], channels: NDArray[np.uint8]
    ) -> Detections:
        """Count a block; return the detections that are complete.

        Parameters
        ----------
        times_ps : ndarray, shape (n,), int64 [ps]
        channels : ndarray, shape (n,), uint8 [1]
            Inputs, from 1.

        Raises
        ------
        SignalError
            Tags out of order, an unknown input, or no random bit left.
        """
        parts = []
        for start in range(0, times_ps.size, PIECE):
            piece = slice(start, start + PIECE)
            parts.append(
                self._count(*self._merger.feed(times_ps[piece], channels[piece]))
            )
        return _joined(parts)

    def finish(self) -> Detections:
        """Return the detections that were still held back."""
        return self._count(*self._merger.finish(), ends=True)

    @property
    def counts(self) -> Counts:
        """Totals so far."""
        totals = self._state[_TOTALS:].tolist()
        return Counts(
            self._tally.copy(),
            self._phases.copy(),
            tags=totals[_TAGS],
            in_gate=totals[_IN_GATE],
            dead=totals[_DEAD],
            double=totals[_DOUBLE],
            cross=totals[_CROSS],
            outside=totals[_OUTSIDE],
            late=self._merger.late,
        )

    def _count(
        self,
        times_ps: NDArray[np.int64],
        detectors: NDArray[np.uint8],
        ends: bool = False,
    ) -> Detections:
        slots, which, alive = _room(times_ps.size + 1)
        n = gate_block(
            (times_ps, detectors),
            self._clock,
            self._gate,
            self._state,
            self._phases.reshape(-1),
            (slots, which, alive),
        )
        out = _room(n + 2)
        n = squash_block(
            (slots[:n], which[:n], alive[:n]),
            self._stop,
            ends,
            self._random_bits,
            self._state,
            out,
        )
        if n < 0:
            raise SignalError(
                f"double clicks: more than the {self._random_bits.size} random bits "
                "that were handed in"
            )
        found = Detections(out[0][:n], out[1][:n], out[2][:n])
        if self._bases is not None:
            found = replace(found, bases=self._bases[found.slots])
        tally_block(
            found.slots,
            found.bases,
            found.bits,
            self._table,
            self._rules,
            self._tally.reshape(-1),
        )
        return found


def _room(n: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]]:
    return np.empty(n, np.int64), np.empty(n, np.uint8), np.empty(n, np.uint8)


def _joined(parts: list[Detections]) -> Detections:
    if not parts:
        return Detections(*_room(0))
    return Detections(
        np.concatenate([p.slots for p in parts]),
        np.concatenate([p.bases for p in parts]),
        np.concatenate([p.bits for p in parts]),
    )


@numba.njit(cache=True, nogil=True)
def gate_block(
    tags: tuple[NDArray[np.int64], NDArray[np.uint8]],
    clock: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    rules: tuple[float, int],
    state: NDArray[np.int64],
    phases: NDArray[np.int64],
    clicks: tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]],
) -> int:
    """Keep the tags in a gate; return how many.

    Which tags fall into a gate is a coin toss, so nothing here branches on it.

    Parameters
    ----------
    tags : tuple of ndarray, shape (n,), int64 [ps], and (n,), uint8 [1]
        Times in order; detectors, 0 to 3.
    clock : tuple of ndarray, shape (k,), float64 [ps], [slot], [slot/ps]
        Knots, positions there, slopes after them.
    rules : (float, int)
        Half gate [slot], dead time [ps].
    state : ndarray, shape (14,), int64 [mixed]
        Carried from block to block.
    phases : ndarray, shape (4 * bins,), int64 [1]
        Phase histogram; added to.
    clicks : tuple of ndarray, shape (n + 1,), int64 [slot], uint8 [1], uint8 [1]
        Written: slot, detector, and whether the receiver was alive.
    """
    times_ps, detectors = tags
    knots, positions, slopes = clock
    gate, dead_ps = rules
    slots, which, alive = clicks
    bins = phases.size // 4
    knot, last = state[_KNOT], state[_LAST]
    origin, start, slope = knots[knot], positions[knot], slopes[knot]
    until = knots[knot + 1] if knot + 1 < slopes.size else np.inf
    n = 0
    for k in range(times_ps.size):
        t, detector = times_ps[k], np.uint64(detectors[k])
        while t >= until:
            knot += 1
            origin, start, slope = knots[knot], positions[knot], slopes[knot]
            until = knots[knot + 1] if knot + 1 < slopes.size else np.inf
        position = start + (t - origin) * slope
        slot = math.floor(position + 0.5)
        phase = position - slot
        place = np.uint64(np.int64((phase + 0.5) * bins) & (bins - 1))
        phases[detector * np.uint64(bins) + place] += 1
        slots[n] = np.int64(slot)
        which[n] = detector
        alive[n] = t - last >= dead_ps
        n += abs(phase) <= gate
        last = t
    state[_KNOT], state[_LAST] = knot, last
    state[_TOTALS + _IN_GATE] += n
    state[_TOTALS + _TAGS] += times_ps.size
    return n


@numba.njit(cache=True, nogil=True)
def squash_block(
    clicks: tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]],
    stop: int,
    ends: bool,
    random_bits: NDArray[np.uint8],
    state: NDArray[np.int64],
    out: tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.uint8]],
) -> int:
    """Make one detection of each slot's clicks; return how many, -1 for no bits left.

    Parameters
    ----------
    clicks : tuple of ndarray, shape (n,), int64 [slot], uint8 [1], uint8 [1]
        Slot, detector, whether the receiver was alive.
    stop : int
        First slot beyond the burst.
    ends : bool
        Whether this is the end of the stream.
    random_bits : ndarray, shape (m,), uint8 [bit]
    state : ndarray, shape (14,), int64 [mixed]
        The last slot stays pending in it until the next block.
    out : tuple of ndarray, shape (>= n + 2,), int64 [slot], uint8 [1], uint8 [bit]
        Written.
    """
    slots, which, alive = clicks
    pending, mask, live = state[_SLOT], state[_MASK], state[_LIVE]
    detector, used = state[_DETECTOR], state[_RANDOM]
    dead, cross, double, outside, n = 0, 0, 0, 0, 0
    for k in range(slots.size + (1 if ends else 0)):
        if k < slots.size and slots[k] == pending and mask:
            mask |= 1 << which[k]
            continue
        # Dead or alive, in the burst or not: sums, not branches.
        inside = np.int64(pending >= 0) & np.int64(pending < stop)
        some = np.int64(mask != 0)
        valid = live & inside & some
        dead += (1 - live) & some
        outside += live & (1 - inside) & some
        if mask & (mask - 1) and valid:
            if mask > 3 and mask & 3:
                cross += 1
                valid = np.int64(0)
            elif used >= random_bits.size:
                return -1
            else:
                basis = np.int64(mask > 3)
                detector = 2 * basis + np.int64(random_bits[used])
                used += 1
                double += 1
        out[0][n], out[1][n], out[2][n] = pending, detector >> 1, detector & 1
        n += valid
        mask = np.int64(0)
        if k < slots.size:
            pending, live = slots[k], np.int64(alive[k])
            detector = np.int64(which[k])
            mask = np.int64(1) << detector
    state[_SLOT], state[_MASK], state[_LIVE] = pending, mask, live
    state[_DETECTOR], state[_RANDOM] = detector, used
    state[_TOTALS + _DEAD] += dead
    state[_TOTALS + _CROSS] += cross
    state[_TOTALS + _DOUBLE] += double
    state[_TOTALS + _OUTSIDE] += outside
    return n


@numba.njit(cache=True, nogil=True)
def tally_block(
    slots: NDArray[np.int64],
    bases: NDArray[np.uint8],
    bits: NDArray[np.uint8],
    table: NDArray[np.uint8],
    rules: tuple[int, int],
    tally: NDArray[np.int64],
) -> None:
    """Count detections by what was sent and what was seen.

    Parameters
    ----------
    slots : ndarray, shape (n,), int64 [slot]
    bases, bits : ndarray, shape (n,), uint8 [1]
    table : ndarray, shape (k,), uint8 [code]
    rules : (int, int)
        Mask that wraps a slot into the table; flag that a slot byte needs.
    tally : ndarray, shape (64,), int64 [1]
        By slot byte (intensity, basis, bit) and detector; added to.
    """
    wrap, needed = rules
    codes = np.empty(slots.size, dtype=np.uint8)
    # The table is far larger than the cache: a loop of nothing but look-ups lets
    # many of them wait at once.
    for k in range(slots.size):
        codes[k] = table[np.uint64(slots[k] & wrap)]
    for k in range(slots.size):
        code = np.int64(codes[k])
        place = 4 * (code & 15) + 2 * np.int64(bases[k]) + np.int64(bits[k])
        tally[np.uint64(place)] += np.int64((code & needed) == needed)
