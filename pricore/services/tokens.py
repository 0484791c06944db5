"""Access tokens: how one is created, by an operator or with another one, which gives away no more than it has."""

from collections.abc import Iterable, Sequence

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, InvalidError
from pricore.models import Organization, Package, Token
from pricore.store import Store
from pricore.system.clock import now, rfc3339


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
