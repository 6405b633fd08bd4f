"""Bob's end of a link between two programs: ask, repeat, give up.

There is one policy for everything that can go wrong on the way: the request stays
open, and is sent again when the connection is back. Alice knows it again and acts
but once. Bob gives up when there was no sign of life for too long.
"""

from __future__ import annotations

import contextlib
import threading
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

from protocols.messages.channel import AskingChannel, Notice
from protocols.messages.ends import AskingEnd
from protocols.messages.envelope import STREAMS, Stream
from scqc.core.errors import PeerError, PeerLost, PeerRefused, PeerUnreached
from scqc.runs.parties.curve import LinkKeyFile
from scqc.runs.parties.patience import LinkTimes, Patience
from scqc.runs.parties.sockets import Context, Socket, asking_socket

_STEP_MS = 100
_HANDSHAKE_FAILED: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "Alice does not know this key",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "no CURVE handshake at that address",
    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "the handshake ended halfway",
}
_UP, _DOWN = zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_DISCONNECTED


class ZmqAsker:
    """Asks Alice over the network; see `scqc.runs.parties.link.Asker`.

    Parameters
    ----------
    address : str
        Where Alice listens, ``tcp://host:port``.
    keys : LinkKeyFile
        Bob's.
    times : LinkTimes
    """

    def __init__(
        self, address: str, keys: LinkKeyFile, times: LinkTimes | None = None
    ) -> None:
        self.address = address
        self._end = AskingEnd(keys.link)
        self._context: Context = zmq.Context()
        self._closing = threading.Event()
        self._lines = {
            stream: _Line(self, keys, times or LinkTimes()) for stream in STREAMS
        }

    @property
    def context(self) -> Context:
        """Where the sockets of all streams live."""
        return self._context

    @property
    def is_closing(self) -> bool:
        """Whether everything that waits has to come to an end."""
        return self._closing.is_set()

    @property
    def rejected(self) -> int:
        """Messages that came in and were none of the open turn [1]."""
        return sum(line.rejected for line in self._lines.values())

    @property
    def received(self) -> int:
        """Messages that came in [1]."""
        return sum(line.received for line in self._lines.values())

    @property
    def strangers(self) -> int:
        """Connections that were turned away: nobody connects to Bob [1]."""
        return 0

    @property
    def heard_s(self) -> float | None:
        """When Alice's last word came that was in order, monotonic [s]."""
        heard_s = [line.heard_s for line in self._lines.values() if line.heard_s]
        return max(heard_s, default=None)

    def ask(self, stream: Stream, block: int, frames: list[bytes]) -> list[bytes]:
        """Send frames; return the frames that Alice answers with.

        A greeting begins a new session; after `PeerLost` there must be one.

        Raises
        ------
        PeerRefused
            If Alice refused.
        PeerLost
            If she does not answer any more, or this end was closed; `PeerUnreached`
            if the request never left.
        PeerError
            If there was no greeting, or the turn before is still open.
        """
        line = self._lines[stream]
        with line.lock:
            if self.is_closing:
                raise PeerLost(f"{self.address}: this end of the link was closed")
            channel = self._end.channel(stream, frames)
            channel.wrap(block, frames)
            return line.carry(channel)

    def close(self) -> None:
        """End all turns and connections; calling it again does nothing."""
        self._closing.set()
        for line in self._lines.values():
            with line.lock:
                line.close()
        self._context.destroy(linger=0)

    def __enter__(self) -> ZmqAsker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Line:
    """The socket of one stream, used under its lock.

    Parameters
    ----------
    owner : ZmqAsker
    keys : LinkKeyFile
    times : LinkTimes
    """

    def __init__(self, owner: ZmqAsker, keys: LinkKeyFile, times: LinkTimes) -> None:
        self.lock = threading.Lock()
        self.received = self.rejected = 0
        self.heard_s: float | None = None
        self._owner, self._keys, self._times = owner, keys, times
        self._socket: Socket | None = None
        self._monitor: Socket | None = None
        self._up = False
        self._reason = "nobody answers there"

    def close(self) -> None:
        """Close the socket and what waits in it."""
        self._up = False
        link, self._socket = self._socket, None
        monitor, self._monitor = self._monitor, None
        if link is not None:
            link.disable_monitor()
            link.close(linger=0)
        if monitor is not None:
            monitor.close(linger=0)

    def carry(self, channel: AskingChannel) -> list[bytes]:
        """Bring the open request of `channel` to Alice until she has answered."""
        request = channel.request
        if request is None:
            raise PeerError("link: no request is open")
        patience = Patience(self._times, len(request), self._up, time.monotonic())
        to_send, sent = True, False
        while True:
            link, monitor = self._opened()
            # A connection that has just ended may still take a message, and lose it.
            ready = _poll(link, monitor, to_send and self._up)
            now_s = time.monotonic()
            if ready.get(monitor) and self._went_down(monitor):
                to_send = True
            patience.connected(self._up, now_s)
            if ready.get(link, 0) & zmq.POLLIN:
                found = self._receive(link, channel)
                if isinstance(found, list):
                    return found
                if found is not None:
                    patience.alive(found.coming_bytes, now_s)
            elif to_send and self._up and ready.get(link, 0) & zmq.POLLOUT:
                # The connection may have gone since; then it is sent on the next.
                with contextlib.suppress(zmq.Again):
                    link.send(request, flags=zmq.NOBLOCK, copy=False)
                    to_send, sent = False, True
                    patience.sent(now_s)
            self._give_up(channel, patience, now_s, PeerLost if sent else PeerUnreached)
            if not to_send and patience.wants_another(now_s):
                # Connected, and yet nothing comes: only a new connection helps.
                self._reason = "she is connected, and says nothing"
                self.close()
                to_send = True

    def _opened(self) -> tuple[Socket, Socket]:
        if self._socket is None or self._monitor is None:
            address = self._owner.address
            context = self._owner.context
            self._socket = asking_socket(context, self._keys, self._times, address)
            self._monitor = self._socket.get_monitor_socket(
                _UP | _DOWN | sum(_HANDSHAKE_FAILED)
            )
            self._socket.connect(address)
        return self._socket, self._monitor

    def _went_down(self, monitor: Socket) -> bool:
        """Take what the monitor has to tell; return whether a connection ended."""
        down = False
        while monitor.poll(0):
            event = int(recv_monitor_message(monitor, flags=zmq.NOBLOCK)["event"])
            self._reason = _HANDSHAKE_FAILED.get(event, self._reason)
            self._up = event == _UP or (self._up and event != _DOWN)
            down = down or event == _DOWN
        return down

    def _receive(
        self, link: Socket, channel: AskingChannel
    ) -> list[bytes] | Notice | None:
        """Return the frames of the reply, a notice, or None for anything else."""
        data = link.recv(flags=zmq.NOBLOCK)
        self.received += 1
        try:
            found = channel.unwrap(data)
        except PeerRefused:
            self.heard_s = time.monotonic()
            raise
        except PeerError:
            self.rejected += 1
            return None
        self.heard_s = time.monotonic()
        return found if isinstance(found, Notice) else found.frames

    def _give_up(
        self,
        channel: AskingChannel,
        patience: Patience,
        now_s: float,
        lost: type[PeerLost],
    ) -> None:
        """Raise when there is no hope left."""
        where = f"{self._owner.address}, stream {channel.place.stream!r}"
        if self._owner.is_closing:
            raise PeerLost(f"{where}: this end of the link was closed")
        if patience.is_lost(now_s):
            raise lost(
                f"{where}: no sign of life for {self._times.lost_s:g} s "
                f"({self._reason}); see that Alice runs and both key files are of "
                "one link"
            )
        if patience.is_over(now_s):
            raise PeerLost(f"{where}: no answer within {self._times.turn_s:g} s")


def _poll(link: Socket, monitor: Socket, to_send: bool) -> dict[object, int]:
    """Wait a moment for a message, an event, or room to send."""
    poller = zmq.Poller()
    poller.register(link, zmq.POLLIN | (zmq.POLLOUT if to_send else 0))
    poller.register(monitor, zmq.POLLIN)
    return dict(poller.poll(_STEP_MS))
