"""An instrument that answers as a recorded one did, and as nothing else.

It goes through a transcript message by message. What is not the next thing that
was said to the recorded instrument ends the connection, and is told.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from scqc.core.errors import CaptureError
from sim_backends.wire.byte_server import Answer, TcpByteServer
from sim_backends.wire.zmq_tagger import bound

FORMAT, VERSION = "scqc-transcript", 1
_SHOWN = 40
_POLL_MS = 50
_JOIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a transcript: ``>`` to the instrument, ``<`` from it."""

    instrument: str
    way: str
    data: bytes
    on: str = ""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said, and to whom.

    Parameters
    ----------
    instruments : dict of str to str
        The driver of each instrument, by its name.
    messages : tuple of Message
    """

    instruments: dict[str, str]
    messages: tuple[Message, ...]

    def of(self, instrument: str) -> tuple[Message, ...]:
        """Return what was said to and by one instrument."""
        return tuple(m for m in self.messages if m.instrument == instrument)


def read_transcript(path: Path) -> Transcript:
    """Read a transcript.

    Raises
    ------
    CaptureError
        If it cannot be read or is none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        about = json.loads(lines[0])
        if (about["format"], about["version"]) != (FORMAT, VERSION):
            raise CaptureError(f"{path}: not a transcript of version {VERSION}")
        instruments = {str(k): str(v) for k, v in about["instruments"].items()}
        messages = tuple(_message(json.loads(line)) for line in lines[1:])
    except (OSError, UnicodeDecodeError) as error:
        raise CaptureError(f"{path}: transcript: {error}") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise CaptureError(f"{path}: no transcript: {error!r}") from error
    return Transcript(instruments, messages)


def _message(entry: dict[str, Any]) -> Message:
    if "base64" in entry:
        data = base64.b64decode(entry["base64"], validate=True)
    else:
        data = str(entry["text"]).encode("ascii")
    instrument, way = str(entry["instrument"]), str(entry["way"])
    return Message(instrument, way, data, str(entry.get("on", "")))


class Script:
    """The position in a transcript; shared by the connections to one instrument.

    Parameters
    ----------
    name : str
    messages : sequence of Message

    Attributes
    ----------
    complaints : list of str
        What was said that the recorded instrument never heard.
    """

    def __init__(self, name: str, messages: Sequence[Message]) -> None:
        self.name = name
        self.complaints: list[str] = []
        self._messages = [m for m in messages if m.way in "<>" and m.data]
        self._at, self._taken = 0, 0
        self._lock = threading.Lock()

    @property
    def is_finished(self) -> bool:
        """Whether everything that was recorded has been said again."""
        return self._at >= len(self._messages)

    def hear(self, data: bytes) -> tuple[bytes, bool]:
        """Compare with what comes next; return the answers due, and whether it is."""
        with self._lock:
            while data:
                if self.is_finished or self._messages[self._at].way != ">":
                    return b"", self._complain(data, b"nothing more")
                expected = self._messages[self._at].data[self._taken :]
                size = min(len(expected), len(data))
                if data[:size] != expected[:size]:
                    return b"", self._complain(data, expected)
                data = data[size:]
                self._taken += size
                if size == len(expected):
                    self._at, self._taken = self._at + 1, 0
            return self._due(), True

    def _due(self) -> bytes:
        """Return what the instrument says until it is spoken to again."""
        answer = b""
        while not self._taken and not self.is_finished:
            if self._messages[self._at].way != "<":
                break
            answer += self._messages[self._at].data
            self._at += 1
        return answer

    def _complain(self, heard: bytes, expected: bytes) -> bool:
        self.complaints.append(
            f"{self.name}: heard {heard[:_SHOWN]!r}, recorded was {expected[:_SHOWN]!r}"
        )
        return False


class _Conversation:
    """One connection to a recorded instrument."""

    def __init__(self, script: Script, _closing: threading.Event) -> None:
        self._script = script

    def feed(self, data: bytes) -> Answer:
        """Take received bytes; return the answer to them."""
        answer, matched = self._script.hear(data)
        return Answer(answer, drops=not matched)


def replay_stream(script: Script, port: int = 0) -> TcpByteServer:
    """Serve a recorded byte stream on a loopback port, until closed."""
    return TcpByteServer(script, _Conversation, port)


class ReplayRequests:
    """Serves a recorded ZeroMQ instrument: its commands and its data link service.

    Parameters
    ----------
    name : str
    messages : sequence of Message
    """

    def __init__(self, name: str, messages: Sequence[Message]) -> None:
        self.scripts = {
            on: Script(f"{name} {on}", [m for m in messages if m.on == on])
            for on in ("control", "datalink")
        }
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._closing = threading.Event()
        sockets = {on: bound(self._context, zmq.REP, 0) for on in self.scripts}
        self._ports = {
            on: link.getsockopt_string(zmq.LAST_ENDPOINT).rpartition(":")[2]
            for on, link in sockets.items()
        }
        self._threads = [
            threading.Thread(
                target=self._serve,
                args=(self.scripts[on], link),
                name=f"{name}-{on}",
                daemon=True,
            )
            for on, link in sockets.items()
        ]
        for thread in self._threads:
            thread.start()

    @property
    def endpoint(self) -> str:
        """Where clients connect; nothing streams."""
        control, datalink = self._ports["control"], self._ports["datalink"]
        return f"zmq://127.0.0.1:{control}?datalink={datalink}&stream={datalink}"

    @property
    def complaints(self) -> list[str]:
        """What was said that the recorded instrument never heard."""
        return [c for script in self.scripts.values() for c in script.complaints]

    def close(self) -> None:
        """Stop serving; calling it again does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
        self._context.destroy(linger=0)

    def _serve(self, script: Script, link: zmq.Socket[bytes]) -> None:
        while not self._closing.is_set():
            if link.poll(_POLL_MS):
                answer, _ = script.hear(link.recv())
                link.send(answer)
        link.close(linger=0)
