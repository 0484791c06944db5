"""What the API and the command line do alike: the rules of what they are given, and deleting with all files."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Final

from pricore.config import VANISHED
from pricore.errors import InvalidError
from pricore.models import Organization, Package
from pricore.services.opening import Services

SLUG: Final = "[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?"
MOST_DESCRIPTION: Final = 1000
LONGEST_INTERVAL: Final = 31 * 24 * 3600
_LETTERS: Final = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa", "æ": "ae", "œ": "oe", "þ": "th"}
    | {"ð": "d", "đ": "d", "ł": "l", "ħ": "h", "\u0131": "i", "ŋ": "n", "ŧ": "t"}
)
"""Letters as people write them who don't have them on their keyboard; of all others accents are left out."""

_MOST_PATTERNS: Final = 100
_LONGEST_PATTERN: Final = 200
_MOST_PARTS: Final = 8
_MOST_DAYS: Final = 366
_DAYS: Final = 30


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


def check_description(text: str) -> str:
    """A description without blanks around it. Raises InvalidError for a long one, or what cannot be shown."""
    text = text.strip()
    if len(text) > MOST_DESCRIPTION or not text.replace("\n", "").isprintable():
        raise InvalidError(
            f"the description must have up to {MOST_DESCRIPTION} characters that can be shown, and line breaks",
            field="description",
        )
    return text


def parse_period(first: str | None, last: str | None, *, at: int) -> tuple[date, date]:
    """The first and the last day that statistics are asked for, both included: up to today at `at`, for 30 days.

    Raises InvalidError for what is no date, for an end before the beginning, and for more than 366 days.
    """
    to = datetime.fromtimestamp(at, UTC).date() if last is None else _parse_date(last, field="to")
    if first is None:
        return date.fromordinal(max(1, to.toordinal() - _DAYS + 1)), to
    since = _parse_date(first, field="from")
    if since > to:
        raise InvalidError(f"{since} is after {to}", field="from" if last is None else "to")
    if (to - since).days >= _MOST_DAYS:
        raise InvalidError(f"from {since} to {to} is more than {_MOST_DAYS} days", field="from")
    return since, to


def _parse_date(text: str, *, field: str) -> date:
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.isoformat() != text:  # Python takes weeks too
        raise InvalidError(f"{text[:40]!r} is not a date such as 2027-01-01", field=field)
    return found


def parse_interval(text: str) -> int | None:
    """An interval, seconds: a number of them, or 10m, 2h, 1d; 0 or off for none; None for `default`.

    Raises InvalidError for anything else, and for more than 31 days.
    """
    if text == "default":
        return None
    if text == "off":
        return 0
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match else -1
    if not 0 <= seconds <= LONGEST_INTERVAL:
        raise InvalidError(
            f"{text[:40]!r} is no interval such as 10m or 2h, up to 31d; off is none, default as the one above",
            field="sync_interval",
        )
    return seconds


def parse_size(text: str, *, field: str) -> int:
    """A size, bytes: a number of them, or 500M, 5G. Raises InvalidError for anything else."""
    match = re.fullmatch(r"([0-9]{1,9})([KMGT]?)", text)
    if match is None:
        raise InvalidError(f"{text[:40]!r} is no size such as 500M or 5G", field=field)
    return int(match[1]) * {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}[match[2]]


def parse_age(text: str, *, field: str) -> int:
    """A span of time, seconds: 12h, 90d, 8w. Raises InvalidError for anything else."""
    match = re.fullmatch(r"([0-9]{1,5})([smhdw])", text)
    if match is None:
        raise InvalidError(f"{text[:40]!r} is no span of time such as 90d or 8w", field=field)
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}[match[2]]


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


def parse_vanished(text: str) -> str | None:
    """What becomes of releases whose tag is gone; None for `default`. Raises InvalidError for anything else."""
    if text in VANISHED:
        return text
    if text == "default":
        return None
    raise InvalidError(
        f"{text[:40]!r} is no policy: choose one of {', '.join(VANISHED)}, or default", field="vanished_versions"
    )


async def delete_organization(services: Services, organization: Organization) -> None:
    """Delete an organization with its repositories, packages, tokens, mirrors and archives.

    Raises NotFoundError where it is gone, ConflictError where a registered lock file names one of its archives:
    asked first, because its repositories go one after another.
    """
    await services.store.locks.check_unused(organization)
    for repository in await services.store.repositories.of_organization(organization.id):
        await services.syncer.remove(repository)
    uploaded = await services.store.archives.uploaded_checksums(organization.id)
    await services.store.organizations.delete(organization)
    await _remove(services, uploaded)


async def delete_package(services: Services, organization: Organization, package: Package) -> None:
    """Delete a package with its archives. Raises NotFoundError where it is gone."""
    await _remove(services, await services.store.packages.delete(organization, package))


async def delete_version(services: Services, organization: Organization, package: Package, version: str) -> None:
    """Delete a version, given as it is shown, with its archive. Raises NotFoundError where it is gone."""
    await _remove(services, await services.store.packages.delete_version(organization, package, version))


async def _remove(services: Services, shasums: set[str]) -> None:
    """Delete archives that are for nothing else: what was uploaded, and what is kept of it or of a commit."""
    await services.uploads.remove(shasums)
    await services.dists.remove(shasums)
