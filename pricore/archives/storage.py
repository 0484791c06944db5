"""Where finished archives are kept, by name: in a folder, or in a bucket of any store that speaks S3."""

import asyncio
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, Self
from urllib.parse import urlsplit

import msgspec

from pricore.config import Config
from pricore.errors import ConfigError, StorageError, explain
from pricore.system.files import sync_path

if TYPE_CHECKING:
    from obstore import Attributes

NAME: Final = re.compile(r"[0-9a-f]{2}/([0-9a-f]{40})\.zip\.(zst|gz)")
"""What the name of an archive looks like; whatever else is there belongs to somebody else."""

_CHUNK: Final = 256 * 1024
_PART: Final = 8 * 1024 * 1024
_PARTS: Final = 2
"""Bytes of a part of a large upload, and how many of them are under way."""

_SIGNED_SECONDS: Final = 300
_AWAY_SECONDS: Final = 5.0
"""How long a store that could not be reached isn't asked again: each time costs whoever waits seconds."""


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


def _authorities() -> dict[str, Any]:
    """What is trusted beside the system's own, which it takes no notice of by itself."""
    named = os.environ.get("SSL_CERT_FILE")
    if not named:
        return {}
    try:
        return {"root_certificate": Path(named).read_text(encoding="utf-8", errors="replace")}
    except OSError as error:
        raise ConfigError(f"SSL_CERT_FILE: cannot read {named}: {explain(error)}") from None


class Bucket:
    """A bucket of a store that speaks S3, or what is below a prefix in it, at an address such as s3://bucket/prefix.

    Without keys they come from where AWS's own programs find them: the environment, or the machine's role.
    """

    def __init__(
        self, address: str, *, endpoint: str = "", region: str = "", access_key: str = "", secret_key: str = ""
    ) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ImportError:
            raise ConfigError(
                f"dist_storage is {address}, and what speaks S3 is not installed: "
                f"{sys.executable} -m pip install obstore"
            ) from None
        if bool(access_key) != bool(secret_key):
            raise ConfigError("s3_access_key and s3_secret_key belong together: set both, or neither")
        self._address = address
        self._obstore = obstore
        self._failures = (BaseError, OSError, ValueError)
        self._away_until = 0.0
        parts = urlsplit(address)
        keys = {"access_key_id": access_key, "secret_access_key": secret_key} if access_key else {}
        if endpoint:
            keys["endpoint"] = endpoint
        self._store = S3Store(
            parts.netloc,
            prefix=parts.path.strip("/") or None,
            region=region,
            config=keys,  # type: ignore[arg-type]  # they are S3Config's
            # one by one: not every store knows how to delete many
            disable_bulk_delete=True,
            client_options={  # type: ignore[arg-type]  # they are ClientConfig's
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "read_timeout": timedelta(seconds=20),
                "timeout": timedelta(hours=1),  # of a whole transfer, to a slow client too
                **_authorities(),
            },
            retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=20)},
        )

    def __str__(self) -> str:
        return self._address

    async def open(self, name: str) -> Opened | None:
        """A file, or None where it isn't there."""
        try:
            with self._asking(f"look for {name} in"):
                found = await self._obstore.head_async(self._store, name)
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise
        return Opened(found["size"], lambda: self._pieces(name))

    async def _pieces(self, name: str) -> AsyncIterator[bytes]:
        with self._asking(f"read {name} in"):
            result = await self._obstore.get_async(self._store, name)
            async for piece in result.stream(_CHUNK):
                yield piece

    async def put(self, name: str, file: Path) -> None:
        """Let a finished file of this machine appear under a name, whole; what was there before is replaced."""
        attributes: Attributes = {
            "Content-Type": "application/zip",
            "Content-Encoding": "gzip" if name.endswith(".gz") else "zstd",
        }
        with self._asking(f"write {name} to"):
            await self._obstore.put_async(
                self._store, name, file, attributes=attributes, chunk_size=_PART, max_concurrency=_PARTS
            )

    async def list(self) -> list[Stored]:
        """Every archive that is there."""
        with self._asking("list"):
            found = await self._obstore.list(self._store).collect_async()
        return [
            Stored(item["path"], item["size"], item["last_modified"].timestamp())
            for item in found
            if NAME.fullmatch(item["path"])
        ]

    async def delete(self, names: Collection[str]) -> None:
        """Delete files; those that aren't there are passed over."""
        if names:
            with self._asking("delete archives in"):
                await self._obstore.delete_async(self._store, [*names])

    async def sign(self, name: str) -> str:
        """A URL at which anybody may read a file for some minutes."""
        with self._asking(f"sign a URL of {name} in"):
            return await self._obstore.sign_async(self._store, "GET", name, timedelta(seconds=_SIGNED_SECONDS))

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Around what goes over the network: tells every failure as a StorageError of one line, with its cause."""
        if time.monotonic() < self._away_until:
            raise StorageError(f"cannot {what} {self}: it could not be reached a moment ago")
        try:
            yield
        except self._failures as error:
            if isinstance(error, self._obstore.exceptions.GenericError):
                self._away_until = time.monotonic() + _AWAY_SECONDS
            raise StorageError(f"cannot {what} {self}: {_reason(error)}") from error


def open_bucket(config: Config) -> Bucket | None:
    """The bucket that archives are to be kept in; None where that is the data folder."""
    if not config.dist_storage:
        return None
    return Bucket(
        config.dist_storage,
        endpoint=config.s3_endpoint,
        region=config.s3_region,
        access_key=config.s3_access_key,
        secret_key=config.s3_secret_key,
    )


def _reason(error: BaseException) -> str:
    """Why a store refused, or could not be asked, in its own words: its error's code and message."""
    text = str(error)
    if match := re.search(r"<Code>([^<]{1,100})</Code>(?:\s*<Message>([^<]{1,200}))?", text):
        return f"{match[1]}: {match[2] or ''}".rstrip(": ")
    line = text.partition("\n")[0]
    return line.rpartition(" - ")[2].strip(": ")[:300] or type(error).__name__


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
