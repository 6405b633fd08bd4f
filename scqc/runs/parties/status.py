"""What a running end tells about itself: states, rates, levels, alarms."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from scqc.runs.parties.alarms import Alarms
from scqc.store.results import Sender

#: "starting": opening instruments; "waiting": for the peer; "linked": greeted;
#: "running": blocks are taken; "paused": told to stop; "fault": needs somebody.
State = Literal["starting", "waiting", "linked", "running", "paused", "fault", "ended"]
STATES: tuple[State, ...] = get_args(State)
#: Rates are those of so many blocks.
_RECENT = 20


@dataclass(frozen=True, slots=True)
class DoneBlock:
    """A block that has ended.

    Parameters
    ----------
    index : int
        What the link calls it.
    at_s : float
        Monotonic time of its end [s].
    secret_bits : int
    figures : dict
        What it told of the channel: ``xi_snu``, ``transmittance``, ``ber``, ``qber``.
    """

    index: int
    at_s: float
    secret_bits: int
    figures: dict[str, float] = field(default_factory=dict)


class Status:
    """Told by the threads of a service, asked by its `Observer`.

    Parameters
    ----------
    party : {"alice", "bob"}
    """

    def __init__(self, party: Sender) -> None:
        self.party = party
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._state: State = "starting"
        self._why = ""
        self._counts = {"blocks": 0, "failed": 0, "secret_bits": 0, "sessions": 0}
        self._recent: deque[DoneBlock] = deque(maxlen=_RECENT)
        self._waiting = 0
        self._without_key = 0
        self._too_many_errors = ""
        self._ended_s: float | None = None
        self._skew_s: float | None = None
        self.alarms = Alarms()

    @property
    def state(self) -> State:
        """What the service is doing."""
        return self._state

    @property
    def blocks(self) -> int:
        """Blocks that have ended, failed ones included [1]."""
        return self._counts["blocks"]

    def counts(self) -> dict[str, int]:
        """Return blocks, failed ones, key and sessions so far [1, bit]."""
        with self._lock:
            return dict(self._counts)

    def enter(self, state: State, why: str = "") -> None:
        """Note a change of state."""
        with self._lock:
            greeted = state == "linked" and self._state != "linked"
            self._counts["sessions"] += greeted
            self._state, self._why = state, why
        self.alarms.judge("fault", (why or "fault") if state == "fault" else "")

    def greeted(self, skew_s: float) -> None:
        """Note that a session has begun.

        Parameters
        ----------
        skew_s : float
            This end's clock minus the peer's, as both told in the greeting [s].
        """
        with self._lock:
            self._skew_s = skew_s
        self.alarms.clear("greeting-refused")
        self.alarms.clear("peer-lost")

    def queue(self, waiting: int) -> None:
        """Note how many blocks wait to be distilled [1]."""
        self._waiting = waiting

    def done(self, block: DoneBlock) -> None:
        """Note a block that has ended well."""
        with self._lock:
            self._counts["blocks"] += 1
            self._counts["secret_bits"] += block.secret_bits
            self._without_key = 0 if block.secret_bits else self._without_key + 1
            self._ended_s = block.at_s
            self._too_many_errors = ""
            self._recent.append(block)
        self.alarms.clear("block-failed")

    def failed(self, text: str, *, too_many_errors: bool = False) -> None:
        """Note a block that has not.

        Parameters
        ----------
        text : str
        too_many_errors : bool
            Whether it ended because of them; such a block tells no figures.
        """
        with self._lock:
            if too_many_errors:
                self._too_many_errors = text
            self._counts["blocks"] += 1
            self._counts["failed"] += 1
            self._without_key += 1
            self._ended_s = time.monotonic()
        self.alarms.happened("block-failed", text)

    def snapshot(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        now_s = time.monotonic()
        with self._lock:
            recent, ended_s = list(self._recent), self._ended_s
            shown: dict[str, Any] = {
                "party": self.party,
                "state": self._state,
                "why": self._why,
                "uptime_s": round(now_s - self._began_s, 1),
                **self._counts,
                "blocks_waiting": self._waiting,
                "blocks_without_key": self._without_key,
                "too_many_errors": self._too_many_errors,
                "clock_skew_s": self._skew_s,
            }
        shown |= _rates(recent, now_s)
        shown["last_block_age_s"] = _age_s(ended_s, now_s)
        known = [block for block in recent if block.figures]
        shown["last"] = known[-1].figures if known else {}
        shown["last_age_s"] = _age_s(known[-1].at_s if known else None, now_s)
        return shown


def _age_s(at_s: float | None, now_s: float) -> float | None:
    return None if at_s is None else round(max(0.0, now_s - at_s), 1)


def _rates(recent: list[DoneBlock], now_s: float) -> dict[str, float]:
    """Return blocks and key per second over the latest blocks.

    A pause that is longer than any of them counts as well: a link that stands still
    has no rate.
    """
    if len(recent) < 2:
        return {"blocks_per_s": 0.0, "secret_bits_per_s": 0.0}
    ends_s = [block.at_s for block in recent]
    longest_s = max(b - a for a, b in pairwise(ends_s))
    span_s = ends_s[-1] - ends_s[0] + max(0.0, now_s - ends_s[-1] - longest_s)
    bits = sum(block.secret_bits for block in recent[1:])
    return {
        "blocks_per_s": (len(recent) - 1) / max(span_s, 1e-9),
        "secret_bits_per_s": bits / max(span_s, 1e-9),
    }
