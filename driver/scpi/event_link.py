"""SCPI with Tektronix' event queue in place of the standard's error queue.

Events can be read only once the event status register was: ``*ESR?`` releases
them, ``ALLEv?`` takes them all.
"""

from __future__ import annotations

import re

from driver.scpi.link import ScpiLink
from scqc.core.errors import WireProtocolError

# Queue empty, events pending, power on, operation complete.
NO_ERRORS = frozenset({0, 1, 401, 402})
_EVENT = re.compile(r'\s*(-?\d+),"((?:[^"]|"")*)"\s*(?:,|$)')


class EventLink(ScpiLink):
    """A session whose `errors` come from the event queue."""

    def errors(self) -> list[tuple[int, str]]:
        """Drain the device's event queue, oldest entry first.

        Raises
        ------
        WireProtocolError
            If the reply is no list of events.
        """
        with self._lock:
            self.query("*ESR?")
            reply = self.query("ALLEv?")
        entries, at = [], 0
        while at < len(reply):
            match = _EVENT.match(reply, at)
            if match is None:
                reason = f"{reply[at : at + 40]!r} is no event"
                raise WireProtocolError(self.instrument, "ALLEv?", reason)
            entries.append((int(match[1]), match[2].strip()))
            at = match.end()
        if not entries:
            raise WireProtocolError(self.instrument, "ALLEv?", "an empty reply")
        return [entry for entry in entries if entry[0] not in NO_ERRORS]
