"""Which archive a URL means: of a version, or of a commit that a project pins a branch to (dev-main#<commit>).

Composer puts the commit into the URL of a branch's archive. There may never have been a version of it: any commit
that a version in service leads to can be asked for, as long as it is the same package there, and its version was
not deleted.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Final

from pricore.archives.checksums import checksum
from pricore.archives.dists import Dists
from pricore.archives.sources import Sources
from pricore.composer import metadata, versions
from pricore.composer.discovery import split_place
from pricore.errors import ArchiveError, ForbiddenError, GitError, NotFoundError
from pricore.models import Dist
from pricore.rights.visibility import WHOLE, Visibility
from pricore.store import Store
from pricore.sync.manifests import Manifests
from pricore.system.threads import DOCUMENTS
from pricore.tables.packages import Served
from pricore.tables.pins import Pinnable
from pricore.vcs.mirror import Mirror

_log = logging.getLogger("pricore.pins")

_AT_A_TIME: Final = 2
"""Commits that are looked up at the same time; each takes several gits, one after the other."""

_SECONDS: Final = 30
"""How long a look-up may take, with its turn: a long history is walked through."""

_WHOLE: Final = (40, 64)


class DistFinder:
    """Finds archives by version and commit, as URLs have them.

    What is found is kept: a commit that somebody installed by its first digits means the same for ever. `most` are
    the bytes of an organization's pinned archives, unpacked; None for any.
    """

    def __init__(self, store: Store, dists: Dists, sources: Sources, *, most: int | None) -> None:
        self._store = store
        self._dists = dists
        self._sources = sources
        self.most = most
        self._turns = asyncio.Semaphore(_AT_A_TIME)
        self._looking: dict[tuple[str, str, str, str], asyncio.Task[Dist | None]] = {}

    async def find(
        self,
        slug: str,
        name: str,
        address: str,
        *,
        view: Visibility = WHOLE,
        admit: Callable[[], None] = lambda: None,
    ) -> Dist | None:
        """The archive at an address (1.0.0, dev-main/<commit>) of a package (in lower case), or None.

        Whatever it is of: a version as it is served now, a commit that was advertised at any time, or one that is
        looked up here, which `admit` may refuse by raising an error. Raises GitError where that takes too long,
        and ForbiddenError for a version that a `view` leaves out. A commit it shows where it shows a version that
        is made of it, or a dev version that leads to it.
        """
        if view.has_all:
            return await self._find(slug, name, address, admit)
        seen = await self._commits_seen(slug, name, address, view, admit)
        dist = await self._find(slug, name, address, admit) if seen else None
        if dist is None or dist.repository_id is None:  # what is uploaded is known by no commit
            return dist
        return dist if split_place(dist.treeish)[0] in seen else None

    async def _commits_seen(
        self, slug: str, name: str, address: str, view: Visibility, admit: Callable[[], None]
    ) -> Collection[str]:
        """The commits at an address that a view shows. Raises what `find` does."""
        version, reference = metadata.split_address(address)
        found = await self._store.pins.look_up(slug, name, version)
        if found is None:
            return ()
        served = await self._store.packages.served(found.package_id)
        seen = await DOCUMENTS.for_all(len(served), _find_seen, served, view, version, reference)
        if seen is None:
            raise ForbiddenError(f"{name} {version[:80]} is not for this access token: it has {view.describe()}")
        commits, heads = seen
        if not commits and heads and reference is not None and found.repository_id is not None:
            admit()
            async with self._in_time(reference):
                return await self._sources.mirror(found.repository_id).led_to(reference, heads)
        return commits

    async def _find(self, slug: str, name: str, address: str, admit: Callable[[], None]) -> Dist | None:
        version, reference = metadata.split_address(address)
        dist = await self._store.packages.dist(slug, name, version=version, reference=reference)
        if dist is not None or reference is None:
            return dist
        admit()
        key = (slug, name, version, reference)
        task = self._looking.get(key)
        if task is None:
            task = self._looking[key] = asyncio.create_task(self._within_time(*key))
            task.add_done_callback(lambda _: self._looking.pop(key, None))
        # shielded: who gives up waiting must not take it from the others
        dist = await asyncio.shield(task)
        if dist is None and len(reference) not in _WHOLE:
            # a branch whose name ends so
            dist = await self._store.packages.dist(slug, name, version=address, reference=None)
        return dist

    async def _within_time(self, slug: str, name: str, version: str, reference: str) -> Dist | None:
        async with self._in_time(reference):
            return await self._look_up(slug, name, version, reference)

    @asynccontextmanager
    async def _in_time(self, reference: str) -> AsyncIterator[None]:
        """Wait for a turn, and be done with looking for a commit by the end of the time for it."""
        try:
            async with asyncio.timeout(_SECONDS), self._turns:
                yield
        except TimeoutError:
            raise GitError(
                f"looking for the commit {reference} took longer than {_SECONDS} seconds: try again later"
            ) from None

    async def _look_up(self, slug: str, name: str, version: str, reference: str) -> Dist | None:
        found = await self._store.pins.look_up(slug, name, version)
        if found is None:
            return None
        known = {commit for commit in found.advertised if commit.startswith(reference)}
        commits = known.copy()
        mirror = None
        if found.repository_id is not None:
            mirror = self._sources.mirror(found.repository_id)
            commits |= {
                commit for commit in await mirror.led_to(reference, found.served) if commit not in found.withdrawn
            }
        if len(commits) != 1:
            return None
        (commit,) = commits
        dist = None
        if mirror is not None and commit not in known:
            dist = await self._make(mirror, found, name, commit)
            if dist is None:
                return None
        try:
            unused = await self._store.pins.add(found, reference, commit, dist, most=self.most)
        except NotFoundError:
            return None
        await self._dists.remove(unused)
        return await self._store.packages.dist(slug, name, version=version, reference=reference)

    async def _make(self, mirror: Mirror, found: Pinnable, name: str, commit: str) -> Dist | None:
        """The archive of a commit, if it is the package there; None where it is not, or none can be made."""
        treeish = f"{commit}:{found.path}" if found.path else commit
        files = await Manifests(mirror).read([treeish])
        manifest = files[treeish].manifest
        if manifest is None or (manifest.name or "").lower() != name:
            return None
        try:
            shasum, size = await mirror.archive(treeish, checksum)
        except ArchiveError as error:
            _log.info("%s is pinned to %s: %s", name, commit, error)
            return None
        return Dist(found.repository_id, treeish, shasum, size)


def _find_seen(
    served: Sequence[Served], view: Visibility, version: str, reference: str | None
) -> tuple[set[str], set[str]] | None:
    """The commits at an address that a view shows, and those of branches that it shows, which may lead to more.

    None where the address is of a version that it leaves out.
    """
    shown = [item for item in served if view.admits(item.normalized, item.published_at)]
    if reference is not None:
        made = {commit for item in shown for commit in (item.reference, item.first_reference) if commit}
        heads = {item.reference for item in shown if versions.is_dev(item.normalized)}
        return {commit for commit in made if commit.startswith(reference)}, heads
    asked = versions.normalized_or_none(version)
    own = [item for item in shown if item.version == version or item.normalized == asked]
    if own:
        return {item.first_reference or item.reference for item in own}, set()
    left_out = any(item.version == version or item.normalized == asked for item in served)
    return None if left_out or (asked is not None and not view.admits_number(asked)) else (set(), set())
