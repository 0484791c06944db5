"""Rules: which packages and versions of an organization somebody may have."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from pricore.composer.composer_json import check_package_name
from pricore.composer.constraints import Constraint, check_constraint, grants, parse_constraint
from pricore.errors import ComposerJsonError, InvalidError
from pricore.system.clock import rfc3339

MOST_RULES: Final = 100
"""Rules of a token; each request for a package that wasn't asked for before goes through all of them."""

EVERYTHING: Final = "*"
"""The pattern of a rule on all packages, which only a date makes: an organization without a rule is all of it."""

_PREFIX: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*/[a-z0-9_.-]*")


class Condition(msgspec.Struct, frozen=True, order=True):
    """Which versions are let through: of a constraint, and published before a time, seconds; empty, 0 for any."""

    constraint: str = ""
    before: int = 0

    def admits(self, normalized: str, published_at: int | None) -> bool:
        """Whether it lets a version through that was first served at its commit then; None: nobody knows when."""
        if self.before and (published_at is None or published_at >= self.before):
            return False
        return self.admits_number(normalized)

    def admits_number(self, normalized: str) -> bool:
        """Whether it lets a version through, whenever it was published."""
        return not self.constraint or grants(self._parsed, normalized)

    def __str__(self) -> str:
        """As people read it."""
        before = f"what was published before {rfc3339(self.before)}" if self.before else ""
        return " of ".join(filter(None, (before, self.constraint)))

    @property
    def _parsed(self) -> Constraint:
        return parse_constraint(self.constraint)


class Rule(msgspec.Struct, frozen=True, order=True):
    """A name of a package in lower case, or the beginning of names and `*`, and which versions of those."""

    pattern: str
    condition: Condition = Condition()

    @property
    def is_name(self) -> bool:
        """Whether it is about one package."""
        return not self.pattern.endswith("*")

    def __str__(self) -> str:
        """As it is typed, without the date."""
        return f"{self.pattern}:{self.condition.constraint}" if self.condition.constraint else self.pattern


def parse_rule(text: str, *, before: int = 0) -> Rule:
    """A rule as it is typed: acme/lib, acme/*, acme/plugin:^2.1, with a date for all of them beside.

    Raises InvalidError, naming the rule.
    """
    pattern, colon, constraint = (part.strip() for part in text.partition(":"))
    shown = repr(text[:80])
    name = pattern.lower()
    if name in ("*", "*/*"):
        raise InvalidError(
            f"{shown} is everything: leave the rule out for that, or name a vendor (acme/*)", field="packages"
        )
    if "*" in name:
        if not name.endswith("*") or not _PREFIX.fullmatch(name[:-1]):
            raise InvalidError(
                f"{shown} is no pattern such as acme/* or acme/lib-*: a whole vendor, and * at the end",
                field="packages",
            )
    else:
        try:
            check_package_name(name)
        except ComposerJsonError as error:
            raise InvalidError(f"the rule {shown}: {error}", field="packages") from None
    if colon and not constraint:
        raise InvalidError(f"the rule {shown} has no constraint behind the colon", field="packages")
    try:
        check_constraint(constraint or "*")
    except ValueError as error:
        raise InvalidError(f"the rule {shown}: {error}", field="packages") from None
    return Rule(name, Condition(constraint, before))


class RuleSet:
    """Rules of which the most specific ones on a package decide."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._by_pattern: dict[str, list[Condition]] = {}
        for rule in rules:
            self._by_pattern.setdefault(rule.pattern, []).append(rule.condition)
        # the longest first: it is the most specific
        self._beginnings = sorted((item[:-1] for item in self._by_pattern if item.endswith("*")), key=len)[::-1]

    def decide(self, package: str) -> Sequence[Condition] | None:
        """Which conditions a package is under, of which any suffices; empty where there are none.

        None where no rule is about it.
        """
        found = self._by_pattern.get(package)
        if found is None:
            beginning = next((item for item in self._beginnings if package.startswith(item)), None)
            if beginning is None:
                return None
            found = self._by_pattern[f"{beginning}*"]
        conditions = sorted(set(found))
        return () if Condition() in conditions else conditions
