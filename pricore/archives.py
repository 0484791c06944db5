"""What may be in an archive: nothing that, unpacked, leaves its folder or litters a disk with files."""

import stat
import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from typing import Final

from pricore.errors import ArchiveError

MOST_FILES: Final = 100_000
MOST_DIRECTORY: Final = 16 * 1024 * 1024
_MOST_END: Final = 1024
_ENTRY: Final = struct.Struct("<28xHHH4xL4x")
"""Of an entry in a zip's directory: the lengths of name, extra field and comment, and the attributes."""


class Tail:
    """The end of a zip that goes by, where its directory is."""

    def __init__(self) -> None:
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        self._size = 0

    def add(self, piece: bytes) -> None:
        """Take the bytes that come next."""
        self._pieces.append(piece)
        self._kept += len(piece)
        self._size += len(piece)
        while self._kept - len(self._pieces[0]) >= MOST_DIRECTORY:
            self._kept -= len(self._pieces.popleft())

    def check(self) -> None:
        """Refuse with ArchiveError a zip that nobody should unpack; one that was cut off has no directory yet."""
        content = b"".join(self._pieces)
        end = content.rfind(b"PK\5\6", -_MOST_END)
        if end < 0:
            return
        (offset,) = struct.unpack_from("<16xL", content, end)
        start = offset - (self._size - self._kept)
        entries = list(read_entries(content, start, end)) if start >= 0 else []
        if start < 0 or len(entries) > MOST_FILES:
            raise ArchiveError(f"too large for an archive: it has more than {MOST_FILES:,} files")
        _check_names([name for name, _ in entries], [name for name, mode in entries if stat.S_ISLNK(mode)])


def read_entries(content: bytes, position: int, end: int) -> Iterator[tuple[bytes, int]]:
    """The name and the mode of each entry of a zip's directory, which is at a position of some bytes."""
    while position < end and content.startswith(b"PK\1\2", position):
        name, extra, comment, attributes = _ENTRY.unpack_from(content, position)
        position += _ENTRY.size
        yield content[position : position + name], attributes >> 16
        position += name + extra + comment


def _check_names(names: list[bytes], links: list[bytes]) -> None:
    """Refuse what git lets pass: a way up by Windows' slashes, and a way out through a link in the archive."""
    for name in names:
        if b"\\" in name and b".." in name.replace(b"\\", b"/").split(b"/"):
            raise ArchiveError(f"no archive can be made: {_shown(name)} would be unpacked outside of its folder")
    if not links:
        return
    # one name where capitals don't count
    ordered = sorted(name.lower() for name in names)
    for link in links:
        below = link.lower() + b"/"
        place = bisect_left(ordered, below)
        if place < len(ordered) and ordered[place].startswith(below):
            raise ArchiveError(f"no archive can be made: {_shown(link)} is a link and a folder at the same time")


def _shown(name: bytes) -> str:
    """A name without the root folder, as it can be shown."""
    return ascii(name.partition(b"/")[2].decode(errors="replace")[:100])
