"""A connection to a client, as aiohttp has it but for what it would answer in its own words."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from pricore.web.http.access_log import REQUEST_ID, AccessLog
from pricore.web.http.error_responses import error_response, failure_response, translate_error, unreadable
from pricore.web.http.request_head import RequestHead, RequestHeadReader
from pricore.web.http.responses import SERVER_NAME, last_response

RespondAtOnce: TypeAlias = Callable[[str, RequestHead, asyncio.Transport], bool]
"""Responds to a request for a path, if it can at once; whether it did."""

SETTINGS: Final[dict[str, Any]] = {
    # how long a connection may be idle, and how long the head of a request may take; proxies let go after 60 s
    "keepalive_timeout": 75,
    # packed bodies would be unpacked even where nobody reads them: a kilobyte is a megabyte then
    "auto_decompress": False,
    "access_log": None,
}
"""How aiohttp is to treat connections."""


PRIVATE_NAMES: Final = ("_waiter", "_next_keepalive_close_time", "_messages")
"""Names of aiohttp's that nobody promises: what is there while no request is, when an idle connection is closed,
and what came behind a request that cannot be read."""


class Connection(web.RequestHandler):
    """A connection, on which what no handler gets to see is an error in the shape of all errors, too.

    All that it overrides is public in aiohttp, but for who calls it when. Where what is private there isn't as it
    was, it leaves everything to aiohttp's way.
    """

    __slots__ = ("_access_log", "_clock", "_head_reader", "_respond_at_once")

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        access_log: AccessLog,
        respond_at_once: RespondAtOnce,
    ) -> None:
        # one for all connections, where aiohttp would make one for each
        log = {"access_log": access_log.logger, "access_log_class": lambda *_: access_log}
        super().__init__(server, loop=loop, **(SETTINGS | log))
        self._clock = loop.time
        self._access_log = access_log
        self._respond_at_once = respond_at_once
        self._head_reader: RequestHeadReader | None = None

    def missing(self) -> list[str]:
        """The private names that this aiohttp doesn't have."""
        return [name for name in PRIVATE_NAMES if not hasattr(self, name)]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for requests."""
        super().connection_made(transport)
        peer = self.peername
        if not self.missing():
            remote = str(peer[0] if isinstance(peer, tuple) else peer or "")
            self._head_reader = RequestHeadReader(remote=remote)

    def data_received(self, data: bytes) -> None:
        """Take what has come: what is cached is sent at once, in a third of the time that aiohttp's way takes.

        That is for connections on which nothing has come yet but whole requests of the plainest kind, one at a
        time: only then is it certain where one begins, whatever aiohttp's parser makes of it.
        """
        if self._head_reader is not None:
            read = self._head_reader.read(data)
            if read is None:
                self._head_reader = None
            elif self._respond(*read):
                self._next_keepalive_close_time = self._clock() + self.keepalive_timeout
                return
        super().data_received(data)

    def _respond(self, path: str, head: RequestHead) -> bool:
        """Respond at once if that can be done, it is its turn, and its client has read what came before."""
        waiter, transport = self._waiter, self.transport
        return (
            waiter is not None
            and not waiter.done()
            and transport is not None
            and transport.get_write_buffer_size() == 0
            and not self._access_log.is_written
            and self._respond_at_once(path, head, transport)
        )

    def close(self) -> None:
        """Take no more requests. What waits for one is closed, which aiohttp leaves to its last step."""
        waits = getattr(self, "_waiter", None) is not None
        super().close()
        if waits and self.transport is not None:
            self.transport.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The response to what cannot be parsed, and to failures around the handlers.

        The former is 400 and no matter for the log: whatever strangers send comes here.
        """
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody is left to answer, or part of a response was sent")
        unread = isinstance(exc, HttpProcessingError)
        if isinstance(exc, HttpProcessingError):
            response = error_response(request, 400, unreadable(exc))
            # frames hold what was received, and lead back to the error: megabytes until the next full collection;
            # with the errors of what came behind, which nobody answers any more
            behind = getattr(self, "_messages", ())
            for queued in (exc, *(getattr(item, "exc", exc) for item, _ in behind)):
                queued.__traceback__ = None
        else:
            response = failure_response(request, exc, self._access_log)
        response.headers[REQUEST_ID] = self._access_log.identify(request)
        response.headers[hdrs.SERVER] = SERVER_NAME
        response.force_close()
        return last_response(response) if unread else response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send a response; those that aiohttp made up itself have its own text."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = translate_error(request, resp, self._access_log)
            resp.headers[hdrs.SERVER] = SERVER_NAME
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what failed after the handlers; a client that goes away, or sends half a body, is no failure."""
        if not isinstance(kw.get("exc_info"), ConnectionError | web.RequestPayloadError):
            super().log_exception(*args, **kw)
