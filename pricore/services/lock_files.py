"""Lock files: which packages in a composer.lock come from this registry."""

import re
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec

from pricore.composer import metadata
from pricore.errors import InvalidError
from pricore.models import LockedPackage

MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_PART: Final = 200
_MOST_ADDRESS: Final = 500
_MOST_PATH: Final = 1000
"""Characters of an archive's URL from /org/ on; the longest has fewer."""

_SLUG = re.compile(r"[a-z0-9-]{1,64}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


class LockedDist(msgspec.Struct, frozen=True):
    """Where a lock file says that a package's archive is."""

    url: str | None = None
    reference: str | None = None
    shasum: str | None = None


class LockedEntry(msgspec.Struct, frozen=True):
    """A package in a lock file, as far as a registry has to know it."""

    name: str
    version: str
    dist: LockedDist | None = None


class LockFile(msgspec.Struct, frozen=True):
    """A composer.lock."""

    packages: list[LockedEntry]
    packages_dev: list[LockedEntry] | None = msgspec.field(default=None, name="packages-dev")


def read_lock(path: Path) -> LockFile:
    """The composer.lock at a path; - is the standard input. Raises InvalidError where it is none."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise InvalidError(f"cannot read {path}: {error.strerror}", field="file") from None
    if len(content) > MOST_BYTES:
        raise InvalidError(f"{path} has more than {MOST_BYTES // 1024**2} MB", field="file")
    try:
        return msgspec.json.decode(content, type=LockFile)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidError(f"{path} is no composer.lock: {error}", field="file") from None


def packages_of(lock: LockFile, *, public_url: str) -> list[LockedPackage]:
    """The packages in a lock file that come from this registry, by the URLs of their archives.

    `public_url` is where clients reach it; where that isn't set, nobody knows, and every URL of this form counts.
    """
    found: dict[tuple[str, str], LockedPackage] = {}
    for entry in (*lock.packages, *(lock.packages_dev or ())):
        dist = entry.dist or LockedDist()
        archive = _find_archive(dist.url or "", public_url)
        if archive is None:
            continue
        organization, name, address = archive
        reference = dist.reference or ""
        reference = reference if _COMMIT.fullmatch(reference) else ""
        address = unquote(address.replace(metadata.PLACEHOLDER, reference or metadata.PLACEHOLDER))
        _, advertised = metadata.split_address(address)
        shasum = dist.shasum or ""
        package = LockedPackage(
            organization=organization,
            package=unquote(name).lower(),
            version=entry.version[:200],
            address=address,
            shasum=shasum if _SHA1.fullmatch(shasum) else "",
            pinned=reference if advertised and not advertised.startswith(reference) else "",
        )
        found[package.organization, package.package] = package
    return list(found.values())


def _find_archive(url: str, public_url: str) -> tuple[str, str, str] | None:
    """The organization, the package and the address in the URL of an archive; None for any other URL.

    Each character is looked at once, whatever somebody sends: a pattern for the whole URL would try them again and
    again.
    """
    if not url.startswith(f"{public_url}/org/" if public_url else ("http://", "https://")):
        return None
    if not url.endswith(".zip") or "?" in url or "#" in url:
        return None
    path = url[len(public_url) :] if public_url else url.partition("://")[2][-_MOST_PATH:]
    if len(path) > _MOST_PATH:
        return None
    parts = path.split("/")
    left = len(path.removesuffix(".zip")) - len(parts[0]) - 1
    for at in range(1, 2 if public_url else len(parts)):
        org, slug, packages, vendor, name, *_ = (*parts[at : at + 6], *[""] * 6)
        address = left - sum(len(part) + 1 for part in (org, slug, packages, vendor, name))
        if (
            (org, packages) == ("org", "packages")
            and _SLUG.fullmatch(slug)
            and all(0 < len(part) <= _MOST_PART for part in (vendor, name))
            and 0 < address <= _MOST_ADDRESS
        ):
            return slug, f"{vendor}/{name}", path[-4 - address : -4]
        left -= len(org) + 1
    return None
