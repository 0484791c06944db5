"""The form of a backup: a tar, compressed with zstd, in which each member has a checksum.

First comes backup.json, which says what it is; last SHA256SUMS, as `sha256sum --check` takes it, so that a file
that was cut off is noticed whatever is left of it. Nothing is unpacked but plain files, to the places of a backup.
"""

import hashlib
import io
import os
import re
import tarfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import IO, Final, Self

import msgspec
import zstandard

from pricore.engine.sqlite import newest_schema
from pricore.errors import BackupError
from pricore.system.clock import rfc3339
from pricore.system.files import create_file

FORMAT: Final = 1
DATABASE: Final = "pricore.sqlite3"
KNOWN_HOSTS: Final = "known_hosts"
KEY: Final = "key.sealed"
MIRRORS: Final = "repositories"
DISTS: Final = "dists"
UPLOADS: Final = "uploads"

_HEAD: Final = "backup.json"
_SUMS: Final = "SHA256SUMS"
_PLACE = re.compile(
    rf"{re.escape(DATABASE)}|{KNOWN_HOSTS}|{re.escape(KEY)}"
    rf"|{MIRRORS}/[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}\.bundle"
    rf"|{DISTS}/[0-9a-f]{{2}}/[0-9a-f]{{40}}\.zip\.(?:zst|gz)"
    rf"|{UPLOADS}/[0-9a-f]{{2}}/[0-9a-f]{{40}}\.zip\.zst"
)
_MOST_HEAD: Final = 64 * 1024
_MOST_SUMS: Final = 512 * 1024**2
_MOST_LINE: Final = 1024
_MOST_MORE: Final = 32
"""Bytes that a member has more to say than fits its header: `29 size=` and a number of 64 bits at the most."""
_CHUNK: Final = 256 * 1024
_LEVEL: Final = 3


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is: of which form, by which version of the program, of which schema, and when it was begun."""

    format: int
    pricore: str
    schema: int
    created_at: str


class Writer:
    """A backup that is being written to a file, from any thread; `stopped` ends it on the way."""

    def __init__(self, file: IO[bytes], head: Head, *, stopped: Event) -> None:
        self._stopped = stopped
        self._packed = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).stream_writer(
            file, closefd=False
        )
        self._tar = tarfile.open(fileobj=self._packed, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._sums: dict[str, str] = {}
        self.size = 0
        self._add(_HEAD, io.BytesIO(msgspec.json.encode(head)))

    def add(self, name: str, source: Path) -> None:
        """Put a file in under a name."""
        with source.open("rb") as file:
            self._add(name, file)

    def add_content(self, name: str, content: bytes) -> None:
        """Put something short in under a name."""
        self._add(name, io.BytesIO(content))

    def finish(self) -> None:
        """Write the checksums and the end."""
        lines = "".join(f"{digest}  {name}\n" for name, digest in self._sums.items())
        self._add(_SUMS, io.BytesIO(lines.encode()))
        self._tar.close()
        self._packed.close()  # type: ignore[no-untyped-call]

    def abandon(self) -> None:
        """Let go of what is not finished: tarfile would write its end when it is forgotten, into a closed file."""
        with suppress(OSError, ValueError, zstandard.ZstdError):
            self._tar.fileobj.close()

    def _add(self, name: str, file: IO[bytes]) -> None:
        info = tarfile.TarInfo(name)
        info.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        info.mode, info.mtime = 0o600, int(time.time())
        hashed = _Hashed(file, self._stopped)
        self._tar.addfile(info, hashed)  # type: ignore[arg-type]  # it is only read
        self._sums[name] = hashed.digest.hexdigest()
        self.size += info.size


class _Member(tarfile.TarInfo):
    """A header in a tar: one that would have `tarfile` read more than a member of a backup has to say is refused.

    By itself it takes in names, attributes and maps of any length, and headers of headers.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """The header in a block of a tar. Raises BackupError."""
        found = super().frombuf(buf, encoding, errors)
        if found.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
            return found
        if found.type == tarfile.XHDTYPE and found.size <= _MOST_MORE:
            return found
        raise BackupError(f"no backup has {found.name[:200]!a} in it: this one was tampered with")


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes], stopped: Event) -> None:
        self._file = file
        self._stopped = stopped
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        _go_on(self._stopped)
        piece = self._file.read(size)
        self.digest.update(piece)
        return piece


def unpack(file: IO[bytes], folder: Path, *, stopped: Event) -> Head:
    """Unpack a backup into a folder: each member is what its checksum says, and none is missing.

    Raises BackupError for a file that is damaged, cut off, no backup, or of a newer Pricore, OSError where there
    is no room. What is in the folder then is worth nothing. `stopped` ends it on the way.
    """
    try:
        with _members(file) as members:
            head, digest = _read_head(members)
            found = {_HEAD: digest}
            for tar, member in members:
                if member.name == _SUMS:
                    _compare(found, _lines(tar, member))
                    break
                if not _PLACE.fullmatch(member.name) or member.name in found or not member.isreg():
                    raise BackupError(f"no backup has {member.name[:200]!a} in it: this one was tampered with")
                found[member.name] = _unpack_member(tar, member, folder / member.name, stopped)
            else:
                raise BackupError("the backup is not whole: its end is missing; take another one")
            if next(members, None) is not None:
                raise BackupError("the backup has something behind its end: it was tampered with")
    except (tarfile.TarError, zstandard.ZstdError, EOFError, RecursionError, ValueError) as error:
        raise BackupError(f"the backup is damaged, or none at all: {error}; take another one") from None
    return head


_Members = Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]


@contextmanager
def _members(file: IO[bytes]) -> Iterator[_Members]:
    reader = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
    with reader, tarfile.open(fileobj=reader, mode="r|", tarinfo=_Member) as tar:
        yield ((tar, member) for member in tar)


def _read_head(members: _Members) -> tuple[Head, str]:
    """What a backup says of itself, and the checksum of that."""
    tar, member = next(members, (None, None))
    if tar is None or member is None or member.name != _HEAD:
        raise BackupError("this is not a Pricore backup")
    try:
        content = _read(tar, member, most=_MOST_HEAD)
        head = msgspec.json.decode(content, type=Head)
    except msgspec.MsgspecError as error:
        raise BackupError(f"this is not a Pricore backup: {error}") from None
    if head.format > FORMAT or head.schema > newest_schema():
        raise BackupError(
            f"the backup was made by a newer Pricore ({head.pricore[:40]}, format {head.format}, schema "
            f"{head.schema}; this one knows {FORMAT} and {newest_schema()}): upgrade this program"
        )
    return head, hashlib.sha256(content).hexdigest()


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, *, most: int) -> bytes:
    content = tar.extractfile(member)
    if content is None or member.size > most:
        raise BackupError(f"{member.name} in the backup is no file, or too large: it was tampered with")
    return content.read()


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, stopped: Event) -> str:
    """Write a member to the disk; gives its sha256."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    digest = hashlib.sha256()
    source = tar.extractfile(member)
    assert source is not None  # noqa: S101  # it is a regular file
    with create_file(target) as file:
        while piece := source.read(_CHUNK):
            _go_on(stopped)
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _lines(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[str]:
    """The lines of a member, one after the other."""
    content = tar.extractfile(member)
    if content is None or member.size > _MOST_SUMS:
        raise BackupError(f"{member.name} in the backup is too large: it was tampered with")
    while line := content.readline(_MOST_LINE):
        yield line.decode().removesuffix("\n")


def _compare(found: dict[str, str], sums: Iterable[str]) -> None:
    """Refuse with BackupError what the checksums don't name, and what they name and isn't there or is another."""
    named = set[str]()
    missing: str | None = None
    wrong: str | None = None
    for line in sums:
        digest, _, name = line.partition("  ")
        if name not in found:
            missing = name if missing is None else min(missing, name)
            continue
        named.add(name)
        if found[name] != digest:
            wrong = wrong or name
    if wrong is not None:
        raise BackupError(f"{wrong} in the backup is damaged: its checksum is another; take another one")
    if missing is not None:
        raise BackupError(f"the backup is not whole: {missing[:200]} is missing; take another one")
    if more := found.keys() - named:
        raise BackupError(f"the backup has {min(more)} in it, which it doesn't name: it was tampered with")
    if DATABASE not in found:
        raise BackupError("the backup has no database in it; take another one")


def _go_on(stopped: Event) -> None:
    if stopped.is_set():
        raise BackupError("stopped")


def new_head(*, version: str, at: int) -> Head:
    """What a backup that is begun now says of itself."""
    return Head(format=FORMAT, pricore=version, schema=newest_schema(), created_at=rfc3339(at))
