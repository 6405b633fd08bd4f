"""Write down what goes over the wire, to look at it or to play it back.

A transcript is a text file of JSON lines: first which instruments were talked to,
then every message in order, ``>`` to an instrument and ``<`` from it. It is only
readable by its owner. What passes is not changed, and not delayed by more than
the writing of a line.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from driver.transports.zmq_link import ZmqLink
from scqc.core.clock import Deadline
from scqc.core.errors import CaptureError

FORMAT = "scqc-transcript"
VERSION = 1
#: A transcript that grows beyond this is ended: it is for commands, not for data.
LIMIT_BYTES = 64 << 20


class Recorder:
    """Writes one transcript; a context manager, safe to share between threads.

    Parameters
    ----------
    path : Path
        New file.
    instruments : mapping of str to str
        Who is talked to: the driver of each, by its name.

    Raises
    ------
    CaptureError
        If the file exists or cannot be written.
    """

    def __init__(self, path: Path, instruments: Mapping[str, str]) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._written, self._start_s = 0, time.monotonic()
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise CaptureError(f"{path}: transcript: {error.strerror}") from error
        self._file = os.fdopen(handle, "w", encoding="utf-8")
        drivers = dict(instruments)
        self._line({"format": FORMAT, "version": VERSION, "instruments": drivers})

    def __enter__(self) -> Recorder:
        """Return the recorder."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def note(
        self, instrument: str, way: str, data: bytes | memoryview, on: str = ""
    ) -> None:
        """Write down one message.

        Parameters
        ----------
        instrument : str
        way : {">", "<"}
        data : bytes or memoryview
        on : str
            Which of several sockets, where a link has them.

        Raises
        ------
        CaptureError
            If the transcript has grown beyond `LIMIT_BYTES`.
        """
        entry: dict[str, Any] = {
            "t": round(time.monotonic() - self._start_s, 6),
            "instrument": instrument,
            "way": way,
        }
        if on:
            entry["on"] = on
        raw = bytes(data)
        try:
            entry["text"] = raw.decode("ascii")
        except UnicodeDecodeError:
            entry["base64"] = base64.b64encode(raw).decode("ascii")
        self._line(entry)

    def _line(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry) + "\n"
        with self._lock:
            self._written += len(line)
            if self._written > LIMIT_BYTES:
                raise CaptureError(
                    f"{self.path}: transcript beyond {LIMIT_BYTES >> 20} MiB; record "
                    "commands, not data"
                )
            self._file.write(line)
            self._file.flush()


class RecordedStream:
    """A byte stream, SCPI messages included, whose traffic is written down.

    Parameters
    ----------
    inner : ByteTransport or ScpiTransport
    recorder : Recorder
    """

    def __init__(self, inner: Any, recorder: Recorder) -> None:
        self._inner, self._recorder = inner, recorder
        self._name: str = inner.instrument

    def __getattr__(self, name: str) -> Any:
        """Hand on what is neither sent nor received."""
        return getattr(self._inner, name)

    def write(
        self, data: bytes | memoryview, deadline: Deadline, **options: bool
    ) -> None:
        """Send all of `data` before `deadline`."""
        self._inner.write(data, deadline, **options)
        self._recorder.note(self._name, ">", data)

    def read_into(self, target: memoryview, deadline: Deadline) -> int:
        """Fill `target`; return the bytes read [1]."""
        count = int(self._inner.read_into(target, deadline))
        if count:
            self._recorder.note(self._name, "<", target[:count])
        return count

    def read_line(self, deadline: Deadline, limit: int = 1 << 20) -> bytes:
        """Return a line of the answer, without its end."""
        line = bytes(self._inner.read_line(deadline, limit))
        self._recorder.note(self._name, "<", line + b"\n")
        return line

    def read_until(
        self, terminator: bytes, deadline: Deadline, limit: int = 1 << 20
    ) -> bytes:
        """Return the bytes up to the next `terminator`, without it."""
        line = bytes(self._inner.read_until(terminator, deadline, limit))
        self._recorder.note(self._name, "<", line + terminator)
        return line

    def take_unread(self) -> bytes:
        """Return and forget what has arrived already; waits for nothing."""
        found = bytes(self._inner.take_unread())
        if found:
            self._recorder.note(self._name, "<", found)
        return found


class RecordedRequests:
    """Requests and answers of a ZeroMQ instrument, written down; streams are not.

    Parameters
    ----------
    inner : ZmqLink
    recorder : Recorder
    """

    def __init__(self, inner: ZmqLink, recorder: Recorder) -> None:
        self._inner, self._recorder = inner, recorder
        self._name: str = inner.instrument

    def __getattr__(self, name: str) -> Any:
        """Hand on what is no request."""
        return getattr(self._inner, name)

    def control(self, message: str, deadline: Deadline) -> str:
        """Send a command to the instrument; return its answer."""
        return self._ask("control", message, deadline)

    def datalink(self, message: str, deadline: Deadline) -> str:
        """Send a request to the data link service; return its answer."""
        return self._ask("datalink", message, deadline)

    def _ask(self, on: str, message: str, deadline: Deadline) -> str:
        self._recorder.note(self._name, ">", message.encode(), on)
        reply: str = getattr(self._inner, on)(message, deadline)
        self._recorder.note(self._name, "<", reply.encode(), on)
        return reply


def recorded(transport: Any, recorder: Recorder) -> Any:
    """Return `transport` with its traffic written down.

    Parameters
    ----------
    transport : ByteTransport, ScpiTransport or ZmqLink
    recorder : Recorder
    """
    if isinstance(transport, ZmqLink):
        return RecordedRequests(transport, recorder)
    return RecordedStream(transport, recorder)
