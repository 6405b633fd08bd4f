"""Put tags in order: unknown inputs refused, skews removed, late tags merged.

A tagger may deliver a tag a little late; how late at most is its sort window.
Blocks are merged by insertion, which costs next to nothing when tags are nearly in
order, and what may still be overtaken is held back until it cannot be.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from dsp.time_tags.settings import DETECTORS, TagSettings
from scqc.core.errors import SignalError

NO_DETECTOR = 255


class Merger:
    """Streams tags of a device into order.

    Parameters
    ----------
    settings : TagSettings
    """

    def __init__(self, settings: TagSettings) -> None:
        self._settings = settings
        self._detectors = np.full(256, NO_DETECTOR, dtype=np.uint8)
        self._detectors[list(settings.inputs)] = np.arange(len(DETECTORS))
        self._skew_ps = np.rint(1e12 * np.array(settings.skew_s)).astype(np.int64)
        self._window_ps = round(1e12 * settings.sort_window_s)
        # A tag still to come, its skew removed, is not before newest - this.
        self._hold_ps = self._window_ps + int(self._skew_ps.max())
        self._times = np.zeros(0, dtype=np.int64)
        self._which = np.zeros(0, dtype=np.uint8)
        self._held = 0
        # Newest raw tag, and tags that came late.
        self._state = np.array([-(1 << 62), 0], dtype=np.int64)

    @property
    def late(self) -> int:
        """Tags so far that the device delivered out of order."""
        return int(self._state[1])

    def feed(
        self, times_ps: NDArray[np.int64], channels: NDArray[np.uint8]
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return what can no longer be overtaken; valid until the next call.

        Parameters
        ----------
        times_ps : ndarray, shape (n,), int64 [ps]
        channels : ndarray, shape (n,), uint8 [1]
            Inputs, from 1.

        Returns
        -------
        tuple of ndarray, shape (m,), int64 [ps], and (m,), uint8 [1]
            Times in order and detectors, 0 to 3.

        Raises
        ------
        SignalError
            An unknown input, or a tag later than the window allows.
        """
        needed = self._held + times_ps.size
        if needed > self._times.size:
            self._times = np.concatenate(
                [self._times[: self._held], np.empty(needed, dtype=np.int64)]
            )
            self._which = np.concatenate(
                [self._which[: self._held], np.empty(needed, dtype=np.uint8)]
            )
        bad = merge_block(
            (times_ps, channels),
            (self._detectors, self._skew_ps, self._window_ps),
            self._held,
            self._state,
            (self._times, self._which),
        )
        if bad >= 0:
            self._refuse(int(times_ps[bad]), int(channels[bad]))
        ready = int(
            np.searchsorted(
                self._times[:needed], self._state[0] - self._hold_ps, side="right"
            )
        )
        return self._release(ready, needed)

    def finish(self) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        """Return what was held back, as `feed` does."""
        return self._release(self._held, self._held)

    def _release(
        self, ready: int, filled: int
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
        times, which = self._times, self._which
        done = times[:ready], which[:ready]
        self._held = filled - ready
        # The tail moves to a fresh front: what is returned stays untouched.
        self._times = np.empty(max(times.size, self._held), dtype=np.int64)
        self._which = np.empty(self._times.size, dtype=np.uint8)
        self._times[: self._held] = times[ready:filled]
        self._which[: self._held] = which[ready:filled]
        return done

    def _refuse(self, time_ps: int, channel: int) -> None:
        if self._detectors[channel] == NO_DETECTOR:
            raise SignalError(
                f"time tags: a tag of input {channel} at {time_ps} ps; the detectors "
                f"are wired to inputs {self._settings.inputs}"
            )
        raise SignalError(
            f"time tags: tag at {time_ps} ps came after {int(self._state[0])} ps, "
            f"limit {self._window_ps} ps out of order"
        )


@numba.njit(cache=True, nogil=True)
def merge_block(
    block: tuple[NDArray[np.int64], NDArray[np.uint8]],
    rules: tuple[NDArray[np.uint8], NDArray[np.int64], int],
    held: int,
    state: NDArray[np.int64],
    out: tuple[NDArray[np.int64], NDArray[np.uint8]],
) -> int:
    """Insert a block behind the tags held; return the first bad tag, or -1.

    Parameters
    ----------
    block : tuple of ndarray, shape (n,), int64 [ps], and (n,), uint8 [1]
        Times and inputs as delivered.
    rules : tuple
        Detector of each input (256,); skew of each detector (4,) [ps]; window [ps].
    held : int
        Tags already in `out`, in order.
    state : ndarray, shape (2,), int64 [ps, 1]
        Newest time, number of late tags; updated.
    out : tuple of ndarray, shape (>= held + n,), int64 [ps], and uint8 [1]
        Written.
    """
    times_ps, channels = block
    detector_of, skew_ps, window_ps = rules
    times, which = out
    newest, late = state[0], state[1]
    end = held
    for k in range(times_ps.size):
        t, detector = times_ps[k], detector_of[channels[k]]
        if detector == NO_DETECTOR:
            return k
        if t < newest:
            if newest - t > window_ps:
                state[0] = newest
                return k
            late += 1
        else:
            newest = t
        t -= skew_ps[detector]
        place = end
        # Strictly later ones move: equal times keep the order of arrival.
        while place > 0 and times[place - 1] > t:
            times[place] = times[place - 1]
            which[place] = which[place - 1]
            place -= 1
        times[place] = t
        which[place] = detector
        end += 1
    state[0], state[1] = newest, late
    return -1
