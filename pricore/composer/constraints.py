"""Composer's constraints on versions: which texts are some, and which versions they let through.

A port of `parseConstraints` in composer/semver 3.4, and of what a constraint says to one version. Pure functions;
what is refused is refused with `ValueError`.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from pricore.composer.patterns import ALIAS, FLAGS, MODIFIER, STABILITIES, TRIMMED, Pattern, quoted
from pricore.composer.versions import is_dev, parse_stability, parse_version, sort_key

# The longest in use, lists of releases that a security advisory affects, need some hundred characters.
CONSTRAINT_LIMIT: Final = 4096

_VERSION: Final = (
    r"v?(\d++)(?:\.(\d++))?(?:\.(\d++))?(?:\.(\d++))?"
    rf"(?:{MODIFIER}|\.([xX*][.-]?dev))(?:\+[^\s]+)?"
)  # groups: four numbers, then stability, its number, dev, x-dev

# PHP's \s*\|\|?\s*, with blanks tried from the first one of a run only: from each one it is quadratic.
_OR: Final = Pattern(r"(?:(?<!\s)\s+)?\|\|?\s*", re.ASCII)
_AND: Final = Pattern(r"(?<!^)(?<!as)(?<![=>< ,]) *(?<!-)[, ](?!-) *(?!,|as|$)")

_FLAGGED: Final = Pattern(rf"([^,\s]*?)@({STABILITIES})$", FLAGS)
# PHP ends in "#.+$"; asking first that there is one line saves trying that behind every "#".
_REFERENCED: Final = Pattern(r"(?=.*$)(dev-[^,\s@]+?|[^,\s@]+?\.x-dev)#.+", FLAGS)
_ANY: Final = Pattern(r"(v)?[xX*](\.[xX*])*$", FLAGS)
_TILDE_OR_CARET: Final = Pattern(rf"(?:~>?|\^){_VERSION}$", FLAGS)
_WILDCARD: Final = Pattern(r"v?(\d++)(?:\.(\d++))?(?:\.(\d++))?(?:\.[xX*])+$", re.ASCII)
_HYPHEN: Final = Pattern(rf"(?P<low>{_VERSION}) +- +(?P<high>{_VERSION})$", FLAGS)
_COMPARISON: Final = Pattern(r"(<>|!=|>=?|<=?|==?)?\s*(.*)", re.ASCII)
# In a constraint, and only there, Composer reads "foo-dev" as the branch "dev-foo".
_REVERSED_BRANCH: Final = Pattern(r"[0-9a-zA-Z./-]*-dev")
_MARKED: Final = Pattern(rf"-{MODIFIER}$", re.ASCII)

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SPELLED: Final = {"": "==", "=": "==", "<>": "!="}


class Comparison(NamedTuple):
    """One part of a constraint: an operator (==, !=, <, <=, >, >=) and the normalized version that it is about."""

    operator: str
    version: str

    def lets_through(self, normalized: str) -> bool:
        """What composer/semver says of a constraint `== normalized` and this one."""
        if normalized.startswith("dev-") or self.version.startswith("dev-"):
            # branches are equal or not, and neither before nor behind anything
            same = normalized == self.version
            return same if self.operator == "==" else not same and self.operator == "!="
        return _OPERATORS[self.operator](sort_key(normalized), _own_key(self.version))


_own_key: Final = lru_cache(maxsize=4096)(sort_key)
"""The key of a constraint's own version, with which many are compared."""

Constraint: TypeAlias = tuple[tuple[Comparison, ...], ...]
"""Alternatives, in each of which all has to be so; one that says nothing lets everything through."""


def lets_through(constraint: Constraint, normalized: str) -> bool:
    """Tell whether Composer installs a version for a constraint, as far as that decides."""
    return any(all(part.lets_through(normalized) for part in parts) for parts in constraint)


def grants(constraint: Constraint, normalized: str) -> bool:
    """Tell whether a constraint that says what somebody may have gives out a version.

    That is what Composer would install, but for dev versions, which have to be named: 2.x-dev is no part of ^2.1.
    """
    if not is_dev(normalized):
        return lets_through(constraint, normalized)
    named = Comparison("==", normalized)
    return any(named in parts and all(part.lets_through(normalized) for part in parts) for parts in constraint)


@lru_cache(maxsize=4096)
def parse_constraint(constraint: str) -> Constraint:
    """Read a constraint. Raises ValueError, naming it, where Composer's parseConstraints would throw.

    "self.version" is no constraint here: Composer replaces it by the package's own version before it parses.
    """
    try:
        if len(constraint) <= CONSTRAINT_LIMIT:
            return tuple(
                tuple(found for part in _AND.split(alternative) for found in _parse_part(part))
                for alternative in _OR.split(constraint.strip(TRIMMED))
            )
    except ValueError:
        pass
    raise ValueError(f"invalid version constraint {quoted(constraint)}")


def check_constraint(constraint: str) -> None:
    """Raise ValueError for what is no constraint, as `parse_constraint` does."""
    parse_constraint(constraint)


def _parse_part(part: str) -> Sequence[Comparison]:
    """Read one part of a constraint as Composer's parseConstraint does: its steps in its order."""
    flag = ""
    if match := ALIAS.match(part):
        part = match[1]
    if match := _FLAGGED.match(part):
        part = match[1] or "*"
        flag = "" if match[2] == "stable" else match[2]
    if match := _REFERENCED.match(part):
        part = match[1]

    if match := _ANY.match(part):
        return [Comparison(">=", "0.0.0.0-dev")] if match[1] or match[2] else []
    if match := _TILDE_OR_CARET.match(part):
        return _tilde_or_caret(part, match)
    if match := _WILDCARD.match(part):
        return _wildcard(match)
    if match := _HYPHEN.match(part):
        return _hyphen(match)
    return [_comparison(part, flag)]


def _tilde_or_caret(part: str, match: re.Match[str]) -> list[Comparison]:
    if part.startswith("~>"):
        raise ValueError
    numbers = match.group(1, 2, 3, 4)
    suffix = "" if match[5] or match[7] or match[8] else "-dev"
    if part.startswith("~"):
        given = sum(number is not None for number in numbers)
        position = max(1, given - 1 + bool(match[8]))
    elif numbers[0] != "0" or numbers[1] is None:
        position = 1
    elif numbers[1] != "0" or numbers[2] is None:
        position = 2
    else:
        position = 3
    return [Comparison(">=", _normalized(part[1:] + suffix)), Comparison("<", _pad(numbers, position, 1) + "-dev")]


def _wildcard(match: re.Match[str]) -> list[Comparison]:
    numbers = match.group(1, 2, 3)
    position = sum(number is not None for number in numbers)
    low = _pad((*numbers, None), position, 0) + "-dev"
    high = Comparison("<", _pad((*numbers, None), position, 1) + "-dev")
    return [high] if low == "0.0.0.0-dev" else [Comparison(">=", low), high]


def _hyphen(match: re.Match[str]) -> list[Comparison]:
    suffix = "" if match[6] or match[8] or match[9] else "-dev"
    low, high = _normalized(match["low"]) + suffix, _normalized(match["high"])
    numbers = match.group(11, 12, 13, 14)
    whole = numbers[1] is not None and numbers[2] is not None
    if whole or match[15] or match[17] or match[18]:
        upper = Comparison("<=", high)
    else:
        upper = Comparison("<", _pad(numbers, 1 if numbers[1] is None else 2, 1) + "-dev")
    return [Comparison(">=", low), upper]


def _comparison(part: str, flag: str) -> Comparison:
    match = _COMPARISON.match(part)
    if match is None:
        raise ValueError
    sign, given = _SPELLED.get(match[1] or "", match[1]), match[2]
    version = parse_version(given)
    if version is None:
        if not _REVERSED_BRANCH.fullmatch(given):
            raise ValueError
        version = _normalized("dev-" + given.removesuffix("-dev"))
    if sign != "==" and flag and parse_stability(version) == "stable":
        version += f"-{flag}"
    elif sign in ("<", ">=") and not _MARKED.search(given.lower()) and not given.startswith("dev-"):
        version += "-dev"
    return Comparison(sign, version)


def _normalized(version: str) -> str:
    normalized = parse_version(version)
    if normalized is None:
        raise ValueError
    return normalized


def _pad(numbers: Sequence[str | None], position: int, increment: int) -> str:
    """The first numbers up to a position (from 1), that one incremented, and zeros for the others."""
    kept = [number or "0" for number in numbers[:position]]
    if increment:
        kept[-1] = str(int(kept[-1]) + increment)
    return ".".join([*kept, *["0"] * (4 - position)])
