"""What is left of an organization for somebody: of each package, the versions that are shown."""

import hashlib
from collections.abc import Mapping
from typing import Final, NamedTuple, TypeAlias

import msgspec

from pricore.rights.rules import Condition, Rule, RuleSet

Layers: TypeAlias = tuple[tuple[Rule, ...], ...]
"""Sets of rules, each of which has to let something through. A set without rules lets nothing through."""


class Visibility(NamedTuple):
    """What is shown of a package: versions that meet a condition of each set, with or without their source.

    `since` is when the rules were changed last, seconds, 0 for never: what was seen before that is another view.
    """

    conditions: tuple[tuple[Condition, ...], ...] = ()
    sources: bool = True
    since: int = 0

    def admits(self, normalized: str, published_at: int | None) -> bool:
        """Whether a version is shown that was first served at its commit then."""
        return all(any(item.admits(normalized, published_at) for item in choice) for choice in self.conditions)

    def admits_number(self, normalized: str) -> bool:
        """Whether a version would be shown, whenever it was published."""
        return all(any(item.admits_number(normalized) for item in choice) for choice in self.conditions)

    @property
    def key(self) -> bytes | None:
        """By what documents are kept that are made for it; None for the whole."""
        return None if self == WHOLE else _hash(*self)

    @property
    def has_all(self) -> bool:
        """Whether every version is shown."""
        return not self.conditions

    @property
    def is_dated(self) -> bool:
        """Whether it matters when a version was published."""
        return any(item.before for choice in self.conditions for item in choice)

    def describe(self) -> str:
        """Which versions are shown, for people."""
        return ", and of those ".join(" or ".join(map(str, choice)) for choice in self.conditions) or "all"


def _hash(*parts: object) -> bytes:
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=16).digest()


WHOLE: Final = Visibility()
"""All there is of a package."""

_MOST_KNOWN: Final = 1000
_MOST_NAME: Final = 255


class Rights:
    """What somebody may see of one organization, by sets of rules; by none, everything."""

    def __init__(self, layers: Layers = (), *, sources: bool = True, since: int = 0) -> None:
        self.layers = layers
        self.sources = sources
        self.since = since
        self._sets = [RuleSet(rules) for rules in layers]
        self._known: dict[str, Visibility] = {}

        self.whole = not layers and sources and not since
        """Whether they leave nothing out, and never did."""
        self.key = None if self.whole else _hash(layers, sources, since)
        """By what packages.json and its like are kept: one for all who have the same rules; None for the whole."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rights) and self._parts == other._parts

    def __hash__(self) -> int:
        return hash(self._parts)

    @property
    def _parts(self) -> tuple[Layers, bool, int]:
        return self.layers, self.sources, self.since

    @property
    def restricted(self) -> bool:
        """Whether there are packages or versions that they may leave out."""
        return bool(self.layers)

    def view(self, package: str) -> Visibility | None:
        """What is shown of a package, given in lower case; None where there is nothing for them."""
        found = self._known.get(package)
        if found is None:
            found = self._decide(package)
            if found is not None and self.layers and len(package) <= _MOST_NAME:
                if len(self._known) >= _MOST_KNOWN:  # clients choose what they ask for
                    self._known.clear()
                self._known[package] = found
        return found

    def _decide(self, package: str) -> Visibility | None:
        if self.whole:
            return WHOLE
        conditions = set[tuple[Condition, ...]]()
        for rules in self._sets:
            choice = rules.decide(package)
            if choice is None:
                return None
            if choice:
                conditions.add(tuple(choice))
        if not conditions and self.sources and not self.since:
            return WHOLE
        return Visibility(tuple(sorted(conditions)), self.sources, self.since)

    def sees(self, package: str) -> bool:
        """Whether there is such a package for them."""
        return self.view(package) is not None

    def is_within(self, others: "Rights") -> bool:
        """Whether they surely let nothing through that others don't."""
        if set(others.layers) <= set(self.layers):
            return True
        names = [rules for rules in self.layers if all(rule.is_name for rule in rules)]
        return any(all(self._is_less(rule.pattern, others) for rule in rules) for rules in names)

    def _is_less(self, package: str, others: "Rights") -> bool:
        own, theirs = self.view(package), others.view(package)
        return own is None or (theirs is not None and set(theirs.conditions) <= set(own.conditions))


ALL: Final = Rights()
"""What who isn't restricted sees."""

Reach: TypeAlias = Mapping[str, Rights]
"""What somebody may see, by the slugs of organizations."""
