"""HiSLIP (IVI-6.1): messages with an end, a real device clear.

A session has two TCP connections: a synchronous channel for data and an
asynchronous one for everything that must get through while data is stuck. A
reply carries the identifier of the message that asked for it, so the answer to
an older question is told from the answer to this one and dropped. After a
time-out the session is cleared instead of reconnected. Only the synchronised
mode is used: one question, one answer.
"""

from __future__ import annotations

from driver.transports.hislip_channel import HEADER, Channel, Kind
from driver.transports.tcp import parse_resource
from scqc.core.clock import Deadline
from scqc.core.errors import (
    ConnectError,
    InstrumentError,
    InstrumentTimeout,
    RangeError,
    StateError,
    WireProtocolError,
)

PORT, SUB_ADDRESS = 4880, "hislip0"
FIRST_MESSAGE_ID, NO_MESSAGE_ID = 0xFFFF_FF00, 0xFFFF_FFFF
_PROTOCOL_VERSION = 0x0100
_VENDOR = b"xx"
_ACCEPTED_BYTES = 1 << 30
_OVERLAPPED = 1


def parse_hislip(instrument: str, resource: str) -> tuple[str, str]:
    """Split ``hislip://host:port/sub-address``; the last two may be left out.

    Returns
    -------
    tuple of str
        The TCP resource, ``tcp://host:port``, and the sub-address.

    Raises
    ------
    RangeError
        If the resource has another form.
    """
    scheme, _, rest = resource.partition("://")
    place, slash, sub_address = rest.partition("/")
    sub_address = sub_address if slash else SUB_ADDRESS
    plain = sub_address.isascii() and sub_address.isalnum() and len(sub_address) < 256
    if scheme != "hislip" or not place or not plain:
        expected = "expected hislip://host:port/sub-address"
        raise RangeError(instrument, resource, expected)
    if ":" not in place.rpartition("]")[2]:
        place = f"{place}:{PORT}"
    tcp = f"tcp://{place}"
    parse_resource(instrument, tcp)
    return tcp, sub_address


class HislipTransport:
    """A message link to one instrument, in synchronised mode.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``hislip://host:port/sub-address``.
    """

    def __init__(self, instrument: str, resource: str) -> None:
        self.instrument, self.resource = instrument, resource
        tcp, self._sub_address = parse_hislip(instrument, resource)
        self._sync = Channel(instrument, tcp)
        self._async = Channel(instrument, tcp)
        self._chunk_bytes = 1
        self._restart()

    def _restart(self) -> None:
        """Begin counting messages, as after connecting and after a clear."""
        self._next_id = FIRST_MESSAGE_ID
        self._last_id = NO_MESSAGE_ID
        self._delivered = 0
        self._ended = self._last_part = False
        self._rest = b""

    @property
    def is_open(self) -> bool:
        """Whether both channels are connected, as far as this side knows."""
        return self._sync.stream.is_open and self._async.stream.is_open

    @property
    def pending_bytes(self) -> int:
        """Bytes of an answer that are known of and not yet read [1]."""
        return len(self._rest) + self._sync.payload_left

    def open(self, timeout_s: float) -> None:
        """Connect both channels within `timeout_s` [s] and agree on the sizes.

        Raises
        ------
        ConnectError
            If the instrument refuses, cannot be reached, or speaks no HiSLIP.
        """
        self.close()
        deadline = Deadline(timeout_s)
        try:
            self._initialise(deadline)
        except ConnectError:
            self.close()
            raise
        except InstrumentError as error:
            self.close()
            action = f"connect {self.resource}"
            raise ConnectError(self.instrument, action, error.reason) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close both channels; calling it again does nothing."""
        for channel in (self._sync, self._async):
            channel.stream.close()
            channel.restart()
        self._restart()

    def resynchronise(self, timeout_s: float) -> None:
        """Make sure that no older answer is on its way, within `timeout_s` [s].

        The session is cleared; if the clear fails, or a channel was left in the
        middle of a message, the session is opened anew.

        Raises
        ------
        ConnectError
        """
        deadline = Deadline(timeout_s)
        if self.is_open and self._sync.intact and self._async.intact:
            try:
                # A hung instrument must leave time for connecting.
                self.clear(Deadline(timeout_s / 2.0))
            except InstrumentError:
                self.close()
            else:
                return
        self.open(deadline.remaining_s())

    def clear(self, deadline: Deadline) -> None:
        """Device clear: both sides abandon what is under way.

        Raises
        ------
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        self._require("device clear")
        self._async.send(Kind.ASYNC_DEVICE_CLEAR, 0, 0, b"", deadline)
        self._async.await_kind(Kind.ASYNC_DEVICE_CLEAR_ACKNOWLEDGE, deadline)
        self._sync.send(Kind.DEVICE_CLEAR_COMPLETE, 0, 0, b"", deadline)
        mode, _ = self._sync.await_kind(Kind.DEVICE_CLEAR_ACKNOWLEDGE, deadline)
        if mode & _OVERLAPPED:
            reason = "the instrument insists on the overlapped mode"
            raise WireProtocolError(self.instrument, "device clear", reason)
        self._restart()

    def status_byte(self, deadline: Deadline) -> int:
        """Return the IEEE 488.2 status byte, asked for beside the data.

        Raises
        ------
        ConnectionLost, InstrumentTimeout, WireProtocolError
        """
        self._require("status query")
        delivered, self._delivered = self._delivered, 0
        self._async.send(
            Kind.ASYNC_STATUS_QUERY, delivered, self._last_id, b"", deadline
        )
        status, _ = self._async.await_kind(Kind.ASYNC_STATUS_RESPONSE, deadline)
        return status

    def write(
        self, data: bytes | memoryview, deadline: Deadline, *, end: bool = True
    ) -> None:
        """Send all of `data` before `deadline`; `end` says that it ends there.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        """
        self._require("write")
        self._rest, self._ended = b"", False
        view = memoryview(data)
        while len(view) > self._chunk_bytes:
            self._send_data(Kind.DATA, view[: self._chunk_bytes], deadline)
            view = view[self._chunk_bytes :]
        self._send_data(Kind.DATA_END if end else Kind.DATA, view, deadline)

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target` with the next bytes of the answer.

        Returns
        -------
        int
            Bytes read [1]; fewer than asked for when the answer ends there or
            the deadline passed.

        Raises
        ------
        ConnectionLost
            At once, when the instrument ends the link.
        WireProtocolError
        """
        self._require("read")
        done = min(len(self._rest), len(target))
        target[:done] = self._rest[:done]
        self._rest = self._rest[done:]
        if self._ended and done == 0 and len(target):
            # An end without a line feed is as good as one with it.
            self._ended = False
            target[:1] = b"\n"
            return 1
        try:
            while done < len(target) and self._more(deadline):
                received = self._sync.receive(target[done:], deadline)
                done += received
                self._note_end()
                if received == 0:
                    break
        except InstrumentTimeout:
            return done
        return done

    def read_line(self, deadline: Deadline, limit: int = 1 << 20) -> bytes:
        """Return the answer up to its line feed or its end, without either.

        Raises
        ------
        ConnectionLost, InstrumentTimeout
        WireProtocolError
            If the answer is longer than `limit` bytes.
        """
        self._require("read")
        answer = bytearray(self._rest)
        self._rest = b""
        while self._more(deadline):
            if len(answer) + self._sync.payload_left > limit:
                reason = f"no end in {limit} bytes"
                raise WireProtocolError(self.instrument, "read", reason)
            answer += self._sync.payload(deadline)
            self._note_end()
        line, _, self._rest = bytes(answer).partition(b"\n")
        return line

    def _more(self, deadline: Deadline) -> bool:
        """Whether the answer goes on; its next message is begun if need be.

        An answer to an older question is dropped here.
        """
        while not self._sync.payload_left and not self._ended:
            kind, _, parameter = self._sync.next_header(deadline)
            current = parameter in {self._last_id, NO_MESSAGE_ID}
            if kind in {Kind.DATA, Kind.DATA_END} and current:
                self._last_part = kind == Kind.DATA_END
                self._note_end()
            else:
                self._sync.drop_payload(deadline)
        return not self._ended

    def _note_end(self) -> None:
        if self._last_part and not self._sync.payload_left:
            self._ended, self._last_part = True, False
            self._delivered = 1

    def _send_data(self, kind: Kind, data: memoryview, deadline: Deadline) -> None:
        message_id, delivered = self._next_id, self._delivered
        self._next_id = (message_id + 2) & 0xFFFF_FFFF
        self._last_id, self._delivered = message_id, 0
        self._sync.send(kind, delivered, message_id, data, deadline)

    def _initialise(self, deadline: Deadline) -> None:
        """Open the session: Initialize, AsyncInitialize, AsyncMaxMsgSize."""
        self._sync.stream.open(deadline.remaining_s())
        version = _PROTOCOL_VERSION << 16 | int.from_bytes(_VENDOR, "big")
        name = self._sub_address.encode("ascii")
        self._sync.send(Kind.INITIALIZE, 0, version, name, deadline)
        mode, answer = self._sync.await_kind(Kind.INITIALIZE_RESPONSE, deadline)
        self._async.stream.open(deadline.remaining_s())
        session = answer & 0xFFFF
        self._async.send(Kind.ASYNC_INITIALIZE, 0, session, b"", deadline)
        self._async.await_kind(Kind.ASYNC_INITIALIZE_RESPONSE, deadline)
        wanted = _ACCEPTED_BYTES.to_bytes(8, "big")
        self._async.send(Kind.ASYNC_MAX_MSG_SIZE, 0, 0, wanted, deadline)
        self._async.await_kind(Kind.ASYNC_MAX_MSG_SIZE_RESPONSE, deadline)
        accepted = int.from_bytes(self._async.payload(deadline), "big")
        if accepted <= HEADER.size:
            reason = f"the instrument accepts messages of {accepted} bytes"
            raise WireProtocolError(self.instrument, "connect", reason)
        # Whether the header counts is read in both ways; this is safe in both.
        self._chunk_bytes = min(accepted, _ACCEPTED_BYTES) - HEADER.size
        if mode & _OVERLAPPED:
            self.clear(deadline)

    def _require(self, action: str) -> None:
        if not self.is_open:
            raise StateError(self.instrument, action, "the link is closed")
