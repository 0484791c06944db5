"""Registered lock files: what they name is kept, and whether it can be installed now."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from msgspec.structs import force_setattr

from pricore.errors import BusyError, DistError, ForbiddenError, GitError, InvalidError, PricoreError
from pricore.models import LOCK_NAME, Dist, Finding, Lock, LockedPackage, Organization
from pricore.rights.visibility import ALL, Rights
from pricore.services.views import Time, View

if TYPE_CHECKING:
    from pricore.services.opening import Services
    from pricore.system.fair_semaphore import Who

T = TypeVar("T")

_RETRY_SECONDS: Final = 5


class LockedPackageView(View, frozen=True, kw_only=True, rename={"package": "name"}):
    """A package that a lock file names; `shasum` is that of its archive, null where there is none."""

    package: str
    version: str
    shasum: str | None

    def __post_init__(self) -> None:
        force_setattr(self, "shasum", self.shasum or None)


class LockView(View, frozen=True, kw_only=True):
    """A registered lock file, with the packages in it that come from its `organization` here."""

    organization: str
    name: str
    packages: list[LockedPackageView]
    created_at: Time
    registered_at: Time


class FindingView(View, frozen=True, kw_only=True, rename={"package": "name"}):
    """Whether a package in a lock file can be installed right now with its checksum, and if not, why."""

    organization: str
    package: str
    version: str
    installable: bool
    problem: str | None


def check_name(name: str) -> str:
    """Refuse with InvalidError what cannot stand in a URL as it is."""
    if not re.fullmatch(LOCK_NAME, name):
        raise InvalidError(
            f"{name[:80]!r} is no name for a lock: up to 64 letters, digits, dots, dashes and underscores",
            field="name",
        )
    return name


async def register_lock(
    services: "Services",
    name: str,
    packages: Sequence[LockedPackage],
    organizations: Sequence[Organization],
    *,
    rights: Rights = ALL,
    admit: Callable[[LockedPackage], None] = lambda _: None,
    seconds: float | None = None,
) -> list[Lock]:
    """Keep what a lock file names of some organizations; one of the same name there is replaced.

    The checksums that it doesn't have, those of branches, are looked up, within the bounds of `admit` and
    `seconds`, as in a check. Raises InvalidError for what is no name, and what a check does.
    """
    check_name(name)
    named = await Checker(services).name_archives(packages, rights=rights, admit=admit, seconds=seconds)
    return [
        await services.store.locks.register(
            organization, name, [item for item in named if item.organization == organization.slug]
        )
        for organization in organizations
    ]


class Checker:
    """Tells whether archives that lock files name can be installed, by doing for each what a request would.

    `explain` gives the words for an archive that cannot be had.
    """

    def __init__(self, services: "Services", *, explain: Callable[[PricoreError], str] = str) -> None:
        self._explain = explain
        self._finder = services.dist_finder
        self._dists = services.dists
        self._sources = services.sources

    async def check(
        self,
        packages: Sequence[LockedPackage],
        *,
        who: "Who | None" = None,
        rights: Rights = ALL,
        admit: Callable[[LockedPackage], None] = lambda _: None,
        seconds: float | None = None,
    ) -> list[Finding]:
        """What is so of each, in the order given; an archive that isn't kept is made, in the turns of `who`.

        A commit that isn't known is looked up. `admit` may refuse either by raising an error. Raises BusyError
        where all takes more than so many seconds; what was made or found by then is kept.
        """

        async def check_one(package: LockedPackage) -> Finding:
            return Finding(package, await self._problem(package, who, rights, admit))

        return await _each(packages, check_one, seconds)

    async def name_archives(
        self,
        packages: Sequence[LockedPackage],
        *,
        rights: Rights = ALL,
        admit: Callable[[LockedPackage], None] = lambda _: None,
        seconds: float | None = None,
    ) -> list[LockedPackage]:
        """The same with the checksums that lock files don't have: those of branches, as they are served.

        `admit` and `seconds` bound what is looked up, as in a check.
        """

        async def name_one(package: LockedPackage) -> LockedPackage:
            return await self._with_shasum(package, rights, admit)

        return await _each(packages, name_one, seconds)

    async def _with_shasum(
        self, package: LockedPackage, rights: Rights, admit: Callable[[LockedPackage], None]
    ) -> LockedPackage:
        if package.shasum:
            return package
        try:
            dist = await self._find(package, rights, cache(partial(admit, package)))
        except (GitError, ForbiddenError):
            return package  # it cannot be installed, and checking it tells why
        return package if dist is None else msgspec.structs.replace(package, shasum=dist.shasum)

    async def _problem(
        self,
        package: LockedPackage,
        who: "Who | None",
        rights: Rights,
        admit: Callable[[LockedPackage], None],
    ) -> str | None:
        if package.pinned:
            return (
                f"it is pinned to {package.pinned}, and its archive is of another commit: "
                f"run `composer update --lock`, delete vendor/{package.package}, and run `composer install`"
            )
        # once, though a commit may be looked up and its archive be made
        admit_once = cache(partial(admit, package))
        try:
            dist = await self._find(package, rights, admit_once)
            if dist is None:
                return "it is not served any more"
            if package.shasum and package.shasum != dist.shasum:
                return f"its checksum is {dist.shasum}, and the lock file says {package.shasum}"
            if not await self._dists.has(dist, "zstd"):
                admit_once()
            with await self._dists.open(dist, self._sources.of(dist), "zstd", who=who):
                pass
        except ForbiddenError as error:
            return str(error)
        except (DistError, GitError) as error:
            return self._explain(error)
        return None

    async def _find(self, package: LockedPackage, rights: Rights, admit: Callable[[], None]) -> Dist | None:
        view = rights.view(package.package)
        if view is None:
            return None
        return await self._finder.find(
            package.organization, package.package, package.address, view=view, admit=admit
        )


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


def view_finding(item: Finding) -> FindingView:
    return FindingView.of(item.package, installable=item.problem is None, problem=item.problem)
