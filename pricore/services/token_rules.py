"""What a token sees, as it is given and changed: rules as text, within those of who makes it."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from msgspec import UNSET, UnsetType

from pricore.auth import access_tokens
from pricore.errors import InvalidError
from pricore.models import Organization
from pricore.rights.rules import EVERYTHING, MOST_RULES, Condition, Rule, parse_rule
from pricore.rights.tokens import Token
from pricore.rights.visibility import ALL, Layers, Rights
from pricore.store import Store

_MOST_CONSTRAINTS: Final = 4096
"""Characters of all constraints of a token: each is compared with each version that it asks for."""

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


def parse_moment(text: str) -> int:
    """A date (its beginning, UTC) or a time, seconds. Raises InvalidError for anything else."""
    try:
        moment = datetime.fromisoformat(text.strip())
        at = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        at = 0
    if not 0 < at <= access_tokens.LATEST:
        raise InvalidError(
            f"{text[:40]!r} is no date such as 2027-01-01, nor a time such as 2027-01-01T12:00Z",
            field="published_before",
        )
    return at


async def read_rules(
    store: Store, organizations: Sequence[Organization], packages: Sequence[str], *, about: str, by: Token | None
) -> dict[str, tuple[Rule, ...]]:
    """The rules for each organization that has some, by its slug; those without one are `about` that of this slug.

    Raises InvalidError for what is none, and for a package that isn't there, or not for who gives them.
    """
    if len(packages) > MOST_RULES:
        raise _too_many()
    given = {organization.slug: organization for organization in organizations}
    rules: dict[str, list[Rule]] = {}
    for text in packages:
        slug, rest = _split(text, given, about)
        rights = ALL if by is None else access_tokens.rights_of(by, slug)
        rules.setdefault(slug, []).append(await _resolve(store, given[slug], rights, rest))
    return {slug: tuple(dict.fromkeys(found)) for slug, found in rules.items()}


def plan_reach(
    organizations: Sequence[Organization],
    rules: Mapping[str, tuple[Rule, ...]],
    *,
    nothing: bool,
    before: int,
    by: Token | None,
) -> dict[Organization, Layers]:
    """The sets of rules of a new token in each organization, of versions published before then; 0 for whenever.

    With `nothing` and without any rule it sees nothing of the first. Raises InvalidError for too many.
    """
    reach: dict[Organization, Layers] = {}
    for place, organization in enumerate(organizations):
        own = rules.get(organization.slug)
        if place == 0 and nothing and not rules:
            own = ()
        reach[organization] = _layers(own, before, by, organization.slug)
    return _check(reach)


def replan_reach(
    token: Token,
    organizations: Sequence[Organization],
    rules: Mapping[str, tuple[Rule, ...]],
    *,
    packages: Sequence[str] | UnsetType | None,
    published_before: str | UnsetType | None,
    about: str,
    by: Token | None,
) -> dict[Organization, Layers]:
    """The sets of rules of a token that is changed; where nothing is said of an organization it keeps its own.

    That everything is seen (`packages` None), or nothing ([]), is said of the one that it is `about`. What the
    token was made within stays. Raises InvalidError.
    """
    places = {slug: place for place, slug in enumerate(token.reach)}
    reach: dict[Organization, Layers] = {}
    for organization in sorted(organizations, key=lambda item: places.get(item.slug, len(places))):
        slug = organization.slug
        had = token.reach[slug].layers if slug in token.reach else ()
        own = had[-1] if had else None
        before = max((rule.condition.before for rule in own or ()), default=0)
        changed = slug not in token.reach
        if slug in rules or (slug == about and (packages is None or packages == [])):
            own, changed = None if packages is None else rules.get(slug, ()), True
        if published_before is not UNSET:
            before, changed = 0 if published_before is None else parse_moment(published_before), True
        layers = _layers(own, before, by, slug) if changed else had[-1:]
        reach[organization] = tuple(dict.fromkeys((*had[:-1], *layers)))
    return _check(reach)


def _layers(own: tuple[Rule, ...] | None, before: int, by: Token | None, slug: str) -> Layers:
    """A set of rules, None for everything, within what `by` sees; where it surely is already, alone."""
    rights = ALL if by is None else access_tokens.rights_of(by, slug)
    if own is None or [rule.pattern for rule in own] == [EVERYTHING]:
        if not before:
            return rights.layers
        own = (Rule(EVERYTHING),)
    dated = tuple(Rule(rule.pattern, Condition(rule.condition.constraint, before)) for rule in own)
    return (dated,) if Rights((dated,)).is_within(rights) else (*rights.layers, dated)


def _split(text: str, given: Mapping[str, Organization], about: str) -> tuple[str, str]:
    """The slug that a rule is about, and the rest: beta:beta/* is about beta, acme/plugin:^2 says of none."""
    slug, colon, rest = text.partition(":")
    slug = slug.strip()
    if not colon or "/" in slug or "*" in slug or _ID.fullmatch(slug):
        return about, text
    if slug not in given:
        raise InvalidError(
            f"the rule {text[:80]!r} is of {slug[:64]}, which is none of the token's organizations",
            field="packages",
        )
    return slug, rest


async def _resolve(store: Store, organization: Organization, rights: Rights, text: str) -> Rule:
    """A rule as it was given, of a package that is there and seen, or with `*`. Raises InvalidError."""
    reference, colon, constraint = text.partition(":")
    reference = reference.strip()
    if not _ID.fullmatch(reference):
        rule = parse_rule(text)
        if not rule.is_name:
            return rule
    found = await store.packages.find(organization.id, reference)
    if found is None or not rights.sees(found.name):
        raise InvalidError(f"{organization.slug} has no package {reference[:80]}", field="packages")
    return parse_rule(f"{found.name}{colon}{constraint}")


def _check(reach: dict[Organization, Layers]) -> dict[Organization, Layers]:
    rules = [rule for layers in reach.values() for layer in layers for rule in layer]
    if len(rules) > MOST_RULES:
        raise _too_many()
    if sum(len(rule.condition.constraint) for rule in rules) > _MOST_CONSTRAINTS:
        raise InvalidError(
            f"the constraints of a token have at most {_MOST_CONSTRAINTS} characters in all", field="packages"
        )
    return reach


def _too_many() -> InvalidError:
    return InvalidError(f"a token has at most {MOST_RULES} rules", field="packages")
