"""Alarms of a running end: each has a name, a weight, and an end.

An alarm that stands is one entry, however often its cause comes back; it counts.
When the condition is over it goes to the cleared ones. Both changes, and only these,
are lines in the journal.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from scqc.core.errors import CaptureError
from scqc.core.provenance import utc_now

#: How bad something is; "invalid": it cannot be known.
Severity = Literal["ok", "minor", "major", "invalid"]
SEVERITIES: tuple[Severity, ...] = ("ok", "minor", "major", "invalid")
Code = Literal[
    "peer-lost",
    "greeting-refused",
    "block-failed",
    "fault",
    "watchdog",
    "sink-failed",
    "authentication-low",
    "pad-low",
    "export-empty",
    "disk-low",
    "xi-high",
    "qber-high",
    "no-key",
    "clock-skew",
]
#: Every alarm there is, with how bad it is.
CODES: dict[Code, Severity] = {
    "peer-lost": "major",
    "greeting-refused": "major",
    "block-failed": "minor",
    "fault": "major",
    "watchdog": "major",
    "sink-failed": "major",
    "authentication-low": "major",
    "pad-low": "minor",
    "export-empty": "minor",
    "disk-low": "major",
    "xi-high": "major",
    "qber-high": "major",
    "no-key": "minor",
    "clock-skew": "minor",
}
#: So many cleared alarms are remembered.
_CLEARED = 20
#: What an error says may be long; an alarm is a line.
_LONGEST = 1000


def worst(severities: Sequence[Severity]) -> Severity:
    """Return the worst of some severities, "ok" of none."""
    return max(severities, key=SEVERITIES.index, default="ok")


@dataclass(slots=True)
class Alarm:
    """An alarm that stands.

    Parameters
    ----------
    code : str
        One of `CODES`.
    text : str
        What happened last.
    first_utc, last_utc : str
        When it began, and when its cause was last seen.
    first_s, last_s : float
        The same, monotonic [s].
    count : int
        How often its cause came [1].
    """

    code: Code
    text: str
    first_utc: str
    last_utc: str
    first_s: float
    last_s: float
    count: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "code": self.code,
            "severity": CODES[self.code],
            "text": self.text,
            "first_utc": self.first_utc,
            "last_utc": self.last_utc,
            "count": self.count,
        }


def _unheard(_text: str) -> None:
    """Tell nobody."""


class Alarms:
    """The alarms of one end; told and asked by any thread.

    Parameters
    ----------
    tell : callable
        Gets a line when an alarm begins, and when it ends: the journal.
    """

    def __init__(self, tell: Callable[[str], None] = _unheard) -> None:
        self.tell = tell
        self._lock = threading.Lock()
        self._standing: dict[Code, Alarm] = {}
        self._cleared: deque[dict[str, Any]] = deque(maxlen=_CLEARED)

    def happened(self, code: Code, text: str) -> None:
        """Raise an alarm, or count one that stands: its cause came once more."""
        self._note(code, text, again=True)

    def judge(self, code: Code, text: str) -> None:
        """Let an alarm stand while there is something to say about it.

        Parameters
        ----------
        code : str
        text : str
            Empty when the condition is over.
        """
        if text:
            self._note(code, text, again=False)
        else:
            self.clear(code)

    def clear(self, code: Code) -> None:
        """End an alarm, if it stands."""
        with self._lock:
            alarm = self._standing.pop(code, None)
            if alarm is None:
                return
            self._cleared.append(alarm.as_json() | {"cleared_utc": utc_now()})
        lasted_s = time.monotonic() - alarm.first_s
        self._tell(f"{code}: over after {lasted_s:.0f} s, {alarm.count} times")

    def _note(self, code: Code, text: str, *, again: bool) -> None:
        line = " ".join(text.split())
        if len(line) > _LONGEST:
            line = line[: _LONGEST - 1] + "…"
        utc, now_s = utc_now(), time.monotonic()
        with self._lock:
            alarm = self._standing.get(code)
            if alarm is not None:
                alarm.text, alarm.last_utc, alarm.last_s = line, utc, now_s
                alarm.count += again
                return
            self._standing[code] = Alarm(code, line, utc, utc, now_s, now_s)
        self._tell(f"{code}: {CODES[code]}: {line}")

    def _tell(self, text: str) -> None:
        # A disk that is full is what the alarm may be about: it stands all the same.
        with contextlib.suppress(CaptureError):
            self.tell(text)

    def standing(self) -> list[dict[str, Any]]:
        """Return the alarms that stand, the worst and then the oldest first."""
        now_s = time.monotonic()
        with self._lock:
            alarms = sorted(
                self._standing.values(),
                key=lambda a: (-SEVERITIES.index(CODES[a.code]), a.first_s),
            )
            return [
                alarm.as_json()
                | {
                    "age_s": round(now_s - alarm.first_s, 1),
                    "last_age_s": round(now_s - alarm.last_s, 1),
                }
                for alarm in alarms
            ]

    def cleared(self) -> list[dict[str, Any]]:
        """Return the latest alarms that are over, oldest first."""
        with self._lock:
            return list(self._cleared)
