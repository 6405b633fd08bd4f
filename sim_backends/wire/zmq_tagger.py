"""A time controller on loopback ZeroMQ sockets, with its data link service.

Two request sockets answer text: the controller's commands, and the data link's
requests with JSON. Every stream of time tags has a socket of its own, bound
while the data link serves it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import shlex
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from sim_backends.devices.base import INHERITED
from sim_backends.devices.idq_id900 import INPUTS, IdqId900
from sim_backends.faults import LATE_S
from sim_backends.wire import listen
from sim_backends.wire.status import ScpiError

GARBAGE = b"\x00\xff\xfe~garbage~\x80"
CHUNK_TAGS = 1 << 20
# A message comes whole or not at all, so none drips and none is cut.
WIRE_KINDS = (
    "drop-connection",
    "reboot",
    "no-reply",
    "late-reply",
    "half-block",
    "wrong-length",
    "garbage",
    "not-a-number",
    "wrong-identity",
)
_POLL_MS = 20
_REBIND_S = 2.0
_JOIN_S = 5.0
_FIRST_PORT, _PORTS = 20_000, 12_000
_NUMBERS = itertools.count()


class ZmqTaggerServer:
    """Serves one time controller, until closed.

    Parameters
    ----------
    device : IdqId900
    port : int
        TCP port of the controller on the loopback interface; 0 lets the system
        choose. The ports of data link and streams are always chosen.
    """

    def __init__(self, device: IdqId900, port: int = 0) -> None:
        self.device = device
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._closing = threading.Event()
        self._datalink = _DataLink(device, self._context, self._closing)
        self._answerers = [
            _Answerer(device, self._context, self._closing, port, self._command),
            _Answerer(device, self._context, self._closing, 0, self._datalink.answer),
        ]
        self._stream_port = free_ports(len(INPUTS))

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        control, datalink = (a.port for a in self._answerers)
        options = f"datalink={datalink}&stream={self._stream_port}"
        return f"zmq://{listen.host()}:{control}?{options}"

    def close(self) -> None:
        """Stop serving and end all threads; calling it again does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        for answerer in self._answerers:
            answerer.join()
        self._datalink.close()
        self.device.shut_down()
        # Ending a context waits for its sockets: none may be left over.
        self._context.destroy(linger=0)

    def _command(self, message: str) -> tuple[str, str]:
        """Carry out one message; return the verb it was about, and the reply."""
        verb, replies, path = "", [], list[str]()
        for unit in message.split(";"):
            header, _, rest = unit.strip().partition(" ")
            words = header.removeprefix(":").rstrip("?").split(":")
            # A unit continues at the level of the one before.
            absolute = header.startswith((":", "*")) or not path
            full = words if absolute else path + words
            path = full[:-1]
            parameters = [p.strip() for p in rest.split(",")] if rest.strip() else []
            try:
                call = self.device.resolve(
                    full, list(parameters), is_query=header.endswith("?")
                )
            except ScpiError as error:
                replies.append(f"{error.code},{error.detail}")
                continue
            if call.command.verb != INHERITED:
                verb = call.command.verb
            faults = self.device.faults
            if not call.is_query and faults.take_data(verb, "not-taken"):
                continue
            if not call.is_query and faults.take_data(verb, "execution-error"):
                replies.append("-200,Execution error")
                continue
            reply = self.device.execute(call)
            if isinstance(reply, str):
                replies.append(reply)
        return verb, "\n".join(replies)


class _Answerer:
    """A request socket and the thread that answers on it."""

    def __init__(
        self,
        device: IdqId900,
        context: zmq.Context[zmq.Socket[bytes]],
        closing: threading.Event,
        port: int,
        answer: Callable[[str], tuple[str, str]],
    ) -> None:
        self._device, self._context = device, context
        self._closing, self._answer = closing, answer
        self._socket = bound(context, zmq.ROUTER, port)
        place = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.port = int(place.rpartition(":")[2])
        self._thread = threading.Thread(
            target=self._serve, name=f"{device.name}-{self.port}", daemon=True
        )
        self._thread.start()

    def join(self) -> None:
        """Wait for the thread; the closing event must be set."""
        self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        while not self._closing.is_set():
            if not self._socket.poll(_POLL_MS):
                continue
            *route, request = self._socket.recv_multipart()
            verb, reply = self._answer(request.decode(errors="replace"))
            kind = self._device.faults.take_data(verb, *WIRE_KINDS)
            if kind == "reboot":
                with self._device.lock:
                    self._device.reboot()
            if kind in {"drop-connection", "reboot"}:
                self._socket.close(linger=0)
                self._socket = bound(self._context, zmq.ROUTER, self.port)
            elif kind != "no-reply":
                self._socket.send_multipart([*route, self._spoiled(kind, reply)])
        self._socket.close(linger=0)

    def _spoiled(self, kind: str | None, reply: str) -> bytes:
        """Return the reply as the fault leaves it."""
        if kind == "late-reply":
            self._closing.wait(LATE_S)
        elif kind == "garbage":
            return GARBAGE
        elif kind == "wrong-identity":
            return b"Somebody Else,Model X,0,0"
        elif kind == "half-block":
            return reply.encode()[: len(reply) // 2]
        elif kind == "wrong-length":
            return f"{reply},0".encode()
        elif kind == "not-a-number":
            return b"NAN"
        return reply.encode()


class _DataLink:
    """The service that receives the controller's tags and hands them on."""

    def __init__(
        self,
        device: IdqId900,
        context: zmq.Context[zmq.Socket[bytes]],
        closing: threading.Event,
    ) -> None:
        self._device, self._context, self._closing = device, context, closing
        self._streams: dict[str, _Stream] = {}
        self._numbers = itertools.count(1)

    def answer(self, message: str) -> tuple[str, str]:
        """Carry out one request; return the verb it was about, and the reply."""
        try:
            verb, found = self._execute(shlex.split(message))
        except (ValueError, KeyError, IndexError, zmq.ZMQError) as error:
            verb, found = "", {"error": {"description": f"{message}: {error!r}"}}
        return verb, json.dumps(found)

    def close(self) -> None:
        """End all streams."""
        for stream in self._streams.values():
            stream.close()

    def _execute(self, words: list[str]) -> tuple[str, Any]:
        options = dict(zip(words[1::2], words[2::2], strict=True))
        if words[0] == "list":
            return "arm", list(self._streams)
        if words[0] == "start-stream":
            return "arm", self._start(
                int(options["--channel"]), int(options["--stream-port"])
            )
        if words[0] == "status":
            return "wait", self._streams[options["--id"]].status()
        if words[0] == "stop":
            stream = self._streams.pop(options["--id"])
            self._device.connect(stream.channel, None)
            stream.close()
            return "fetch", {"status": stream.status()}
        raise ValueError("unknown request")

    def _start(self, channel: int, port: int) -> dict[str, str]:
        if channel not in INPUTS:
            raise ValueError(f"channel {channel}")
        stream = _Stream(channel, bound(self._context, zmq.PAIR, port), self._closing)
        name = f"127.0.0.1:{5555 + next(self._numbers)}"
        self._streams[name] = stream
        self._device.connect(channel, stream.put)
        return {"id": name}


class _Stream:
    """One stream of tags: a socket, and the thread that feeds it."""

    def __init__(
        self, channel: int, link: zmq.Socket[bytes], closing: threading.Event
    ) -> None:
        self.channel, self._socket, self._closing = channel, link, closing
        self._waiting: queue.SimpleQueue[NDArray[np.int64] | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._acquisitions = self._tags = 0
        self._thread = threading.Thread(
            target=self._serve, name=f"stream-{channel}", daemon=True
        )
        self._thread.start()

    def put(self, tags: NDArray[np.int64]) -> None:
        """Send the tags of one record, shape (n,), int64 [ps], and the end."""
        self._tags += tags.size
        self._acquisitions += 1
        self._waiting.put(tags)

    def status(self) -> dict[str, Any]:
        """Return what was received from the controller so far."""
        return {
            "acquisitions_count": self._acquisitions,
            "timestamps_count": self._tags,
            "inactivity": 0.0,
            "errors": [],
        }

    def close(self) -> None:
        """End the thread and free the port; calling it again does nothing."""
        if not self._ended.is_set():
            self._ended.set()
            self._waiting.put(None)
            self._thread.join(_JOIN_S)

    def _serve(self) -> None:
        while (tags := self._waiting.get()) is not None:
            for start in range(0, tags.size, CHUNK_TAGS):
                part = tags[start : start + CHUNK_TAGS].astype("<u8")
                if not self._send(part.data):
                    break
            self._send(b"")
        self._socket.close(linger=0)

    def _send(self, message: bytes | memoryview) -> bool:
        """Send once somebody listens; give up when the stream is ended."""
        while not (self._ended.is_set() or self._closing.is_set()):
            if not self._socket.poll(_POLL_MS, zmq.POLLOUT):
                continue
            # Who listened may be gone again by now: a send that waits would never
            # end, and its socket never be closed.
            with contextlib.suppress(zmq.Again):
                self._socket.send(message, flags=zmq.NOBLOCK, copy=False)
                return True
        return False


def bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, port: int
) -> zmq.Socket[bytes]:
    """Return a socket bound to a loopback port; 0 lets the system choose.

    A port that was closed a moment ago is tried again: closing it is not
    immediate.

    Raises
    ------
    zmq.ZMQError
        If the port stays taken.
    """
    link = context.socket(kind)
    end_s = time.monotonic() + _REBIND_S
    while True:
        try:
            link.bind(f"tcp://{listen.host()}:{port or '*'}")
            return link
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > end_s:
                link.close(linger=0)
                raise
            time.sleep(1e-3)


def free_ports(count: int) -> int:
    """Return the first of `count` loopback ports in a row that nobody listens on.

    They lie below the ports that systems give to outgoing connections; every
    process begins to look elsewhere, and none looks at a place twice.
    """
    places = _PORTS // count
    for _ in range(places):
        place = (37 * os.getpid() + next(_NUMBERS)) % places
        first = _FIRST_PORT + count * place
        with contextlib.ExitStack() as held, contextlib.suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.create_server((listen.host(), port)))
            return first
    raise OSError(f"no {count} free ports in a row on the loopback interface")
