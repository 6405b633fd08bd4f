"""Session with a Single Quantum WebSQ: JSON on one port, counts on another.

The instrument keeps *labels*: named values. It tells all of them on request, and
changes of single ones to every client at any time. So a setting is confirmed by
asking for the labels again, and what is told unasked is read past. Messages end
with the byte 0x17, and several objects may stand in one without a separator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from driver.byte_session import ByteSession
from driver.hal import Identity
from driver.transports.tcp import TcpTransport, parse_resource
from scqc.core.clock import Deadline
from scqc.core.errors import DeviceError, RangeError, WireProtocolError

END = b"\x17"
COUNTS_PORT = 12345
VENDOR, MODEL = "Single Quantum", "WebSQ"
DETECTORS = "NumberOfDetectors"
MOST_DETECTORS = 64
_EXPECTED = "expected tcp://host:port?counts=port"
_REQUEST = {"request": "labelProps", "value": "None"}

Labels = dict[str, Any]


def parse_websq(instrument: str, resource: str) -> tuple[str, str]:
    """Split ``tcp://host:port?counts=port`` into control and counts resources.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    control, question, query = resource.partition("?")
    host, _ = parse_resource(instrument, control)
    counts = str(COUNTS_PORT)
    if question:
        options = parse_qsl(query, keep_blank_values=True)
        if len(options) != 1 or options[0][0] != "counts":
            raise RangeError(instrument, resource, _EXPECTED)
        counts = options[0][1]
    around = f"[{host}]" if ":" in host else host
    counted = f"tcp://{around}:{counts}"
    parse_resource(instrument, counted)
    return control, counted


class WebsqLink(ByteSession):
    """One instrument's session; safe to share between threads.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``tcp://host:12000?counts=12345``.
    open_timeout_s, io_timeout_s : float
        Deadlines for connecting and for one exchange [s].
    """

    def __init__(
        self,
        instrument: str,
        resource: str,
        open_timeout_s: float = 5.0,
        io_timeout_s: float = 10.0,
    ) -> None:
        control, counts = parse_websq(instrument, resource)
        super().__init__(
            TcpTransport(instrument, control), open_timeout_s, io_timeout_s
        )
        self._counts = TcpTransport(instrument, counts)

    def close(self) -> None:
        """Close both links; calling it again does nothing."""
        super().close()
        self._counts.close()

    def labels(self, timeout_s: float | None = None) -> Labels:
        """Return all labels of the instrument with their values.

        Raises
        ------
        DeviceError
            If the instrument reports an error.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        with self._exchange("labelProps", deadline):
            return self._ask_labels(deadline)

    def command(
        self, name: str, label: str, value: object, timeout_s: float | None = None
    ) -> Labels:
        """Give a command and return all labels as they are then.

        Raises
        ------
        DeviceError
            If the instrument reports an error.
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        with self._exchange(name, deadline):
            self._send({"command": name, "label": label, "value": value}, deadline)
            return self._ask_labels(deadline)

    def count_lines(self, n_lines: int, timeout_s: float) -> list[str]:
        """Connect to the port of the counts and return its next lines.

        Raises
        ------
        ConnectError, ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        deadline = self._deadline(timeout_s)
        with self._exchange("counts", deadline):
            try:
                self._counts.open(min(self.open_timeout_s, deadline.remaining_s()))
                lines = [self._counts.read_line(deadline) for _ in range(n_lines)]
            finally:
                # Left open it would fill up with lines that nobody reads.
                self._counts.close()
        if not all(line.isascii() for line in lines):
            raise self._garbled("counts", f"{lines[0][:20]!r} is no text")
        return [line.decode("ascii").strip() for line in lines]

    def _synchronise(self, deadline: Deadline) -> None:
        """Nothing is late on a new connection."""

    def _resynchronise(self, deadline: Deadline) -> None:
        """Connect anew: a late answer dies with the old connection."""
        self._transport.open(min(self.open_timeout_s, deadline.remaining_s()))
        self._check_same(deadline)
        self._dirty = False

    def _ask_identity(self, deadline: Deadline) -> Identity:
        """Make an identity of the only thing the instrument tells: its detectors."""
        detectors = self._ask_labels(deadline)[DETECTORS]
        return Identity(VENDOR, MODEL, "", f"{detectors} detectors")

    def _send(self, message: Mapping[str, object], deadline: Deadline) -> None:
        self._transport.write(json.dumps(message).encode("ascii"), deadline)

    def _ask_labels(self, deadline: Deadline) -> Labels:
        """Ask for all labels, and read until they come; the last value counts."""
        self._transport.take_unread()
        self._send(_REQUEST, deadline)
        labels: Labels = {}
        while DETECTORS not in labels:
            for message in self._messages(self._transport.read_until(END, deadline)):
                label, value = message.get("label"), message.get("value")
                if not isinstance(label, str):
                    continue
                if "Error" in label:
                    raise DeviceError(self.instrument, label, [(0, str(value)[:200])])
                # All labels come with bounds and units; news are bare values, which
                # may be older than the answer.
                if isinstance(value, dict) and "value" in value:
                    labels[label] = value["value"]
        detectors = labels[DETECTORS]
        if type(detectors) is not int or not 1 <= detectors <= MOST_DETECTORS:
            reason = f"{str(detectors)[:20]!r} detectors, not 1..{MOST_DETECTORS}"
            raise self._garbled(DETECTORS, reason)
        return labels

    def _messages(self, data: bytes) -> list[dict[str, Any]]:
        """Return the objects that stand in one message."""
        decoder = json.JSONDecoder(parse_constant=self._not_finite)
        found: list[dict[str, Any]] = []
        try:
            text = data.decode("utf-8").strip()
            while text:
                value, end = decoder.raw_decode(text)
                if not isinstance(value, dict):
                    raise self._garbled("labelProps", f"{text[:40]!r} is no object")
                found.append(value)
                text = text[end:].lstrip()
        except (ValueError, RecursionError) as error:
            reason = f"{data[:40]!r} is no JSON: {error}"
            raise self._garbled("labelProps", reason) from error
        return found

    def _not_finite(self, name: str) -> float:
        raise WireProtocolError(self.instrument, "labelProps", f"a value is {name}")
