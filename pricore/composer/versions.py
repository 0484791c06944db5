"""Composer's versions: which texts are some, the form in which they are compared, their stability, their order.

A port of `VersionParser` in composer/semver 3.4, and of PHP's `version_compare`. Pure functions; what is refused
is refused with `ValueError`.
"""

import re
from collections.abc import Callable, Iterable
from heapq import merge
from operator import itemgetter
from typing import Final, Literal, TypeAlias, TypeVar

from pricore.composer.patterns import ALIAS, FLAGS, MODIFIER, STABILITIES, TRIMMED, VERSION_LIMIT, Pattern, quoted

T = TypeVar("T")

Stability: TypeAlias = Literal["stable", "RC", "beta", "alpha", "dev"]

_STABILITY_FLAG: Final = Pattern(rf"@(?:{STABILITIES})$", FLAGS)
_BUILD: Final = Pattern(r"([^,\s+]++)\+[^\s]++$", re.ASCII)
_CLASSICAL: Final = Pattern(rf"v?(\d{{1,5}}+)(\.\d++)?(\.\d++)?(\.\d++)?{MODIFIER}$", FLAGS)
_DATE: Final = Pattern(rf"v?(\d{{4}}(?:[.:-]?\d{{2}}){{1,6}}(?:[.:-]?\d{{1,3}}){{0,2}}){MODIFIER}$", FLAGS)
# Anchored to a line's start: PHP's search from everywhere finds the same, in quadratic time.
_DEV_SUFFIX: Final = Pattern(r"(?m:^)(.*?)[.-]?dev$", FLAGS)
_NUMERIC_BRANCH: Final = Pattern(r"v?(\d++)" + r"(\.(?:\d++|[xX*]))?" * 3 + "$", FLAGS)
_NUMERIC_ALIAS: Final = Pattern(r"((?:\d++\.)*\d++)(?:\.x)?-dev$", FLAGS)
_FINAL_MODIFIER: Final = Pattern(rf"{MODIFIER}\Z", FLAGS)

_EXPANDED: Final = {"a": "alpha", "b": "beta", "p": "patch", "pl": "patch", "rc": "RC"}
_STABILITY_OF: Final[dict[str, Stability]] = {
    "a": "alpha",
    "alpha": "alpha",
    "b": "beta",
    "beta": "beta",
    "rc": "RC",
}


def normalize(version: str) -> str:
    """Return the form of a version that Composer compares: "v1.2-b3" is "1.2.0.0-beta3"."""
    normalized = parse_version(version) if len(version) <= VERSION_LIMIT else None
    if normalized is None:
        raise ValueError(f"invalid version string {quoted(version.strip(TRIMMED))}")
    return normalized


def normalized_or_none(version: str) -> str | None:
    """Return what `normalize` does, or None for what is no version."""
    try:
        return normalize(version)
    except ValueError:
        return None


def normalize_branch(name: str) -> str:
    """Return the form of a branch name that Composer compares: "1.x" is "1.9999999.9999999.9999999-dev"."""
    name = name.strip(TRIMMED)
    match = _NUMERIC_BRANCH.match(name)
    if match is None:
        return f"dev-{name}"
    numbers = "".join(number or ".x" for number in match.groups())
    return re.sub("[xX*]", "9999999", numbers) + "-dev"


def parse_stability(version: str) -> Stability:
    """Return the stability that a version's spelling tells; any text has one."""
    # PHP's "#.+$" is a search of the last line, that takes quadratic time where other lines have a "#".
    last_line = version.rfind("\n", 0, -1) + 1
    version = version[:last_line] + re.sub("#.+", "", version[last_line:])
    if is_dev(version):
        return "dev"
    # Likewise, PHP searches modifier, build metadata and end in one pattern: metadata begins at the last line's
    # first plus sign, and the modifier stands right before it.
    head = version.removesuffix("\n").rpartition("\n")[2].partition("+")[0]
    match = _FINAL_MODIFIER.search(head)
    if match and match[3]:
        return "dev"
    return _STABILITY_OF.get(match[1].lower(), "stable") if match and match[1] else "stable"


def parse_numeric_alias_prefix(branch: str) -> str | None:
    """Return what a numeric branch version begins with ("2.1." in "2.1.x-dev"); None for any other."""
    match = _NUMERIC_ALIAS.match(branch)
    return f"{match[1]}." if match else None


def is_dev(normalized: str) -> bool:
    """Tell whether a normalized version moves with a branch."""
    return normalized.startswith("dev-") or normalized.endswith("-dev")


def parse_version(version: str) -> str | None:
    """Return the normalized version, or None where it is invalid; of any length, in linear time."""
    version = version.strip(TRIMMED)
    if match := ALIAS.match(version):
        version = match[1]
    version = _STABILITY_FLAG.sub("", version)
    if version in ("master", "trunk", "default"):
        return f"dev-{version}"
    if version[:4].lower() == "dev-":
        return f"dev-{version[4:]}"
    if match := _BUILD.match(version):
        version = match[1]

    if match := _CLASSICAL.match(version):
        numbers: str = match[1] + "".join(number or ".0" for number in match.group(2, 3, 4))
        stability, count, dev = match.group(5, 6, 7)
    elif match := _DATE.match(version):
        numbers = re.sub("[:-]", ".", match[1])
        stability, count, dev = match.group(2, 3, 4)
    elif match := _DEV_SUFFIX.search(version):
        # "foo-dev" is no version: a branch with a name has to say "dev-foo".
        branch = normalize_branch(match[1])
        return None if "dev-" in branch else branch
    else:
        return None

    if stability == "stable":  # "STABLE" is kept as a modifier, with its number: so does PHP
        return numbers
    if stability:
        numbers += f"-{_EXPANDED.get(stability.lower(), stability.lower())}{count.lstrip('.-')}"
    return f"{numbers}-dev" if dev else numbers


# Order

# The elements of PHP's canonical form, in bytes as PHP has them; a mark right behind a digit begins one too.
_ELEMENT: Final = re.compile(rb"\d+|[a-zA-Z]+|(?<=\d)[^\da-zA-Z._+-][a-zA-Z]*")
_NUMBERS: Final = re.compile(r"\d{1,18}(?:\.\d{1,18})*", re.ASCII)
# PHP compares prefixes: "alpha" and "a" are one, "patch" and "pl" are "p", and a branch "develop" is "dev".
_FORMS: Final = ((b"dev", 1), (b"a", 2), (b"b", 3), (b"RC", 4), (b"rc", 4), (b"p", 6))
_UNKNOWN: Final = (0, 0)
_NUMBER: Final = 5
_END: Final = (_NUMBER, -1)
_LONG_MAX: Final = 2**63 - 1
_PART: Final = 500
_first = itemgetter(0)


def sort_key(normalized: str) -> tuple[tuple[int, int], ...]:
    """Return a key that sorts normalized versions as PHP's version_compare does.

    Branch names that end in a separator or have "#" behind a digit are the exception: PHP's own answers about
    those contradict each other.
    """
    if _NUMBERS.fullmatch(normalized):  # most are; the rest of this takes twice as long
        return (*[(_NUMBER, int(number)) for number in normalized.split(".")], _END)
    elements = _ELEMENT.findall(normalized.encode(errors="replace"))
    return (*map(_element_key, elements), _END)


def newest_first(items: Iterable[T], normalized: Callable[[T], str]) -> list[T]:
    """Things that have a normalized version, the highest first; those that are equal stay as they are."""
    keyed = [(sort_key(normalized(item)), item) for item in items]
    # in parts that take a millisecond: while Python sorts, no other thread gets on
    parts = [
        sorted(keyed[start : start + _PART], key=_first, reverse=True) for start in range(0, len(keyed), _PART)
    ]
    return [item for _, item in merge(*parts, key=_first, reverse=True)]


def _element_key(element: bytes) -> tuple[int, int]:
    """Return (rank, number) of an element: unknown < dev < alpha < beta < RC < end < number < patch."""
    if element.isdigit():
        digits = element.lstrip(b"0")[:20]  # twenty are more than a C long holds, and int() refuses thousands
        return _NUMBER, min(int(digits or b"0"), _LONG_MAX)
    return next(((rank, 0) for form, rank in _FORMS if element.startswith(form)), _UNKNOWN)
