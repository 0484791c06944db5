"""Uploaded packages: how a zip becomes a version, and the archives that nothing but this folder has.

A folder of its own: the other archives can be made again at any time, and are deleted as lightly as that. Here a
file appears before its version is committed, and goes in a transaction in which no version names it any more.
"""

import asyncio
import hashlib
import os
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Final, TypeVar, cast

import zstandard

from pricore.archives import uploaded_zips
from pricore.archives.compression import digest_at
from pricore.composer import composer_json, metadata, version_names
from pricore.composer.candidates import NewVersion
from pricore.composer.composer_json import Manifest
from pricore.errors import (
    ComposerJsonError,
    ConflictError,
    DistError,
    ForbiddenError,
    InvalidError,
    PricoreError,
    StoreError,
    explain,
)
from pricore.models import Organization, Version
from pricore.store import Store
from pricore.system.clock import now
from pricore.system.files import lock, sync_file, sync_path
from pricore.system.threads import ARCHIVES, UPLOADS

T = TypeVar("T")

_SUFFIX: Final = ".zip.zst"
_NEW: Final = ".new-"
_ZSTD_LEVEL: Final = 9
_AT_A_TIME: Final = 2
"""Uploads that are read and written again at the same time: each takes a core."""


class Uploads:
    """The folder of uploaded archives, named by their checksum and compressed with zstd."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._turns = asyncio.Semaphore(_AT_A_TIME)

    def path(self, shasum: str) -> Path:
        """Where an archive is kept, whether it is there or not."""
        return self._folder / shasum[:2] / (shasum + _SUFFIX)

    @asynccontextmanager
    async def receive(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[IO[bytes]]:
        """A file with what comes, which is gone afterwards. Raises StoreError where it cannot be written."""
        async with self._new_file() as file:
            async for piece in pieces:
                with self._telling():
                    await asyncio.to_thread(file.write, piece)
            yield file

    async def add(
        self,
        organization: Organization,
        file: IO[bytes],
        *,
        version: str | None = None,
        allowed: Callable[[str], bool] = lambda _: True,
    ) -> tuple[str, Version]:
        """Serve the package in a zip, as a version that is given or that its composer.json declares.

        Gives its name and the version. `allowed` says which names, in lower case, may be uploaded. Raises
        InvalidError for what cannot be a version, ForbiddenError for a name that may not,
        ConflictError where the package comes from a repository or the release is there with another content, and
        StoreError where it cannot be kept.
        """
        stopped = threading.Event()
        async with self._turns, self._new_file() as kept:
            try:
                with self._telling():
                    item, before = await UPLOADS.run(_convert, file, kept, version, allowed, stopped)
                    known = await self._known(organization, item, before)
                    if known == before != item.shasum:
                        item, _ = await UPLOADS.run(
                            _convert, file, kept, version, allowed, stopped, as_before=True
                        )
            finally:
                stopped.set()
            if known not in (None, item.shasum) and await ARCHIVES.run(_checksum, self.path(known)) != known:
                raise ConflictError(
                    f"{item.package.lower()} is there with this content, and its archive is lost: put "
                    f"{self.path(known).name} back from a backup, or upload the zip that it was made of"
                )

            async def keep() -> None:
                with self._telling():
                    await asyncio.to_thread(_put_in_place, kept, self.path(item.shasum))

            made = await self._store.packages.upload(organization, item, keep=keep)
            if made.shasum != item.shasum:
                await self.remove({item.shasum})  # there already, with other times: those stay
            # in lower case, as it stands in URLs
            return item.package.lower(), made

    async def _known(self, organization: Organization, item: NewVersion, before: str) -> str | None:
        """The checksum of the archive with which a content is there already, as now or as before."""
        for reference in (before, item.reference):
            known = await self._store.archives.uploaded_as(organization.id, item.package, reference)
            if known is not None:
                return known
        return None

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T]) -> T:
        """What `consume` makes of the archive of that checksum. Raises DistError where it is lost or damaged."""
        path = self.path(treeish)

        def read() -> T:
            # looked through first: what is cut off ends without an error
            if _checksum(path) != treeish:
                raise DistError(
                    f"the uploaded archive {path} is lost or damaged: put it back from a backup, "
                    "or upload the same once more"
                )
            with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as archive:
                return consume(cast("IO[bytes]", archive))

        return await ARCHIVES.run(read)

    async def has(self, shasums: Sequence[str]) -> set[str]:
        """Those of some archives that are there, damaged or not."""
        return await asyncio.to_thread(lambda: {shasum for shasum in shasums if self.path(shasum).exists()})

    async def remove(self, shasums: Iterable[str]) -> None:
        """Delete those of some archives that no version names any more."""
        async with self._store.archives.unnamed(shasums) as gone:
            await asyncio.to_thread(_unlink, [self.path(shasum) for shasum in gone])

    async def sweep(self, *, before: float) -> None:
        """Delete what a process that was killed left behind: halves of files, and archives that nothing names.

        Where the database knows of no archive it was lost or put aside, and all of them stay. Halves that are
        younger than `before`, seconds since 1970, or that somebody still writes, stay too.
        """
        await asyncio.to_thread(_unlink_halves, self._folder, before)
        there = await asyncio.to_thread(lambda: {path.name for path in self._folder.glob(f"*/*{_SUFFIX}")})
        known = await self._store.archives.uploaded_checksums()
        if known and (left := {name.removesuffix(_SUFFIX) for name in there} - known):
            await self.remove(left)

    @asynccontextmanager
    async def _new_file(self) -> AsyncIterator[IO[bytes]]:
        """A file in the folder that is gone afterwards, unless it was given a name that lasts."""
        # to its end: of a thread that nobody waits for any more, the file would stay
        opening = asyncio.ensure_future(asyncio.to_thread(_open_new, self._folder))
        try:
            with self._telling():
                file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_discard_opened)
            raise
        try:
            yield file
        finally:
            await asyncio.shield(asyncio.to_thread(_discard, file))

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"cannot keep the archive below {self._folder}: {explain(error)}") from error


def _convert(
    file: IO[bytes],
    kept: IO[bytes],
    version: str | None,
    allowed: Callable[[str], bool],
    stopped: threading.Event,
    *,
    as_before: bool = False,
) -> tuple[NewVersion, str]:
    """The version in a zip, whose archive is written to `kept` and on the disk.

    Besides it the checksum that its archive would have had `as_before`.
    """
    with uploaded_zips.read_upload(file) as upload:
        manifest = _read_composer_json(upload)
        name = manifest.name
        if name is None:
            raise InvalidError('composer.json has no "name"', field="file")
        if not allowed(name.lower()):
            raise ForbiddenError(f"the access token is for other packages than {name[:80]}")
        pretty, normalized = _version_of(manifest, version)
        shasum, reference, size = _write_archive(upload, kept, stopped, as_before=as_before)
        before = _before(upload) if upload.rubbish else reference
    at = now()
    try:
        entry = metadata.version_entry(
            manifest,
            name=name,
            version=pretty,
            normalized=normalized,
            reference=reference,
            released_at=at,
            source_url=None,
        )
    except ComposerJsonError as error:
        raise InvalidError(str(error), field="file") from None
    item = NewVersion(
        package=name,
        version=pretty,
        normalized=normalized,
        ref="",
        reference=reference,
        released_at=at,
        default_branch=False,
        entry=entry,
        shasum=shasum,
        size=size,
        treeish=None if shasum == reference else shasum,
    )
    return item, before


def _write_archive(
    upload: uploaded_zips.Upload, kept: IO[bytes], stopped: threading.Event, *, as_before: bool
) -> tuple[str, str, int]:
    """Write the archive of an upload to a file and on the disk; gives its checksum, its content's, and size."""
    kept.seek(0)
    kept.truncate()
    digest, content = (hashlib.sha1(usedforsecurity=False) for _ in range(2))
    compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
    size = 0
    for piece in upload.rewrite(content, as_before=as_before):
        if stopped.is_set():
            raise PricoreError("nobody waits for it any more")
        digest.update(piece)
        size += len(piece)
        kept.write(compressor.compress(piece))
    kept.write(compressor.flush())
    sync_file(kept)
    return digest.hexdigest(), content.hexdigest(), size


def _before(upload: uploaded_zips.Upload) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    deque(upload.rewrite(digest, as_before=True), maxlen=0)
    return digest.hexdigest()


def _read_composer_json(upload: uploaded_zips.Upload) -> Manifest:
    try:
        content = upload.composer_json(limit=composer_json.MAX_COMPOSER_JSON)
        return composer_json.read_manifest(composer_json.parse_composer_json(content))
    except ComposerJsonError as error:
        raise InvalidError(str(error), field="file") from None


def _version_of(manifest: Manifest, given: str | None) -> tuple[str, str]:
    """The version, pretty and normalized, that is given or that composer.json declares."""
    declared = manifest.version
    if declared is False:
        raise InvalidError('"version" in composer.json is not a string', field="file")
    if given is None and declared is None:
        raise InvalidError("it has no version: give one, or put it into composer.json", field="version")
    try:
        return version_names.uploaded_version(given, declared)
    except ValueError as error:
        raise InvalidError(str(error), field="version") from None


def _open_new(folder: Path) -> IO[bytes]:
    """A new file in a folder, locked as long as this process has it open."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = tempfile.NamedTemporaryFile(dir=folder, prefix=_NEW, delete=False)  # noqa: SIM115  # `_discard` closes it
    lock(file, wait=True)
    return file


def _put_in_place(file: IO[bytes], path: Path) -> None:
    """Let a file appear under its name, and the name be on the disk."""
    path.parent.mkdir(exist_ok=True, mode=0o700)
    Path(file.name).replace(path)
    for folder in (path.parent, path.parent.parent):
        sync_path(folder)


def _discard(file: IO[bytes]) -> None:
    """Close a file; if it still has its first name, it goes."""
    Path(file.name).unlink(missing_ok=True)
    # what lasts was written before: what cannot be written now is of a file that goes
    with suppress(OSError):
        file.close()


def _discard_opened(opening: "asyncio.Future[IO[bytes]]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _discard(opening.result())


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _unlink_halves(folder: Path, before: float) -> None:
    """Delete files that were never given a name that lasts, and that nobody writes any more."""
    for path in folder.glob(f"{_NEW}*"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if lock(file) and os.fstat(file.fileno()).st_mtime < before:
                path.unlink()


def _checksum(path: Path) -> str | None:
    """The sha1 of an archive that is kept, None where it isn't there or cannot be read."""
    try:
        return digest_at(path)
    except OSError:
        return None
