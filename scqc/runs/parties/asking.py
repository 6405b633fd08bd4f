"""Ask the ends that live here how they are; of a silent one, its journal tells."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scqc.core.errors import PeerError, WatchdogError
from scqc.runs.journal import last_entry
from scqc.runs.parties.alarms import CODES, Code
from scqc.runs.parties.control import tell


def ask_one(home: Path) -> dict[str, Any]:
    """Return what an end says of itself.

    Raises
    ------
    PeerError
        If no service runs there.
    """
    return tell(home, "status")


def ask_all(homes: Sequence[Path]) -> list[dict[str, Any]]:
    """Return what each end says of itself, with its home.

    An end that does not answer is in the state "no answer"; why it ended is an alarm,
    if its journal knows.
    """
    return [{"home": str(home)} | _ask(home) for home in homes]


def _ask(home: Path) -> dict[str, Any]:
    try:
        return ask_one(home)
    except PeerError:
        return {
            "state": "no answer",
            "severity": "invalid",
            "why": "no service answers",
            "alarms": _last_words(home),
        }


def _last_words(home: Path) -> list[dict[str, Any]]:
    """Return the alarm that ended a service, by the last line of its journal."""
    entry = last_entry(home)
    if entry is None or entry.get("kind") not in ("error", "watchdog", "fault"):
        return []
    text, utc = str(entry.get("text", "")), str(entry.get("utc", ""))
    watched = entry["kind"] == "watchdog" or text.startswith(WatchdogError.__name__)
    code: Code = "watchdog" if watched else "fault"
    age_s = _age_s(utc)
    return [
        {
            "code": code,
            "severity": CODES[code],
            "text": text,
            "first_utc": utc,
            "last_utc": utc,
            "age_s": age_s,
            "last_age_s": age_s,
            "count": 1,
        }
    ]


def _age_s(utc: str) -> float:
    try:
        since = datetime.now(UTC) - datetime.fromisoformat(utc)
    except (ValueError, TypeError):
        # No time, or one without a zone: nobody knows.
        return 0.0
    return round(max(0.0, since.total_seconds()), 1)
