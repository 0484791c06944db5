"""What of an organization's packages somebody sees, as lists show them: as if there were no other versions."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from pricore.composer import metadata
from pricore.composer.metadata import Published
from pricore.composer.versions import newest_first, normalized_or_none, parse_stability
from pricore.models import Organization, Package, Version
from pricore.rights.visibility import Rights, Visibility
from pricore.store import Store
from pricore.system.threads import DOCUMENTS
from pricore.tables.packages import Served


async def packages(store: Store, organization: Organization, rights: Rights) -> list[Package]:
    """The packages of an organization that are seen, by name."""
    return await show(store, await store.packages.of_organization(organization.id), rights)


async def providers(store: Store, organization: Organization, name: str, rights: Rights) -> list[Package]:
    """The packages that say in a version that is seen that they provide a name."""
    found = await store.packages.providers(organization.id, name)
    hidden = set[str]()
    for package in await DOCUMENTS.for_all(len(found), _narrowed, found, rights):
        # one after the other: of all of them together, the metadata is many times what is looked for
        view, published = rights.view(package.name), await store.documents.published(package)
        if view is None or not await DOCUMENTS.run(_provides, published, view, name.lower()):
            hidden.add(package.id)
    return await show(store, [item for item in found if item.id not in hidden], rights)


def _provides(published: Iterable[Published], view: Visibility, name: str) -> bool:
    seen = [item for item in published if view.admits(item.normalized, item.published_at)]
    return name in metadata.provided_names(metadata.newest_first(seen))


async def show(store: Store, found: Sequence[Package], rights: Rights) -> list[Package]:
    """Those of some packages that are seen, each as the versions that are seen make it."""
    if not rights.restricted:
        return list(found)
    narrowed = await DOCUMENTS.for_all(len(found), _narrowed, found, rights)
    served = await store.packages.all_served([item.id for item in narrowed])

    def choose() -> dict[str, Served | None]:
        return {item.id: _latest(served.get(item.id, ()), rights.view(item.name)) for item in narrowed}

    latest = await DOCUMENTS.run(choose)
    entries = await store.documents.entries([item.id for item in latest.values() if item is not None])

    def shown() -> list[Package]:
        seen = (item for item in found if rights.sees(item.name))
        return [_as_seen(item, latest[item.id], entries) if item.id in latest else item for item in seen]

    return await DOCUMENTS.run(shown)


async def versions(store: Store, package: Package, view: Visibility) -> list[Version]:
    """The versions of a package that are seen, newest first."""
    found = await store.packages.versions(package)
    if view.has_all:
        return found

    def choose() -> list[Version]:
        return [item for item in found if view.admits(item.normalized, item.published_at)]

    return await DOCUMENTS.for_all(len(found), choose)


def sees_version(rights: Rights, package: str, version: str) -> bool:
    """Whether a version is seen, of which only the number is known; the name is in lower case."""
    view = rights.view(package)
    if view is None or view.has_all:
        return view is not None
    normalized = normalized_or_none(version)
    return normalized is not None and view.admits(normalized, None)


def _narrowed(found: Iterable[Package], rights: Rights) -> list[Package]:
    """Those of some packages of which not all versions need to be seen."""
    return [item for item in found if (view := rights.view(item.name)) is not None and not view.has_all]


def _latest(served: Iterable[Served], view: Visibility | None) -> Served | None:
    """The highest stable version that is seen, else the highest of any kind."""
    seen = [item for item in served if view is not None and view.admits(item.normalized, item.published_at)]
    ordered = newest_first(seen, lambda item: item.normalized)
    stable = (item for item in ordered if parse_stability(item.normalized) == "stable")
    return next(stable, ordered[0] if ordered else None)


def _as_seen(package: Package, latest: Served | None, entries: Mapping[int, bytes]) -> Package:
    shown = metadata.show(b"{}" if latest is None else entries.get(latest.id, b"{}"), None)
    return msgspec.structs.replace(
        package,
        description=shown.description,
        type=shown.type,
        abandoned=shown.abandoned,
        latest_version=None if latest is None else latest.version,
    )
