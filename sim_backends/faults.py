"""Faults of emulated instruments, as data.

A fault strikes at a *verb* of the instrument (``identify``, ``configure``,
``upload``, ``start``, ``fetch``, ...), a given number of times.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from scqc.core.errors import ConfigError, ConfigProblem
from sim_backends.settings import FaultKind, FaultVerb

KINDS: tuple[str, ...] = get_args(FaultKind)
VERBS: tuple[str, ...] = get_args(FaultVerb)
TAG_KINDS = ("lost-tags", "overflow", "out-of-order", "wrong-channels")
SAMPLE_KINDS = ("clipping", "dropped-samples")
# A record that is damaged, or not of this trigger.
DATA_KINDS = (*TAG_KINDS, *SAMPLE_KINDS, "stale-trigger")
# What an instrument does wrong of itself, while its wire works.
DEVICE_KINDS = ("execution-error", "pending-forever", "mode-hop")
# What can strike a command that has no reply.
SILENT_KINDS = ("drop-connection", "not-taken", "reboot", "queue-overflow")
LATE_S = 0.6
# A reply that drips takes longer than a late one, but never pauses for so long.
DRIP_S, DRIPS = 0.9, 9


def drip(reply: bytes, closing: threading.Event) -> Iterator[bytes]:
    """Yield a reply in pieces, spread over `DRIP_S` [s] unless `closing` is set."""
    size = max(1, -(-len(reply) // DRIPS))
    starts = range(0, len(reply), size)
    for at in starts:
        closing.wait(DRIP_S / len(starts))
        yield reply[at : at + size]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong `count` times, having gone right `after` times."""

    at: str
    kind: str
    count: int = 1
    after: int = 0


class FaultPlan:
    """The faults still to come on one instrument.

    Parameters
    ----------
    instrument : str
    faults : iterable of Fault

    Raises
    ------
    ConfigError
        If a verb or a kind is unknown; all problems at once.

    Attributes
    ----------
    struck_s : list of float
        When faults have struck so far, on the monotonic clock [s].
    """

    def __init__(self, instrument: str, faults: Iterable[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._left = [fault.count for fault in self._faults]
        self._spared = [fault.after for fault in self._faults]
        self._lock = threading.Lock()
        self.struck_s: list[float] = []
        problems = []
        for fault in self._faults:
            for key, value, known in (
                ("at", fault.at, VERBS),
                ("kind", fault.kind, KINDS),
            ):
                if value not in known:
                    limit = "one of " + ", ".join(known)
                    problems.append(
                        ConfigProblem(
                            "config", f"sim.faults.{instrument}", key, value, limit
                        )
                    )
        if problems:
            raise ConfigError(problems)

    def take(self, verb: str, *, replying: bool) -> str | None:
        """Return the kind of fault that strikes now, and count it.

        A command that has no reply is struck by `SILENT_KINDS` alone, and only
        such a one can be not taken. Faults of recorded data, and of the instrument
        itself, strike in `take_data`.
        """
        apart = (*DATA_KINDS, *DEVICE_KINDS, "not-taken")
        wire = [kind for kind in KINDS if kind not in apart]
        return self._take(verb, wire if replying else SILENT_KINDS)

    def take_data(self, verb: str, *kinds: str) -> str | None:
        """Return which of `kinds` strikes the data or the device, and count it."""
        return self._take(verb, kinds)

    def _take(self, verb: str, kinds: Sequence[str]) -> str | None:
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.at != verb or fault.kind not in kinds:
                    continue
                if self._spared[index]:
                    self._spared[index] -= 1
                elif self._left[index]:
                    self._left[index] -= 1
                    self.struck_s.append(time.monotonic())
                    return fault.kind
        return None
