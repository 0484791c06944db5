"""Whether every archive that was advertised can be served; what is damaged or gone is made again."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from pricore.archives.checksums import checksum
from pricore.archives.compression import encoding_of
from pricore.archives.dists import Dists
from pricore.archives.sources import Sources
from pricore.archives.storage import Storage, Stored
from pricore.errors import DistError, GitError
from pricore.models import Advertised
from pricore.operations.retention import by_checksum, makeable
from pricore.system.concurrency import OnDone, each

if TYPE_CHECKING:
    from pricore.services.opening import Services


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """An archive that had something wrong: where it is kept (empty: nowhere), what, and whether it is mended.

    `version` is empty for one that nothing names any more.
    """

    organization: str = ""
    package: str = ""
    version: str = ""
    shasum: str
    storage: str = ""
    problem: str
    mended: bool


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """How many archives were advertised, and uploaded of them, files kept, archives made, and what was wrong."""

    advertised: int
    uploaded: int
    kept: int
    made: int
    faults: list[Fault]


async def verify(services: "Services", *, make_all: bool, progress: OnDone) -> Verification:
    """Read every kept archive and compare it with what was advertised, and make again what is damaged or gone.

    Gone are those that were asked for, or that a registered lock file names, and are not kept. Of all others git
    has to have the commits; with `make_all` each is made, and compared. Raises StorageError.
    """
    store, dists, sources = services.store, services.dists, services.sources
    verifier = _Verifier(dists, sources, by_checksum(await store.archives.advertised()))
    for organization, package, version in await store.archives.unrecorded():
        problem = "no archive with the advertised checksum is on record"
        verifier.faults.append(
            Fault(
                organization=organization,
                package=package,
                version=version,
                shasum="",
                problem=problem,
                mended=False,
            )
        )
    uploads = await store.archives.uploaded_checksums()
    await each(sorted(uploads), verifier.compare, "Reading uploads", progress)
    kept = [(storage, item) for storage in dists.storages for item in await storage.list()]
    await each(kept, lambda place: verifier.read(*place), "Reading archives", progress)
    rest = verifier.advertised.keys() - {item.shasum for _, item in kept} - uploads
    lost = rest & ((await store.archives.uses()).keys() | await store.locks.protected_shasums())
    await each(sorted(lost), verifier.make_gone, "Making what is gone", progress)
    rest -= lost
    if make_all:
        await each(sorted(rest), verifier.compare, "Making all others", progress)
    else:
        for shasum in sorted(rest - await makeable(sources, verifier.advertised)):
            verifier.tell(shasum, "it is not kept, and git has not what it is made of", mended=False)
    return Verification(
        advertised=len(verifier.advertised),
        uploaded=len(uploads),
        kept=len(kept),
        made=len(lost) + (len(rest) if make_all else 0),
        faults=verifier.faults,
    )


class _Verifier:
    """Looks at archives one by one, and remembers what was wrong."""

    def __init__(self, dists: Dists, sources: Sources, advertised: Mapping[str, Sequence[Advertised]]) -> None:
        self.advertised = advertised
        self.faults: list[Fault] = []
        self._dists = dists
        self._sources = sources

    async def read(self, storage: Storage, item: Stored) -> None:
        """Read a kept file; one that is damaged is replaced, or deleted where nothing names it."""
        problem = await self._dists.problem(storage, item.name)
        if problem is None:
            return
        if item.shasum in self.advertised:
            failure = await self._make(item.shasum, lambda one: self._remake(one, item))
        else:
            await self._dists.delete(storage, [item.name])
            failure = None
        self.tell(item.shasum, problem, failure, storage=storage)

    async def make_gone(self, shasum: str) -> None:
        """Make an archive that should be kept, and keep it."""
        failure = await self._make(
            shasum, lambda one: self._dists.make(one.dist, self._sources.of(one.dist), "zstd")
        )
        self.tell(shasum, "it is not kept any more", failure)

    async def compare(self, shasum: str) -> None:
        """Make an archive only to compare it."""

        async def make(one: Advertised) -> None:
            made, size = await self._sources.of(one.dist).archive(one.dist.treeish, checksum)
            if (made, size) != (shasum, one.dist.size):
                raise DistError(f"another archive is made of it: its checksum is {made}, and it has {size} bytes")

        if failure := await self._make(shasum, make):
            self.tell(shasum, failure, mended=False)

    def tell(
        self,
        shasum: str,
        problem: str,
        failure: str | None = None,
        *,
        storage: Storage | None = None,
        mended: bool | None = None,
    ) -> None:
        """Remember what was wrong, for each package that has the archive; a failure is why it was not mended."""
        text = problem if failure is None else f"{problem}, and cannot be made again: {failure}"
        for one in self.advertised.get(shasum) or (None,):
            self.faults.append(
                Fault(
                    organization=one.organization if one else "",
                    package=one.package if one else "",
                    version=one.version if one else "",
                    shasum=shasum,
                    storage=str(storage or ""),
                    problem=text,
                    mended=failure is None if mended is None else mended,
                )
            )

    async def _remake(self, one: Advertised, item: Stored) -> None:
        await self._dists.make(one.dist, self._sources.of(one.dist), encoding_of(item.name))

    async def _make(self, shasum: str, make: Callable[[Advertised], Awaitable[None]]) -> str | None:
        """Make an archive for any of those that have it; gives why that failed for the last of them."""
        failure = None
        for one in self.advertised[shasum]:
            try:
                await make(one)
            except (DistError, GitError) as error:
                failure = str(error)
            else:
                return None
        return failure
