"""Public slots: where they are, which are lit, and with what phase.

In every frame one slot of each group of `sync_every` is public. Half of them are
dark, the others carry the signal intensity with one of the four phases. All
follows from a public seed: it is a ruler, not a secret, and these slots never
become key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.settings import SlotLayout
from dsp.time_tags.slots import SIGNAL, SYNC_FLAG, VACUUM, pack


@dataclass(frozen=True, slots=True)
class SyncPattern:
    """The public slots of one frame.

    Parameters
    ----------
    positions : ndarray, shape (n,), int64 [slot]
        Rising, within the frame.
    codes : ndarray, shape (n,), uint8 [code]
        Slot bytes, the public flag set; dark ones have the vacuum intensity.
    """

    positions: NDArray[np.int64]
    codes: NDArray[np.uint8]

    def table(self, frame_slots: int) -> NDArray[np.uint8]:
        """Return the frame's slot bytes, 0 where not public, shape (frame_slots,)."""
        table = np.zeros(frame_slots, dtype=np.uint8)
        table[self.positions] = self.codes
        return table


@lru_cache(maxsize=2)
def sync_pattern(layout: SlotLayout) -> SyncPattern:
    """Return the pattern that belongs to a layout."""
    n = layout.frame_slots // layout.sync_every
    generator = np.random.Generator(np.random.Philox(layout.sync_seed))
    # The counter-based words themselves, so that no library version moves a slot.
    words = generator.bit_generator.random_raw(n)
    within = (words & np.uint64(layout.sync_every - 1)).astype(np.int64)
    positions = np.arange(n, dtype=np.int64) * layout.sync_every + within
    bit, basis, lit = (
        ((words >> np.uint64(shift)) & np.uint64(1)).astype(np.uint8)
        for shift in (32, 33, 34)
    )
    intensity = np.where(lit == 1, SIGNAL, VACUUM).astype(np.uint8)
    codes = pack(bit, basis, intensity) | np.uint8(SYNC_FLAG)
    positions.flags.writeable = codes.flags.writeable = False
    return SyncPattern(positions, codes)


def place(slots: NDArray[np.uint8], layout: SlotLayout) -> NDArray[np.uint8]:
    """Write the public slots into a burst; its first slot is slot 0 of a frame.

    Parameters
    ----------
    slots : ndarray, shape (n,), uint8 [code]
        What the burst carries; changed in place.
    layout : SlotLayout

    Returns
    -------
    ndarray, shape (n,), uint8 [code]
        `slots` itself.
    """
    pattern = sync_pattern(layout)
    for start in range(0, slots.size, layout.frame_slots):
        frame = slots[start : start + layout.frame_slots]
        used = int(np.searchsorted(pattern.positions, frame.size))
        frame[pattern.positions[:used]] = pattern.codes[:used]
    return slots
