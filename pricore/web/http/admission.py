"""Who is let in: the token of a request, within the rate limits."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Final

from aiohttp import hdrs, web
from multidict import istr

from pricore.auth import access_tokens
from pricore.auth.access_tokens import Authenticator
from pricore.auth.rate_limits import LONGEST_DOWNLOAD_WAIT, LONGEST_WAIT, Allowance, Limits
from pricore.errors import NotFoundError, PricoreError, TooManyRequestsError, UnauthorizedError
from pricore.models import Token
from pricore.web.http.client_address import Clients

_LIMIT: Final = istr("X-RateLimit-Limit")
_REMAINING: Final = istr("X-RateLimit-Remaining")
_RESET: Final = istr("X-RateLimit-Reset")
_ALLOWANCE: Final = web.RequestKey("allowance", Allowance)
_TOKEN: Final = web.RequestKey("token", Token)


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
                wait = allowance.wait(longest=LONGEST_WAIT) if patient else None
                if wait is None:
                    raise _too_many(allowance, f"{allowance.limit} requests a minute are the limit")
                await asyncio.sleep(wait)
                token = await self._identify(request)  # it may have been revoked meanwhile
        access_tokens.check_access(token, organization=organization, scope=scope)
        return token

    def recall(
        self, key: bytes, address: str, *, organization: str, package: str | None, downloads: bool
    ) -> tuple[bool, Allowance | None]:
        """Whether the token with a key may have a package of an organization at once, and what is left to it then.

        No package is all of them. Where `admit` would not let it in, or would have to ask the database, the limits
        count nothing.
        """
        token = self._authenticator.recall(key, at=time.time())
        if token is None or not (
            token.packages is None if package is None else access_tokens.may_see(token, package)
        ):
            return False, None
        try:
            access_tokens.check_access(token, organization=organization, scope="packages:read")
        except PricoreError:
            return False, None
        counted: list[Allowance] = []
        for limit, who in (
            (self._limits.requests, (token.id, address)),
            (self._limits.downloads if downloads else None, (token.id, address, organization, package)),
        ):
            if limit is not None:
                allowance = limit.spare(who)
                if allowance is None:
                    return False, None
                counted.append(allowance)
        for allowance in counted:
            allowance.left -= 1
        return True, counted[-1] if counted else None

    async def readmit(self, request: web.Request, *, organization: str | None, scope: str | None) -> Token:
        """The token of a request that goes on for long, as it is now; it counts against no limit.

        Raises UnauthorizedError, NotFoundError or ForbiddenError.
        """
        token = await self._authenticator.identify(request.headers.get(hdrs.AUTHORIZATION), at=time.time())
        access_tokens.check_access(token, organization=organization, scope=scope)
        return token

    async def _identify(self, request: web.Request) -> Token:
        try:
            token = await self._authenticator.identify(request.headers.get(hdrs.AUTHORIZATION), at=time.time())
        except UnauthorizedError:
            self.refuse(request)
            raise
        request[_TOKEN] = token
        return token

    def address(self, request: web.Request) -> str:
        """Where a request comes from, as limits count it."""
        return self._clients.address(request)

    async def admit_download(self, request: web.Request, token: Token, package: str) -> None:
        """Count one more download of a package; over the limit it is held back until its turn comes.

        Raises TooManyRequestsError where that is too long, and what `admit` does for a token that isn't good for
        the package any more then.
        """
        if self._limits.downloads is None:
            return
        organization = request.match_info["organization"]
        who = (token.id, self._clients.address(request), organization, package)
        allowance = request[_ALLOWANCE] = self._limits.downloads.count(who)
        if allowance.left < 0:
            wait = allowance.wait(longest=LONGEST_DOWNLOAD_WAIT)
            if wait is None:
                raise _too_many(allowance, f"{allowance.limit} downloads of {package} a minute are the limit")
            await asyncio.sleep(wait)
            token = await self.readmit(request, organization=organization, scope="packages:read")
            if not access_tokens.may_see(token, package):
                raise NotFoundError(access_tokens.NOT_HERE)

    def admit_archive(self, token: Token, address: str, *, organization: str, package: str) -> None:
        """Count an archive that is made without being sent, as a download of its package.

        Raises TooManyRequestsError.
        """
        if self._limits.downloads is not None:
            allowance = self._limits.downloads.count((token.id, address, organization, package))
            if allowance.left < 0:
                raise _too_many(allowance, f"{allowance.limit} archives of {package} a minute are the limit")

    def refuse(self, request: web.Request) -> None:
        """Count a request whose token or signature isn't good.

        Raises TooManyRequestsError where its address has sent too many of them. A good one is still let in: a
        mistake of one client must not lock out all that share its address.
        """
        if self._limits.failures is not None:
            allowance = request[_ALLOWANCE] = self._limits.failures.count(self._clients.address(request))
            if allowance.left < 0:
                raise _too_many(allowance, "too many failed authentications come from this address")


def token_of(request: web.BaseRequest) -> Token | None:
    """Whose request it is; None before it was let in, and where it needs no token."""
    return request.get(_TOKEN)


def allowance_of(request: web.BaseRequest) -> Allowance | None:
    """What is left to who sent a request, after it was let in; None where no limit counts it."""
    return request.get(_ALLOWANCE)


def show_allowance(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Add to the headers of an answer what the rate limit leaves to who gets it."""
    allowance = request.get(_ALLOWANCE)
    if allowance is not None:
        headers[_LIMIT] = str(allowance.limit)
        headers[_REMAINING] = str(max(0, allowance.left))
        headers[_RESET] = str(allowance.reset)


def allowance_lines(allowance: Allowance | None) -> bytes:
    """The same headers as the lines of a head, empty where no limit counts the request."""
    if allowance is None:
        return b""
    numbers = allowance.limit, max(0, allowance.left), allowance.reset
    return b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % numbers


def _too_many(allowance: Allowance, limit: str) -> TooManyRequestsError:
    seconds = allowance.retry_after
    return TooManyRequestsError(f"{limit}; try again in {seconds} s", retry_after=seconds)
