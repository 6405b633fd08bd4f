"""An optical switch or shutter that takes lines of text of the bench's own.

There is no common command set; the lab config says the words. Whatever a
command is answered with, the switch is asked for its state behind it, until it
is where it was told to be.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from driver.hal import Identity, Snapshot
from driver.line_link import LineLink, LineRules, Probe
from driver.optical_switch.commands import SwitchCommands
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError

IDENTITY = Identity("generic", "line switch", "", "")
_POLL_S = 0.01


def rules_for(commands: SwitchCommands) -> LineRules:
    """Return how a switch with these words talks."""
    replies = (commands.open_reply, commands.closed_reply)
    pattern = "|".join(re.escape(reply) for reply in replies)

    def identify(_replies: Sequence[Sequence[str]]) -> Identity:
        # It has no name; that it answers its query is all that is known.
        return IDENTITY

    return LineRules(
        probes=(Probe(commands.query, f"({pattern})$"),),
        identify=identify,
        command_end=commands.terminator.encode(),
        line_end=commands.terminator[-1].encode(),
    )


class LineSwitch:
    """Driver for role `OpticalSwitch`.

    Parameters
    ----------
    link : LineLink
    commands : SwitchCommands, optional
        Its words.
    """

    def __init__(self, link: LineLink, commands: SwitchCommands | None = None) -> None:
        self._commands = commands or SwitchCommands()
        self._link = link.speak(rules_for(self._commands))
        self.name = link.instrument
        self._open = False

    @property
    def identity(self) -> Identity:
        """What is known of it, which is nothing of its own."""
        return self._link.identity

    @property
    def is_open(self) -> bool:
        """What was last asked for; closed before that."""
        return self._open

    def open(self) -> Identity:
        """Connect and close the switch.

        Raises
        ------
        ConnectError, ConnectionLost, InstrumentTimeout, WireProtocolError
        DeviceError
            If it does not close.
        """
        identity = self._link.open()
        self.safe_state(self._link.io_timeout_s)
        return identity

    def close(self) -> None:
        """Close the link; calling it again does nothing."""
        self._link.close()

    def ping(self) -> None:
        """Check that the switch still answers."""
        self._link.query(self._commands.query)

    def safe_state(self, timeout_s: float) -> None:
        """Close the switch, within `timeout_s` [s] and one exchange more.

        Raises
        ------
        DeviceError
            If it does not close.
        """
        self._move(False, timeout_s)

    def snapshot(self) -> Snapshot:
        """Return the settings as JSON values."""
        return {"is_open": self._open, "commands": self._commands.model_dump()}

    def set_open(self, is_open: bool) -> None:
        """Open or close the switch and see that it has moved.

        Raises
        ------
        DeviceError
            If it has not moved in time.
        """
        self._move(is_open, self._link.io_timeout_s)

    def _move(self, is_open: bool, timeout_s: float) -> None:
        # Told open first: if the command fails, light is assumed through.
        self._open = self._open or is_open
        words, deadline = self._commands, Deadline(timeout_s)
        command = words.open if is_open else words.close
        wanted = words.open_reply if is_open else words.closed_reply
        state = self._link.tell(command, timeout_s)
        while state != [wanted]:
            if deadline.expired:
                reason = f"set-point not taken: the state is {state[0]!r}"
                raise DeviceError(self.name, command, [(-1, reason)])
            time.sleep(_POLL_S)
            # Short of time is not short of an answer: it gets its own deadline.
            state = self._link.query(words.query, timeout_s)
        self._open = is_open
