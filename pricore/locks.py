"""Lock files: which packages in a composer.lock come from this registry, and whether they can be installed now."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import msgspec

from pricore import metadata
from pricore.dists import Dists
from pricore.errors import DistError, GitError, InvalidError
from pricore.models import LOCK_NAME, Finding, LockedPackage
from pricore.store import Store
from pricore.sync import Syncer

MOST_BYTES: Final = 8 * 1024 * 1024
_ARCHIVE = re.compile(
    r"(https?://[^?#]+?)/org/([a-z0-9-]{1,64})/packages/([^/?#]{1,200}/[^/?#]{1,200})/([^?#]{1,500})\.zip"
)
_SHA1 = re.compile(r"[0-9a-f]{40}")


class LockedDist(msgspec.Struct, frozen=True):
    """Where a lock file says that a package's archive is."""

    url: str | None = None
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


def check_name(name: str) -> str:
    """Refuse with InvalidError what cannot stand in a URL as it is."""
    if not re.fullmatch(LOCK_NAME, name):
        raise InvalidError(
            f"{name[:80]!r} is no name for a lock: up to 64 letters, digits, dots, dashes and underscores",
            field="name",
        )
    return name


def packages_of(lock: LockFile, *, public_url: str) -> list[LockedPackage]:
    """The packages in a lock file that come from this registry, by the URLs of their archives.

    `public_url` is where clients reach it; where that isn't set, nobody knows, and every URL of this form counts.
    """
    found: dict[tuple[str, str], LockedPackage] = {}
    for entry in (*lock.packages, *(lock.packages_dev or ())):
        match = _ARCHIVE.fullmatch(entry.dist.url or "") if entry.dist else None
        if match is None or (public_url and match[1] != public_url):
            continue
        shasum = (entry.dist.shasum if entry.dist else None) or ""
        package = LockedPackage(
            organization=match[2],
            package=unquote(match[3]).lower(),
            version=entry.version[:200],
            address=unquote(match[4]),
            shasum=shasum if _SHA1.fullmatch(shasum) else "",
        )
        found[package.organization, package.package] = package
    return list(found.values())


class Checker:
    """Tells whether archives that lock files name can be installed, by doing for each what a request would."""

    def __init__(self, store: Store, dists: Dists, syncer: Syncer) -> None:
        self._store = store
        self._dists = dists
        self._syncer = syncer

    async def check(self, packages: Sequence[LockedPackage]) -> list[Finding]:
        """What is so of each, in the order given; an archive that isn't kept is made."""
        return [Finding(package, await self._problem(package)) for package in packages]

    async def _problem(self, package: LockedPackage) -> str | None:
        version, reference = metadata.split_address(package.address)
        dist = await self._store.packages.dist(
            package.organization, package.package, version=version, reference=reference
        )
        if dist is None:
            return "it is not served any more"
        if package.shasum and package.shasum != dist.shasum:
            return f"its checksum is {dist.shasum}, and the lock file says {package.shasum}"
        try:
            with await self._dists.open(dist, self._syncer.source(dist), "zstd"):
                pass
        except (DistError, GitError) as error:
            return str(error)
        return None
