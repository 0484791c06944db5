"""Lock files: which packages in a composer.lock come from this registry, and whether they can be installed now."""

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote

import msgspec

from pricore.composer import metadata
from pricore.errors import BusyError, DistError, GitError, InvalidError, PricoreError
from pricore.models import LOCK_NAME, Finding, LockedPackage
from pricore.services.opening import Services
from pricore.system.fair_semaphore import Who

T = TypeVar("T")

MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_PART: Final = 200
_MOST_ADDRESS: Final = 500
_MOST_PATH: Final = 1000
"""Characters of an archive's URL from /org/ on; the longest has fewer."""

_SLUG = re.compile(r"[a-z0-9-]{1,64}")
_RETRY_SECONDS: Final = 5
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


class Checker:
    """Tells whether archives that lock files name can be installed, by doing for each what a request would.

    `explain` gives the words for an archive that cannot be had.
    """

    def __init__(self, services: Services, *, explain: Callable[[PricoreError], str] = str) -> None:
        self._explain = explain
        self._pins = services.pins
        self._dists = services.dists
        self._sources = services.sources

    async def check(
        self,
        packages: Sequence[LockedPackage],
        *,
        who: Who | None = None,
        admit: Callable[[LockedPackage], None] = lambda _: None,
        seconds: float | None = None,
    ) -> list[Finding]:
        """What is so of each, in the order given; an archive that isn't kept is made, in the turns of `who`.

        A commit that isn't known is looked up. `admit` may refuse either by raising an error. Raises BusyError
        where all takes more than so many seconds; what was made or found by then is kept.
        """

        async def check_one(package: LockedPackage) -> Finding:
            return Finding(package, await self._problem(package, who, admit))

        return await _each(packages, check_one, seconds)

    async def name_archives(
        self,
        packages: Sequence[LockedPackage],
        *,
        admit: Callable[[LockedPackage], None] = lambda _: None,
        seconds: float | None = None,
    ) -> list[LockedPackage]:
        """The same with the checksums that lock files don't have: those of branches, as they are served.

        `admit` and `seconds` bound what is looked up, as in a check.
        """

        async def name_one(package: LockedPackage) -> LockedPackage:
            return await self._with_shasum(package, admit)

        return await _each(packages, name_one, seconds)

    async def _with_shasum(self, package: LockedPackage, admit: Callable[[LockedPackage], None]) -> LockedPackage:
        if package.shasum:
            return package
        try:
            dist = await self._pins.find(
                package.organization, package.package, package.address, admit=partial(admit, package)
            )
        except GitError:
            return package  # it cannot be installed, and checking it tells why
        return package if dist is None else msgspec.structs.replace(package, shasum=dist.shasum)

    async def _problem(
        self, package: LockedPackage, who: Who | None, admit: Callable[[LockedPackage], None]
    ) -> str | None:
        if package.pinned:
            return (
                f"it is pinned to {package.pinned}, and its archive is of another commit: "
                f"run `composer update --lock`, delete vendor/{package.package}, and run `composer install`"
            )
        # once, though a commit may be looked up and its archive be made
        admit_once = cache(partial(admit, package))
        try:
            dist = await self._pins.find(package.organization, package.package, package.address, admit=admit_once)
            if dist is None:
                return "it is not served any more"
            if package.shasum and package.shasum != dist.shasum:
                return f"its checksum is {dist.shasum}, and the lock file says {package.shasum}"
            if not await self._dists.has(dist, "zstd"):
                admit_once()
            with await self._dists.open(dist, self._sources.of(dist), "zstd", who=who):
                pass
        except (DistError, GitError) as error:
            return self._explain(error)
        return None


async def _each(
    packages: Sequence[LockedPackage], work: Callable[[LockedPackage], Awaitable[T]], seconds: float | None
) -> list[T]:
    """What some work gives for each package. Raises BusyError where all takes more than so many seconds."""
    done: list[T] = []
    try:
        async with asyncio.timeout(seconds):
            for package in packages:
                done.append(await work(package))  # noqa: PERF401  # what is done by then is told
    except TimeoutError:
        raise BusyError(
            f"{len(done)} of {len(packages)} packages are checked, and archives of the others have to be "
            f"made; try again in {_RETRY_SECONDS} s, which goes on from there",
            retry_after=_RETRY_SECONDS,
        ) from None
    return done
