"""Tokens and what they see, as tests write it."""

from collections.abc import Iterable, Mapping
from itertools import count

from pricore.models import Organization
from pricore.rights.rules import parse_rule
from pricore.rights.tokens import Token
from pricore.rights.visibility import Layers, Rights

_numbers = count(1)


def token_name() -> str:
    """A name that no other token has."""
    return f"test {next(_numbers)}"


def layers(packages: Iterable[str] | None, *, before: int = 0) -> Layers:
    """One set of rules, none where `packages` is None."""
    return () if packages is None else (tuple(parse_rule(item, before=before) for item in sorted(packages)),)


def rights(*packages: str) -> Rights:
    """What a token with these rules sees."""
    return Rights(layers(packages), sources=False)


def reach(
    organization: Organization | None, packages: Iterable[str] | None = None
) -> Mapping[Organization, Layers] | None:
    """The reach of a token of one organization, for None of the instance."""
    return None if organization is None else {organization: layers(packages)}


def packages_of(token: Token) -> list[str] | None:
    """The rules that a token of one organization was made with; None where it sees everything."""
    (own,) = token.reach.values()
    return [str(rule) for rule in own.layers[-1]] if own.layers else None
