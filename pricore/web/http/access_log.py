"""What is told of requests: the id of each, their counts, and a line in the log where that is wanted."""

import logging
import re
import secrets
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from pricore.system import logs
from pricore.system.metrics import Metrics, Requests
from pricore.web.http.admission import token_of
from pricore.web.http.client_address import ClientAddresses

REQUEST_ID: Final = "X-Request-Id"

_ID: Final = web.RequestKey("id", str)
_COUNTS: Final = web.RequestKey("counts", Requests)
_GIVEN: Final = re.compile(r"[0-9A-Za-z._-]{8,128}")


def counts_of(request: web.Request) -> Requests:
    """Where a request that was begun is counted."""
    return request[_COUNTS]


class AccessLog(AbstractAccessLogger):
    """Gets every request of a server when it begins, and with its response when that is sent.

    `clients` tells whose forwarded ids are believed.
    """

    def __init__(self, metrics: Metrics, clients: ClientAddresses) -> None:
        super().__init__(logging.getLogger(logs.ACCESS), "")
        self.clients = clients
        self._unread = metrics.unread
        self._identify = self.identify  # bound once

    @property
    def is_written(self) -> bool:
        """Whether each request gets a line in the log."""
        return self.logger.isEnabledFor(logging.INFO)

    def begin(self, request: web.Request, counts: Requests) -> None:
        """Note where a request is counted; what is logged from now on has its id."""
        request[_COUNTS] = counts
        logs.answering.set((self._identify, request))

    def identify(self, request: web.BaseRequest) -> str:
        """The id of a request: what a trusted proxy calls it, else one that is made when it is first needed."""
        found = request.get(_ID)
        if found is None:
            given = request.headers.get(REQUEST_ID, "")
            proxied = _GIVEN.fullmatch(given) and self.clients.is_proxied(request)
            found = request[_ID] = given if proxied else secrets.token_hex(8)
        return found

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Count a request that was answered within `time`, seconds. On the hot path, for aiohttp to call."""
        size = response.body_length
        try:
            counts = request[_COUNTS]  # not `get`, which takes three times as long
        except KeyError:
            counts = self._unread
        counts.add(response.status, time, size)
        if self.is_written:
            self._write(request, response.status, time, size)

    def _write(self, request: web.BaseRequest, status: int, time: float, size: int) -> None:
        token = token_of(request)
        fields = {
            "method": request.method,
            "path": request.rel_url.raw_path,  # what is behind the question mark can be anybody's secret
            "status": status,
            "seconds": round(time, 6),
            "bytes": size,
            "client": self.clients.address(request),
            "token": None if token is None else token.id,
        }
        line = "%(method)s %(path)s %(status)d %(seconds).3fs %(bytes)d bytes from %(client)s token %(token)s"
        self.logger.info(line, fields, extra={"fields": fields, "request": self.identify(request)})
