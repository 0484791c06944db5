"""Access tokens: how one is created, by an operator or with another one, which gives away no more than it has."""

from collections.abc import Iterable, Sequence

from msgspec.structs import force_setattr

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, InvalidError
from pricore.models import Organization, Package, Token
from pricore.services.views import Id, Scope, Time, View
from pricore.store import Store
from pricore.system.clock import now, rfc3339


class TokenView(View, frozen=True, kw_only=True):
    """An access token without its secret; `packages` are the only names that it may see, null means all."""

    id: Id
    name: str
    scopes: list[Scope]
    packages: list[str] | None
    last_used_at: Time | None
    expires_at: Time | None
    created_at: Time

    def __post_init__(self) -> None:
        if self.packages is not None:
            self.packages.sort()


class AllowanceView(View, frozen=True, kw_only=True, rename={"left": "remaining", "reset": "resets_at"}):
    """How often something may be done in this minute, how often still, and when the minute is over."""

    limit: int
    left: int
    reset: Time

    def __post_init__(self) -> None:
        force_setattr(self, "left", max(0, self.left))


class LimitsView(View, frozen=True, kw_only=True):
    """The rate limits of a token from one address; null means that there is none.

    `requests` are all of its requests, `downloads_per_minute` those of archives of one package. `address` is where
    the request came from: of IPv6 the network, and behind a proxy that is trusted what that says.
    """

    address: str
    requests: AllowanceView | None
    downloads_per_minute: int | None


class OwnTokenView(TokenView, frozen=True, kw_only=True):
    """A token as it sees itself; `organization` is the slug of its own, null means all of them."""

    organization: str | None
    limits: LimitsView


class NewTokenView(TokenView, frozen=True, kw_only=True):
    """An access token with its secret, which is shown this once."""

    token: str


async def create_token(
    store: Store,
    organization: Organization | None,
    name: str,
    *,
    scopes: Sequence[str] = (),
    packages: Iterable[Package] | None = None,
    expires: str | None = None,
    by: Token | None = None,
) -> tuple[Token, str]:
    """Create an access token, of the instance for None; gives it with its secret, which nobody else has.

    Without `scopes` it reads packages. `packages` restricts it to them, of its organization; None doesn't, beyond
    what restricts the token that it is made `by`. `expires` is a date, a time or a span such as 90d, None never.
    Raises InvalidError for what cannot be any of these, ForbiddenError for a scope that `by` lacks.
    """
    name = access_tokens.check_name(name)
    allowed = access_tokens.check_scopes(scopes or ["packages:read"])
    expires_at = None if expires is None else access_tokens.parse_expiry(expires, at=now())
    names = None if packages is None else frozenset(item.name for item in packages)
    if by is not None:
        _check_gift(by, scopes=allowed, expires_at=expires_at)
        names = by.packages if names is None else names
    secret = access_tokens.create_secret()
    made = await store.tokens.create(
        organization,
        name=name,
        token_hash=access_tokens.hash_secret(secret),
        scopes=allowed,
        packages=names,
        expires_at=expires_at,
    )
    return made, secret


def _check_gift(by: Token, *, scopes: Sequence[str], expires_at: int | None) -> None:
    """Refuse what a token cannot give away: a scope that it lacks, and more time than it has."""
    if more := [scope for scope in scopes if scope not in by.scopes]:
        raise ForbiddenError(f"the access token lacks the scope {more[0]}, so that it cannot give it away")
    if by.expires_at is not None and (expires_at is None or expires_at > by.expires_at):
        raise InvalidError(
            f"this token expires at {rfc3339(by.expires_at)}, and what it makes cannot outlive it",
            field="expires_at",
        )
