"""A server with one page, for whoever collects metrics.

It can be read and nothing else. A few connections at a time are served, each for a few
seconds and of a few kilobytes; more are closed at once, so that nobody who asks can
hold up the program or fill its memory.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from typing import Any

from scqc.core.errors import ConfigError, ConfigProblem

PATH = b"/metrics"
MOST_CONNECTIONS = 8
_MOST_BYTES = 8192
_TIMEOUT_S = 5.0
#: Returns the type of the content, and the content.
Page = Callable[[], tuple[str, bytes]]


class MetricsServer:
    """Serves a page until it is closed; a context manager.

    Parameters
    ----------
    address : str
        ``host:port``; port 0 takes any free one.
    page : callable
        Called from the thread of a connection.

    Raises
    ------
    ConfigError
        If nothing can listen there.
    """

    def __init__(self, address: str, page: Page) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        kind = _Server6 if ":" in host else _Server
        try:
            self._server = kind((host, int(port)), _handler(page))
        except (OSError, OverflowError) as error:
            limit = f"cannot listen there: {error}"
            raise ConfigError(
                [ConfigProblem("lab config", "", "metrics", address, limit)]
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the page is."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}{PATH.decode()}"

    @property
    def turned_away(self) -> int:
        """Connections that were one too many [1]."""
        return self._server.turned_away

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.turned_away = 0
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection a thread, if there is a place."""
        if not self._places.acquire(blocking=False):
            self.turned_away += 1
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection; its place is free again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()


class _Server6(_Server):
    address_family = socket.AF_INET6


def _handler(page: Page) -> type[socketserver.BaseRequestHandler]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # Whoever asked has gone, or was too slow.
            with contextlib.suppress(OSError):
                head = _read_head(self.request, time.monotonic() + _TIMEOUT_S)
                if head:
                    self.request.settimeout(_TIMEOUT_S)
                    self.request.sendall(_answer(head, page))

    return Handler


def _read_head(link: socket.socket, end_s: float) -> bytes:
    """Return a request up to its empty line, or nothing of one that has no end."""
    head = b""
    while b"\r\n\r\n" not in head:
        left_s = end_s - time.monotonic()
        if left_s <= 0.0 or len(head) > _MOST_BYTES:
            return b""
        link.settimeout(left_s)
        part = link.recv(4096)
        if not part:
            return b""
        head += part
    return head


def _answer(head: bytes, page: Page) -> bytes:
    words = head.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return _response("400 Bad Request", "text/plain", b"no HTTP request\n")
    method, target = words[0], words[1].partition(b"?")[0]
    if method not in (b"GET", b"HEAD"):
        return _response("405 Method Not Allowed", "text/plain", b"read only\n")
    if target != PATH:
        return _response("404 Not Found", "text/plain", b"there is only /metrics\n")
    kind, content = page()
    return _response("200 OK", kind, content, with_body=method == b"GET")


def _response(
    status: str, kind: str, content: bytes, *, with_body: bool = True
) -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(content)}\r\nAllow: GET, HEAD\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (content if with_body else b"")
