"""Server-sent events: a record that is told of again each time that it changes, to a bounded number of readers.

Each event is the whole record, so that a reader who is behind, or comes again, gets the newest and nothing else.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Generic, TypeVar

import msgspec
from aiohttp import hdrs, web

from pricore.errors import ForbiddenError, NotFoundError, TooManyRequestsError, UnauthorizedError
from pricore.rights.tokens import Token
from pricore.store import Store
from pricore.web.http.admission import show_allowance
from pricore.web.http.responses import SERVER_NAME

T = TypeVar("T")

_log = logging.getLogger("pricore.streams")

_MOST: Final = 100
_MOST_OF_ONE: Final = 10
"""Streams that are open at the same time, in all and for one token; an organization has half of what is left."""

_ENDS: Final = (UnauthorizedError, ForbiddenError, NotFoundError, ConnectionError, TimeoutError)
"""What ends a stream without more words: the reader, the record, or its right to see it is gone."""

EVENTS: Final = ("progress", "end")
"""The names of events; the last one is an `end`."""

_RETRY_SECONDS: Final = 10

_HEADERS: Final = {
    hdrs.CONTENT_TYPE: "text/event-stream",
    hdrs.CACHE_CONTROL: "no-store",
    "X-Accel-Buffering": "no",  # nginx would keep events until it has a page of them
    hdrs.SERVER: SERVER_NAME,
}


class Events(msgspec.Struct, Generic[T], frozen=True):
    """What is told of again each time that it changes.

    `look` gives it as it is now, as far as the token of now may see it, and raises NotFoundError where it is gone.
    `is_over` says that it will change no more.
    """

    look: Callable[[Token], Awaitable[T]]
    is_over: Callable[[T], bool]


class Streams:
    """The streams that a server has open.

    A record is looked at every `beat` seconds, which is how often there are events at most. Every `heartbeat`
    seconds something is sent in any case: proxies let go of what is silent. A reader may take `patience` seconds
    to read what was sent before its connection is cut.
    """

    def __init__(
        self, store: Store, *, beat: float = 0.2, heartbeat: float = 15.0, patience: float = 10.0
    ) -> None:
        self._store = store
        self.beat = beat
        self.heartbeat = heartbeat
        self.patience = patience
        self._closing = asyncio.Event()
        # the token of each, by its connection
        self._open: dict[asyncio.Transport, Token] = {}

    async def send(
        self, request: web.Request, token: Token, events: Events[Any], *, readmit: Callable[[], Awaitable[Token]]
    ) -> web.StreamResponse:
        """Respond with events until the last, or until the reader, the record, or its right to see it is gone.

        `readmit` gives the token as it is now, or raises where it may no longer come in. Raises
        TooManyRequestsError where too many streams are open.
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone away")
        with self._place(transport, token):
            response = web.StreamResponse(headers=_HEADERS)
            show_allowance(request, response.headers)
            await response.prepare(request)
            try:
                await self._tell(transport, response, token, events, readmit)
            except Exception as error:  # noqa: BLE001  # half a response is out: all that is left is to end it
                if not isinstance(error, _ENDS):
                    _log.exception("the events of %s ended early", request.rel_url.raw_path)
            if transport.get_write_buffer_size():
                transport.abort()  # its reader is behind: nobody knows when it goes on
            return response

    async def close(self) -> None:
        """End all streams, for the end of the server."""
        self._closing.set()
        for transport in self._open:
            if transport.get_write_buffer_size():
                transport.abort()

    @contextmanager
    def _place(self, transport: asyncio.Transport, token: Token) -> Iterator[None]:
        own = Counter(item.id for item in self._open.values())[token.id]
        shared = Counter(item.organization for item in self._open.values())[token.organization]
        # half, rounded up, of what the others leave: however many one has opened, the next gets a share as well
        share = -(-(_MOST - len(self._open) + shared) // 2)
        if own >= _MOST_OF_ONE or shared >= share:
            raise TooManyRequestsError(
                f"too many streams of events: an access token may have {_MOST_OF_ONE}, the server {_MOST}, and "
                f"an organization half of what others leave; close one, or try again in {_RETRY_SECONDS} s",
                retry_after=_RETRY_SECONDS,
            )
        self._open[transport] = token
        try:
            yield
        finally:
            del self._open[transport]

    async def _tell(
        self,
        transport: asyncio.Transport,
        response: web.StreamResponse,
        token: Token,
        events: Events[Any],
        readmit: Callable[[], Awaitable[Token]],
    ) -> None:
        loop = asyncio.get_running_loop()
        revision, sent, told, over = -1, None, loop.time(), False
        while not self._closing.is_set():
            if (newest := self._store.revision()) != revision or _has_expired(token):
                token, revision = await readmit(), newest
            record = await events.look(token)
            if transport.is_closing():
                return
            at = loop.time()
            if transport.get_write_buffer_size():
                # it gets the newest when it has read what was sent before
                if at - told >= self.patience:
                    return
            elif over and record == sent:
                return
            elif record != sent or at - told >= self.heartbeat:
                over = events.is_over(record)
                async with asyncio.timeout(self.patience):
                    await response.write(b":\n\n" if record == sent else _event(record, over=over))
                sent, told = record, at
                if over and not transport.get_write_buffer_size():
                    return
            # not wait_for: in Python 3.11 it loses a cancellation that comes together with the event
            with suppress(TimeoutError):
                async with asyncio.timeout(self.beat):
                    await self._closing.wait()


def _event(record: Any, *, over: bool) -> bytes:
    # one line, as JSON is: a line feed in a text is \n in it
    return b"event: %b\ndata: %b\n\n" % (EVENTS[over].encode(), msgspec.json.encode({"data": record}))


def _has_expired(token: Token) -> bool:
    return token.expires_at is not None and token.expires_at <= time.time()
