"""HTTPS server of a KME: connections, limits and time; what is said lies below.

Everything a stranger can do costs him a bounded share: a handshake has a few seconds
and one of a few places, a request must be there in full by a deadline from its first
byte (or from the handshake), and header, body and number of connections have limits.
The database is never asked on the event loop.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aiohttp import web

from protocols.delivery.answers import failure
from protocols.delivery.service import Call, KeyDelivery
from protocols.delivery.settings import DeliverySettings, KmeSettings
from scqc.core.errors import DeliveryError
from scqc.runs.delivery.guard import Guard
from scqc.runs.delivery.speaker import Speaker, response
from scqc.runs.delivery.tls import check_unexpired, expiry_s, sae_of

HANDSHAKE_TIMEOUT_S = 5.0
MOST_HANDSHAKES = 32
MOST_HEADER_BYTES = 8190
#: Refused handshakes are told of so often, with their number; strangers cannot fill
#: the log [s].
WARN_EVERY_S = 60.0
# As many requests at most share one write to the disk; while it lasts, the next gather.
WORKERS = 16
_LOG = logging.getLogger("scqc.delivery")


class KmeServer:
    """Serves one KME on one address; made and used on a running event loop.

    Parameters
    ----------
    delivery : KeyDelivery
    context : ssl.SSLContext
        From `scqc.runs.delivery.tls.server_context`.
    """

    def __init__(self, delivery: KeyDelivery, context: ssl.SSLContext) -> None:
        self._delivery, self._context = delivery, context
        self._settings: DeliverySettings = delivery.settings
        self._kme: KmeSettings = delivery.here
        self._guards: dict[object, Guard] = {}
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="keys")
        self._places = asyncio.Semaphore(MOST_HANDSHAKES)
        self._refused: Counter[str] = Counter()
        self._warned_s, self._warned_of = -WARN_EVERY_S, 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        # Who hangs up waits for nothing; what was burnt for him stays burnt.
        self._http = web.Server(self._handle, handler_cancellation=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens: host and port.

        Raises
        ------
        DeliveryError
            If it was not started.
        """
        if self._listener is None:
            raise DeliveryError(503, f"{self._kme.kme_id} is not listening")
        host, port = self._listener.getsockname()[:2]
        return str(host), int(port)

    def counts(self) -> dict[str, int]:
        """Return how often what was answered or refused."""
        found = Counter(self._delivery.counts()) + self._refused
        return dict(found) | {"connections": len(self._guards)}

    async def start(self) -> None:
        """Listen.

        Raises
        ------
        DeliveryError
            If the address is taken, or not ours.
        """
        host, port = self._kme.listen_host, self._kme.listen_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server(
                (host, port), family=family, backlog=128
            )
        except OSError as cause:
            message = f"{self._kme.kme_id}: cannot listen on {host}:{port}: {cause}"
            raise DeliveryError(503, message) from cause
        self._listener.setblocking(False)
        self._spawn(self._accept(self._listener))

    async def stop(self) -> None:
        """Take no more requests, finish those begun, close."""
        if self._listener is not None:
            self._listener.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._http.pre_shutdown()
        await self._http.shutdown(timeout=self._settings.request_timeout_s)
        for guard in list(self._guards.values()):
            guard.abort()
        # Connections, and then their tasks, end in the next turns of the loop.
        while self._guards:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        self._pool.shutdown()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                link, _ = await loop.sock_accept(listener)
            except OSError as error:
                # No file descriptor left, or gone before we came: try again.
                _LOG.warning("%s: accept: %s", self._kme.kme_id, error)
                self._places.release()
                await asyncio.sleep(0.1)
                continue
            except asyncio.CancelledError:
                self._places.release()
                raise
            self._spawn(self._shake_hands(link))

    async def _shake_hands(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                self._make_guard,
                link,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            )
        except (OSError, ssl.SSLError) as error:
            # OSError has the time-outs; no certificate, a wrong or an expired one.
            self._note_refused(error)
            link.close()
        except asyncio.CancelledError:
            link.close()
            raise
        finally:
            self._places.release()

    def _note_refused(self, error: OSError) -> None:
        """Count a refused handshake; now and then the log hears of them."""
        self._refused["handshakes refused"] += 1
        now_s, number = time.monotonic(), self._refused["handshakes refused"]
        if now_s - self._warned_s < WARN_EVERY_S:
            return
        _LOG.warning(
            "%s: %d handshakes refused, the last: %s; a certificate that has expired "
            "or is of another authority, or a stranger",
            self._kme.kme_id,
            number - self._warned_of,
            str(error) or type(error).__name__,
        )
        self._warned_s, self._warned_of = now_s, number

    def _count_refused(self, status: int) -> None:
        """Count an answer that no application's question has reached."""
        self._refused[f"other {status}"] += 1

    def _make_guard(self) -> Guard:
        inner = Speaker(
            self._http,
            self._count_refused,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._settings.idle_timeout_s,
            max_line_size=MOST_HEADER_BYTES,
            max_field_size=MOST_HEADER_BYTES,
            lingering_time=1.0,
            auto_decompress=False,
            access_log=None,
        )
        return Guard(
            inner,
            self._guards,
            self._settings.max_connections,
            (self._settings.request_timeout_s, self._settings.idle_timeout_s),
        )

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        guard = self._guards.get(request.protocol)
        try:
            call = await self._read(request)
        except DeliveryError as error:
            self._count_refused(error.status)
            answer = failure(error)
        else:
            if guard is not None:
                guard.working()
            loop = asyncio.get_running_loop()
            work = functools.partial(self._delivery.answer, call)
            answer = await loop.run_in_executor(self._pool, work)
        if guard is not None:
            guard.answered()
        return response(answer)

    async def _read(self, request: web.BaseRequest) -> Call:
        """Return the call in a request, or refuse it before it is read in full."""
        transport = request.transport
        if transport is None:
            raise DeliveryError(503, "the connection is gone")
        certificate = transport.get_extra_info("peercert")
        check_unexpired(expiry_s(certificate))
        sae = sae_of(certificate)
        most = self._settings.max_body_bytes
        body = b""
        if request.body_exists:
            if (request.content_length or 0) > most:
                raise DeliveryError(413, f"body: more than {most} bytes")
            if request.headers.get("Expect", "").lower() == "100-continue":
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            parts = bytearray()
            while part := await request.content.read(most + 1 - len(parts)):
                parts += part
                if len(parts) > most:
                    raise DeliveryError(413, f"body: more than {most} bytes")
            body = bytes(parts)
        return Call(
            sae=sae,
            method=request.method,
            target=request.raw_path,
            content_type=request.headers.get("Content-Type", ""),
            body=body,
        )
