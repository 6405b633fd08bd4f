"""What the pools of a sink hold, and how long that lasts."""

from __future__ import annotations

import time
from collections import deque

from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
)
from protocols.key_sink.sink import KeySink
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE

#: Pools as they are called in status and metrics.
POOLS = (
    ("authentication", AUTHENTICATION_PURPOSE),
    ("pad", PAD_PURPOSE),
    ("export", KEY_PURPOSE),
)
DIRECTIONS = (ALICE_TO_BOB, BOB_TO_ALICE)
_SAMPLES = 120
#: Between two samples: together they reach back ten minutes [s].
_INTERVAL_S = 5.0
#: Nothing is said about the pace of a pool before [s].
_SHORTEST_S = 30.0


def levels(sink: KeySink, *, simulated: bool) -> dict[str, int]:
    """Return what each pool of a sink can still release, by "pool.direction" [bit].

    Parameters
    ----------
    sink : KeySink
    simulated : bool
        Whether keys of a simulated bench count.

    Raises
    ------
    KeySinkError
        If the sink cannot be read.
    """
    return {
        f"{name}.{direction}": sink.available_bits(purpose, direction, simulated)
        for name, purpose in POOLS
        for direction in DIRECTIONS
    }


class LevelHistory:
    """The levels of the last minutes, to tell which pools drain and how fast.

    Fresh key comes a block at a time, so that only the balance over many blocks counts.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[str, int]]] = deque(maxlen=_SAMPLES)

    def add(self, found: dict[str, int], now_s: float | None = None) -> None:
        """Note the levels of now, unless that was done a moment ago.

        Parameters
        ----------
        found : dict of str to int
            As `levels` gives them [bit].
        now_s : float, optional
            Monotonic [s].
        """
        at_s = time.monotonic() if now_s is None else now_s
        if not self._samples or at_s - self._samples[-1][0] >= _INTERVAL_S:
            self._samples.append((at_s, dict(found)))

    def lasts_s(self) -> dict[str, float | None]:
        """Return how long each pool lasts at the pace of the last minutes [s].

        None for a pool that does not drain, or of which too little is known.
        """
        if not self._samples:
            return {}
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        span_s = last_s - first_s
        found: dict[str, float | None] = {}
        for name, level in last.items():
            drained = first.get(name, 0) - level
            known = span_s >= _SHORTEST_S and drained > 0
            found[name] = round(level * span_s / drained, 1) if known else None
        return found
