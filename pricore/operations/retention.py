"""Which kept archives may go: those that nobody asks for, down to a size. Asked for again, they are made again."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from pricore.archives.sources import Sources
from pricore.archives.storage import Storage, Stored
from pricore.config import Config
from pricore.errors import GitError
from pricore.models import Advertised, Dist

if TYPE_CHECKING:
    from pricore.services.opening import Services

_YOUNG: Final = 24 * 3600
"""Seconds for which what nothing names stays: it may be on its way into the database."""


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is pruned: where it was, the archive in it, its bytes, and why it goes."""

    storage: str
    shasum: str
    size: int
    reason: str


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What was pruned, or would be, and what is left: the bytes, and those of them that may never go."""

    pruned: list[Pruned]
    left: int
    protected: int


async def prune(services: "Services", *, most: int | None, unused: int | None, dry_run: bool = False) -> Pruning:
    """Delete kept archives: those not asked for in `unused` seconds, then the longest unused down to `most` bytes.

    None is no such limit. Archives that nothing names any more go too. What a registered lock file names stays,
    and what could not be made again. Raises StorageError.
    """
    store, dists, sources = services.store, services.dists, services.sources
    kept = [(storage, item) for storage in dists.storages for item in await storage.list()]
    advertised = by_checksum(await store.archives.advertised())
    uses = await store.archives.uses()
    stays = await store.locks.protected_shasums()
    stays |= advertised.keys() - await makeable(sources, advertised)

    def last_use(item: Stored) -> float:
        return max(item.modified, uses.get(item.shasum, 0))

    now = time.time()
    left = sum(item.size for _, item in kept)
    chosen: list[tuple[Storage, Stored, str]] = []
    for storage, item in sorted(kept, key=lambda place: last_use(place[1])):
        if item.shasum in stays:
            continue
        if item.shasum not in advertised:
            if now - item.modified < _YOUNG:
                continue
            reason = "nothing names it"
        elif unused is not None and now - last_use(item) >= unused:
            reason = "nobody asked for it"
        elif most is not None and left > most:
            reason = "there is no room for it"
        else:
            continue
        chosen.append((storage, item, reason))
        left -= item.size
    if not dry_run:
        for storage in dists.storages:
            await dists.delete(storage, [item.name for place, item, _ in chosen if place is storage])
        gone = [(storage, item) for storage, item, _ in chosen]
        # in another encoding, or in another place, it may be kept on
        left_over = {item.shasum for storage, item in kept if (storage, item) not in gone}
        await store.archives.forget({item.shasum for _, item in gone} - left_over)
    return Pruning(
        pruned=[
            Pruned(storage=str(storage), shasum=item.shasum, size=item.size, reason=reason)
            for storage, item, reason in chosen
        ],
        left=left,
        protected=sum(item.size for _, item in kept if item.shasum in stays),
    )


def limits(config: Config) -> tuple[int | None, int | None]:
    """What the settings say of kept archives: how many bytes may stay, and how many seconds without a request."""
    return config.dist_limit * 1024**2 or None, config.dist_days * 24 * 3600 or None


def by_checksum(items: Iterable[Advertised]) -> dict[str, list[Advertised]]:
    """Archives by their checksum: packages can have one in common."""
    found: dict[str, list[Advertised]] = {}
    for item in items:
        found.setdefault(item.dist.shasum, []).append(item)
    return found


async def makeable(sources: Sources, advertised: Mapping[str, Sequence[Advertised]]) -> set[str]:
    """The checksums of archives that can be made again: git has the commit, or the upload is there."""
    wanted: dict[str | None, list[Dist]] = {}
    for items in advertised.values():
        for item in items:
            wanted.setdefault(item.dist.repository_id, []).append(item.dist)
    found: set[str] = set()
    for dists in wanted.values():
        try:
            there = await sources.of(dists[0]).has([dist.treeish for dist in dists])
        except GitError:
            continue
        found |= {dist.shasum for dist in dists if dist.treeish in there}
    return found
