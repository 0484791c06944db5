"""An archive as it is kept: its name, and its bytes compressed as a whole, written, read and checked."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Final, Literal, Protocol

import zstandard

Encoding = Literal["zstd", "gzip"]

_CHUNK: Final = 256 * 1024
_ZSTD_LEVEL: Final = 9
_GZIP_LEVEL: Final = 6
_FRAME_HEAD: Final = 18
_SUFFIX: Final[dict[Encoding, str]] = {"zstd": ".zip.zst", "gzip": ".zip.gz"}


def name_of(shasum: str, encoding: Encoding) -> str:
    """The name under which an archive is kept in an encoding."""
    return f"{shasum[:2]}/{shasum}{_SUFFIX[encoding]}"


def encoding_of(name: str) -> Encoding:
    """The encoding that a name says."""
    return "gzip" if name.endswith(_SUFFIX["gzip"]) else "zstd"


def names_of(shasum: str) -> list[str]:
    """The names that an archive can be kept under."""
    return [name_of(shasum, encoding) for encoding in _SUFFIX]


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


def _compressor(encoding: Encoding) -> _Compressor:
    if encoding == "gzip":
        return zlib.compressobj(_GZIP_LEVEL, wbits=31)  # 31: with gzip's header
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()


def compress(pieces: Iterable[bytes], encoding: Encoding, file: IO[bytes]) -> str:
    """Write an archive compressed; gives the sha1 of what it was before."""
    digest = hashlib.sha1(usedforsecurity=False)
    compressor = _compressor(encoding)
    for piece in pieces:
        digest.update(piece)
        file.write(compressor.compress(piece))
    file.write(compressor.flush())
    return digest.hexdigest()


def read_pieces(archive: IO[bytes]) -> Iterator[bytes]:
    """The bytes of an archive that is not compressed, piece by piece."""
    while piece := archive.read(_CHUNK):
        yield piece


def digest_of(file: IO[bytes], encoding: Encoding) -> str | None:
    """The sha1 of a kept archive, unpacked; None where it cannot be."""
    try:
        with gzip.GzipFile(fileobj=file) if encoding == "gzip" else _unpacked(file) as plain:
            return hashlib.file_digest(plain, partial(hashlib.sha1, usedforsecurity=False)).hexdigest()
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return None


def digest_at(path: Path) -> str | None:
    """The same of a file that is packed with zstd. Raises OSError where it cannot be opened."""
    with path.open("rb") as file:
        return digest_of(file, "zstd")


def frame_size(kept: IO[bytes]) -> int:
    """The size that an archive says it has unpacked; one that was packed while it came says none, which is -1."""
    try:
        return zstandard.frame_content_size(os.pread(kept.fileno(), _FRAME_HEAD, 0))
    except zstandard.ZstdError:
        return -1


def read_plain(kept: IO[bytes]) -> Iterator[bytes]:
    """The bytes of an archive that is kept with zstd, piece by piece."""
    with _unpacked(kept) as reader:
        while piece := reader.read(_CHUNK):
            yield piece


def _unpacked(kept: IO[bytes]) -> zstandard.ZstdDecompressionReader:
    return zstandard.ZstdDecompressor().stream_reader(kept, closefd=False)
