"""The regular expressions that versions, constraints and names of refs have in common: PHP's own.

`$` is right in them: in Python, as in PHP without the D modifier, it also matches before a final newline.
`re.ASCII` is needed: PHP's `\\d`, `\\s` and case folding know no other alphabet.
"""

import re
from typing import Any, Final

FLAGS: Final = re.ASCII | re.IGNORECASE
TRIMMED: Final = " \t\n\r\0\x0b"  # what PHP's trim() takes away: str.strip() takes more

# No file system lets a tag's name be longer, and released versions are far shorter.
VERSION_LIMIT: Final = 255


class Pattern:
    """A regular expression that is compiled when it is first used: many a command needs none of them."""

    def __init__(self, text: str, flags: int = 0) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        method = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, method)
        return method


STABILITIES: Final = "stable|RC|beta|alpha|dev"
# PHP writes the number as ((?:[.-]?\d+)*+)?; this form takes the same text, and is unambiguous without a
# possessive group: Python before 3.11.5 matched those wrongly.
MODIFIER: Final = r"[._-]?(?:(stable|beta|b|RC|alpha|a|patch|pl|p)(\d*+(?:[.-]\d++)*))?([.-]?dev)?"

ALIAS: Final = Pattern(r"([^,\s]++) ++as ++([^,\s]++)$", re.ASCII)


def quoted(text: str) -> str:
    """Return text in quotes for a message, shortened where it is not of a length that people write."""
    return f'"{text}"' if len(text) <= VERSION_LIMIT else f'"{text[:50]}..." ({len(text)} characters)'
