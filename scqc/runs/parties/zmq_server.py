"""Alice's end of a link between two programs: one thread receives, others act.

The receiving thread checks every message and hands the turn to the worker of its
stream, so that a long turn on one stream holds up none of the others; while it is
worked at, Bob is told so. A stream has one turn open at a time, so nothing queues
up. Only the receiving thread touches sockets and channels.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import zmq

from protocols.messages.channel import AnsweringChannel, Turn
from protocols.messages.ends import AnsweringEnd, StrangeSession
from protocols.messages.envelope import STREAMS
from scqc.core.errors import PeerError, ScqcError
from scqc.runs.parties.curve import LinkKeyFile
from scqc.runs.parties.link import Answerer
from scqc.runs.parties.patience import LinkTimes
from scqc.runs.parties.sockets import Context, Doorkeeper, answering_socket

#: A reply above this size is announced, so that Bob waits for it [byte].
ANNOUNCED_BYTES = 1 << 18
_BATCH = 64
_JOIN_S = 10.0
_LAST_WORD_MS = 500


@dataclass(slots=True)
class _Work:
    """A turn that a worker has."""

    channel: AnsweringChannel
    future: Future[list[bytes]]
    #: Where the reply goes: to whoever asked last.
    route: bytes
    told_s: float


class ZmqServer:
    """Serves Bob's turns until it is closed.

    Parameters
    ----------
    address : str
        Where to listen, ``tcp://host:port``; port ``*`` lets the system choose.
    keys : LinkKeyFile
        Alice's.
    answerer : Answerer
        Acts on the turns; called from one thread per stream.
    times : LinkTimes

    Raises
    ------
    PeerError
        If the address cannot be bound.
    """

    def __init__(
        self,
        address: str,
        keys: LinkKeyFile,
        answerer: Answerer,
        times: LinkTimes | None = None,
    ) -> None:
        self._times = times or LinkTimes()
        self._answerer, self._end = answerer, AnsweringEnd(keys.link)
        self._context: Context = zmq.Context()
        self._door = Doorkeeper(self._context, keys)
        try:
            self._socket = answering_socket(self._context, keys, self._times, address)
        except PeerError:
            self._context.destroy(linger=0)
            raise
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._workers = {
            stream: ThreadPoolExecutor(1, thread_name_prefix=f"alice-{stream}")
            for stream in STREAMS
        }
        self._works: list[_Work] = []
        self._done: queue.SimpleQueue[_Work] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._closing = threading.Event()
        #: Messages that reached the decoder, and those it or a channel refused [1].
        self.received = 0
        self.rejected = 0
        #: When Bob's last word came that was in order, monotonic [s].
        self.heard_s: float | None = None
        self._failure: BaseException | None = None
        self._receiver = ThreadPoolExecutor(1, thread_name_prefix="alice-link")
        self._service = self._receiver.submit(self._serve)

    @property
    def strangers(self) -> int:
        """Connections that were turned away for their key [1]."""
        return self._door.refused

    def check(self) -> None:
        """Raise what ended the service, if it ended by itself.

        Raises
        ------
        Exception
            None of ours, from the answerer or from here: a mistake in a program.
        """
        if self._service.done():
            self._service.result()

    def close(self) -> None:
        """Stop serving; calling it again does nothing."""
        self._closing.set()
        self._rouse()
        wait([self._service], _JOIN_S)
        self._receiver.shutdown(wait=False)

    def __enter__(self) -> ZmqServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rouse(self) -> None:
        try:
            self._wake.send(b"!")
        except OSError:
            # Nobody is left to be woken.
            return

    def _serve(self) -> None:
        poller = zmq.Poller()
        for place in (self._door.socket, self._socket, self._woken):
            poller.register(place, zmq.POLLIN)
        wait_ms = max(1, round(250.0 * self._times.notice_s))
        try:
            while not self._closing.is_set() and self._failure is None:
                ready = dict(poller.poll(wait_ms))
                if self._door.socket in ready:
                    self._door.answer()
                if self._socket in ready:
                    self._receive_batch()
                if self._woken.fileno() in ready:
                    self._woken.recv(4096)
                self._finish()
                self._tell()
            if self._failure is not None:
                raise self._failure
        finally:
            for worker in self._workers.values():
                worker.shutdown(wait=False, cancel_futures=True)
            # The last word about a failure should still leave, and arrive: a connection
            # that goes takes with it what Bob has not read yet.
            if self._failure is not None:
                self._closing.wait(1e-3 * _LAST_WORD_MS)
            self._context.destroy(linger=0 if self._failure is None else _LAST_WORD_MS)
            self._wake.close()
            self._woken.close()

    def _receive_batch(self) -> None:
        """Take what has arrived, but let replies go out in between."""
        for _ in range(_BATCH):
            try:
                route, *parts = self._socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                return
            self.received += 1
            try:
                if len(parts) != 1:
                    raise PeerError(f"message of {len(parts)} parts, expected 1")
                channel, turn = self._end.unwrap(parts[0])
                self.heard_s = time.monotonic()
                self._take(route, channel, turn)
            except StrangeSession as error:
                self.rejected += 1
                self._send(route, error.reply)
            except PeerError:
                self.rejected += 1

    def _take(self, route: bytes, channel: AnsweringChannel, turn: Turn) -> None:
        """Have a fresh turn worked at; answer a repeated one."""
        if turn.repeated:
            for work in self._works:
                if work.channel is channel:
                    work.route = route
            reply = channel.reply
            if reply is None:
                self._send(route, channel.notice())
            else:
                self._send_reply(route, channel, reply)
            return
        self._forget()
        stream = channel.place.stream
        future = self._workers[stream].submit(
            self._answerer.answer, stream, turn.block, turn.frames
        )
        work = _Work(channel, future, route, time.monotonic())
        self._works.append(work)
        future.add_done_callback(lambda _: self._over(work))

    def _over(self, work: _Work) -> None:
        """Hand a finished turn to the receiving thread; called by its worker."""
        self._done.put(work)
        self._rouse()

    def _forget(self) -> None:
        """Drop turns that nobody has begun, of sessions that nobody waits for."""
        alive = self._end.sessions
        for work in self._works:
            if work.channel.place.session not in alive:
                work.future.cancel()

    def _finish(self) -> None:
        """Send the replies of the turns that are over."""
        while not self._done.empty():
            work = self._done.get()
            self._works.remove(work)
            if not work.future.cancelled():
                self._send_reply(work.route, work.channel, self._reply(work))

    def _reply(self, work: _Work) -> bytes:
        error = work.future.exception()
        if error is None:
            try:
                return self._end.reply(work.channel, work.future.result())
            except PeerError as too_large:
                return self._end.refuse(work.channel, too_large)
        if isinstance(error, ScqcError):
            return self._end.refuse(work.channel, error)
        # What such an error says was not written for the peer's eyes.
        self._failure = error
        name = type(error).__name__
        return self._end.refuse(work.channel, ScqcError(f"Alice failed with {name}"))

    def _tell(self) -> None:
        """Tell Bob about every turn that takes its time."""
        now_s = time.monotonic()
        for work in self._works:
            if now_s - work.told_s >= self._times.notice_s:
                work.told_s = now_s
                self._send(work.route, work.channel.notice())

    def _send_reply(
        self, route: bytes, channel: AnsweringChannel, reply: bytes
    ) -> None:
        """Send a reply; a large one is announced first."""
        if len(reply) > ANNOUNCED_BYTES:
            self._send(route, channel.notice(len(reply)))
        self._send(route, reply)

    def _send(self, route: bytes, data: bytes) -> None:
        """Send to whoever is there; to nobody, and it is dropped."""
        self._socket.send_multipart([route, data], flags=zmq.NOBLOCK, copy=False)
