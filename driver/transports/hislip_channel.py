"""One connection of a HiSLIP session: whole messages in and out.

Every message begins with a header of 16 bytes, big-endian (IVI-6.1, table 2):

====== ===== =================================================
offset bytes meaning
====== ===== =================================================
0      2     "HS"
2      1     message type
3      1     control code
4      4     parameter, for data the message's identifier
8      8     length of the payload that follows [bytes]
====== ===== =================================================
"""

from __future__ import annotations

import struct
from enum import IntEnum

from driver.transports.tcp import TcpTransport
from scqc.core.clock import Deadline
from scqc.core.errors import ConnectionLost, InstrumentTimeout, WireProtocolError

HEADER = struct.Struct("!2sBBIQ")
_JOINED_BYTES = 1 << 14
_CHUNK_BYTES = 1 << 16


class Kind(IntEnum):
    """Message types that this client sends or understands."""

    INITIALIZE = 0
    INITIALIZE_RESPONSE = 1
    FATAL_ERROR = 2
    ERROR = 3
    DATA = 6
    DATA_END = 7
    DEVICE_CLEAR_COMPLETE = 8
    DEVICE_CLEAR_ACKNOWLEDGE = 9
    INTERRUPTED = 13
    ASYNC_MAX_MSG_SIZE = 15
    ASYNC_MAX_MSG_SIZE_RESPONSE = 16
    ASYNC_INITIALIZE = 17
    ASYNC_INITIALIZE_RESPONSE = 18
    ASYNC_DEVICE_CLEAR = 19
    ASYNC_STATUS_QUERY = 21
    ASYNC_STATUS_RESPONSE = 22
    ASYNC_DEVICE_CLEAR_ACKNOWLEDGE = 23


class Channel:
    """One of the two connections: messages in and out, never half of one.

    Parameters
    ----------
    instrument : str
        Name of the instrument, for error messages.
    resource : str
        ``tcp://host:port``.
    """

    def __init__(self, instrument: str, resource: str) -> None:
        self.instrument = instrument
        self.stream = TcpTransport(instrument, resource)
        self.restart()

    def restart(self) -> None:
        """Forget where in the stream of messages this side is."""
        self.payload_left = 0
        self._header = bytearray(HEADER.size)
        self._header_done = 0
        #: Whether both directions stand at a known place of their streams.
        self.intact = True

    def send(
        self,
        kind: Kind,
        control: int,
        parameter: int,
        payload: bytes | memoryview,
        deadline: Deadline,
    ) -> None:
        """Send one message; if that fails half-way, the channel is not intact."""
        size = len(payload)
        header = HEADER.pack(b"HS", kind, control, parameter, size)
        self.intact = False
        if size <= _JOINED_BYTES:
            # One segment: a second one costs the instrument a wake-up.
            self.stream.write(header + bytes(payload), deadline)
        else:
            self.stream.write(header, deadline)
            self.stream.write(payload, deadline)
        self.intact = True

    def next_header(self, deadline: Deadline) -> tuple[int, int, int]:
        """Drop what is left of this message and return type, control, parameter.

        Raises
        ------
        ConnectionLost
            If the instrument ends the session, by a fatal error too.
        InstrumentTimeout, WireProtocolError
        """
        self.drop_payload(deadline)
        if self._receive_header(deadline) < HEADER.size:
            raise self._late(deadline)
        prologue, kind, control, parameter, size = HEADER.unpack(self._header)
        self._header_done = 0
        self.payload_left = size
        if prologue != b"HS":
            self.intact = False
            reason = f"a message begins with {prologue!r}, not HiSLIP"
            raise WireProtocolError(self.instrument, "read", reason)
        if kind in {Kind.FATAL_ERROR, Kind.ERROR}:
            text = self.payload(deadline).decode("latin-1")
            if kind == Kind.FATAL_ERROR:
                self.stream.close()
                raise ConnectionLost(self.instrument, "read", f"fatal error: {text}")
            reason = f"the instrument refuses a message: {text}"
            raise WireProtocolError(self.instrument, "read", reason)
        return kind, control, parameter

    def await_kind(self, wanted: Kind, deadline: Deadline) -> tuple[int, int]:
        """Drop messages until `wanted`; return its control code and parameter."""
        while True:
            kind, control, parameter = self.next_header(deadline)
            if kind == wanted:
                return control, parameter

    def receive(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target` from this message's payload; fewer bytes if it is late."""
        self.intact = False
        done = self.stream.read_into(target[: self.payload_left], deadline)
        self.payload_left -= done
        self.intact = True
        return done

    def payload(self, deadline: Deadline) -> bytes:
        """Return the payload of a short message."""
        size = min(self.payload_left, _CHUNK_BYTES)
        data = bytearray(size)
        if self.receive(memoryview(data), deadline) < size:
            raise self._late(deadline)
        return bytes(data)

    def drop_payload(self, deadline: Deadline) -> None:
        """Read past the rest of this message."""
        scrap = memoryview(bytearray(min(self.payload_left, _CHUNK_BYTES)))
        while self.payload_left:
            if self.receive(scrap, deadline) == 0:
                raise self._late(deadline)

    def _receive_header(self, deadline: Deadline) -> int:
        self.intact = False
        target = memoryview(self._header)[self._header_done :]
        self._header_done += self.stream.read_into(target, deadline)
        self.intact = True
        return self._header_done

    def _late(self, deadline: Deadline) -> InstrumentTimeout:
        reason = f"not done within {deadline.timeout_s:g} s"
        return InstrumentTimeout(self.instrument, "read", reason)
