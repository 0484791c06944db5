"""Paths: which folders of a repository are packages, by patterns such as packages/*."""

from collections.abc import Sequence
from typing import Final

from pricore.errors import InvalidError

_MOST_PATTERNS: Final = 100
_LONGEST_PATTERN: Final = 200
_MOST_PARTS: Final = 8


def parse_paths(patterns: Sequence[str]) -> tuple[str, ...]:
    """Patterns of folders that are packages, without what makes no difference; none where that is the root alone.

    Raises InvalidError for what can be no folder in a repository.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        parts = [part for part in pattern.strip().split("/") if part not in ("", ".")]
        if (
            not pattern.strip()
            or pattern.strip().startswith("/")
            or len(pattern) > _LONGEST_PATTERN
            or len(parts) > _MOST_PARTS
            or not pattern.isprintable()
            or any(part in ("..", ".git") or "**" in part or set(part) & set(":\\") for part in parts)
        ):
            raise InvalidError(
                f"{pattern[:80]!r} is no folder of a repository such as packages/foo or packages/*, "
                f"where * stands for one name, and no more than {_MOST_PARTS} deep",
                field="paths",
            )
        found["/".join(parts) or "."] = None
    if len(found) > _MOST_PATTERNS:
        raise InvalidError(f"give up to {_MOST_PATTERNS} paths; packages/* stands for many", field="paths")
    return () if list(found) == ["."] else tuple(found)
