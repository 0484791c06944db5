"""Composer's version rules: what tags, branches and constraints are valid, how versions are named and sorted.

A port of `VersionParser` in composer/semver 3.4, of the names that Composer's `VcsRepository` gives to tags
and branches, and of PHP's `version_compare`. Pure functions; what is refused is refused with `ValueError`.

The patterns are PHP's own. `$` is right in them: in Python, as in PHP without the D modifier, it also matches
before a final newline. `re.ASCII` is needed: PHP's `\\d`, `\\s` and case folding know no other alphabet.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from heapq import merge
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias, TypeVar

T = TypeVar("T")

Stability: TypeAlias = Literal["stable", "RC", "beta", "alpha", "dev"]

# No file system lets a tag's name be longer, and released versions are far shorter.
VERSION_LIMIT: Final = 255
# The longest in use, lists of releases that a security advisory affects, need some hundred characters.
CONSTRAINT_LIMIT: Final = 4096

_FLAGS: Final = re.ASCII | re.IGNORECASE
_TRIMMED: Final = " \t\n\r\0\x0b"  # what PHP's trim() takes away: str.strip() takes more


class _Pattern:
    """A regular expression that is compiled when it is first used: many a command needs none of them."""

    def __init__(self, text: str, flags: int = 0) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, method)
        return method


_STABILITIES: Final = "stable|RC|beta|alpha|dev"
# PHP writes the number as ((?:[.-]?\d+)*+)?; this form takes the same text, and is unambiguous without a
# possessive group: Python before 3.11.5 matched those wrongly.
_MODIFIER: Final = r"[._-]?(?:(stable|beta|b|RC|alpha|a|patch|pl|p)(\d*+(?:[.-]\d++)*))?([.-]?dev)?"

_ALIAS: Final = _Pattern(r"([^,\s]++) ++as ++([^,\s]++)$", re.ASCII)
_STABILITY_FLAG: Final = _Pattern(rf"@(?:{_STABILITIES})$", _FLAGS)
_BUILD: Final = _Pattern(r"([^,\s+]++)\+[^\s]++$", re.ASCII)
_CLASSICAL: Final = _Pattern(rf"v?(\d{{1,5}}+)(\.\d++)?(\.\d++)?(\.\d++)?{_MODIFIER}$", _FLAGS)
_DATE: Final = _Pattern(rf"v?(\d{{4}}(?:[.:-]?\d{{2}}){{1,6}}(?:[.:-]?\d{{1,3}}){{0,2}}){_MODIFIER}$", _FLAGS)
# Anchored to a line's start: PHP's search from everywhere finds the same, in quadratic time.
_DEV_SUFFIX: Final = _Pattern(r"(?m:^)(.*?)[.-]?dev$", _FLAGS)
_NUMERIC_BRANCH: Final = _Pattern(r"v?(\d++)" + r"(\.(?:\d++|[xX*]))?" * 3 + "$", _FLAGS)
_NUMERIC_ALIAS: Final = _Pattern(r"((?:\d++\.)*\d++)(?:\.x)?-dev$", _FLAGS)
_FINAL_MODIFIER: Final = _Pattern(rf"{_MODIFIER}\Z", _FLAGS)

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
    normalized = _normalize(version) if len(version) <= VERSION_LIMIT else None
    if normalized is None:
        raise ValueError(f"invalid version string {_quoted(version.strip(_TRIMMED))}")
    return normalized


def normalized_or_none(version: str) -> str | None:
    """Return what `normalize` does, or None for what is no version."""
    try:
        return normalize(version)
    except ValueError:
        return None


def normalize_branch(name: str) -> str:
    """Return the form of a branch name that Composer compares: "1.x" is "1.9999999.9999999.9999999-dev"."""
    name = name.strip(_TRIMMED)
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


def _normalize(version: str) -> str | None:
    """Return the normalized version, or None where it is invalid; of any length, in linear time."""
    version = version.strip(_TRIMMED)
    if match := _ALIAS.match(version):
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


def _quoted(text: str) -> str:
    """Return text in quotes for a message, shortened where it is not of a length that people write."""
    return f'"{text}"' if len(text) <= VERSION_LIMIT else f'"{text[:50]}..." ({len(text)} characters)'


# Constraints

_VERSION: Final = (
    r"v?(\d++)(?:\.(\d++))?(?:\.(\d++))?(?:\.(\d++))?"
    rf"(?:{_MODIFIER}|\.([xX*][.-]?dev))(?:\+[^\s]+)?"
)  # groups: four numbers, then stability, its number, dev, x-dev

# PHP's \s*\|\|?\s*, with blanks tried from the first one of a run only: from each one it is quadratic.
_OR: Final = _Pattern(r"(?:(?<!\s)\s+)?\|\|?\s*", re.ASCII)
_AND: Final = _Pattern(r"(?<!^)(?<!as)(?<![=>< ,]) *(?<!-)[, ](?!-) *(?!,|as|$)")

_FLAGGED: Final = _Pattern(rf"([^,\s]*?)@(?:{_STABILITIES})$", _FLAGS)
# PHP ends in "#.+$"; asking first that there is one line saves trying that behind every "#".
_REFERENCED: Final = _Pattern(r"(?=.*$)(dev-[^,\s@]+?|[^,\s@]+?\.x-dev)#.+", _FLAGS)
_ANY: Final = _Pattern(r"v?[xX*](?:\.[xX*])*$", _FLAGS)
_TILDE_OR_CARET: Final = _Pattern(rf"(?:~>?|\^){_VERSION}$", _FLAGS)
_WILDCARD: Final = _Pattern(r"v?\d++(?:\.\d++)?(?:\.\d++)?(?:\.[xX*])+$", re.ASCII)
_HYPHEN: Final = _Pattern(rf"(?P<low>{_VERSION}) +- +(?P<high>{_VERSION})$", _FLAGS)
_COMPARISON: Final = _Pattern(r"(?:<>|!=|>=?|<=?|==?)?\s*(.*)", re.ASCII)
# In a constraint, and only there, Composer reads "foo-dev" as the branch "dev-foo".
_REVERSED_BRANCH: Final = _Pattern(r"[0-9a-zA-Z./-]*-dev")


@lru_cache(maxsize=4096)
def check_constraint(constraint: str) -> None:
    """Raise ValueError, naming the constraint, where Composer's parseConstraints would throw.

    "self.version" is no constraint here: Composer replaces it by the package's own version before it parses.
    """
    if len(constraint) > CONSTRAINT_LIMIT or not all(
        _is_constraint(part)
        for alternative in _OR.split(constraint.strip(_TRIMMED))
        for part in _AND.split(alternative)
    ):
        raise ValueError(f"invalid version constraint {_quoted(constraint)}")


def _is_constraint(part: str) -> bool:
    """Tell whether Composer's parseConstraint accepts one part of a constraint: its steps in its order."""
    if match := _ALIAS.match(part):
        part = match[1]
    if match := _FLAGGED.match(part):
        part = match[1] or "*"
    if match := _REFERENCED.match(part):
        part = match[1]

    if _ANY.match(part):
        return True
    if match := _TILDE_OR_CARET.match(part):
        suffix = "" if match[5] or match[7] or match[8] else "-dev"
        return not part.startswith("~>") and _normalize(part[1:] + suffix) is not None
    if _WILDCARD.match(part):
        return True
    if match := _HYPHEN.match(part):
        return _normalize(match["low"]) is not None and _normalize(match["high"]) is not None

    match = _COMPARISON.match(part)
    return match is not None and (_normalize(match[1]) is not None or bool(_REVERSED_BRANCH.fullmatch(match[1])))


# Versions out of git

_DEV_MARK: Final = _Pattern(r"^dev-|[.-]?dev$", _FLAGS)
_DEV_END: Final = _Pattern(r"[.-]?dev$", _FLAGS)


def branch_version(branch: str) -> tuple[str, str]:
    """Return the pretty and the normalized version of a branch: "main" is ("dev-main", "dev-main")."""
    normalized = normalize_branch(branch)
    try:
        check_constraint(normalized)  # a version that nobody could require is of no use
    except ValueError:
        raise ValueError(f"invalid branch name {_quoted(branch)}") from None
    if normalized.startswith("dev-"):
        # In a constraint, "#" begins a commit.
        return "dev-" + branch.replace("#", "+"), normalized.replace("#", "+")
    prefix = "v" if branch.startswith("v") else ""
    return prefix + re.sub(r"(?:\.9{7})+", ".x", normalized), normalized


def tag_version(tag: str, declared: str | None = None) -> tuple[str, str]:
    """Return the pretty and the normalized version of a tag: "release-v1.2" is ("v1.2", "1.2.0.0").

    `declared` is the `version` in the tag's composer.json: it has to agree, and is the pretty one then.
    """
    tag = tag.replace("release-", "")
    try:
        normalized = normalize(tag)
    except ValueError:
        raise ValueError(f"invalid tag name {_quoted(tag)}") from None
    if is_dev(normalized):
        raise ValueError(f"invalid tag name {_quoted(tag)}: tags can not use dev prefixes or suffixes")
    if declared is None:
        return _DEV_END.sub("", tag), normalized
    try:
        released = _DEV_MARK.sub("", normalize(declared))
    except ValueError as error:
        raise ValueError(f"composer.json: {error}") from None
    if released != normalized:
        raise ValueError(f"tag {_quoted(tag)} does not match version {_quoted(declared)} in composer.json")
    return _DEV_END.sub("", declared), normalized


# Versions of uploads

# no segment of a path that a client resolves, and none that is empty
_PLAIN: Final = re.compile(r"[0-9A-Za-z](?:[0-9A-Za-z_+-]|\.(?!\.)|/(?=[0-9A-Za-z]))*")


def uploaded_version(given: str | None, declared: str | None) -> tuple[str, str]:
    """Return the pretty and the normalized version of an upload: the one given, else as composer.json declares it.

    As for what git has, a branch's version may be given whatever is declared, and a release has to agree. What is
    no plain text in a URL, or what nobody could require, is refused; one of the two is not None.
    """
    version = (declared or "") if given is None else given
    if not _PLAIN.fullmatch(version):
        raise ValueError(
            f"invalid version string {_quoted(version)}: letters, digits and ._+- make one, such as 1.0.0"
        )
    normalized = normalize(version)
    check_constraint(version)
    if normalized.startswith("dev-"):
        return normalized, normalized
    if "/" in version:
        raise ValueError(
            f"invalid version string {_quoted(version)}: only a branch such as dev-feature/x has a slash"
        )
    if given is not None and declared is not None and not is_dev(normalized) and normalize(declared) != normalized:
        raise ValueError(f"version {_quoted(given)} does not match version {_quoted(declared)} in composer.json")
    return version, normalized


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
