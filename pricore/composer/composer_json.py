"""A composer.json as anybody may write it: read, checked, and what versions take over from it.

Pure: bytes in, records out.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from pricore.composer import constraints
from pricore.composer.fields import FIELDS, parse_time
from pricore.errors import ComposerJsonError

MAX_COMPOSER_JSON: Final = 256 * 1024
"""Bytes of a composer.json that is read; real ones stay below 100 kB."""

TOO_LARGE: Final = f"composer.json is larger than {MAX_COMPOSER_JSON // 1024} kB"
NO_COMPOSER_JSON: Final = "no composer.json"

_MAX_DEPTH: Final = 100
"""Levels of nesting; PHP stops reading a document at 512, and a p2 document adds some of its own."""

_MOST_NAME: Final = 255

_NAME = re.compile(r"[a-z0-9](?:[_.-]?[a-z0-9]++)*+/[a-z0-9](?:(?:[_.]|-{1,2})?[a-z0-9]++)*+")
_RESERVED = frozenset(
    ("nul", "con", "prn", "aux", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10)))
)
_PHP_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_LINKS = ("require", "require-dev", "conflict", "provide", "replace")

_JsonObject = dict[str, Any]
_encode = msgspec.json.Encoder().encode


def check_package_name(name: str) -> None:
    """Refuse with ComposerJsonError what Composer doesn't take for a package name; upper case passes."""
    lower = name.lower()
    if not name.isascii() or len(name) > _MOST_NAME or not _NAME.fullmatch(lower):
        raise ComposerJsonError(f'"{name[:80]}" is not a package name such as vendor/package')
    if not _RESERVED.isdisjoint(lower.split("/")):
        raise ComposerJsonError(f'"{name}" uses a name that Windows reserves')
    if lower.endswith(".json"):
        raise ComposerJsonError(f'"{name}" ends in .json, which Composer refuses')


def parse_composer_json(content: bytes | None) -> _JsonObject:
    """The object in a composer.json.

    Raises ComposerJsonError where the file is missing (None), empty, too large, or not JSON as PHP reads it.
    """
    if content is None or not content.strip():
        raise ComposerJsonError(NO_COMPOSER_JSON)
    if len(content) > MAX_COMPOSER_JSON:
        raise ComposerJsonError(TOO_LARGE)
    try:
        data = msgspec.json.decode(content)
        _encode(data)  # what can be read but not written again, such as half a surrogate pair, is no JSON
    except RecursionError:
        raise ComposerJsonError("composer.json is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeError, OverflowError) as error:
        raise ComposerJsonError(f"composer.json is not valid JSON: {error}") from None
    if not isinstance(data, dict) or not data:
        raise ComposerJsonError("composer.json holds no JSON object")
    level: list[Any] = [data]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return data
    raise ComposerJsonError(f"composer.json is nested deeper than {_MAX_DEPTH} levels")


def package_name(data: Mapping[str, Any]) -> str | None:
    """The name that a composer.json gives itself, as spelled; None where it has none."""
    name = data.get("name")
    # a longer one is no name either, and it is told and kept
    return name[: _MOST_NAME + 1] if isinstance(name, str) and name else None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A composer.json as versions are made of it: checked and encoded once, however many refs have it.

    `version` is the one that it declares, False for one that is no string; `time` is what it says of that, as
    Composer writes it. `fields`, `support` (its own, with the names in it in `supported`) and `links` are members
    of an entry as compact JSON, each behind a comma. `own` is the first link whose constraint is the version
    itself. `problem` is why no version can be made of it: a link that Composer cannot parse, a binary outside.
    """

    name: str | None
    version: str | Literal[False] | None
    time: str | None
    fields: bytes
    support: bytes
    supported: frozenset[str]
    links: bytes
    own: str | None
    problem: str | None


def read_manifest(data: _JsonObject) -> Manifest:
    """What versions take over from a composer.json.

    Root-only keys go; a field of a type that Composer's loader dies of goes too, since one such version stops
    everybody who requires the package.
    """
    fields: _JsonObject = {}
    links = {kind: found for kind in _LINKS if (found := _links(data.get(kind)))}
    own, problem = None, None
    try:
        for key, clean in FIELDS.items():
            value = clean(data.get(key))
            # "__unset" would read as "this key went away" in a minified document
            if value is not None and value != "__unset":
                fields[key] = value
        own = _check_links(links)
    except ComposerJsonError as error:
        problem = str(error)
    fields.setdefault("type", "library")
    support: Mapping[str, str] = fields.pop("support", {})
    version, declared = data.get("version"), parse_time(data.get("time"))
    return Manifest(
        name=package_name(data),
        version=version if version is None or isinstance(version, str) else False,
        time=None if declared is None else declared.isoformat(timespec="seconds"),
        fields=encode_members(fields),
        support=encode_members(support),
        supported=frozenset(support),
        links=encode_members(links),
        own=own,
        problem=problem,
    )


def encode_members(data: Mapping[str, Any]) -> bytes:
    """The members of an object as they stand behind others."""
    return b"," + _encode(data)[1:-1] if data else b""


def _links(value: object) -> dict[str, str]:
    """The links of one kind; what isn't a string is passed over, as Composer does."""
    if not isinstance(value, dict):
        return {}
    return {
        target: constraint
        for target, constraint in value.items()
        # PHP turns the key "0" into a number, which stops the client; a list has such keys only
        if isinstance(constraint, str) and not _PHP_INTEGER.fullmatch(target)
    }


def _check_links(links: Mapping[str, Mapping[str, str]]) -> str | None:
    """The first link whose constraint is the version itself; others are checked, with ComposerJsonError."""
    own = None
    for kind, found in links.items():
        for target, constraint in found.items():
            if constraint != "self.version":
                check_link(f"{kind}.{target[:100]}", constraint)
            elif own is None:
                own = f"{kind}.{target[:100]}"
    return own


def check_link(link: str, constraint: str) -> None:
    """Refuse with ComposerJsonError a link whose constraint Composer cannot parse."""
    try:
        constraints.check_constraint(constraint)
    except ValueError as error:
        raise ComposerJsonError(f"{link}: {error}") from None
