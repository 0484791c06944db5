"""What of an organization's packages somebody sees, as lists show them: as if there were no other versions."""

from collections.abc import Iterable, Sequence

import msgspec

from pricore.composer import metadata
from pricore.composer.metadata import Published
from pricore.models import Organization, Package, Version
from pricore.rights.visibility import Rights, Visibility
from pricore.store import Store
from pricore.system.threads import DOCUMENTS


async def packages(store: Store, organization: Organization, rights: Rights) -> list[Package]:
    """The packages of an organization that are seen, by name."""
    return await show(store, await store.packages.of_organization(organization.id), rights)


async def providers(store: Store, organization: Organization, name: str, rights: Rights) -> list[Package]:
    """The packages that say in a version that is seen that they provide a name."""
    found = await store.packages.providers(organization.id, name)
    if not rights.restricted:
        return found
    narrowed = _narrowed(found, rights)
    versions = await _published(store, narrowed, rights)
    hidden = {item.id for item in narrowed if name.lower() not in metadata.provided_names(versions[item.name])}
    return await show(store, [item for item in found if item.id not in hidden], rights)


async def show(store: Store, found: Sequence[Package], rights: Rights) -> list[Package]:
    """Those of some packages that are seen, each as the versions that are seen make it."""
    if not rights.restricted:
        return list(found)
    narrowed = _narrowed(found, rights)
    if not narrowed:
        return await DOCUMENTS.for_all(len(found), lambda: [item for item in found if rights.sees(item.name)])
    versions = await _published(store, narrowed, rights)
    ids = {item.id for item in narrowed}

    def shown() -> list[Package]:
        return [
            _as_seen(item, versions[item.name]) if item.id in ids else item
            for item in found
            if rights.sees(item.name)
        ]

    return await DOCUMENTS.run(shown)


def versions(found: Iterable[Version], view: Visibility) -> list[Version]:
    """Those of a package's versions that are seen."""
    return [item for item in found if view.admits(item.normalized, item.published_at)]


def _narrowed(found: Iterable[Package], rights: Rights) -> list[Package]:
    """Those of some packages of which not all versions need to be seen."""
    return [item for item in found if (view := rights.view(item.name)) is not None and not view.has_all]


async def _published(store: Store, found: Sequence[Package], rights: Rights) -> dict[str, list[Published]]:
    """The versions of some packages that are seen, newest first, by the packages' names."""
    by_name = await store.documents.published([item.id for item in found])

    def choose(package: Package) -> list[Published]:
        view = rights.view(package.name)
        return [
            item
            for item in metadata.newest_first(by_name.get(package.name, ()))
            if view is not None and view.admits(item.normalized, item.published_at)
        ]

    return await DOCUMENTS.run(lambda: {item.name: choose(item) for item in found})


def _as_seen(package: Package, published: Sequence[Published]) -> Package:
    latest = metadata.find_latest(published)
    shown = metadata.show(b"{}" if latest is None else latest.entry, None)
    return msgspec.structs.replace(
        package,
        description=shown.description,
        type=shown.type,
        abandoned=shown.abandoned,
        latest_version=None if latest is None else latest.version,
    )
