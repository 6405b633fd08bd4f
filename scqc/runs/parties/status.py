"""What a running end tells about itself: states, rates, levels, alarms."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Literal

from protocols.key_sink.records import (
    AUTHENTICATION_PURPOSE,
    KEY_PURPOSE,
    PAD_PURPOSE,
)
from protocols.key_sink.sink import KeySink
from protocols.schemes.transcript import ALICE_TO_BOB, BOB_TO_ALICE
from scqc.core.provenance import utc_now
from scqc.store.results import Sender

#: "starting": opening instruments; "waiting": for the peer; "linked": greeted;
#: "running": blocks are taken; "paused": told to stop; "fault": needs somebody.
State = Literal["starting", "waiting", "linked", "running", "paused", "fault", "ended"]
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
    """Told by the threads of a service, asked by its control socket.

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
        self._alarms: deque[dict[str, str]] = deque(maxlen=_RECENT)

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
            if state == "linked" and self._state != "linked":
                self._counts["sessions"] += 1
            self._state, self._why = state, why

    def alarm(self, text: str) -> None:
        """Note something that somebody should look at."""
        with self._lock:
            self._alarms.append({"utc": utc_now(), "text": text})

    def queue(self, waiting: int) -> None:
        """Note how many blocks wait to be distilled [1]."""
        self._waiting = waiting

    def done(self, block: DoneBlock) -> None:
        """Note a block that has ended well."""
        with self._lock:
            self._counts["blocks"] += 1
            self._counts["secret_bits"] += block.secret_bits
            self._recent.append(block)

    def failed(self, text: str) -> None:
        """Note a block that has not."""
        with self._lock:
            self._counts["blocks"] += 1
            self._counts["failed"] += 1
        self.alarm(text)

    def snapshot(self, sink: KeySink, *, simulated: bool) -> dict[str, Any]:
        """Return everything as JSON values."""
        with self._lock:
            recent = list(self._recent)
            shown: dict[str, Any] = {
                "party": self.party,
                "state": self._state,
                "why": self._why,
                "uptime_s": round(time.monotonic() - self._began_s, 1),
                **self._counts,
                "blocks_waiting": self._waiting,
                "alarms": list(self._alarms),
            }
        shown |= _rates(recent)
        shown["last"] = recent[-1].figures if recent else {}
        shown["sink"] = levels(sink, simulated=simulated)
        return shown


def _rates(recent: list[DoneBlock]) -> dict[str, float]:
    """Return blocks and key per second over the latest blocks."""
    if len(recent) < 2:
        return {"blocks_per_s": 0.0, "secret_bits_per_s": 0.0}
    span_s = max(recent[-1].at_s - recent[0].at_s, 1e-9)
    bits = sum(block.secret_bits for block in recent[1:])
    return {
        "blocks_per_s": (len(recent) - 1) / span_s,
        "secret_bits_per_s": bits / span_s,
    }


def levels(sink: KeySink, *, simulated: bool) -> dict[str, int]:
    """Return what each pool of a sink can still release [bit]."""
    pools = [
        (name, purpose, direction)
        for name, purpose in (
            ("authentication", AUTHENTICATION_PURPOSE),
            ("pad", PAD_PURPOSE),
            ("export", KEY_PURPOSE),
        )
        for direction in (ALICE_TO_BOB, BOB_TO_ALICE)
    ]
    return {
        f"{name}.{direction}": sink.available_bits(purpose, direction, simulated)
        for name, purpose, direction in pools
    }
