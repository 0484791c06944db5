"""Access tokens of an organization, and the calling token's view of itself."""

from typing import Final

import msgspec

from pricore.auth import access_tokens
from pricore.auth.rate_limits import Limits
from pricore.errors import InvalidError, NotFoundError
from pricore.models import Organization, Package, Token
from pricore.services.opening import Services
from pricore.services.tokens import AllowanceView, LimitsView, NewTokenView, OwnTokenView, TokenView, create_token
from pricore.services.views import Name, Scope
from pricore.web.api.finding import find_organization
from pricore.web.api.routing import Call, Data, Message, Route

_ALL: Final = "/api/organizations/{slug}/tokens"


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made. `packages` restricts it to packages by id or name; null lets it see all.

    `expires_at` is a date (to its end, UTC) or a time; null is never.
    """

    name: Name
    scopes: list[Scope] = []
    expires_at: str | None = None
    packages: list[str] | None = None


class TokensApi:
    """What the API does with access tokens."""

    def __init__(self, services: Services, limits: Limits) -> None:
        self._store = services.store
        self._limits = limits

    def routes(self) -> list[Route]:
        """The routes of tokens."""
        write = "tokens:write"
        return [
            Route("GET", "/api/token", self.get_token, None, "Get the calling token's own view"),
            Route("GET", _ALL, self.list_tokens, "tokens:read", "List access tokens"),
            Route("POST", _ALL, self.create_token, write, "Create an access token", body=NewToken, status=201),
            Route("DELETE", f"{_ALL}/{{id}}", self.revoke_token, write, "Revoke an access token"),
        ]

    async def get_token(self, call: Call) -> Data[OwnTokenView]:
        limit = self._limits.downloads
        requests = None if call.allowance is None else AllowanceView.of(call.allowance)
        downloads = None if limit is None else limit.limit
        own = LimitsView(address=call.address, requests=requests, downloads_per_minute=downloads)
        return Data(OwnTokenView.of(call.token, limits=own))

    async def list_tokens(self, call: Call) -> Data[list[TokenView]]:
        organization = await find_organization(self._store, call)
        return Data([TokenView.of(item) for item in await self._visible(call.token, organization)])

    async def create_token(self, call: Call) -> Data[NewTokenView]:
        wanted: NewToken = call.body
        organization = await find_organization(self._store, call)
        made, secret = await create_token(
            self._store,
            organization,
            wanted.name,
            scopes=wanted.scopes,
            packages=await self._find_packages(organization, call.token, wanted.packages),
            expires=wanted.expires_at,
            by=call.token,
        )
        return Data(NewTokenView.of(made, token=secret))

    async def revoke_token(self, call: Call) -> Message:
        organization = await find_organization(self._store, call)
        if not any(item.id == call.path["id"] for item in await self._visible(call.token, organization)):
            raise NotFoundError(access_tokens.NOT_HERE)
        await self._store.tokens.revoke(organization, call.path["id"])
        return Message("Token revoked successfully")

    async def _visible(self, caller: Token, organization: Organization) -> list[Token]:
        """The tokens that the caller may know of: a restricted one, those that see no more than itself."""
        found = await self._store.tokens.of_organization(organization.id)
        return [item for item in found if _within(item.packages, caller.packages)]

    async def _find_packages(
        self, organization: Organization, caller: Token, references: list[str] | None
    ) -> list[Package] | None:
        """Packages by their ids or names. Raises InvalidError for one that the caller can't see."""
        if references is None:
            return None
        found = []
        for item in references:
            package = await self._store.packages.find(organization.id, item)
            if package is None or not access_tokens.may_see(caller, package.name):
                raise InvalidError(f"there is no package {item[:80]}", field="packages")
            found.append(package)
        return found


def _within(packages: frozenset[str] | None, limit: frozenset[str] | None) -> bool:
    """Whether a restriction lets nothing through that another one doesn't."""
    return limit is None or (packages is not None and packages <= limit)
