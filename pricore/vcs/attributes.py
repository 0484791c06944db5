"""What a .gitattributes says of the files of an archive, as far as it uses what packages use."""

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import translate
from typing import Final, NamedTuple, Self

_MOST_BYTES: Final = 64 * 1024
_MOST_RULES: Final = 100
_MOST_PARTS: Final = 20
_MOST_STARS: Final = 2
_MOST_LINE: Final = 2000

_ATTRIBUTE: Final = re.compile(r"([!-]?)([a-z][a-z0-9-]*)(?:=(\S*))?")
_PATTERN: Final = re.compile(r"/?[\w.,+@=#$%{}*?-]+(?:/[\w.,+@=#$%{}*?-]+)*/?", re.ASCII)

_IGNORE: Final = "export-ignore"
_DIFF: Final = "diff"
_CONVERTING: Final[Mapping[str, frozenset[str]]] = {
    "crlf": frozenset({"!"}),
    "eol": frozenset({"!", "=lf"}),
    "filter": frozenset({"!", "-"}),
    "ident": frozenset({"!", "-"}),
    "text": frozenset({"", "!", "-", "=auto"}),
    "working-tree-encoding": frozenset({"!", "-"}),
}
"""The attributes by which git writes other bytes than it keeps, with the values that don't make it on Linux."""


class PathAttributes(NamedTuple):
    """What is said of a path: whether it stays out, and whether it is text, None where its content decides."""

    left_out: bool = False
    text: bool | None = None


class _Rule(NamedTuple):
    """A line: its pattern in parts, and the attributes that it sets to a value.

    It is about what ends like the pattern where it may be `anywhere`; else about what is there, or `inside` of it.
    """

    parts: tuple[re.Pattern[str], ...]
    anywhere: bool
    inside: bool
    folders: bool
    values: Mapping[str, str]

    def matches(self, path: Sequence[str], *, folder: bool) -> bool:
        count = len(self.parts)
        if (self.folders and not folder) or len(path) < count + self.inside:
            return False
        if len(path) > count and not (self.anywhere or self.inside):
            return False
        path = path[-count:] if self.anywhere else path[:count]
        return all(part.match(name) for part, name in zip(self.parts, path, strict=True))


class Attributes:
    """The rules of the .gitattributes in the root of a tree; those in folders are not looked at.

    Source: https://git-scm.com/docs/gitattributes, and what `git archive` asks of them.
    """

    def __init__(self, rules: Sequence[_Rule] = ()) -> None:
        self._rules = rules

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """The rules in a file; None where there is anything whose meaning had better be left to git."""
        if len(content) > _MOST_BYTES or not content.isascii():
            return None
        rules: list[_Rule] = []
        for rule in _rules(content.decode("ascii")):
            if rule is None or len(rules) == _MOST_RULES:
                return None
            rules.append(rule)
        return cls(rules)

    def of(self, path: bytes) -> PathAttributes:
        """What they say of a path of ASCII characters; that of a folder ends with a slash."""
        if not self._rules:
            return _NOTHING
        folder = path.endswith(b"/")
        parts = path.decode("ascii").removesuffix("/").split("/")
        values: dict[str, str] = {}
        for rule in self._rules:
            if rule.matches(parts, folder=folder):
                values |= rule.values  # the last one counts
        # of a value such as diff=php, git knows no more than that the content decides
        text = {"": True, "-": False}.get(values.get(_DIFF, "!"))
        return PathAttributes(values.get(_IGNORE) == "", text)


_NOTHING: Final = PathAttributes()


def _rules(text: str) -> Iterator[_Rule | None]:
    """The rules of a file, line by line; None for one that is unusual."""
    for line in text.split("\n"):
        words = line.strip(" \t\r").split()
        if words and not words[0].startswith("#"):
            yield _parse(*words) if len(line) < _MOST_LINE else None


def _parse(pattern: str, *words: str) -> _Rule | None:
    values: dict[str, str] = {}
    for word in words:
        found = _ATTRIBUTE.fullmatch(word)
        if found is None or (found[1] and found[3] is not None):
            return None
        name, value = found[2], found[1] if found[3] is None else f"={found[3]}"
        if value not in _CONVERTING.get(name, (value,)):
            return None
        if name == "binary":
            if value:
                return None
            name, value = _DIFF, "-"
        values[name] = value
    if not _PATTERN.fullmatch(pattern):
        return None
    anchored = "/" in pattern.removesuffix("/")
    inner = pattern.removesuffix("/").removeprefix("/")
    anywhere, inside = inner.startswith("**/") or not anchored, inner.endswith("/**")
    inner = inner.removeprefix("**/").removesuffix("/**")
    parts = inner.split("/")
    if "**" in inner or (anywhere and inside):
        return None
    if len(parts) > _MOST_PARTS or any(part.count("*") > _MOST_STARS for part in parts):
        return None
    # compiled here: fnmatch remembers a few hundred
    compiled = tuple(re.compile(translate(part)) for part in parts)
    return _Rule(compiled, anywhere, inside, pattern.endswith("/"), values)
