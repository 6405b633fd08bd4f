"""HTTP as aiohttp speaks it, with the words of a KME for what is no HTTP."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from protocols.delivery.answers import JSON_TYPE, Answer, failure
from scqc.core.errors import DeliveryError


class Speaker(web.RequestHandler):
    """One connection; a client that cannot be understood costs no traceback.

    Parameters
    ----------
    server : web.Server
    refused : callable
        Told the status of every request that was answered here, no application's.
    settings
        Those of `web.RequestHandler`.
    """

    __slots__ = ("_refused",)

    def __init__(
        self, server: web.Server, refused: Callable[[int], None], **settings: object
    ) -> None:
        super().__init__(server, **settings)  # type: ignore[arg-type]
        self._refused = refused

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request, and what failed for a mistake of ours.

        Raises
        ------
        ConnectionError
            If part of an answer is out already.
        """
        self._refused(status)
        if status >= 500:
            self.log_exception("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("part of an answer is out already")
        says = "this is no HTTP request" if status < 500 else "a mistake of this KME"
        last = response(failure(DeliveryError(status, says)))
        last.force_close()
        return last


def response(answer: Answer) -> web.Response:
    """Return an answer as HTTP; it is kept nowhere, and names no versions."""
    headers = {"Cache-Control": "no-store", "Server": "scqc"}
    if answer.allow:
        headers["Allow"] = answer.allow
    return web.Response(
        body=answer.body,
        status=answer.status,
        content_type=JSON_TYPE,
        headers=headers,
    )
