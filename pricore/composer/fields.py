"""What a version's metadata takes over from composer.json, and what becomes of it where its type is an odd one.

Pure. Composer's own loader is lenient with some types and dies of others: what it takes is taken here, as it takes
it, and what it would die of is dropped, since one such version stops everybody who requires the package.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pricore.errors import ComposerJsonError

_MOMENT: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]+)? ?(?P<zone>Z|UTC|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def parse_time(value: object) -> datetime | None:
    """The moment that a composer.json's `time` says, in the forms that Composer's schema names, or in seconds.

    None for anything else: what only PHP understands, such as "yesterday", would be another time every day.
    """
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    try:
        if text.isascii() and text.isdigit():
            return datetime.fromtimestamp(int(text), UTC) if int(text) else None
        if match := _MOMENT.fullmatch(text.strip()):
            zone = (match["zone"] or "Z").replace("UTC", "Z")
            return datetime.fromisoformat(f"{match['day']}T{match['time'] or '00:00'}{zone}")
    except (ValueError, OverflowError, OSError):
        pass  # the 30th of February
    return None


def _binaries(value: object) -> list[str] | None:
    """Texts that stay in the package: for any other Composer 2.11 aborts, and packagist.org refuses the version.

    Raises ComposerJsonError.
    """
    binaries = _texts(value)
    for binary in binaries or ():
        if ".." in binary.replace("\\", "/").split("/"):
            raise ComposerJsonError(f"bin {binary[:100]} leads outside of the package: it must not contain ..")
    return binaries


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) and value else None


def _texts(value: object) -> list[str] | None:
    return [item for item in _items(value) if isinstance(item, str)] or None


def _words(value: object) -> list[str] | None:
    """Texts, and numbers as PHP writes them."""
    numbers = int | float
    words = (
        _number(item) if isinstance(item, numbers) and not isinstance(item, bool) else item
        for item in _items(value)
    )
    return [item for item in words if isinstance(item, str)] or None


def _items(value: object) -> list[Any]:
    """What is in a list, or in an object, of which PHP makes one, too; anything else stands for a list of it."""
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else [value]


def _number(value: float) -> str:
    """A number as PHP's strval() has it: 8.1, 1 for 1.0, and 1.0E+25."""
    if isinstance(value, int) and abs(value) < 2**63:
        return str(value)
    text = f"{value:.14G}"
    mantissa, mark, exponent = text.partition("E")
    if not mark:
        return text
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}E{int(exponent):+d}"


def _text_values(value: object) -> dict[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {key: item for key, item in value.items() if isinstance(item, str)} or None


def _people(value: object) -> list[dict[str, str]] | None:
    return [person for item in _items(value) if (person := _text_values(item))] or None


def _extra(value: object) -> dict[str, Any] | list[Any] | None:
    if not isinstance(value, dict):
        return value if isinstance(value, list) and value else None
    if "branch-alias" in value:
        # Composer's loader calls substr() on each target: one that isn't a string stops the client
        value = value | {"branch-alias": _text_values(value["branch-alias"]) or {}}
    return value or None


def _abandoned(value: object) -> str | bool | None:
    return value if isinstance(value, str | bool) and value else None


FIELDS: Mapping[str, Callable[[object], Any]] = {
    "description": _text,
    "type": _text,
    "keywords": _words,
    "homepage": _text,
    "license": _texts,
    "authors": _people,
    "support": _text_values,
    "funding": _people,
    "target-dir": _text,
    "autoload": _object,
    "extra": _extra,
    "include-path": _texts,
    "bin": _binaries,
    "suggest": _text_values,
    "abandoned": _abandoned,
    "php-ext": _object,
}
"""What a version's metadata takes over from composer.json besides links, and what each must be."""
