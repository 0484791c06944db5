"""Slugs: names of organizations, and of folders, as they stand in URLs."""

import re
import unicodedata
from typing import Final

from pricore.errors import InvalidError

SLUG: Final = "[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"

_LETTERS: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe", "þ": "th"}
    | {"ð": "d", "đ": "d", "ł": "l", "ħ": "h", "\u0131": "i", "ŋ": "n", "ŧ": "t"}
)
"""Letters as people write them who don't have them on their keyboard; of all others accents are left out."""


def slug_of(name: str) -> str:
    """A slug for a name: lower case, in ASCII, with dashes. Raises InvalidError for one without such letters."""
    text = unicodedata.normalize("NFC", name).lower().translate(_LETTERS)
    # of other letters with accents the letter stays
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:64].strip("-")
    others = any(c.isalpha() and not c.isascii() for c in plain)
    if not slug or (others and not re.search("[a-z]", slug)):
        raise InvalidError(
            f"{name[:80]!r} cannot be written in the letters a to z and digits: give a slug (--slug)", field="slug"
        )
    return slug


def check_slug(slug: str) -> str:
    """Refuse with InvalidError what cannot stand in a URL as it is."""
    if not re.fullmatch(SLUG, slug):
        raise InvalidError(
            f"{slug[:80]!r} is not a slug: up to 64 lower-case letters, digits and dashes between them",
            field="slug",
        )
    return slug
