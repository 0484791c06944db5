"""Access tokens: how one is created, by an operator or with another one, which gives away no more than it has."""

from collections.abc import Sequence
from typing import Final, Self

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import force_setattr

from pricore.auth import access_tokens
from pricore.errors import ForbiddenError, InvalidError
from pricore.models import Organization
from pricore.rights.rules import EVERYTHING, Rule
from pricore.rights.tokens import Token
from pricore.rights.visibility import ALL, Rights
from pricore.services.token_rules import parse_moment, plan_reach, read_rules, replan_reach
from pricore.services.views import Id, Name, Scope, Time, View
from pricore.store import Store
from pricore.system.clock import now, rfc3339

OVERLAP: Final = "24h"
"""How long a secret is good after it was replaced."""


SOON_DAYS: Final = 14
"""Days before its end in which a token is said to expire soon."""


class ReachView(View, frozen=True, kw_only=True):
    """What a token sees of an organization.

    `packages` are rules (acme/lib, acme/*, acme/plugin:^2.1), null means all. `published_before` leaves out
    versions that came later. `within` are the rules of the tokens that it was made with, each set of which has to
    let something through, too.
    """

    packages: list[str] | None
    published_before: Time | None
    within: list[list[str]]

    @classmethod
    def of_rights(cls, rights: Rights, **more: object) -> Self:
        """What rights say, as text."""
        outer = [_show(rules) for rules in rights.layers]
        own = outer.pop() if outer else (None, None)
        return cls.of(
            rights,
            packages=own[0],
            published_before=own[1],
            within=[
                [*(rules or ()), *([] if before is None else [f"before {rfc3339(before)}"])]
                for rules, before in outer
            ],
            **more,
        )


def _show(rules: Sequence[Rule]) -> tuple[list[str] | None, int | None]:
    """A set of rules as it was given: which packages, and until when they were published."""
    before = max((rule.condition.before for rule in rules), default=0)
    if [rule.pattern for rule in rules] == [EVERYTHING]:
        return None, before
    return [str(rule) for rule in rules], before or None


class OrganizationReachView(ReachView, frozen=True, kw_only=True):
    """The same, of the organization with that slug."""

    slug: str


class TokenView(ReachView, frozen=True, kw_only=True):
    """An access token without its secret, and what it sees of the organization that it is shown for.

    `last_used_from` is a network address, `last_used_by` what the client called itself.
    """

    id: Id
    name: str
    scopes: list[Scope]
    last_used_at: Time | None
    last_used_from: str | None
    last_used_by: str | None
    expires_at: Time | None
    created_at: Time

    @classmethod
    def of_token(cls, item: Token, /, organization: str | None, **more: object) -> Self:
        """A token as an organization, given by its slug, has it; None for an instance token."""
        rights = ALL if organization is None else item.rights(organization) or ALL
        reach = ReachView.of_rights(rights)
        return cls.of(
            item, packages=reach.packages, published_before=reach.published_before, within=reach.within, **more
        )


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


class WholeTokenView(TokenView, frozen=True, kw_only=True):
    """A token with all its organizations; `organization` is the slug of the first one, null means all there are.

    What stands beside that is about the first one, too.
    """

    organization: str | None
    organizations: list[OrganizationReachView]

    @classmethod
    def of_whole(cls, item: Token, /, **more: object) -> Self:
        """All of a token."""
        reach = [OrganizationReachView.of_rights(rights, slug=slug) for slug, rights in item.reach.items()]
        return cls.of_token(item, item.organization, organizations=reach, **more)


class OwnTokenView(WholeTokenView, frozen=True, kw_only=True):
    """A token as it sees itself, and the limits that it is under."""

    limits: LimitsView


class NewTokenView(WholeTokenView, frozen=True, kw_only=True):
    """An access token with its secret, which is shown this once."""

    token: str


async def create_token(
    store: Store,
    organizations: Sequence[Organization] | None,
    name: str,
    *,
    scopes: Sequence[str] = (),
    packages: Sequence[str] | None = None,
    published_before: str | None = None,
    expires: str | None = None,
    by: Token | None = None,
) -> tuple[Token, str]:
    """Create an access token of some organizations, for None of the instance.

    Gives it with its secret, which nobody else has. Without `scopes` it reads packages. `packages` are rules: ids
    or names of packages, patterns (acme/*), each with a constraint if wanted (acme/plugin:^2.1); they are about
    the first organization, or another one that stands before (beta:beta/*). An organization without a rule is all
    of it, but without any rule at all nothing is seen of the first. `published_before` is a date or a time. What
    restricts the token that it is made `by` restricts it, too. `expires` is a date, a time or a span such as 90d,
    None never.

    Raises InvalidError for what cannot be any of these, ForbiddenError for a scope that `by` lacks.
    """
    name = access_tokens.check_name(name)
    allowed = access_tokens.check_scopes(scopes or ["packages:read"])
    expires_at = None if expires is None else access_tokens.parse_expiry(expires, at=now())
    if by is not None:
        _check_gift(by, scopes=allowed, expires_at=expires_at)
    before = 0 if published_before is None else parse_moment(published_before)
    reach = None
    if organizations is not None:
        rules = await read_rules(store, organizations, packages or (), about=organizations[0].slug, by=by)
        reach = plan_reach(organizations, rules, nothing=packages is not None, before=before, by=by)
    elif packages is not None or before:
        raise InvalidError("an instance token sees everything: rules are an organization's", field="packages")
    secret = access_tokens.create_secret()
    made = await store.tokens.create(
        reach, name=name, token_hash=access_tokens.hash_secret(secret), scopes=allowed, expires_at=expires_at
    )
    return made, secret


class TokenChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed of a token; what is not given stays.

    `packages` and `published_before` are as for a new token, and `organizations` are the slugs of all that it is
    for.
    """

    name: Name | UnsetType = UNSET
    scopes: list[Scope] | UnsetType = UNSET
    expires_at: str | UnsetType | None = UNSET
    packages: list[str] | UnsetType | None = UNSET
    organizations: list[str] | UnsetType = UNSET
    published_before: str | UnsetType | None = UNSET

    @property
    def changes_reach(self) -> bool:
        """Whether it is about what the token sees."""
        return any(item is not UNSET for item in (self.packages, self.organizations, self.published_before))


async def change_token(
    store: Store,
    token: Token,
    wanted: TokenChange,
    organizations: Sequence[Organization],
    *,
    about: str = "",
    by: Token | None = None,
) -> Token:
    """Change a token, which is of these organizations from then on, of none if it is the instance's.

    Rules without an organization are `about` the one of that slug; the others keep theirs. What is given, `by` has
    to have, with all that the token has then. Raises InvalidError, ForbiddenError, ConflictError where one of the
    organizations has a token of that name, NotFoundError where it is gone.
    """
    name = token.name if wanted.name is UNSET else access_tokens.check_name(wanted.name)
    scopes = token.scopes if wanted.scopes is UNSET else access_tokens.check_scopes(wanted.scopes)
    expires_at = token.expires_at
    if wanted.expires_at is not UNSET:
        expires_at = None if wanted.expires_at is None else access_tokens.parse_expiry(wanted.expires_at, at=now())
    # a name gives nothing
    if by is not None and (wanted.changes_reach or wanted.scopes is not UNSET or wanted.expires_at is not UNSET):
        _check_gift(by, scopes=scopes, expires_at=expires_at)
    reach = None
    if wanted.changes_reach:
        if token.instance:
            raise InvalidError("an instance token sees everything: rules are an organization's", field="packages")
        packages = [] if wanted.packages in (None, UNSET) else wanted.packages
        reach = replan_reach(
            token,
            organizations,
            await read_rules(store, organizations, packages, about=about, by=by),
            packages=wanted.packages,
            published_before=wanted.published_before,
            about=about,
            by=by,
        )
    return await store.tokens.change(token, name=name, scopes=scopes, expires_at=expires_at, reach=reach)


async def rotate_token(
    store: Store, token: Token, *, overlap: str = OVERLAP, by: Token | None = None
) -> tuple[Token, str]:
    """Give a token another secret, returned beside it; the one before is good for the `overlap`, such as 24h.

    0 ends it at once. Raises InvalidError, and what making such a token `by` another one does.
    """
    if by is not None:
        _check_gift(by, scopes=token.scopes, expires_at=token.expires_at)
    until = now() if overlap.strip() in ("0", "0h", "0d") else access_tokens.parse_expiry(overlap, at=now())
    secret = access_tokens.create_secret()
    changed = await store.tokens.rotate(token, token_hash=access_tokens.hash_secret(secret), former_until=until)
    return changed, secret


def _check_gift(by: Token, *, scopes: Sequence[str], expires_at: int | None) -> None:
    """Refuse what a token cannot give away: a scope that it lacks, and more time than it has."""
    if more := [scope for scope in scopes if scope not in by.scopes]:
        raise ForbiddenError(f"the access token lacks the scope {more[0]}, so that it cannot give it away")
    if by.expires_at is not None and (expires_at is None or expires_at > by.expires_at):
        raise InvalidError(
            f"this token expires at {rfc3339(by.expires_at)}, and what it makes cannot outlive it",
            field="expires_at",
        )
