"""A backup that somebody else has made is taken in piece by piece, whatever it says of itself."""

import io
import tarfile
import tracemalloc
from pathlib import Path
from threading import Event
from typing import Final

import msgspec
import pytest
import zstandard

from pricore.errors import BackupError
from pricore.operations import backup_file
from pricore.system.clock import now

HEAD: Final = msgspec.json.encode(backup_file.new_head(version="1", at=now()))
LARGE: Final = 48 * 1024**2
MOST: Final = 16 * 1024**2


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The block that begins a member."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    return header(name, len(content), kind) + content + bytes(-len(content) % 512)


def record(key: str, value: str) -> bytes:
    """A line of a PAX header."""
    length = len(key) + len(value) + 3
    while (whole := len(str(length)) + len(key) + len(value) + 3) != length:
        length = whole
    return f"{length} {key}={value}\n".encode()


def refused(tmp_path: Path, *pieces: bytes, zeros: int = 0) -> str:
    """Why a tar of these pieces and of zeros behind them is refused, with no more memory than a backup takes."""
    packer = zstandard.ZstdCompressor().compressobj()
    packed = b"".join(packer.compress(piece) for piece in pieces)
    packed += b"".join(packer.compress(bytes(1024**2)) for _ in range(zeros // 1024**2)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(BackupError) as caught:
            backup_file.unpack(io.BytesIO(packed), tmp_path / "restored", stopped=Event())
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
    return str(caught.value)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "kind",
    [
        *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
        *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_SPARSE),
    ],
)
def test_what_a_member_says_beside_its_content_is_bounded(tmp_path: Path, kind: bytes, first: bool) -> None:
    """Names, attributes and maps of any length are refused before they are read."""
    pieces = () if first else (member("backup.json", HEAD),)
    assert "tampered with" in refused(tmp_path, *pieces, header("x", LARGE, kind), zeros=LARGE)


def test_a_map_of_holes_is_no_members(tmp_path: Path) -> None:
    """The map of a sparse file would be read as long as it says, however small its header is."""
    attributes = record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0")
    body = f"{2**40}\n".encode()
    pieces = member("x", attributes, tarfile.XHDTYPE), header("pricore.sqlite3", LARGE), body
    assert "tampered with" in refused(tmp_path, member("backup.json", HEAD), *pieces, zeros=LARGE)


def test_headers_of_headers_end(tmp_path: Path) -> None:
    """However many there are before a member, it is an error of one line."""
    chain = member("x", record("size", "1"), tarfile.XHDTYPE) * 5000
    assert "the backup is damaged" in refused(tmp_path, member("backup.json", HEAD), chain)


@pytest.mark.parametrize("size", ["-5", "99999999999999999999", "x"])
def test_a_size_that_is_none_is_refused(tmp_path: Path, size: str) -> None:
    """One that is negative, or no number, is an error of one line."""
    pieces = member("x", record("size", size), tarfile.XHDTYPE), member("pricore.sqlite3", b"x" * 100)
    assert refused(tmp_path, member("backup.json", HEAD), *pieces)


def test_checksums_are_compared_line_by_line(tmp_path: Path) -> None:
    """Neither millions of names that are not there nor a line without an end is kept."""
    lines = (f"{number:064}  x{number}\n".encode() for number in range(300_000))
    sums = b"".join(lines)
    assert "x0 is missing" in refused(tmp_path, member("backup.json", HEAD), member("SHA256SUMS", sums))
    assert "is missing" in refused(tmp_path, member("backup.json", HEAD), header("SHA256SUMS", LARGE), zeros=LARGE)


def test_a_member_of_more_than_8_gb_is_taken(tmp_path: Path) -> None:
    """Its size is written as an attribute, which is the one that a backup has."""
    info = tarfile.TarInfo("pricore.sqlite3")
    info.size, info.mtime = 9 * 1024**3, now()
    content = info.tobuf(tarfile.PAX_FORMAT)
    message = refused(tmp_path, member("backup.json", HEAD), content)
    assert "tampered" not in message
    assert (tmp_path / "restored" / "pricore.sqlite3").exists()
