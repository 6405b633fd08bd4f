"""A clock on every connection: what says nothing, or too slowly, is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping


class Guard(asyncio.Protocol):
    """Stands between a transport and the HTTP protocol behind it.

    A request must be whole `request_timeout_s` after its first byte, the first one
    after the handshake; a connection without a request ends after `idle_timeout_s`.

    Parameters
    ----------
    inner : asyncio.Protocol
        Speaks HTTP.
    guards : mutable mapping
        All open connections, by `inner`.
    most : int
        Connections at a time [1]; a further one is closed at once.
    timeouts_s : tuple of float
        For a request, and between requests [s].
    """

    def __init__(
        self,
        inner: asyncio.Protocol,
        guards: MutableMapping[object, Guard],
        most: int,
        timeouts_s: tuple[float, float],
    ) -> None:
        self._inner, self._guards, self._most = inner, guards, most
        self._request_s, self._idle_s = timeouts_s
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._between = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let a connection in, when there is room."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"{transport!r} is no stream")
        self._transport = transport
        if len(self._guards) >= self._most:
            transport.abort()
            return
        self._guards[self._inner] = self
        self._inner.connection_made(transport)
        self._wait(self._request_s)

    def data_received(self, data: bytes) -> None:
        """Pass data on; the first byte of a request starts its clock."""
        if self._between:
            self._between = False
            self._wait(self._request_s)
        if self._inner in self._guards:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Pass on that the client has said all."""
        return self._inner.eof_received() if self._inner in self._guards else None

    def pause_writing(self) -> None:
        """Pass on that the client does not read; its clock runs."""
        self._wait(self._request_s)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the client reads again."""
        self.answered()
        self._inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        if self._guards.pop(self._inner, None) is not None:
            self._inner.connection_lost(error)

    def working(self) -> None:
        """Stop the clock: the request is whole, it is our turn."""
        self._stop()

    def answered(self) -> None:
        """Wait for the next request."""
        self._between = True
        self._wait(self._idle_s)

    def abort(self) -> None:
        """Cut the connection off."""
        if self._transport is not None:
            self._transport.abort()

    def _wait(self, seconds: float) -> None:
        self._stop()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
