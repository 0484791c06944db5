"""Who is let in: the token of a request, within the rate limits."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Final

from aiohttp import hdrs, web
from multidict import istr

from pricore import auth
from pricore.auth import Authenticator
from pricore.clients import Clients
from pricore.errors import TooManyRequestsError, UnauthorizedError
from pricore.limits import Allowance, Limits
from pricore.models import Token

_LIMIT: Final = istr("X-RateLimit-Limit")
_REMAINING: Final = istr("X-RateLimit-Remaining")
_RESET: Final = istr("X-RateLimit-Reset")
_ALLOWANCE: Final = web.RequestKey("allowance", Allowance)


class Gate:
    """What every request with a token goes through."""

    def __init__(self, authenticator: Authenticator, limits: Limits, clients: Clients) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._clients = clients

    async def admit(
        self, request: web.Request, *, organization: str | None, scope: str | None, patient: bool = False
    ) -> Token:
        """The token of a request that may go on: it is good for the organization and the scope.

        Over the limit a request is refused, or where `patient` held back until its turn comes.
        Raises UnauthorizedError, NotFoundError, ForbiddenError or TooManyRequestsError.
        """
        token = await self._identify(request)
        if self._limits.requests is not None:
            allowance = self._limits.requests.count((token.id, self._clients.address(request)))
            request[_ALLOWANCE] = allowance
            if allowance.left < 0:
                wait = allowance.wait() if patient else None
                if wait is None:
                    raise _too_many(allowance, f"{allowance.limit} requests a minute are the limit")
                await asyncio.sleep(wait)
                token = await self._identify(request)  # it may have been revoked meanwhile
        auth.check_access(token, organization=organization, scope=scope)
        return token

    async def readmit(self, request: web.Request, *, organization: str | None, scope: str | None) -> Token:
        """The token of a request that goes on for long, as it is now; it counts against no limit.

        Raises UnauthorizedError, NotFoundError or ForbiddenError.
        """
        token = await self._authenticator.identify(request.headers.get(hdrs.AUTHORIZATION), at=time.time())
        auth.check_access(token, organization=organization, scope=scope)
        return token

    async def _identify(self, request: web.Request) -> Token:
        try:
            return await self._authenticator.identify(request.headers.get(hdrs.AUTHORIZATION), at=time.time())
        except UnauthorizedError:
            self.refuse(request)
            raise

    def address(self, request: web.Request) -> str:
        """Where a request comes from, as limits count it."""
        return self._clients.address(request)

    def admit_download(self, request: web.Request, token: Token, package: str) -> None:
        """Count one more download of a package. Raises TooManyRequestsError."""
        if self._limits.downloads is not None:
            who = (token.id, self._clients.address(request), request.match_info["organization"], package)
            allowance = request[_ALLOWANCE] = self._limits.downloads.count(who)
            if allowance.left < 0:
                raise _too_many(allowance, f"{allowance.limit} downloads of {package} a minute are the limit")

    def refuse(self, request: web.Request) -> None:
        """Count a request whose token or signature isn't good.

        Raises TooManyRequestsError where its address has sent too many of them. A good one is still let in: a
        mistake of one client must not lock out all that share its address.
        """
        if self._limits.failures is not None:
            allowance = request[_ALLOWANCE] = self._limits.failures.count(self._clients.address(request))
            if allowance.left < 0:
                raise _too_many(allowance, "too many failed authentications come from this address")


def allowance_of(request: web.Request) -> Allowance | None:
    """What is left to who sent a request, after it was let in; None where no limit counts it."""
    return request.get(_ALLOWANCE)


def show_allowance(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Add to the headers of an answer what the rate limit leaves to who gets it."""
    allowance = request.get(_ALLOWANCE)
    if allowance is not None:
        headers[_LIMIT] = str(allowance.limit)
        headers[_REMAINING] = str(max(0, allowance.left))
        headers[_RESET] = str(allowance.reset)


def allowance_lines(request: web.BaseRequest) -> bytes:
    """The same headers as the lines of a head, empty where no limit counts the request."""
    allowance = request.get(_ALLOWANCE)
    if allowance is None:
        return b""
    numbers = allowance.limit, max(0, allowance.left), allowance.reset
    return b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % numbers


def _too_many(allowance: Allowance, limit: str) -> TooManyRequestsError:
    seconds = allowance.retry_after
    return TooManyRequestsError(f"{limit}; try again in {seconds} s", retry_after=seconds)
