"""The objects of a repository, read in a conversation with one `git cat-file --batch`, and kept for a while.

`Mirror.with_zips` has the process; here are its two pipes.
"""

import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from typing import IO, Final, Generic, NamedTuple, TypeVar

import msgspec

from pricore.errors import GitError

K = TypeVar("K")
T = TypeVar("T")

MOST_BYTES: Final = 8 * 1024 * 1024
"""Of the files that are asked for at once."""

MOST_KEPT: Final = 4 * 1024 * 1024
"""Bytes, of each kind, that the newer half of what is kept takes."""

_MOST_OBJECT: Final = 4 * 1024 * 1024
_MOST_NAME: Final = 255
_MOST_PASSED_OVER: Final = 256 * 1024 * 1024
_MOST_ASKED: Final = 64
"""Requests at once: together they are less than what a pipe holds, so that neither side waits for the other."""

_PIECE: Final = 64 * 1024
_FORGET: Final = 4
_ENDED: Final = "git cat-file has ended"
_ENTRY: Final = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0")
_NAME: Final = re.compile(rb"[\w .,+@()=#$%!&'\[\]{}-]+", re.ASCII)
_COMMIT: Final = re.compile(
    rb"tree ([0-9a-f]{40,64})\n(?:parent [0-9a-f]{40,64}\n)*author [^\n]*\n"
    rb"committer [^<>\n]*<[^<>\n]*> (\d{9,10}) [+-]\d{4}\n"
)
_TIMES: Final = range(315_532_800, 2**31)
"""What the times of a zip can say with 32 bits, seconds since 1970."""

_FIRST: Final = 8000
"""Bytes in which git looks for a NUL, to know whether a file is text."""

FOLDER: Final = b"40000"
FILE: Final = b"100644"
EXECUTABLE: Final = b"100755"
RARE: Final = b""
"""The mode of what is something else, or has a name that git may refuse."""
_MODES: Final = {mode: mode for mode in (FOLDER, FILE, EXECUTABLE)} | {b"100664": FILE}


class UnusualError(Exception):
    """There is something about a commit that is left to git."""


class Commit(NamedTuple):
    """A commit's whole text, the id of its tree, and the committer's time in seconds since 1970."""

    text: bytes
    tree: bytes
    time: int


class TreeEntry(msgspec.Struct, frozen=True, gc=False):
    """What a folder has: one of the modes above, a name, which is ASCII if it isn't rare, an object's id."""

    mode: bytes
    name: bytes
    id: bytes


class Blob(msgspec.Struct, frozen=True, gc=False):
    """A file's content, its CRC-32, and whether git takes it for text."""

    content: bytes
    crc: int
    text: bool


class Objects:
    """Reads objects by id, hexadecimal; those that were asked for lately are in memory, some 16 MB of them.

    What is missing, large or not well-formed raises UnusualError.
    Raises GitError where the conversation is at an end.
    """

    def __init__(self, requests: IO[bytes], answers: IO[bytes]) -> None:
        self.requests = requests
        self.answers = answers
        self._blobs: RecentCache[bytes, Blob] = RecentCache(MOST_KEPT)
        self._trees: RecentCache[bytes, Sequence[TreeEntry]] = RecentCache(MOST_KEPT)
        self._unusual: set[bytes] = set()
        self._owed = 0
        self._passed_over = 0

    def close(self) -> None:
        """Forget what is in memory."""
        self._blobs.clear()
        self._trees.clear()

    def commit(self, name: bytes) -> Commit:
        (text,) = self._read([name], b"commit")
        found = _COMMIT.match(text)
        if found is None or int(found[2]) not in _TIMES:
            raise UnusualError
        return Commit(text, found[1], int(found[2]))

    def trees(self, names: Collection[bytes]) -> dict[bytes, Sequence[TreeEntry]]:
        """What is in each of some folders, in its order."""
        found, missing = self._trees.find(names)
        for name, content in zip(missing, self._read(missing, b"tree"), strict=True):
            entries = _parse_tree(content, len(name) // 2)
            if entries is None:
                self._unusual.add(name)
                raise UnusualError
            found[name] = entries
            # what is made of it takes a multiple
            self._trees.keep(name, entries, 8 * len(content))
        return found

    def blobs(self, names: Collection[bytes]) -> dict[bytes, Blob]:
        """Some files, together no more than MOST_BYTES."""
        found, missing = self._blobs.find(names)
        room = MOST_BYTES - sum(len(blob.content) for blob in found.values())
        for name, content in zip(missing, self._read(missing, b"blob"), strict=True):
            blob = found[name] = Blob(content, zlib.crc32(content), b"\0" not in content[:_FIRST])
            self._blobs.keep(name, blob, len(content))
            room -= len(content)
            if room < 0:
                break
        if room < 0:
            raise UnusualError
        return found

    def _read(self, names: Sequence[bytes], kind: bytes) -> Iterator[bytes]:
        """The contents of objects, which have to be of a kind; whoever has enough may stop."""
        if not self._unusual.isdisjoint(names):
            raise UnusualError
        for start in range(0, len(names), _MOST_ASKED):
            asked = names[start : start + _MOST_ASKED]
            self._ask(asked)
            for name in asked:
                content = self._answer(kind)
                if content is None:
                    self._unusual.add(name)
                    raise UnusualError
                yield content

    def _ask(self, names: Sequence[bytes]) -> None:
        while self._owed:  # whoever asked before had enough
            self._answer(b"")
        try:
            self.requests.write(b"".join(b"%b\n" % name for name in names))
            self.requests.flush()
        except BrokenPipeError:
            raise GitError(_ENDED) from None
        self._owed = len(names)

    def _answer(self, kind: bytes) -> bytes | None:
        """The next answer; None where that is no object of this kind, or a large one."""
        header = self.answers.readline()
        if not header:
            raise GitError(_ENDED)
        self._owed -= 1
        fields = header.split()
        if len(fields) != 3 or not fields[2].isdigit():
            return None  # it is missing
        size = int(fields[2])
        if size > _MOST_OBJECT:
            self._pass_over(size + 1)
            return None
        content = self.answers.read(size + 1)
        if len(content) != size + 1:
            raise GitError(_ENDED)
        return content[:-1] if fields[1] == kind else None

    def _pass_over(self, size: int) -> None:
        self._passed_over += size
        if self._passed_over > _MOST_PASSED_OVER:
            raise GitError("most of this repository is too large to be read")
        while size > 0 and (piece := self.answers.read(min(size, _PIECE))):
            size -= len(piece)


class RecentCache(Generic[K, T]):
    """Values that were used lately: when their newer half takes `most` bytes, the other is forgotten.

    It goes bit by bit: to free ten thousands at once takes so long that others notice.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._newer: dict[K, tuple[T, int]] = {}
        self._older: dict[K, tuple[T, int]] = {}
        self._forgotten: dict[K, tuple[T, int]] = {}
        self._size = 0

    def get(self, key: K) -> T | None:
        kept = self._newer.get(key)
        if kept is None:
            kept = self._older.get(key)
            if kept is None:
                return None
            self.keep(key, *kept)
        return kept[0]

    def find(self, keys: Collection[K]) -> tuple[dict[K, T], list[K]]:
        """Those that are there, and the keys of the others."""
        found = {key: value for key in keys if (value := self.get(key)) is not None}
        return found, [key for key in dict.fromkeys(keys) if key not in found]

    def keep(self, key: K, value: T, size: int) -> None:
        if self._size > self._most:
            self._forgotten, self._older, self._newer, self._size = self._older, self._newer, {}, 0
        for _ in range(min(_FORGET, len(self._forgotten))):
            self._forgotten.popitem()
        self._newer[key] = value, size
        self._size += size

    def clear(self) -> None:
        """Forget all of it."""
        for values in (self._newer, self._older, self._forgotten):
            while values:
                values.popitem()


def _parse_tree(content: bytes, width: int) -> tuple[TreeEntry, ...] | None:
    """The entries of a tree, whose ids have so many bytes; None where it isn't well-formed.

    A tuple: unlike lists, the garbage collector doesn't go through ten thousands of them again and again.
    """
    entries: list[TreeEntry] = []
    start = 0
    while start < len(content):
        found = _ENTRY.match(content, start)
        if found is None:
            return None
        start = found.end() + width
        mode = _MODES.get(found[1], RARE) if _is_usual(found[2]) else RARE
        entries.append(TreeEntry(mode, found[2], content[found.end() : start].hex().encode()))
    # in git's order, in which a folder is where its name with a slash belongs, and each once
    names = [entry.name + b"/" if entry.mode == FOLDER else entry.name for entry in entries]
    if start != len(content) or names != sorted(names) or len({entry.name for entry in entries}) != len(entries):
        return None
    return tuple(entries)


def _is_usual(name: bytes) -> bool:
    # .git also with what some file systems leave out at the end
    if len(name) > _MOST_NAME or not _NAME.fullmatch(name):
        return False
    return name.lower().rstrip(b" .") not in (b"", b".git")
