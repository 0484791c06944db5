"""What may be in an archive: nothing that, unpacked, leaves its folder or litters a disk with files."""

import stat
import struct
import unicodedata
from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from pricore.errors import ArchiveError

MOST_FILES: Final = 100_000
MOST_DIRECTORY: Final = 16 * 1024 * 1024
_MOST_END: Final = 1024
_ENTRY: Final = struct.Struct("<28xHHH4xL4x")
"""Of an entry in a zip's directory: the lengths of name, extra field and comment, and the attributes."""

_IGNORED: Final = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF])
"""Characters that Apple's HFS+ passes over in names."""


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


def fold(name: str) -> str:
    """A path as systems see it to which capitals, forms of accents, and blanks and dots at an end are nothing."""
    return "/".join(map(_fold_part, name.replace("\\", "/").split("/")))


def is_git_folder(part: str) -> bool:
    """Whether a part of a path is `.git` to some system: in its short form, or with a stream's name, as well."""
    return _fold_part(part).partition(":")[0].rstrip(" .") in (".git", "git~1")


def find_clash(names: Sequence[str], links: Sequence[str]) -> tuple[str, str] | None:
    """A link, and what is at or below its name on some system: that would be written where the link leads to.

    The links are among the names; a folder's ends with a slash.
    """
    if not links:
        return None
    ordered = sorted((fold(name), name) for name in names)
    keys = [key for key, _ in ordered]
    for link in links:
        key = fold(link)
        own, below = bisect_left(keys, key), bisect_left(keys, key + "/")
        if keys[own + 1 : own + 2] == [key]:
            return link, next((name for _, name in ordered[own : own + 2] if name != link), link)
        if below < len(keys) and keys[below].startswith(key + "/"):
            return link, ordered[below][1]
    return None


def _fold_part(part: str) -> str:
    if part.isascii():
        text = part.lower()  # the same, and quick
    else:
        text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", part.translate(_IGNORED)).casefold())
    return text.rstrip(" .") or text


def _check_names(names: Sequence[bytes], links: Sequence[bytes]) -> None:
    """Refuse what git lets pass: a way up by Windows' slashes, a `.git`, and a way out through a link."""
    for name in names:
        if b"\\" in name and b".." in name.replace(b"\\", b"/").split(b"/"):
            raise ArchiveError(f"no archive can be made: {_shown(name)} would be unpacked outside of its folder")
        # most have neither the letters nor what could stand between them
        if (b"git" in name.lower() or not name.isascii()) and any(
            is_git_folder(part) for part in _text(name).replace("\\", "/").split("/")
        ):
            raise ArchiveError(f"no archive can be made: {_shown(name)} would be git's own folder elsewhere")
    if clash := find_clash([*map(_text, names)], [*map(_text, links)]):
        link, other = (_shown(_bytes(name)) for name in clash)
        raise ArchiveError(
            f"no archive can be made: {link} is a link and a folder at the same time"
            if fold(clash[1]).startswith(fold(clash[0]) + "/")
            else f"no archive can be made: {link} is a link, and {other} has the same name on other systems"
        )


def _text(name: bytes) -> str:
    return name.decode(errors="surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _shown(name: bytes) -> str:
    """A name without the root folder, as it can be shown."""
    return ascii(name.partition(b"/")[2].decode(errors="replace")[:100])
