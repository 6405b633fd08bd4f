"""Session with an instrument that echoes a command, answers, and prompts.

Each reply begins with the command it belongs to, so that a late one is known
and dropped. After a failed exchange the instrument is asked who it is; it
answers in order, so whatever was late has come by then.
"""

from __future__ import annotations

import math
import re

from driver.byte_session import ByteSession
from driver.hal import Identity
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError

PROMPT, END = b">", b"\r"
VENDOR = "Thorlabs"
_REFUSALS = ("CMD_", "ERR")


class PromptLink(ByteSession):
    """One instrument's session; safe to share between threads.

    Parameters
    ----------
    transport : ByteTransport
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    """

    def query(self, command: str, timeout_s: float | None = None) -> list[str]:
        """Send `command` and return the lines of its reply; settings have none.

        Raises
        ------
        DeviceError
            If the instrument refuses.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        with self._exchange(command, deadline):
            lines = self._ask(command, deadline)
        refused = [line for line in lines if line.startswith(_REFUSALS)]
        if refused:
            raise DeviceError(self.instrument, command, [(-1, refused[0])])
        return lines

    def query_number(self, command: str, timeout_s: float | None = None) -> float:
        """Send `command` and return the number in its reply: ``[ 24.8]``.

        Raises
        ------
        WireProtocolError
            If the reply is no number, or not a finite one.
        """
        lines = self.query(command, timeout_s)
        try:
            value = float(lines[0].strip("[] "))
        except (IndexError, ValueError) as error:
            raise self._garbled(command, f"{lines!r:.40} is no number") from error
        if not math.isfinite(value):
            raise self._garbled(command, f"{value} is no finite number")
        return value

    def _ask(self, command: str, deadline: Deadline) -> list[str]:
        """Send `command` and read until the reply that begins with it."""
        self._transport.write(command.encode("ascii") + END, deadline)
        while True:
            reply = self._transport.read_until(PROMPT, deadline)
            if not reply.isascii() or b"\0" in reply:
                raise self._garbled(command, f"reply {reply[:20]!r} is no text")
            text = re.split(r"[\r\n]+", reply.decode("ascii"))
            lines = [line.strip() for line in text if line.strip()]
            if lines and lines[0] == command:
                return lines[1:]

    def _synchronise(self, deadline: Deadline) -> None:
        """Do nothing: the echo tells a late reply, and the identity is asked next."""

    def _ask_identity(self, deadline: Deadline) -> Identity:
        """Ask for model and serial number; the second also drops a late first."""
        lines = self._ask("id?", deadline)
        serial_number = self._ask("serial?", deadline)
        found = re.match(r"Model (\S+)", lines[0]) if lines else None
        firmware = lines[1].rpartition(":")[2].strip() if len(lines) > 1 else ""
        if found is None or not serial_number:
            raise self._garbled("id?", f"{lines!r:.60} names no model")
        # Numbers come in brackets: "[ 000000000001]".
        return Identity(VENDOR, found[1], serial_number[0].strip(" []"), firmware)
