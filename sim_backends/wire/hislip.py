"""A SCPI instrument on a loopback HiSLIP port (IVI-6.1), synchronised mode.

Each session has a thread for its synchronous channel, which runs the commands,
and one for its asynchronous channel, which answers while the first is busy.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
from dataclasses import dataclass, field

from sim_backends.devices.base import ScpiDevice
from sim_backends.wire import listen
from sim_backends.wire.splitter import BadStreamError, EndOfStreamError
from sim_backends.wire.status import ScpiError
from sim_backends.wire.tcp_scpi import ScpiServer, ScpiSession

SUB_ADDRESSES = (b"", b"hislip0")
MAX_MESSAGE_BYTES = 1 << 28
PROTOCOL_VERSION = 0x0100
VENDOR = int.from_bytes(b"xx", "big")
_HEADER = struct.Struct("!2sBBIQ")
_SCRAP_BYTES = 1 << 16
_NEXT_HEADER_S = 5.0

(INITIALIZE, INITIALIZE_RESPONSE, FATAL_ERROR, ERROR) = range(4)
(ASYNC_LOCK, ASYNC_LOCK_RESPONSE, DATA, DATA_END) = range(4, 8)
(CLEAR_COMPLETE, CLEAR_ACKNOWLEDGE, REMOTE_LOCAL, REMOTE_LOCAL_RESPONSE) = range(8, 12)
(TRIGGER, INTERRUPTED, ASYNC_INTERRUPTED, MAX_SIZE, MAX_SIZE_RESPONSE) = range(12, 17)
(ASYNC_INITIALIZE, ASYNC_INITIALIZE_RESPONSE, ASYNC_CLEAR) = range(17, 20)
(STATUS_QUERY, STATUS_RESPONSE, ASYNC_CLEAR_ACKNOWLEDGE) = range(21, 24)
(LOCK_INFO, LOCK_INFO_RESPONSE) = range(24, 26)

_POOR_HEADER, _ONE_CHANNEL, _BAD_START = 1, 2, 3
_UNKNOWN_TYPE, _TOO_LARGE = 1, 4
_LOCK_ERROR = 3


class _ClearedError(Exception):
    """The client has cleared the device: what is under way is abandoned."""


@dataclass(frozen=True, slots=True)
class Message:
    """The header of a message; the payload follows on the connection."""

    kind: int
    control: int
    parameter: int
    size: int


class MessageChannel:
    """Messages on one connection.

    Parameters
    ----------
    connection : socket.socket
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(
        self,
        kind: int,
        control: int = 0,
        parameter: int = 0,
        payload: bytes | memoryview = b"",
    ) -> None:
        """Send one message."""
        size = len(payload)
        header = _HEADER.pack(b"HS", kind, control, parameter, size)
        with self._lock:
            if size <= _SCRAP_BYTES:
                self._connection.sendall(header + bytes(payload))
            else:
                self._connection.sendall(header)
                self._connection.sendall(payload)

    def receive(self) -> Message:
        """Return the next header.

        Raises
        ------
        EndOfStreamError
            If the client has closed the connection.
        BadStreamError
            If this is no HiSLIP header; the client has been told.
        """
        prologue, *fields = _HEADER.unpack(self.take(_HEADER.size))
        if prologue != b"HS":
            self.send(FATAL_ERROR, _POOR_HEADER, 0, b"poorly formed message header")
            raise BadStreamError(f"header begins with {prologue!r}")
        return Message(*fields)

    def take(self, size: int) -> bytes:
        """Return exactly `size` bytes."""
        data = bytearray(size)
        view = memoryview(data)
        while view:
            view = view[self.receive_into(view) :]
        return bytes(data)

    def receive_into(self, view: memoryview) -> int:
        """Receive some bytes into `view`."""
        received = self._connection.recv_into(view)
        if received == 0:
            raise EndOfStreamError
        return received

    def drop(self, size: int) -> None:
        """Read past `size` bytes."""
        while size:
            size -= len(self.take(min(size, _SCRAP_BYTES)))

    def refuse(self, message: Message) -> None:
        """Read past a message and tell the client that it is not understood."""
        self.drop(message.size)
        text = f"unrecognised message type {message.kind}".encode()
        self.send(ERROR, _UNKNOWN_TYPE, 0, text)

    def shut(self) -> None:
        """End the connection; a thread that waits on it wakes up."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)


@dataclass(eq=False)
class _State:
    """What the two threads of a session share."""

    device: ScpiDevice
    sync: MessageChannel
    beside: MessageChannel | None = None
    #: Set from the asynchronous clear until the session has caught up.
    clearing: threading.Event = field(default_factory=threading.Event)
    #: A reply was sent whose end the client has not acknowledged.
    unread: bool = False


class _DataStream:
    """The synchronous channel as the stream of bytes that a parser reads.

    An end of message reads as a line feed; one more line feed does no harm.
    """

    def __init__(self, state: _State) -> None:
        self._state = state
        self.restart()

    def restart(self) -> None:
        """Forget the message under way, as after a device clear."""
        self._left = 0
        self._ends = False
        self._message_id = 0

    def recv(self, size: int) -> bytes:
        """Return some bytes, at most `size`."""
        data = bytearray(size)
        return bytes(data[: self.recv_into(memoryview(data))])

    def recv_into(self, view: memoryview) -> int:
        """Receive some bytes of data into `view`.

        Raises
        ------
        _ClearedError
            When the client's device clear is complete.
        """
        while not self._left:
            if self._ends:
                self._ends = False
                view[:1] = b"\n"
                return 1
            self._next_message()
        received = self._state.sync.receive_into(view[: self._left])
        self._left -= received
        return received

    def sendall(self, parts: list[bytes | memoryview], whole: bool = True) -> None:
        """Send `parts` of a reply, all of it if `whole`; a cleared one is not sent."""
        last = len(parts) - 1
        for index, part in enumerate(parts):
            view = memoryview(part)
            while not self._state.clearing.is_set():
                chunk, view = view[:MAX_MESSAGE_BYTES], view[MAX_MESSAGE_BYTES:]
                ends = whole and index == last and not len(view)
                kind = DATA_END if ends else DATA
                self._state.unread = self._state.unread or ends
                self._state.sync.send(kind, 0, self._message_id, chunk)
                if not len(view):
                    break

    def _next_message(self) -> None:
        state = self._state
        message = state.sync.receive()
        if message.kind == CLEAR_COMPLETE:
            state.sync.drop(message.size)
            raise _ClearedError
        if message.kind not in {DATA, DATA_END, TRIGGER}:
            state.sync.refuse(message)
        elif state.beside is None:
            # Closing on unread bytes would reset the connection, and lose the text.
            state.sync.drop(min(message.size, _SCRAP_BYTES))
            state.sync.send(FATAL_ERROR, _ONE_CHANNEL, 0, b"one channel only")
            raise BadStreamError("data before the second channel")
        elif state.clearing.is_set():
            state.sync.drop(message.size)
        elif message.size > MAX_MESSAGE_BYTES:
            state.sync.drop(message.size)
            state.sync.send(ERROR, _TOO_LARGE, 0, b"message too large")
        else:
            self._begin(message, state.beside)

    def _begin(self, message: Message, beside: MessageChannel) -> None:
        state = self._state
        if state.unread and not message.control & 1:
            # The client asks again without having read: IEEE 488.2, 6.3.2.3.
            with state.device.lock:
                state.device.status.report(ScpiError(-410))
            state.sync.send(INTERRUPTED, 0, message.parameter)
            beside.send(ASYNC_INTERRUPTED, 0, message.parameter)
        state.unread = False
        self._left = message.size
        self._ends = message.kind == DATA_END
        self._message_id = message.parameter


class HislipServer(ScpiServer):
    """Serves one device to any number of HiSLIP clients, until closed.

    Parameters
    ----------
    device : ScpiDevice
    port : int
        TCP port on the loopback interface; 0 lets the system choose.
    """

    def __init__(self, device: ScpiDevice, port: int = 0) -> None:
        self._sessions: dict[int, _State] = {}
        self._numbers = itertools.count(1)
        super().__init__(device, port)

    @property
    def endpoint(self) -> str:
        """Where clients connect: ``hislip://127.0.0.1:port/hislip0``."""
        return f"hislip://{listen.host()}:{self.port}/hislip0"

    def close(self) -> None:
        """Stop serving and end all threads; calling it again does nothing."""
        for state in list(self._sessions.values()):
            # Ends the wait of a late reply.
            state.clearing.set()
        super().close()

    def run_client(self, connection: socket.socket) -> None:
        """Serve one connection: its first message says which channel it is."""
        channel = MessageChannel(connection)
        connection.settimeout(_NEXT_HEADER_S)
        message = channel.receive()
        if message.kind == INITIALIZE and message.size <= _SCRAP_BYTES:
            sub_address = channel.take(message.size)
            connection.settimeout(None)
            self._run_sync(channel, sub_address)
        elif message.kind == ASYNC_INITIALIZE and message.parameter in self._sessions:
            connection.settimeout(None)
            self._run_beside(channel, self._sessions[message.parameter])
        else:
            channel.drop(min(message.size, _SCRAP_BYTES))
            channel.send(FATAL_ERROR, _BAD_START, 0, b"invalid initialization sequence")

    def _run_sync(self, channel: MessageChannel, sub_address: bytes) -> None:
        if sub_address.lower() not in SUB_ADDRESSES:
            channel.send(FATAL_ERROR, _BAD_START, 0, b"no such sub-address")
            return
        number = next(self._numbers) & 0xFFFF
        state = self._sessions[number] = _State(self.device, channel)
        try:
            channel.send(INITIALIZE_RESPONSE, 0, PROTOCOL_VERSION << 16 | number)
            stream = _DataStream(state)
            while True:
                session = ScpiSession(
                    self.device, stream, stream.sendall, state.clearing
                )
                try:
                    session.run()
                except _ClearedError:
                    stream.restart()
                    state.unread = False
                    state.clearing.clear()
                    channel.send(CLEAR_ACKNOWLEDGE)
        finally:
            del self._sessions[number]
            if state.beside is not None:
                state.beside.shut()

    def _run_beside(self, channel: MessageChannel, state: _State) -> None:
        state.beside = channel
        try:
            channel.send(ASYNC_INITIALIZE_RESPONSE, 0, VENDOR)
            while True:
                self._answer(channel, state, channel.receive())
        finally:
            # A session has two channels or none.
            state.clearing.set()
            state.sync.shut()

    def _answer(self, channel: MessageChannel, state: _State, message: Message) -> None:
        """Answer one message of the asynchronous channel."""
        if message.kind == MAX_SIZE:
            channel.drop(message.size)
            size = MAX_MESSAGE_BYTES.to_bytes(8, "big")
            channel.send(MAX_SIZE_RESPONSE, 0, 0, size)
        elif message.kind == ASYNC_CLEAR:
            state.clearing.set()
            channel.send(ASYNC_CLEAR_ACKNOWLEDGE)
        elif message.kind == STATUS_QUERY:
            if message.control & 1:
                state.unread = False
            byte = self.device.status_byte(message_available=state.unread)
            channel.send(STATUS_RESPONSE, byte)
        elif message.kind == REMOTE_LOCAL:
            channel.send(REMOTE_LOCAL_RESPONSE)
        elif message.kind == LOCK_INFO:
            channel.send(LOCK_INFO_RESPONSE)
        elif message.kind == ASYNC_LOCK:
            # There are no locks here, and none is pretended.
            channel.drop(message.size)
            channel.send(ASYNC_LOCK_RESPONSE, _LOCK_ERROR)
        else:
            channel.refuse(message)
