"""Session with an instrument that takes a line of text and answers with lines.

How commands end and replies are told apart differs; `LineRules` say it. Replies
carry no mark of the command they belong to. So nothing is asked while something
unread has arrived, and after a failed exchange a few *probes* are asked whose
replies look different: what does not look like them is late and dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from driver.byte_session import ByteSession
from driver.hal import Identity
from driver.transports.serial_port import ByteTransport, drain
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError, InstrumentTimeout, StateError

# Silence after which nothing more is on its way.
QUIET_S = 0.04
_MOST_LINES = 100


@dataclass(frozen=True, slots=True)
class Probe:
    """A question whose reply is known by its look.

    Parameters
    ----------
    command : str
    pattern : str
        Regular expression that begins to match the reply, its lines joined by
        line feeds, and no reply of the other probes.
    """

    command: str
    pattern: str


@dataclass(frozen=True, slots=True)
class LineRules:
    """How one kind of instrument talks.

    Parameters
    ----------
    probes : tuple of Probe
        Asked at opening and after a failed exchange.
    identify : callable
        Returns who answers, from the lines of the replies to the probes; raises
        ValueError if they do not tell.
    command_end : bytes
        Behind every command.
    line_end : bytes
        The byte that ends every line of a reply; other white space is dropped.
    last_line : str
        Regular expression of the line that ends a reply; empty if every reply
        is one line.
    refusal : str
        Regular expression of a line that is a refusal; empty if there is none.
    """

    probes: tuple[Probe, ...]
    identify: Callable[[Sequence[Sequence[str]]], Identity]
    command_end: bytes = b"\r\n"
    line_end: bytes = b"\n"
    last_line: str = ""
    refusal: str = ""


class LineLink(ByteSession):
    """One instrument's session; safe to share between threads.

    Parameters
    ----------
    transport : ByteTransport
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    """

    def __init__(
        self,
        transport: ByteTransport,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
    ) -> None:
        super().__init__(transport, open_timeout_s, io_timeout_s)
        self._rules: LineRules | None = None
        self._probed: list[list[str]] = []

    def speak(self, rules: LineRules) -> LineLink:
        """Use these rules from now on; return the link."""
        self._rules = rules
        return self

    def query(self, command: str, timeout_s: float | None = None) -> list[str]:
        """Send `command` and return the lines of its reply.

        Raises
        ------
        DeviceError
            If the instrument refuses.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        with self._exchange(command, deadline):
            if self._transport.take_unread().strip():
                # Somebody's late reply: the next would be taken for ours.
                self._resynchronise(deadline)
            lines = self._ask(command, deadline)
            if self._transport.take_unread().strip():
                raise self._garbled(
                    command, f"more than one reply, first {lines!r:.40}"
                )
        self._check_refusal(command, lines)
        return lines

    def query_number(self, command: str, timeout_s: float | None = None) -> float:
        """Send `command` and return the finite number that is its reply.

        Raises
        ------
        WireProtocolError
            If the reply is no number, or not a finite one.
        """
        lines = self.query(command, timeout_s)
        return self.number(command, lines[0] if len(lines) == 1 else repr(lines))

    def tell(self, command: str, timeout_s: float | None = None) -> list[str]:
        """Send a command that may or may not be answered; return what comes after.

        The first probe is asked behind it: its reply is known by its look, and
        what comes before that belongs to the command.

        Returns
        -------
        list of str
            Lines of the reply to the first probe.

        Raises
        ------
        DeviceError
            If the instrument refuses.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        with self._exchange(command, deadline):
            if self._transport.take_unread().strip():
                self._resynchronise(deadline)
            self._send(command, deadline)
            before: list[str] = []
            lines = self._ask_probe(self.rules.probes[0], deadline, before)
        self._check_refusal(command, before)
        return lines

    @property
    def rules(self) -> LineRules:
        """How the instrument talks."""
        if self._rules is None:
            raise StateError(self.instrument, "speak", "the link has no rules yet")
        return self._rules

    def number(self, command: str, text: str) -> float:
        """Return the finite number that a reply is.

        Raises
        ------
        WireProtocolError
            If it is none.
        """
        # Python would take blanks and underscores too.
        if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", text):
            raise self._garbled(command, f"{text!r:.40} is no finite number")
        return float(text)

    def _synchronise(self, deadline: Deadline) -> None:
        drain(self._transport, QUIET_S, deadline)
        self._probed = []
        for probe in self.rules.probes:
            self._send(probe.command, deadline)
            self._probed.append(self._await(probe, deadline, []))
        # A late reply of the same look may have been taken for the last one.
        drain(self._transport, QUIET_S, deadline)

    def _ask_identity(self, deadline: Deadline) -> Identity:
        try:
            return self.rules.identify(self._probed)
        except (ValueError, IndexError) as error:
            reason = f"{self._probed!r:.60} tells no identity: {error}"
            raise self._garbled("identify", reason) from error

    def _ask_probe(
        self, probe: Probe, deadline: Deadline, before: list[str]
    ) -> list[str]:
        self._send(probe.command, deadline)
        return self._await(probe, deadline, before)

    def _await(self, probe: Probe, deadline: Deadline, before: list[str]) -> list[str]:
        """Read replies until one looks like the probe's; keep those before it."""
        while True:
            try:
                lines = self._read_reply(probe.command, deadline)
            except InstrumentTimeout as error:
                if not before:
                    raise
                reason = f"{before!r:.40} is no reply to it"
                raise self._garbled(probe.command, reason) from error
            for first in range(len(lines)):
                # The end of a reply that came slowly may stand in front of it.
                if re.match(probe.pattern, "\n".join(lines[first:])):
                    before.extend(lines[:first])
                    return lines[first:]
            before.extend(lines)

    def _ask(self, command: str, deadline: Deadline) -> list[str]:
        self._send(command, deadline)
        return self._read_reply(command, deadline)

    def _send(self, command: str, deadline: Deadline) -> None:
        data = command.encode("ascii") + self.rules.command_end
        self._transport.write(data, deadline)

    def _read_reply(self, command: str, deadline: Deadline) -> list[str]:
        """Read the lines of one reply, without its echo and without its last line.

        A refusal stays among them.
        """
        lines: list[str] = []
        while len(lines) < _MOST_LINES:
            raw = self._transport.read_until(self.rules.line_end, deadline)
            if not raw.isascii() or b"\0" in raw:
                raise self._garbled(command, f"reply {raw[:20]!r} is no text")
            line = raw.decode("ascii").strip()
            if not line or (not lines and line == command):
                continue
            if self.rules.last_line and re.match(self.rules.last_line, line):
                return lines
            lines.append(line)
            if not self.rules.last_line or self._is_refusal(line):
                return lines
        raise self._garbled(command, f"more than {_MOST_LINES} lines")

    def _is_refusal(self, line: str) -> bool:
        return bool(self.rules.refusal and re.match(self.rules.refusal, line))

    def _check_refusal(self, command: str, lines: Sequence[str]) -> None:
        refused = [line for line in lines if self._is_refusal(line)]
        if refused:
            raise DeviceError(self.instrument, command, [(-1, refused[0])])
