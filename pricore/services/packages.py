"""Packages that are served: how they and their versions are deleted, moved with their tags, and counted."""

from datetime import date
from typing import TYPE_CHECKING

from pricore.errors import ConflictError, InvalidError, NotFoundError
from pricore.models import Count, Downloads, Organization, Package, Version
from pricore.store import Store

if TYPE_CHECKING:
    from pricore.services.opening import Services
    from pricore.sync.progress import OnProgress


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
    store: Store, package: Package, *, first: date, last: date, version: str | None = None
) -> Downloads:
    """The downloads of a package from one day to another, both included; of a `version` in any form for all.

    Raises InvalidError for a version that isn't served and never was downloaded.
    """
    if version is None:
        return await store.usage.downloads(package, first=first, last=last)
    served = await store.packages.find_version(package, version)
    shown = version if served is None else served.version
    found = await store.usage.downloads(package, first=first, last=last, version=shown)
    if served is None and found.total == Count(0, 0):
        raise InvalidError(f"there is no version {version[:80]}", field="version")
    return found
