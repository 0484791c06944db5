"""Access tokens of an organization, and the calling token's view of itself."""

import msgspec

from pricore.auth import access_tokens
from pricore.auth.rate_limits import Limits
from pricore.errors import ForbiddenError, InvalidError, NotFoundError
from pricore.models import Organization, Token
from pricore.services.views import (
    AllowanceView,
    LimitsView,
    Name,
    NewTokenView,
    OwnTokenView,
    Scope,
    TokenView,
)
from pricore.store import Store
from pricore.system.clock import now, rfc3339
from pricore.web.api.organizations import find_organization
from pricore.web.api.routing import (
    Call,
    Data,
    Message,
    Route,
)


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to be made. `packages` restricts it to packages by id or name; null lets it see all.

    `expires_at` is a date (to its end, UTC) or a time; null is never.
    """

    name: Name
    scopes: list[Scope] = []
    expires_at: str | None = None
    packages: list[str] | None = None


def routes(store: Store, limits: Limits) -> list[Route]:
    """The routes of tokens."""

    async def visible(caller: Token, organization: Organization) -> list[Token]:
        """The tokens that the caller may know of: a restricted one, those that see no more than itself."""
        found = await store.tokens.of_organization(organization.id)
        return [item for item in found if _within(item.packages, caller.packages)]

    async def list_tokens(call: Call) -> Data[list[TokenView]]:
        organization = await find_organization(store, call)
        return Data([TokenView.of(item) for item in await visible(call.token, organization)])

    async def create_token(call: Call) -> Data[NewTokenView]:
        wanted: NewToken = call.body
        organization = await find_organization(store, call)
        name = access_tokens.check_name(wanted.name)
        scopes = access_tokens.check_scopes(wanted.scopes or ["packages:read"])
        if more := [scope for scope in scopes if scope not in call.token.scopes]:
            raise ForbiddenError(f"the access token lacks the scope {more[0]}, so that it cannot give it away")
        expires_at = None if wanted.expires_at is None else access_tokens.parse_expiry(wanted.expires_at, at=now())
        if call.token.expires_at is not None and (expires_at is None or expires_at > call.token.expires_at):
            raise InvalidError(
                f"this token expires at {rfc3339(call.token.expires_at)}, and what it makes cannot outlive it",
                field="expires_at",
            )
        packages = None if wanted.packages is None else await names(organization, call.token, wanted.packages)
        secret = access_tokens.create_secret()
        made = await store.tokens.create(
            organization,
            name=name,
            token_hash=access_tokens.hash_secret(secret),
            scopes=scopes,
            packages=call.token.packages if packages is None else packages,
            expires_at=expires_at,
        )
        return Data(NewTokenView.of(made, token=secret))

    async def names(organization: Organization, caller: Token, packages: list[str]) -> set[str]:
        """The names of packages given by id or name. Raises InvalidError for one that the caller can't see."""
        found = set()
        for item in packages:
            package = await store.packages.find(organization.id, item)
            if package is None or not access_tokens.may_see(caller, package.name):
                raise InvalidError(f"there is no package {item[:80]}", field="packages")
            found.add(package.name)
        return found

    async def revoke_token(call: Call) -> Message:
        organization = await find_organization(store, call)
        if not any(item.id == call.path["id"] for item in await visible(call.token, organization)):
            raise NotFoundError(access_tokens.NOT_HERE)
        await store.tokens.revoke(organization, call.path["id"])
        return Message("Token revoked successfully")

    async def get_token(call: Call) -> Data[OwnTokenView]:
        downloads = None if limits.downloads is None else limits.downloads.limit
        requests = None if call.allowance is None else AllowanceView.of(call.allowance)
        own = LimitsView(address=call.address, requests=requests, downloads_per_minute=downloads)
        return Data(OwnTokenView.of(call.token, limits=own))

    return [
        Route(
            method="GET",
            path="/api/token",
            handler=get_token,
            scope=None,
            summary="Get the calling token's own view",
        ),
        Route(
            method="GET",
            path="/api/organizations/{slug}/tokens",
            handler=list_tokens,
            scope="tokens:read",
            summary="List access tokens",
        ),
        Route(
            method="POST",
            path="/api/organizations/{slug}/tokens",
            handler=create_token,
            scope="tokens:write",
            summary="Create an access token",
            body=NewToken,
            status=201,
        ),
        Route(
            method="DELETE",
            path="/api/organizations/{slug}/tokens/{id}",
            handler=revoke_token,
            scope="tokens:write",
            summary="Revoke an access token",
        ),
    ]


def _within(packages: frozenset[str] | None, limit: frozenset[str] | None) -> bool:
    """Whether a restriction lets nothing through that another one doesn't."""
    return limit is None or (packages is not None and packages <= limit)
