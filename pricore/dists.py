"""Archives: their checksums before publication, and their bytes when somebody asks for them.

What is advertised is the sha1 of the zip that `git archive` makes of a commit, stored and not compressed. The
bytes are made again on the first download, compared with it, and kept compressed as a whole. Those of an upload
are read where they last, so that all that is kept here can go.
"""

import asyncio
import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Final, Literal, Protocol, TypeVar

import zstandard

from pricore.archives import Tail
from pricore.errors import ArchiveError, DistError
from pricore.models import Dist

Encoding = Literal["zstd", "gzip"]
T = TypeVar("T")

_MOST_BYTES: Final = 2 * 1024**3
_CHUNK: Final = 256 * 1024
_ZSTD_LEVEL: Final = 9
_GZIP_LEVEL: Final = 6
_SUFFIX: Final[dict[Encoding, str]] = {"zstd": ".zip.zst", "gzip": ".zip.gz"}


def checksum(archive: IO[bytes]) -> tuple[str, int]:
    """The sha1 (hexadecimal) and the size of an archive that is read to its end.

    Raises ArchiveError for one that is larger than what can be a package, or that nobody should unpack.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    tail = Tail()
    while count := archive.readinto(buffer):  # type: ignore[attr-defined]  # a pipe can
        digest.update(view[:count])
        tail.add(bytes(view[:count]))
        size += count
        if size > _MOST_BYTES:
            raise ArchiveError(f"too large for an archive: more than {_MOST_BYTES // 1024**3} GB")
    tail.check()
    return digest.hexdigest(), size


class Source(Protocol):
    """What archives are made of: the mirror of a repository, or what was uploaded."""

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T], /) -> T:
        """What `consume` makes of the bytes of an archive."""
        ...


class Dists:
    """The folder of kept archives, named by their checksum; `on_made` is called for each that was made."""

    def __init__(self, folder: Path, *, on_made: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._on_made = on_made
        self._making: dict[Path, asyncio.Task[None]] = {}
        self._checked: set[Path] = set()

    def path(self, shasum: str, encoding: Encoding) -> Path:
        """Where an archive is kept in an encoding, whether it is there or not."""
        return self._folder / shasum[:2] / (shasum + _SUFFIX[encoding])

    def kept(self, shasum: str) -> list[Path]:
        """The files of an archive that are there, in whichever encodings."""
        return [path for encoding in _SUFFIX if (path := self.path(shasum, encoding)).exists()]

    async def get(self, dist: Dist, source: Source, encoding: Encoding) -> Path:
        """The file of an archive in an encoding, made if it isn't kept or was damaged before this process met it.

        However many ask, it is made once. Raises DistError where its bytes are not what was advertised,
        GitError where the commit is gone.
        """
        path = self.path(dist.shasum, encoding)
        if path in self._checked and path.exists():
            return path
        task = self._making.get(path)
        if task is None:
            task = asyncio.create_task(self._make(dist, source, encoding, path))
            self._making[path] = task
            task.add_done_callback(lambda _: self._making.pop(path, None))
        # shielded: who gives up waiting must not take it from the others
        await asyncio.shield(task)
        return path

    async def remove(self, shasums: set[str]) -> None:
        """Delete kept archives; those that aren't there are passed over."""

        def unlink() -> None:
            for shasum in shasums:
                for encoding in _SUFFIX:
                    self.path(shasum, encoding).unlink(missing_ok=True)

        await asyncio.to_thread(unlink)

    async def sweep(self, known: Collection[str], *, before: float) -> None:
        """Delete what a process that was killed left behind: archives that nothing names, and halves of files.

        `known` are the checksums of all that may be kept. What is younger than `before`, seconds since 1970,
        stays.
        """

        def unlink() -> None:
            for path in self._folder.glob("*/*"):
                if path.name.partition(".")[0] not in known and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)

        await asyncio.to_thread(unlink)

    async def close(self) -> None:
        """Give up what is being made."""
        for task in list(self._making.values()):
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _make(self, dist: Dist, source: Source, encoding: Encoding, path: Path) -> None:
        if await asyncio.to_thread(_is_whole, path, encoding, dist.shasum):
            self._checked.add(path)
            return
        try:
            file = await asyncio.to_thread(_open_beside, path)
            try:
                if encoding == "gzip" and (kept := self.path(dist.shasum, "zstd")) in self._checked:
                    digest = await asyncio.to_thread(_recompress, kept, file)
                else:
                    digest = await source.archive(
                        dist.treeish, lambda archive: _compress(_read(archive), encoding, file)
                    )
                if digest != dist.shasum:
                    raise DistError(
                        f"the archive of {dist.treeish} has the checksum {digest}, but {dist.shasum} was "
                        "advertised: was this one changed, or is this another version of git?"
                    )
                await asyncio.to_thread(_put_in_place, file, path)
                self._checked.add(path)
                self._on_made()
            finally:
                await asyncio.to_thread(_discard, file)
        except OSError as error:
            raise DistError(
                f"cannot keep the archive of {dist.treeish} below {self._folder}: {error.strerror}"
            ) from None


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(encoding: Encoding) -> _Compressor:
    if encoding == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, wbits=31)  # 31: with gzip's header
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()


def _compress(pieces: Iterable[bytes], encoding: Encoding, file: IO[bytes]) -> str:
    """Write an archive compressed; gives the sha1 of what it was before."""
    digest = hashlib.sha1(usedforsecurity=False)
    compressor = _compressor(encoding)
    for piece in pieces:
        digest.update(piece)
        file.write(compressor.compress(piece))
    file.write(compressor.flush())
    return digest.hexdigest()


def _recompress(kept: Path, file: IO[bytes]) -> str:
    return _compress(read_plain(kept), "gzip", file)


def _read(archive: IO[bytes]) -> Iterator[bytes]:
    while piece := archive.read(_CHUNK):
        yield piece


def _is_whole(path: Path, encoding: Encoding, shasum: str) -> bool:
    """Whether a kept archive is there and holds what was advertised: disks and copies lose things."""
    digest = hashlib.sha1(usedforsecurity=False)
    try:
        if encoding == "gzip":
            with gzip.open(path) as file:
                while piece := file.read(_CHUNK):
                    digest.update(piece)
        else:
            for piece in read_plain(path):
                digest.update(piece)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return False
    return digest.hexdigest() == shasum


def read_file(path: Path) -> Iterator[bytes]:
    """The bytes of a file, piece by piece."""
    with path.open("rb") as file:
        yield from _read(file)


def read_plain(kept: Path) -> Iterator[bytes]:
    """The bytes of an archive that is kept with zstd, piece by piece."""
    with kept.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        while piece := reader.read(_CHUNK):
            yield piece


def _open_beside(path: Path) -> IO[bytes]:
    """A new file in the folder of another."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False)


def _put_in_place(file: IO[bytes], path: Path) -> None:
    """Let a file appear under its name, whole and on the disk."""
    file.flush()
    os.fsync(file.fileno())
    Path(file.name).replace(path)


def _discard(file: IO[bytes]) -> None:
    """Close a file; if it still has its first name, it goes."""
    with file:
        Path(file.name).unlink(missing_ok=True)
