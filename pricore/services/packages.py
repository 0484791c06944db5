"""Packages that are served: how they and their versions are deleted, moved with their tags, and counted."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated

import msgspec

from pricore.errors import ConflictError, InvalidError, NotFoundError
from pricore.models import Count, Downloads, Organization, Package, Version
from pricore.rights.visibility import WHOLE, Visibility
from pricore.services import visible
from pricore.services.repositories import RepositorySummary
from pricore.services.views import Day, Id, Time, View, one_of
from pricore.store import Store

if TYPE_CHECKING:
    from pricore.services.opening import Services
    from pricore.sync.progress import OnProgress


class PackageSummary(View, frozen=True, kw_only=True, rename={"successor": "abandoned"}):
    """A package in a list; `abandoned` names the package to use instead, or is true where nobody names one."""

    id: Id
    name: str
    description: str
    type: str
    latest_version: str | None
    successor: str | bool | None
    created_at: Time


class VersionView(
    View, frozen=True, kw_only=True, rename={"normalized": "normalized_version", "gone_at": "gone_upstream_at"}
):
    """A version as it is served.

    `gone_upstream_at` is since when its tag is missing; `moved_to` is the commit to which its tag has moved, while
    it stays what it is. The `reference` of one that was uploaded stands for its content; that of any other is its
    commit.
    """

    version: str
    normalized: str
    kind: Annotated[str, one_of("tag", "branch", "upload")]
    reference: str
    shasum: str
    released_at: Time
    gone_at: Time | None
    moved_to: str | None


class UploadView(VersionView, frozen=True, kw_only=True):
    """A version that was uploaded, or was there already with the same content, and the package that it is of."""

    package: str


class PackageView(PackageSummary, frozen=True, kw_only=True):
    """A package with where it comes from (null: it is uploaded) and its versions, newest first."""

    repository: RepositorySummary | None
    versions: list[VersionView]


class VersionDownloads(View, frozen=True, kw_only=True):
    """How often a version was installed in a period, and how often its archive was sent."""

    version: str
    downloads: int
    archives: int


class DayDownloads(View, frozen=True, kw_only=True):
    """How often a package was installed in a day (UTC), and how often its archives were sent.

    `versions` and `archive_versions` say of which versions; those without are left out.
    """

    date: Day
    downloads: int
    archives: int
    versions: dict[str, int]
    archive_versions: dict[str, int]


class DownloadsView(View, frozen=True, kw_only=True):
    """Installs that clients reported: `total` since ever; those from `from` to `to` by day, and by version.

    `total_archives`, and `archives` beside each `downloads`, count the archives that were sent: Composer installs
    from its cache without asking for one, and other programs ask for one without reporting an install.
    """

    total: int
    total_archives: int
    first: Day = msgspec.field(name="from")
    last: Day = msgspec.field(name="to")
    days: list[DayDownloads]
    versions: list[VersionDownloads]


async def delete_package(services: "Services", organization: Organization, package: Package) -> None:
    """Delete a package with its archives.

    Raises NotFoundError where it is gone, ConflictError where a registered lock file names one of its archives.
    """
    await services.remove_archives(await services.store.packages.delete(organization, package))


async def delete_version(services: "Services", organization: Organization, package: Package, version: str) -> None:
    """Delete a version, given as it is shown, with its archive. Raises what `delete_package` does."""
    unused = await services.store.packages.delete_version(organization, package, version)
    await services.remove_archives(unused)


async def accept_version(
    services: "Services", package: Package, version: Version, *, progress: "OnProgress"
) -> Version:
    """Let a released version move to where its tag is now, and sync its repository; gives what is served then.

    Raises ConflictError where the tag hasn't moved, has moved on, or makes no version there, NotFoundError where
    the repository was removed, and what a sync does.
    """
    if version.moved_to is None:
        raise ConflictError(
            f"the tag of {package.name} {version.version} is where it was: there is nothing to accept"
        )
    store = services.store
    await store.packages.accept(package, version)
    repository = await store.repositories.find(package.repository_id)
    if repository is None:
        raise NotFoundError("its repository was removed")
    await services.syncer.sync(repository, progress=progress)
    served = await store.packages.find_version(package, version.version)
    if served is None or served.reference != version.moved_to:
        reasons = await store.repositories.left_out(repository.id)
        raise ConflictError(
            f"{package.name} {version.version} stays at {version.reference[:12]}: "
            f"{reasons.get(version.ref, 'its tag has moved again')}"
        )
    return served


async def count_downloads(
    store: Store,
    package: Package,
    *,
    first: date,
    last: date,
    version: str | None = None,
    view: Visibility = WHOLE,
) -> Downloads:
    """The downloads of a package from one day to another, both included; of a `version` in any form for all.

    Where a `view` doesn't have all versions, those count that are served and that it shows.

    Raises InvalidError for a version that isn't served and never was downloaded.
    """
    only = None
    if not view.has_all:
        only = {item.version for item in await visible.versions(store, package, view)}
    if version is None:
        return await store.usage.downloads(package, first=first, last=last, only=only)
    served = await store.packages.find_version(package, version)
    if only is not None and (served is None or served.version not in only):
        raise InvalidError(f"there is no version {version[:80]}", field="version")
    shown = version if served is None else served.version
    found = await store.usage.downloads(package, first=first, last=last, version=shown, only=only)
    if served is None and found.total == Count(0, 0):
        raise InvalidError(f"there is no version {version[:80]}", field="version")
    return found


def view_downloads(item: Downloads) -> DownloadsView:
    installs, archives = Counter[str](), Counter[str]()
    days = [_day(day, counts) for day, counts in item.days.items()]
    for day in days:
        installs.update(day.versions)
        archives.update(day.archive_versions)
    versions = [*installs, *(name for name in archives if name not in installs)]
    return DownloadsView(
        total=item.total.installs,
        total_archives=item.total.archives,
        first=days[0].date,
        last=days[-1].date,
        days=days,
        versions=[
            VersionDownloads(version=name, downloads=installs[name], archives=archives[name])
            for name in sorted(versions, key=lambda name: (installs[name], archives[name]), reverse=True)
        ],
    )


def _day(day: date, counts: Mapping[str, Count]) -> DayDownloads:
    installs = {name: count.installs for name, count in counts.items() if count.installs}
    archives = {name: count.archives for name, count in counts.items() if count.archives}
    return DayDownloads(
        date=day.isoformat(),
        downloads=sum(installs.values()),
        archives=sum(archives.values()),
        versions=installs,
        archive_versions=archives,
    )
