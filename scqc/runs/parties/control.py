"""The control socket of a running end: one line of JSON each way.

It is a local socket in the home of the service, in a folder that only its owner may
enter. Whoever can write there can start and stop it, and give it messages.
"""

from __future__ import annotations

import json
import os
import socket
import socketserver
import threading
from collections.abc import Callable
from inspect import isfunction
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast

from scqc.core import errors
from scqc.core.errors import CaptureError, PeerError, ScqcError
from scqc.runs.outcome import exit_code

SOCKET_NAME = "control.sock"
_UNNAMED = ".control"
_MAX_LINE = 1 << 16
_TIMEOUT_S = 10.0
#: Threads that answer [1]: who asks and then says nothing holds one until the time-out.
_ANSWERERS = 4
#: Answers a request; raises what cannot be done.
Handle = Callable[[dict[str, Any]], dict[str, Any]]


class ControlServer:
    """Answers requests until it is closed; a context manager.

    Parameters
    ----------
    home : Path
        Exists; gets mode 0700.
    handle : callable
        Called from a few threads, kept as long as the server.

    Raises
    ------
    PeerError
        If another service answers there, or the socket cannot be made.
    """

    def __init__(self, home: Path, handle: Handle) -> None:
        self.path = home / SOCKET_NAME
        require_alone(home)
        try:
            home.chmod(0o700)
            # Who sees the socket may ask: it gets its name once somebody listens.
            unnamed = home / _UNNAMED
            unnamed.unlink(missing_ok=True)
            self._server = _Server(str(_near(unnamed)), _handler(handle))
            unnamed.chmod(0o600)
            unnamed.replace(self.path)
        except OSError as error:
            raise PeerError(f"{self.path}: control socket: {error}") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="control", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> ControlServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering; the socket is removed."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.path.unlink(missing_ok=True)


class _Server(socketserver.UnixStreamServer):
    """Hands connections to threads that stay.

    A thread for each of them costs memory: many questions at a time, and the C
    library keeps a heap for as many threads, fragments and all.
    """

    request_queue_size = 64

    def __init__(
        self, address: str, handler: type[socketserver.StreamRequestHandler]
    ) -> None:
        super().__init__(address, handler)
        self._waiting: SimpleQueue[socket.socket | None] = SimpleQueue()
        for _ in range(_ANSWERERS):
            self._add_answerer()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Let the next free thread answer."""
        self._waiting.put(request)

    def server_close(self) -> None:
        """Stop listening, and end the threads when what came is answered."""
        super().server_close()
        for _ in range(_ANSWERERS):
            self._waiting.put(None)

    def _add_answerer(self) -> None:
        # Nobody waits for its end: it may hang on who asked until the time-out.
        threading.Thread(target=self._answer, name="control", daemon=True).start()

    def _answer(self) -> None:
        while (request := self._waiting.get()) is not None:
            try:
                self.finish_request(request, "")
            except BaseException:
                # A mistake of ours ends this thread; the next question has another.
                self._add_answerer()
                raise
            finally:
                self.shutdown_request(request)


def _handler(handle: Handle) -> type[socketserver.StreamRequestHandler]:
    class Handler(socketserver.StreamRequestHandler):
        timeout = _TIMEOUT_S

        def handle(self) -> None:
            try:
                line = self.rfile.readline(_MAX_LINE)
                reply = _reply(handle, line)
                self.wfile.write(json.dumps(reply).encode() + b"\n")
            except OSError:
                # Whoever asked has gone.
                return

    return Handler


def _reply(handle: Handle, line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
        if not isinstance(request, dict):
            raise PeerError("control: a request is an object")
        return {"ok": True} | handle(request)
    except ScqcError as error:
        # Before ValueError: some of ours are that, too.
        return _refusal(error)
    except (ValueError, RecursionError) as error:
        return _refusal(PeerError(f"control: no JSON: {error}"))
    except OSError as error:
        return _refusal(CaptureError(f"control: {error}"))


def _refusal(error: ScqcError) -> dict[str, Any]:
    return {
        "ok": False,
        "error": str(error),
        "class": type(error).__name__,
        "exit_code": exit_code(error),
    }


def _refused(reply: dict[str, Any]) -> ScqcError:
    """Return the error of a service that refuses, in its own class where that can be.

    Those made of more than a sentence come as a `PeerError`.
    """
    sentence = str(reply.get("error", "control: refused"))
    kind = getattr(errors, str(reply.get("class", "")), None)
    ours = isinstance(kind, type) and issubclass(kind, ScqcError)
    if not ours or isfunction(getattr(kind, "__init__", None)):
        return PeerError(sentence)
    return cast("type[ScqcError]", kind)(sentence)


def require_alone(home: Path) -> None:
    """Refuse a home that a service runs in.

    Raises
    ------
    PeerError
        With what to do.
    """
    if _answers(home / SOCKET_NAME):
        raise PeerError(
            f"{home}: another service runs here; stop it with `scqc tell {home} "
            "end`, or choose another --home"
        )


def tell(home: Path, command: str, **values: Any) -> dict[str, Any]:
    """Ask the service that runs in `home`; return what it says.

    Parameters
    ----------
    home : Path
    command : str
        ``"status"``, ``"start"``, ``"stop"``, ``"end"`` or ``"message"``.
    values
        What belongs to the command.

    Raises
    ------
    PeerError
        If no service runs there.
    ScqcError
        If it refuses: of the class that it names.
    """
    path = home / SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_TIMEOUT_S)
            line.connect(str(_near(path)))
            line.sendall(json.dumps({"command": command, **values}).encode() + b"\n")
            with line.makefile("rb") as file:
                reply = json.loads(file.readline())
    except (OSError, ValueError) as error:
        raise PeerError(
            f"{home}: no service answers ({error}); `scqc alice CONFIG --home {home}` "
            "or `scqc bob …` starts one"
        ) from error
    if not reply.pop("ok", False):
        raise _refused(reply)
    found: dict[str, Any] = reply
    return found


def _answers(path: Path) -> bool:
    """Return whether somebody listens; a crash leaves a socket nobody listens at."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(1.0)
            line.connect(str(_near(path)))
    except OSError:
        return False
    return True


def _near(path: Path) -> Path:
    """Return the shorter way to a socket: its name may have about 100 bytes."""
    absolute = path.resolve()
    relative = Path(os.path.relpath(absolute))
    return min(absolute, relative, key=lambda p: len(str(p)))
