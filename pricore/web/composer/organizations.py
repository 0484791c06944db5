"""Requests that are about an organization, and what their tokens see of it."""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
from aiohttp import hdrs, web

from pricore.auth import access_tokens
from pricore.errors import BadRequestError, NotFoundError
from pricore.models import Organization, Package
from pricore.rights.tokens import Token
from pricore.rights.visibility import Rights, Visibility
from pricore.services import visible
from pricore.store import Store
from pricore.web.http.admission import Access, Admission
from pricore.web.http.client_address import ClientAddresses

JSON: Final[Mapping[str, str]] = {
    hdrs.CONTENT_TYPE: "application/json",
    hdrs.CACHE_CONTROL: "private, no-cache",
    hdrs.VARY: "Authorization",
}
"""The headers of what depends on the token, and is made for each request."""

_HOST: Final = re.compile(r"[A-Za-z0-9.\-_]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")


class Visit(NamedTuple):
    """A request that was let in: its token, what that was good for, and the organization's revision then."""

    token: Token
    access: Access
    revision: int

    @property
    def slug(self) -> str:
        """The organization's."""
        return self.access.organization or ""

    @property
    def rights(self) -> Rights:
        """What the token sees of the organization."""
        return access_tokens.rights_of(self.token, self.slug)

    def view(self, package: str) -> Visibility:
        """What it sees of a package, given in lower case. Raises NotFoundError where that is nothing."""
        view = self.rights.view(package)
        if view is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return view


class Organizations:
    """The organizations that requests are about."""

    def __init__(self, store: Store, admission: Admission, clients: ClientAddresses, *, public_url: str) -> None:
        self._store = store
        self._admission = admission
        self._clients = clients
        self._public_url = public_url

    async def admit(self, request: web.Request, *, package: str | None = None) -> Visit:
        """Let a request in that is about an organization, and about a package of it if one is given.

        Over the limit it is held back: one refusal ends the whole run of the client.
        """
        access = Access(request.match_info["organization"], "packages:read", package)
        token = await self._admission.admit(request, access, patient=True)
        # after it was held back: a response must not be older than the request
        return Visit(token, access, self._store.revision_of(access.organization))

    async def find(self, visit: Visit) -> Organization:
        """The organization. Raises NotFoundError."""
        organization = await self._store.organizations.find(visit.slug)
        if organization is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return organization

    async def packages(self, visit: Visit) -> list[Package]:
        """Its packages that the token may see, by name. Raises NotFoundError."""
        return await visible.packages(self._store, await self.find(visit), visit.rights)

    async def names(self, visit: Visit) -> Sequence[str]:
        """The names of those packages. Raises NotFoundError."""
        root = await self._store.organizations.root(visit.slug, visit.rights)
        if root is None:
            raise NotFoundError(access_tokens.NOT_HERE)
        return root.names

    def origin(self, request: web.Request) -> str:
        """What URLs in documents begin with: as configured, else as the client has come."""
        return self._public_url or self._clients.origin(request)

    def url(self, request: web.Request) -> str:
        """Where the organization is for the client. Raises BadRequestError where the Host header is malformed."""
        base = self.origin(request)
        # it goes into documents as it is
        if not self._public_url and not _HOST.fullmatch(base.partition("://")[2]):
            raise BadRequestError("the Host header is malformed")
        return f"{base}/org/{request.match_info['organization']}"


def json_response(content: object) -> web.Response:
    """What was made for one request."""
    return web.Response(body=msgspec.json.encode(content), headers=JSON)
