"""Archives in a bucket of any store that speaks S3."""

import os
import re
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pricore.archives.storage import NAME, Opened, Stored
from pricore.config import Config
from pricore.errors import ConfigError, StorageError, explain

if TYPE_CHECKING:
    from obstore import Attributes

_CHUNK: Final = 256 * 1024
_PART: Final = 8 * 1024 * 1024
_PARTS: Final = 2
"""Bytes of a part of a large upload, and how many of them are under way."""

_SIGNED_SECONDS: Final = 300
_AWAY_SECONDS: Final = 5.0
"""How long a store that could not be reached isn't asked again: each time costs whoever waits seconds."""


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
                f"dist_storage is {address}, and the S3 client is not installed: "
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


def _authorities() -> dict[str, Any]:
    """What is trusted beside the system's own, which it takes no notice of by itself."""
    named = os.environ.get("SSL_CERT_FILE")
    if not named:
        return {}
    try:
        return {"root_certificate": Path(named).read_text(encoding="utf-8", errors="replace")}
    except OSError as error:
        raise ConfigError(f"SSL_CERT_FILE: cannot read {named}: {explain(error)}") from None
