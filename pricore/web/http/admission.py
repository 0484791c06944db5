"""Who is let in: the token of a request, within the rate limits."""

import asyncio
import time
from collections.abc import Hashable, MutableMapping
from typing import Final, NamedTuple

from aiohttp import hdrs, web
from multidict import istr

from pricore.auth import access_tokens
from pricore.auth.access_tokens import Authenticator
from pricore.auth.rate_limits import LONGEST_DOWNLOAD_WAIT, LONGEST_WAIT, Allowance, Limits
from pricore.errors import NotFoundError, PricoreError, TooManyRequestsError, UnauthorizedError
from pricore.rights.tokens import Token
from pricore.web.http.client_address import ClientAddresses, Received

_LIMIT: Final = istr("X-RateLimit-Limit")
_REMAINING: Final = istr("X-RateLimit-Remaining")
_RESET: Final = istr("X-RateLimit-Reset")
_ALLOWANCE: Final = web.RequestKey("allowance", Allowance)
_TOKEN: Final = web.RequestKey("token", Token)


class Access(NamedTuple):
    """What the token of a request has to be good for: an organization, a scope, and a package in lower case.

    None is any. A request that `downloads` is counted as a download of the package, too.
    """

    organization: str | None
    scope: str | None
    package: str | None = None
    downloads: bool = False


class Admission:
    """What every request with a token goes through."""

    def __init__(self, authenticator: Authenticator, limits: Limits, clients: ClientAddresses) -> None:
        self._authenticator = authenticator
        self._limits = limits
        self._clients = clients

    def find_known(self, key: bytes, address: str, client: str) -> Token | None:
        """The token with a key, if it is known by now and still good; it counts as used, by the `client`.

        On the hot path.
        """
        return self._authenticator.find_known(key, at=time.time(), address=address, client=client)

    def admit_known(self, token: Token, address: str, access: Access) -> tuple[Token, Allowance | None] | None:
        """Let a request with a known token in at once, and count it: gives what the last limit leaves to it, too.

        None where it is not good for this, or a limit has nothing left for it: then no limit has counted it. On
        the hot path.
        """
        try:
            _check(token, access)
        except PricoreError:
            return None
        requests, downloads = self._limits.requests, self._limits.downloads
        allowance = of_package = None
        if requests is not None:
            allowance = requests.spare(_by_address(token, address))
            if allowance is None:
                return None
        if access.downloads and downloads is not None:
            of_package = downloads.spare(_by_package(token, address, access))
            if of_package is None:
                return None
            of_package.left -= 1
        if allowance is not None:
            allowance.left -= 1
        return token, of_package or allowance

    async def admit(self, request: web.Request, access: Access, *, patient: bool = False) -> Token:
        """The token of a request that may go on.

        Over the limit a request is refused, or where `patient` held back until its turn comes, as downloads always
        are. Raises UnauthorizedError, NotFoundError, ForbiddenError or TooManyRequestsError.
        """
        authorization, address = request.headers.get(hdrs.AUTHORIZATION), self._clients.address(request)
        if authorization is not None:
            client = request.headers.get(hdrs.USER_AGENT, "")
            known = self.find_known(access_tokens.key_of(authorization), address, client)
            admitted = None if known is None else self.admit_known(known, address, access)
            if admitted is not None:
                token, spared = admitted
                request[_TOKEN] = token
                if spared is not None:
                    request[_ALLOWANCE] = spared
                return token
        token = await self._identify(request)
        requests, downloads = self._limits.requests, self._limits.downloads
        if requests is not None:
            request[_ALLOWANCE] = allowance = requests.count(_by_address(token, address))
            if allowance.left < 0:
                await _wait(allowance, "requests", longest=LONGEST_WAIT if patient else 0.0)
                token = await self._identify(request)  # it may have been revoked meanwhile
        _check(token, access)
        if access.downloads and downloads is not None:
            request[_ALLOWANCE] = allowance = downloads.count(_by_package(token, address, access))
            if allowance.left < 0:
                await _wait(allowance, f"downloads of {access.package}", longest=LONGEST_DOWNLOAD_WAIT)
                token = await self._identify(request)
                _check(token, access)
        return token

    async def readmit(self, request: web.Request, access: Access) -> Token:
        """The token of a request that goes on for long, as it is now; it counts against no limit.

        Raises UnauthorizedError, NotFoundError or ForbiddenError.
        """
        token = await self._authenticate(request)
        _check(token, access)
        return token

    async def _authenticate(self, request: web.Request) -> Token:
        return await self._authenticator.identify(
            request.headers.get(hdrs.AUTHORIZATION),
            at=time.time(),
            address=self._clients.address(request),
            client=request.headers.get(hdrs.USER_AGENT, ""),
        )

    async def _identify(self, request: web.Request) -> Token:
        try:
            token = await self._authenticate(request)
        except UnauthorizedError:
            self.refuse(request)
            raise
        request[_TOKEN] = token
        return token

    def address(self, request: Received) -> str:
        """Where a request comes from, as limits count it."""
        return self._clients.address(request)

    def admit_archive(self, token: Token, address: str, *, organization: str, package: str) -> None:
        """Count an archive that is made without being sent, as a download of its package.

        Raises TooManyRequestsError.
        """
        if self._limits.downloads is not None:
            access = Access(organization, None, package)
            allowance = self._limits.downloads.count(_by_package(token, address, access))
            if allowance.left < 0:
                raise _over(allowance, f"archives of {package}")

    def refuse(self, request: web.Request) -> None:
        """Count a request whose token or signature isn't good.

        Raises TooManyRequestsError where its address has sent too many of them. A good one is still let in: a
        mistake of one client must not lock out all that share its address.
        """
        if self._limits.failures is not None:
            allowance = request[_ALLOWANCE] = self._limits.failures.count(self._clients.address(request))
            if allowance.left < 0:
                raise _too_many(allowance, "too many failed authentications come from this address")


def _check(token: Token, access: Access) -> None:
    """Raise NotFoundError or ForbiddenError where a token is not good for something."""
    access_tokens.check_access(token, organization=access.organization, scope=access.scope)
    if access.package is not None and access.organization is not None:
        rights = token.rights(access.organization)
        if rights is None or not rights.sees(access.package):
            raise NotFoundError(access_tokens.NOT_HERE)


def _by_address(token: Token, address: str) -> Hashable:
    """Whose requests are counted together."""
    return token.id, address


def _by_package(token: Token, address: str, access: Access) -> Hashable:
    """Whose downloads are counted together."""
    return token.id, address, access.organization, access.package


async def _wait(allowance: Allowance, what: str, *, longest: float) -> None:
    """Hold a request over the limit back until its turn comes.

    Raises TooManyRequestsError where that is in more than the `longest`, seconds.
    """
    wait = allowance.wait(longest=longest)
    if wait is None:
        raise _over(allowance, what)
    await asyncio.sleep(wait)


def token_of(request: web.BaseRequest) -> Token | None:
    """Whose request it is; None before it was let in, and where it needs no token."""
    return request.get(_TOKEN)


def allowance_of(request: web.BaseRequest) -> Allowance | None:
    """What is left to who sent a request, after it was let in; None where no limit counts it."""
    return request.get(_ALLOWANCE)


def show_allowance(request: web.Request, headers: MutableMapping[str, str]) -> None:
    """Add to the headers of a response what the rate limit leaves to who gets it."""
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


def _over(allowance: Allowance, what: str) -> TooManyRequestsError:
    return _too_many(allowance, f"{allowance.limit} {what} a minute are the limit")


def _too_many(allowance: Allowance, reason: str) -> TooManyRequestsError:
    seconds = allowance.retry_after
    return TooManyRequestsError(f"{reason}; try again in {seconds} s", retry_after=seconds)
