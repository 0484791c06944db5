"""A connection to a client, as aiohttp has it but for what it would answer in its own words."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeAlias

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from pricore.web.http.access_log import REQUEST_ID, Journal
from pricore.web.http.error_responses import (
    answer_error,
    answer_failure,
    error_answer,
    unreadable,
)
from pricore.web.http.request_head import Headers, HeadReader
from pricore.web.http.responses import SERVER, answer_last

Recall: TypeAlias = Callable[[str, Headers, str, asyncio.Transport], bool]
"""Answers a request for a path that came from an address, if it can at once; whether it did."""

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
    """A connection, on which also what no handler gets to see is answered in the shape of every error.

    All that it overrides is public in aiohttp, but for who calls it when. Where what is private there isn't as it
    was, it leaves everything to aiohttp's way.
    """

    __slots__ = ("_clock", "_heads", "_journal", "_recall", "_remote")

    def __init__(
        self, server: web.Server, loop: asyncio.AbstractEventLoop, journal: Journal, recall: Recall
    ) -> None:
        # one for all connections, where aiohttp would make one for each
        log = {"access_log": journal.logger, "access_log_class": lambda *_: journal}
        super().__init__(server, loop=loop, **(SETTINGS | log))
        self._clock = loop.time
        self._journal = journal
        self._recall = recall
        self._heads: HeadReader | None = None if self.missing() else HeadReader()
        self._remote = ""

    def missing(self) -> list[str]:
        """The private names that this aiohttp doesn't have."""
        return [name for name in PRIVATE_NAMES if not hasattr(self, name)]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for requests."""
        super().connection_made(transport)
        peer = self.peername
        self._remote = str(peer[0] if isinstance(peer, tuple) else peer or "")

    def data_received(self, data: bytes) -> None:
        """Take what has come: what can be answered at once is, which takes half the time of aiohttp's way.

        That is for connections on which nothing has come yet but whole requests of the plainest kind, one at a
        time: only then is it certain where one begins, whatever aiohttp's parser makes of it.
        """
        if self._heads is not None:
            head = self._heads.read(data)
            if head is None:
                self._heads = None
            elif self._answer(*head):
                self._next_keepalive_close_time = self._clock() + self.keepalive_timeout
                return
        super().data_received(data)

    def _answer(self, path: str, headers: Headers) -> bool:
        """Answer a request if it is its turn, its client has read the last answer, and it can be done at once."""
        waiter, transport = self._waiter, self.transport
        return (
            waiter is not None
            and not waiter.done()
            and transport is not None
            and transport.get_write_buffer_size() == 0
            and not self._journal.is_written
            and self._recall(path, headers, self._remote, transport)
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
        """The answer to what cannot be parsed, and to failures around the handlers.

        The former is 400 and no matter for the log: whatever strangers send comes here.
        """
        if isinstance(exc, ConnectionError) or request.writer.output_size > 0:
            raise ConnectionError("nobody is left to answer, or part of an answer was sent")
        unread = isinstance(exc, HttpProcessingError)
        if isinstance(exc, HttpProcessingError):
            response = error_answer(request, 400, unreadable(exc))
            # frames hold what was received, and lead back to the error: megabytes until the next full collection;
            # with the errors of what came behind, which nobody answers any more
            behind = getattr(self, "_messages", ())
            for queued in (exc, *(getattr(item, "exc", exc) for item, _ in behind)):
                queued.__traceback__ = None
        else:
            response = answer_failure(request, exc, self._journal)
        response.headers[REQUEST_ID] = self._journal.identify(request)
        response.headers[hdrs.SERVER] = SERVER
        response.force_close()
        return answer_last(response) if unread else response

    def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Send an answer; those that aiohttp made up itself have its own text."""
        if isinstance(resp, web.HTTPException) and resp.status >= 400:
            resp = answer_error(request, resp, self._journal)
            resp.headers[hdrs.SERVER] = SERVER
        return super().finish_response(request, resp, start_time)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what failed after the handlers; a client that goes away, or sends half a body, is no failure."""
        if not isinstance(kw.get("exc_info"), ConnectionError | web.RequestPayloadError):
            super().log_exception(*args, **kw)
