"""Archives: their checksums before publication, and their bytes when somebody asks for them.

What is advertised is the sha1 of the zip that `git archive` makes of a commit, stored and not compressed. The
bytes are made again on the first download, compared with it, and kept compressed as a whole: fast while somebody
waits, and later, in the background, harder. Those of an upload are read where they last, so that all that is kept
here can go.
"""

import asyncio
import errno
import io
import logging
import shutil
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, Protocol, TypeVar

from pricore.archives.bucket import Bucket, open_bucket
from pricore.archives.compression import (
    Encoding,
    compress,
    digest_of,
    encoding_of,
    name_of,
    names_of,
    read_pieces,
    read_plain,
)
from pricore.archives.recompression import Recompression
from pricore.archives.storage import Folder, Opened, Storage, Unkept, shasum_of
from pricore.config import Config
from pricore.errors import DistError, StorageError, explain
from pricore.models import Dist
from pricore.system.fair_semaphore import FairSemaphore, Who
from pricore.system.threads import ARCHIVES, cores

_log = logging.getLogger("pricore.dists")

T = TypeVar("T")

_CHUNK: Final = 256 * 1024
MOST_REMOVE_SECONDS: Final = 15.0
"""How long whoever deletes a package waits for the files of its archives, which nobody can ask for any more."""

_BATCH: Final = 100
"""Files that are deleted before somebody who replaces one can have a turn."""

LONGEST_WAIT: Final = 50.0
"""Seconds that a request waits for its turn to have an archive made: reverse proxies give up after 60."""

MOST_UNKEPT: Final = 64 * 1024**2
"""Bytes of content that are made in memory where a disk is full, and how many at a time are."""
_UNKEPT_AT_A_TIME: Final = 2

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


class _NoRoomError(DistError):
    """An archive can be made, and not kept."""


class Source(Protocol):
    """What archives are made of: the mirror of a repository, or what was uploaded."""

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T], /) -> T:
        """What `consume` makes of the bytes of an archive."""
        ...

    async def has(self, treeishes: Sequence[str], /) -> set[str]:
        """Those of some archives that it has what they are made of."""
        ...


class Dists:
    """The archives that are kept, named by their checksum: in a folder, or in a bucket if one is given.

    With a bucket, the folder has what isn't in it: archives of before, and of while it could not be reached. What
    is in both is the same. `on_made` is called for each that was made.

    So many are made or checked `at_once`, None for as many as there are cores: more of them together take as long,
    and everybody else's requests longer. A request waits for its turn as long as its `patience`, seconds.
    """

    def __init__(
        self,
        folder: Path,
        bucket: Bucket | None = None,
        *,
        at_once: int | None = None,
        patience: float = LONGEST_WAIT,
        on_made: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_made = on_made
        self.folder = Folder(folder)
        self.bucket = bucket
        self._making: dict[str, asyncio.Task[None]] = {}
        self.at_once = at_once or cores()
        self._turns = FairSemaphore(self.at_once, seconds=patience)
        self._checked: set[tuple[Storage, str]] = set()
        self._recompression = Recompression(
            self.folder, on_damaged=lambda storage, name: self._checked.discard((storage, name))
        )
        self._unkept = FairSemaphore(_UNKEPT_AT_A_TIME, seconds=patience)
        self._full = False

    @property
    def storages(self) -> list[Storage]:
        """Where archives can be, in the order in which they are looked for."""
        return [self.folder] if self.bucket is None else [self.folder, self.bucket]

    def kept(self, shasum: str) -> list[Path]:
        """The files of an archive that are in the folder, in whichever encodings."""
        return [path for name in names_of(shasum) if (path := self.folder.path / name).exists()]

    async def open(self, dist: Dist, source: Source, encoding: Encoding, *, who: Who | None = None) -> Opened:
        """An archive in an encoding, made if it isn't kept or was damaged before this process met it.

        However many ask, it is made once, in the turn of the first of them (`who`). Raises DistError where its
        bytes are not what was advertised, GitError where the commit is gone, BusyError where others had to be
        waited for too long.
        """
        name = name_of(dist.shasum, encoding)
        opened = await self._find(name)
        if opened is None:
            task = self._making.get(name)
            if task is None:
                task = asyncio.create_task(self._make(dist, source, encoding, who))
                self._making[name] = task
                task.add_done_callback(lambda _: self._making.pop(name, None))
            # shielded: who gives up waiting must not take it from the others
            await asyncio.shield(task)
            opened = await self._find(name)
        if opened is None:
            raise DistError(f"the archive of {dist.treeish} was deleted while it was asked for")
        return opened

    async def has(self, dist: Dist, encoding: Encoding) -> bool:
        """Whether an archive is kept in an encoding, damaged or not."""
        name = name_of(dist.shasum, encoding)
        for storage in self.storages:
            with suppress(StorageError):
                if opened := await storage.open(name):
                    with opened:
                        return True
        return False

    async def lend(self, dist: Dist, source: Source, encoding: Encoding, *, who: Who | None = None) -> Opened:
        """An archive as `open` has it, or where there is no room to keep it, one that is only to be sent.

        The latter has a turn until it is sent.
        """
        try:
            return await self.open(dist, source, encoding, who=who)
        except _NoRoomError as error:
            if dist.size > MOST_UNKEPT:
                raise
            if not self._full:
                _log.warning("%s; until there is room, archives are sent without being kept", error)
            self._full = True
        await self._unkept.acquire(who)
        try:
            content = io.BytesIO()
            digest = await self._write(dist, source, encoding, content, who)
            _check_digest(dist, digest)
            return Unkept(content.getvalue(), self._unkept.release)
        except BaseException:
            self._unkept.release()
            raise

    async def sign(self, dist: Dist, encoding: Encoding) -> str:
        """A URL at which a client gets an archive by itself for some minutes, where it is kept in the bucket."""
        if self.bucket is None:
            raise StorageError("there is no bucket that could have a URL")
        return await self.bucket.sign(name_of(dist.shasum, encoding))

    def doubt(self, dist: Dist) -> None:
        """Look again whether a kept archive is whole when it is next asked for."""
        names = names_of(dist.shasum)
        self._checked = {(storage, name) for storage, name in self._checked if name not in names}

    async def delete(self, storage: Storage, names: Collection[str]) -> None:
        """Delete kept files for good; those that aren't there are passed over.

        Any number of deletions go on at the same time. Raises StorageError, also where others don't let it begin.
        """
        left = [*names]
        while left:  # nothing to delete makes no folder to lock
            async with self.folder.deleting():
                await storage.delete(left[:_BATCH])
            del left[:_BATCH]

    async def remove(self, shasums: Collection[str]) -> None:
        """Delete kept archives; those that aren't there are passed over.

        What cannot be deleted now, or not in time, is logged and left to `prune`: nobody can ask for it any more.
        """
        names = [name for shasum in sorted(shasums) for name in names_of(shasum)]
        try:
            async with asyncio.timeout(MOST_REMOVE_SECONDS):
                for storage in self.storages:
                    try:
                        await self.delete(storage, names)
                    except StorageError as error:
                        _log.warning("%s; `pricore dist prune` deletes them when that is over", error)
        except TimeoutError:
            _log.warning(
                "deleting %d archives takes longer than %d s; `pricore dist prune` deletes those that are left",
                *(len(shasums), MOST_REMOVE_SECONDS),
            )

    async def problem(self, storage: Storage, name: str, *, who: Who | None = None) -> str | None:
        """What is wrong with a kept archive, if anything is: disks and copies lose things."""
        opened = await storage.open(name)
        if opened is None:
            return "it is gone"
        with opened:
            return await self._problem(opened, name, who)

    async def _problem(self, opened: Opened, name: str, who: Who | None = None) -> str | None:
        file = await opened.fetch(self.folder.path)
        async with self._turns.take(who):
            digest = await ARCHIVES.run(digest_of, file, encoding_of(name))
        if digest is None:
            return "it is damaged: it cannot be unpacked"
        return None if digest == shasum_of(name) else f"it is damaged: its checksum is {digest}"

    async def make(self, dist: Dist, source: Source, encoding: Encoding, *, who: Who | None = None) -> None:
        """Make an archive and keep it, whatever is kept now. Raises DistError, GitError, BusyError."""
        name = name_of(dist.shasum, encoding)
        try:
            async with self.folder.new_file(name) as file:
                digest = await self._write(dist, source, encoding, file, who)
                await asyncio.to_thread(file.flush)
                _check_digest(dist, digest)
                storage = await self._put(name, Path(file.name))
        except OSError as error:
            kind = _NoRoomError if error.errno in _NO_ROOM else DistError
            raise kind(
                f"cannot keep the archive of {dist.treeish} below {self.folder}: {explain(error)}"
            ) from None
        self._full = False
        self._on_made()
        self._recompression.hold_off()
        self._keep(storage, dist, encoding)

    async def move(self, name: str, source: Storage, target: Storage) -> None:
        """Bring a kept archive to another place; the first one has it until it was read again in the second.

        Raises DistError where it is damaged, StorageError where a place fails.
        """
        if await self.problem(target, name):
            opened = await source.open(name)
            if opened is None:
                return  # somebody else has moved or pruned it
            with opened:
                if problem := await self._problem(opened, name):
                    raise DistError(f"{name} in {source}: {problem}")
                await self._copy(name, opened, target)
            if problem := await self.problem(target, name):
                raise StorageError(f"{name} was written to {target}, and {problem}")
        await self.delete(source, [name])

    def will_shrink(self, dist: Dist) -> bool:
        """Whether an archive will soon be kept in fewer bytes."""
        return self._recompression.has(dist)

    async def recompress(self) -> None:
        """Compress harder what was made or first asked for, one after the other, until this is cancelled."""
        await self._recompression.work()

    async def close(self) -> None:
        """Give up what is being made."""
        for task in list(self._making.values()):
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _find(self, name: str) -> Opened | None:
        """An archive that this process knows to be whole, where it is still there."""
        for storage in self.storages:
            if (storage, name) in self._checked:
                # what cannot be had is made
                with suppress(StorageError):
                    if opened := await storage.open(name):
                        return opened
        return None

    async def _make(self, dist: Dist, source: Source, encoding: Encoding, who: Who | None) -> None:
        name = name_of(dist.shasum, encoding)
        for storage in self.storages:
            try:
                if await self.problem(storage, name, who=who) is None:
                    self._keep(storage, dist, encoding)
                    return
            except StorageError as error:
                _log.warning("%s", error)  # what can be made is served all the same
        await self.make(dist, source, encoding, who=who)

    def _keep(self, storage: Storage, dist: Dist, encoding: Encoding) -> None:
        """Remember that an archive is whole in a place, and that it can be compressed harder there."""
        self._checked.add((storage, name_of(dist.shasum, encoding)))
        if encoding == "zstd":
            self._recompression.add(storage, dist)

    async def _write(
        self, dist: Dist, source: Source, encoding: Encoding, file: IO[bytes], who: Who | None
    ) -> str:
        """Write an archive into a file; gives the checksum of what it is."""
        if encoding == "gzip" and (kept := await self._find(name_of(dist.shasum, "zstd"))):
            with kept, suppress(StorageError):
                packed = await kept.fetch(self.folder.path)
                async with self._turns.take(who):
                    return await ARCHIVES.run(lambda: compress(read_plain(packed), encoding, file))
        async with self._turns.take(who):
            return await source.archive(
                dist.treeish, lambda archive: compress(read_pieces(archive), encoding, file)
            )

    async def _put(self, name: str, path: Path) -> Storage:
        """Keep a finished file: in the bucket, and where that fails in the folder until `move` brings it there.

        Gives the place.
        """
        if self.bucket is not None:
            try:
                await self.bucket.put(name, path)
            except StorageError as error:
                _log.warning("%s; it is kept in %s, from where `pricore dist move` brings it", error, self.folder)
            else:
                await self.folder.delete([name])  # one that was damaged
                return self.bucket
        await self.folder.put(name, path)
        return self.folder

    async def _copy(self, name: str, opened: Opened, target: Storage) -> None:
        if opened.path is not None:
            await target.put(name, opened.path)
            return
        try:
            fetched = await opened.fetch(self.folder.path)
            async with self.folder.new_file(name) as copy:
                await asyncio.to_thread(shutil.copyfileobj, fetched, copy, _CHUNK)
                await asyncio.to_thread(copy.flush)
                await target.put(name, Path(copy.name))
        except OSError as error:
            raise StorageError(f"cannot copy {name} to {target}: {explain(error)}") from None


def _check_digest(dist: Dist, digest: str) -> None:
    if digest != dist.shasum:
        raise DistError(
            f"the archive of {dist.treeish} has the checksum {digest}, but {dist.shasum} was "
            "advertised: was this one changed, or is this another version of git?"
        )


def open_dists(config: Config, *, at_once: int | None = None, on_made: Callable[[], None] = lambda: None) -> Dists:
    """The archives of a registry, where its settings say; the rest is as for `Dists`."""
    return Dists(config.dists, open_bucket(config), at_once=at_once, on_made=on_made)
