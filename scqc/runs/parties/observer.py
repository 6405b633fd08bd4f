"""What is asked of a running end, gathered without holding it up.

A thread looks every few seconds, so that alarms begin and end when nobody asks.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from protocols.key_sink.sink import KeySink
from scqc.core.errors import KeySinkError
from scqc.core.provenance import software_version, utc_now
from scqc.runs.lab_config import LabConfig
from scqc.runs.parties.conditions import (
    figures_severity,
    judge,
    limits_of,
    severity_of,
)
from scqc.runs.parties.levels import LevelHistory, levels
from scqc.runs.parties.status import Status

#: Between two looks when nobody asks [s].
_INTERVAL_S = 5.0


class LinkCounts(Protocol):
    """What the network end of a link counts: `ZmqServer`, `ZmqAsker`."""

    @property
    def received(self) -> int:
        """Messages that came in [1]."""
        ...

    @property
    def rejected(self) -> int:
        """Those of them that were none of the peer's, or out of turn [1]."""
        ...

    @property
    def strangers(self) -> int:
        """Connections that were turned away [1]."""
        ...

    @property
    def heard_s(self) -> float | None:
        """When the peer's last word came, monotonic [s]."""
        ...


def _unlinked() -> LinkCounts | None:
    """Return that there is no network yet."""
    return None


@dataclass(slots=True)
class Sources:
    """What an observer looks at.

    Parameters
    ----------
    config : LabConfig
    home : Path
    sink : KeySink
    status : Status
    link : callable
        Returns the network end, or None before there is one.
    """

    config: LabConfig
    home: Path
    sink: KeySink
    status: Status
    link: Callable[[], LinkCounts | None] = field(default=_unlinked)


class Observer:
    """Looks at one end of a link.

    Parameters
    ----------
    sources : Sources
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._limits = limits_of(sources.config)
        self._history = LevelHistory()
        self._lock = threading.Lock()

    def look(self) -> dict[str, Any]:
        """Return everything that is known, as JSON values."""
        with self._lock:
            return self._look()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look now and then, for the time of the block."""
        over = threading.Event()

        def work() -> None:
            while not over.wait(_INTERVAL_S):
                self.look()

        thread = threading.Thread(target=work, name="observer", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _look(self) -> dict[str, Any]:
        sources, alarms = self._sources, self._sources.status.alarms
        shown: dict[str, Any] = {
            "utc": utc_now(),
            "version": software_version(),
            "scheme": sources.config.link.scheme,
            "simulated": sources.config.sim is not None,
        }
        shown |= sources.status.snapshot()
        shown |= _of_link(sources.link())
        shown["disk_free_bytes"] = _free_bytes(sources.home)
        shown |= self._of_sink()
        judge(alarms, shown, self._limits)
        shown["alarms"], shown["cleared"] = alarms.standing(), alarms.cleared()
        codes = [alarm["code"] for alarm in shown["alarms"]]
        shown["last_severity"] = figures_severity(shown, codes)
        shown["severity"] = severity_of(shown)
        return shown

    def _of_sink(self) -> dict[str, Any]:
        simulated = self._sources.config.sim is not None
        try:
            found = levels(self._sources.sink, simulated=simulated)
        except KeySinkError as error:
            return {"sink": {}, "sink_lasts_s": {}, "sink_problem": str(error)}
        self._history.add(found)
        lasts_s = self._history.lasts_s()
        return {"sink": found, "sink_lasts_s": lasts_s, "sink_problem": ""}


def _of_link(link: LinkCounts | None) -> dict[str, Any]:
    """Return what the network end counts; nothing before there is one."""
    heard_s = None if link is None else link.heard_s
    return {
        "messages_received": 0 if link is None else link.received,
        "messages_rejected": 0 if link is None else link.rejected,
        "strangers": 0 if link is None else link.strangers,
        "peer_age_s": (
            None if heard_s is None else round(time.monotonic() - heard_s, 1)
        ),
    }


def _free_bytes(home: Path) -> int | None:
    try:
        return shutil.disk_usage(home).free
    except OSError:
        # A home that was taken away: the next write says so.
        return None
