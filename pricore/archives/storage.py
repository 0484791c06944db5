"""Where finished archives are kept, by name: what such a place can do, and a folder of this machine."""

import asyncio
import io
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Final, Protocol, Self

import msgspec

from pricore.errors import StorageError, explain
from pricore.system.files import LockedError, hold_lock, sync_path

NAME: Final = re.compile(r"[0-9a-f]{2}/([0-9a-f]{40})\.zip\.(zst|gz)")
"""What the name of an archive looks like; whatever else is there belongs to somebody else."""

MOST_LOCK_SECONDS: Final = 10.0
"""How long somebody who deletes waits for one who replaces, or the other way round."""

_LOCK_SECONDS: Final = 0.02
_CHUNK: Final = 256 * 1024


class Stored(msgspec.Struct, frozen=True):
    """A file that is kept: its name, its bytes, and when it was put there, seconds since 1970."""

    name: str
    size: int
    modified: float

    @property
    def shasum(self) -> str:
        """The checksum of the archive that it is, in one encoding."""
        return shasum_of(self.name)


class Opened:
    """A file that was found, until it is closed. It comes in `pieces`.

    On a disk of this machine it is a `file`, and at a `path`; what comes over a network is neither. What is not
    `kept` is gone when it is closed.
    """

    kept = True

    def __init__(
        self,
        size: int,
        pieces: Callable[[], AsyncIterator[bytes]],
        *,
        path: Path | None = None,
        file: IO[bytes] | None = None,
    ) -> None:
        self.size = size
        self.pieces = pieces
        self.path = path
        self.file = file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.file is not None:
            self.file.close()

    async def read(self) -> bytes:
        """All of it, for small ones."""
        return b"".join([piece async for piece in self.pieces()])

    async def fetch(self, folder: Path) -> IO[bytes]:
        """The file, at its beginning: that on the disk, or a copy in a folder, which goes with this."""
        try:
            file = self.file
            if file is None:
                file = self.file = await asyncio.to_thread(_open_nameless, folder)
                async for piece in self.pieces():
                    await asyncio.to_thread(file.write, piece)
            file.seek(0)
        except OSError as error:
            raise StorageError(f"cannot copy an archive to {folder}: {explain(error)}") from None
        return file


class Unkept(Opened):
    """A file in memory, for which there was no room anywhere else."""

    kept = False

    def __init__(self, content: bytes, on_closed: Callable[[], None]) -> None:
        super().__init__(len(content), self._pieces)
        self._content = content
        self._on_closed = on_closed

    def __exit__(self, *_: object) -> None:
        self._on_closed()

    async def fetch(self, folder: Path) -> IO[bytes]:
        """The file, at its beginning."""
        return io.BytesIO(self._content)

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self._content


class Storage(Protocol):
    """A place for finished files. Whatever fails there is a StorageError; as text it is shown to operators."""

    async def open(self, name: str) -> Opened | None:
        """A file, or None where it isn't there."""

    async def put(self, name: str, file: Path) -> None:
        """Let a finished file of this machine appear under a name, whole; what was there before is replaced."""

    async def list(self) -> list[Stored]:
        """Every archive that is there."""

    async def delete(self, names: Collection[str]) -> None:
        """Delete files; those that aren't there are passed over."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    async def open(self, name: str) -> Opened | None:
        """A file, or None where it isn't there."""
        path = self.path / name
        try:
            # not in a thread: it takes less than getting there
            file = path.open("rb")
        except OSError:
            return None
        return Opened(os.fstat(file.fileno()).st_size, lambda: _pieces(file), path=path, file=file)

    async def put(self, name: str, file: Path) -> None:
        """Let a file that `create` made appear under a name, whole and on the disk."""
        await asyncio.to_thread(_put_in_place, file, self.path / name)

    async def list(self) -> list[Stored]:
        """Every archive that is there."""
        return await asyncio.to_thread(lambda: [*self._list()])

    def _list(self) -> Iterator[Stored]:
        for path in self.path.glob("*/*"):
            name = f"{path.parent.name}/{path.name}"
            if NAME.fullmatch(name):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    status = path.stat()
                    yield Stored(name, status.st_size, status.st_mtime)

    async def delete(self, names: Collection[str]) -> None:
        """Delete files; those that aren't there are passed over."""

        def unlink() -> None:
            for name in names:
                (self.path / name).unlink(missing_ok=True)

        try:
            await asyncio.to_thread(unlink)
        except OSError as error:
            raise StorageError(f"cannot delete archives in {self}: {explain(error)}") from None

    def create(self, name: str) -> IO[bytes]:
        """A new file on the disk where `name` will be. Who made it removes it, if it wasn't put in its place."""
        folder = (self.path / name).parent
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False)

    @asynccontextmanager
    async def new_file(self, name: str) -> AsyncIterator[IO[bytes]]:
        """A new file on the disk where `name` is kept, which is gone afterwards if it wasn't put in its place."""
        file = await asyncio.to_thread(self.create, name)
        try:
            with file:
                yield file
        finally:
            await asyncio.to_thread(Path(file.name).unlink, missing_ok=True)

    def deleting(self) -> AbstractAsyncContextManager[None]:
        """Keep out, in all processes, who replaces an archive: nothing deleted must come back.

        Any number delete at the same time. Raises StorageError where nobody lets go in time.
        """
        return self._locked(shared=True, others="replaces an archive")

    def replacing(self) -> AbstractAsyncContextManager[None]:
        """Keep out, in all processes, who deletes archives, here or in a bucket beside it. Raises StorageError."""
        return self._locked(shared=False, others="deletes archives")

    @asynccontextmanager
    async def _locked(self, *, shared: bool, others: str) -> AsyncIterator[None]:
        async with AsyncExitStack() as locked:
            try:
                self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                lock = hold_lock(
                    self.path, create=False, shared=shared, seconds=MOST_LOCK_SECONDS, pause=_LOCK_SECONDS
                )
                await locked.enter_async_context(lock)
            except OSError as error:
                raise StorageError(f"cannot lock {self}: {explain(error)}") from None
            except LockedError:
                raise StorageError(
                    f"somebody {others} in {self} for more than {MOST_LOCK_SECONDS:.0f} s; try again later"
                ) from None
            yield

    async def sweep(self, known: Collection[str], *, before: float) -> None:
        """Delete what a process that was killed left behind: archives that nothing names, and halves of files.

        `known` are the checksums of all that may be kept. What is younger than `before`, seconds since 1970,
        stays.
        """

        def unlink() -> None:
            for path in self.path.glob("*/*"):
                if path.name.partition(".")[0] not in known and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)

        await asyncio.to_thread(unlink)


def _open_nameless(folder: Path) -> IO[bytes]:
    """A new file that is gone when it is closed, or with this process."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.TemporaryFile(dir=folder)


async def _pieces(file: IO[bytes]) -> AsyncIterator[bytes]:
    while piece := await asyncio.to_thread(file.read, _CHUNK):
        yield piece


def _put_in_place(file: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    sync_path(file)
    file.replace(path)


def shasum_of(name: str) -> str:
    """The checksum of the archive that has a name."""
    return name[3:43]
