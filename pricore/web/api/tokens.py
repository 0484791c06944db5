"""Access tokens of an organization, and the calling token's view of itself."""

from typing import Final

import msgspec

from pricore.auth import access_tokens
from pricore.auth.rate_limits import Limits
from pricore.errors import ForbiddenError, InvalidError, NotFoundError
from pricore.models import Organization
from pricore.rights.tokens import Token
from pricore.services.opening import Services
from pricore.services.tokens import (
    OVERLAP,
    AllowanceView,
    LimitsView,
    NewTokenView,
    OwnTokenView,
    TokenChange,
    TokenView,
    WholeTokenView,
    change_token,
    create_token,
    rotate_token,
)
from pricore.services.views import Name, Scope
from pricore.system.threads import DOCUMENTS
from pricore.web.api.finding import find_organization
from pricore.web.api.routing import Call, Data, Message, Route

_ALL: Final = "/api/organizations/{slug}/tokens"
_ONE: Final = f"{_ALL}/{{id}}"


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made.

    `organizations` are the slugs of others that it is for, too; the caller needs the scope there.
    `packages` are rules for what it sees: packages by id or name, or patterns (acme/*), each with a constraint if
    wanted (acme/plugin:^2.1), those of another organization behind its slug (beta:beta/*); null lets it see all.
    `published_before` leaves out versions that were published later. `expires_at` is a date (to its end, UTC) or a
    time; null is never.
    """

    name: Name
    scopes: list[Scope] = []
    expires_at: str | None = None
    packages: list[str] | None = None
    organizations: list[str] = []
    published_before: str | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the secret before is good, such as 24h; 0 ends it at once."""

    overlap: str = OVERLAP


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
            Route(
                "POST",
                _ALL,
                self.create_token,
                write,
                "Create an access token",
                body=NewToken,
                status=201,
                errors=(409,),
            ),
            Route(
                "PATCH",
                _ONE,
                self.change_token,
                write,
                "Change the name, the scopes, the end or the rules of an access token",
                body=TokenChange,
                errors=(409,),
            ),
            Route(
                "POST",
                f"{_ONE}/rotate",
                self.rotate_token,
                write,
                "Give an access token another secret; the one before is good for a while",
                body=Rotation,
            ),
            Route("DELETE", _ONE, self.revoke_token, write, "Revoke an access token"),
        ]

    async def get_token(self, call: Call) -> Data[OwnTokenView]:
        limit = self._limits.downloads
        requests = None if call.allowance is None else AllowanceView.of(call.allowance)
        downloads = None if limit is None else limit.limit
        own = LimitsView(address=call.address, requests=requests, downloads_per_minute=downloads)
        return Data(OwnTokenView.of_whole(call.token, limits=own))

    async def list_tokens(self, call: Call) -> Data[list[TokenView]]:
        organization = await find_organization(self._store, call)
        found = await self._visible(call.token, organization)
        return Data([TokenView.of_token(item, organization.slug) for item in found])

    async def create_token(self, call: Call) -> Data[NewTokenView]:
        wanted: NewToken = call.body
        organization = await find_organization(self._store, call)
        others = [await self._find(call, slug) for slug in wanted.organizations]
        made, secret = await create_token(
            self._store,
            [*dict.fromkeys([organization, *others])],
            wanted.name,
            scopes=wanted.scopes,
            packages=wanted.packages,
            published_before=wanted.published_before,
            expires=wanted.expires_at,
            by=call.token,
        )
        return Data(NewTokenView.of_whole(made, token=secret))

    async def _find(self, call: Call, slug: str) -> Organization:
        """An organization that the caller makes tokens for. Raises InvalidError."""
        found = None if call.token.rights(slug) is None else await self._store.organizations.find(slug)
        if found is None:
            raise InvalidError(f"there is no organization {slug[:80]}", field="organizations")
        return found

    async def change_token(self, call: Call) -> Data[WholeTokenView]:
        wanted: TokenChange = call.body
        if wanted == TokenChange():
            raise InvalidError(f"give one of {', '.join(wanted.__struct_fields__)}", field="name")
        found = await self._find_own(call)
        slugs = found.organizations
        if wanted.organizations is not msgspec.UNSET:
            slugs = [*dict.fromkeys([call.path["slug"], *wanted.organizations])]
        organizations = [await self._find(call, slug) for slug in slugs]
        changed = await change_token(
            self._store, found, wanted, organizations, about=call.path["slug"], by=call.token
        )
        return Data(WholeTokenView.of_whole(changed))

    async def rotate_token(self, call: Call) -> Data[NewTokenView]:
        wanted: Rotation = call.body
        found = await self._find_own(call)
        changed, secret = await rotate_token(self._store, found, overlap=wanted.overlap, by=call.token)
        return Data(NewTokenView.of_whole(changed, token=secret))

    async def _find_own(self, call: Call) -> Token:
        """The token in a call's path for who has all that it has. Raises NotFoundError, ForbiddenError."""
        _, found = await self._find_visible(call)
        for slug, rights in found.reach.items():
            own = call.token.rights(slug)
            if own is None or not rights.is_within(own):
                raise ForbiddenError("that takes the scope tokens:write in each organization of the token")
        return found

    async def _find_visible(self, call: Call) -> tuple[Organization, Token]:
        organization = await find_organization(self._store, call)
        for item in await self._visible(call.token, organization):
            if item.id == call.path["id"]:
                return organization, item
        raise NotFoundError(access_tokens.NOT_HERE)

    async def revoke_token(self, call: Call) -> Message:
        organization, found = await self._find_visible(call)
        own = ((rights, call.token.rights(slug)) for slug, rights in found.reach.items())
        if all(mine is not None and rights.is_within(mine) for rights, mine in own):
            await self._store.tokens.revoke(organization, found.id)
        else:
            # the others keep theirs
            await self._store.tokens.leave(organization, found.id)
        return Message("Token revoked successfully")

    async def _visible(self, caller: Token, organization: Organization) -> list[Token]:
        """The tokens that the caller may know of: a restricted one, those that see no more than itself."""
        found = await self._store.tokens.of_organization(organization.id)
        own = access_tokens.rights_of(caller, organization.slug)

        def choose() -> list[Token]:
            return [item for item in found if access_tokens.rights_of(item, organization.slug).is_within(own)]

        return await DOCUMENTS.for_all(len(found), choose)
