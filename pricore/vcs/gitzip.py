"""The zip that `git archive --format=zip -0` makes of a commit, byte for byte, out of objects that are read once.

A git for each archive would read again what nearly all versions of a package have in common: most of a first
import's time. What is rare is left to git: it is what decides, and what this is tested against.
"""

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, repeat
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

import msgspec

from pricore.composer.discovery import split_place
from pricore.vcs.attributes import Attributes, PathAttributes
from pricore.vcs.objects import (
    EXECUTABLE,
    FILE,
    FOLDER,
    MOST_BYTES,
    MOST_KEPT,
    RARE,
    Blob,
    Objects,
    RecentCache,
    TreeEntry,
    UnusualError,
)

_MOST_ENTRIES: Final = 20_000
_MOST_DEPTH: Final = 64
_MOST_PATH: Final = 1000
_MOST_KNOWN: Final = 8
"""Attributes that are kept: branches have their own."""

_ATTRIBUTES: Final = b".gitattributes"
_TIME: Final = re.compile(rb"^committer .*> (\d{1,12} [+-]\d{4})$", re.MULTILINE)

# https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
_COMMON: Final = Struct("<5H")
_SUMS: Final = Struct("<3L2H")
_MARKS: Final = Struct("<3HL")
_OFFSET: Final = Struct("<L")
_EXTRA: Final = Struct("<4sBL")
_END: Final = Struct("<4s4H2LH")
_LOCAL: Final = 4 + _COMMON.size + _SUMS.size
_VERSION: Final = 10
_ROOT: Final = 12
"""Characters of an id that the root folder is called."""

_SYSTEMS: Final = {FOLDER: (b"\0\0", 16), FILE: (b"\0\0", 0), EXECUTABLE: (b"\x17\3", 0o100755 << 16)}
"""By mode: the system that knows what the attributes mean, and those attributes."""

_NOTHING: Final = PathAttributes()
_EMPTY: Final = Blob(b"", 0, text=False)
"""What a folder has as its content."""


class _Place(msgspec.Struct, frozen=True, gc=False):
    """A folder at a path, under some attributes; the path is None in what is left out."""

    tree: bytes
    path: bytes | None
    rules: bytes


_Member: TypeAlias = tuple[bytes, bytes, bytes, bytes, bytes, int]
"""An entry of a zip, without what is the same in all entries of it.

CRC-32, sizes and lengths; the path; the content; its system; its attributes; the bytes up to the next entry. A
tuple and nothing else: Python's garbage collector doesn't go through those that hold bytes alone, of which there
are ten thousands.
"""


class _Child(NamedTuple):
    """What a folder has: a file, with what is said of it, or a folder, which is a place."""

    path: bytes
    entry: TreeEntry
    said: PathAttributes
    place: _Place | None = None


class _Section(msgspec.Struct, frozen=True, gc=False):
    """What is below a folder; `reached` where git comes to a file there, also to one that is left out."""

    members: tuple[_Member, ...] = ()
    reached: bool = False


class GitZip:
    """Makes the zips of commits, and of folders as commit:folder. What it doesn't make raises UnusualError."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._rules: dict[bytes, Attributes | None] = {b"": Attributes()}
        self._sections: RecentCache[_Place, _Section] = RecentCache(MOST_KEPT)

    def close(self) -> None:
        """Forget what is in memory."""
        self._sections.clear()
        self.objects.close()

    def make(self, treeish: str) -> bytes:
        """The zip, at most 16 MB. Raises UnusualError, GitError."""
        name, path = split_place(treeish)
        commit = self.objects.commit(name.encode())
        tree, comment = commit.tree, name.encode()
        if path:
            tree = self._find(tree, path.encode())
            text = commit_of_folder(treeish, tree.decode(), commit.text)
            if text is None:
                raise UnusualError
            comment = _id(text, like=name).encode()
        root = self._section(_Place(tree, b"", self._read_rules(tree)))
        return _zip([_member(b"", FOLDER, _EMPTY, None), *root.members], comment=comment, seconds=commit.time)

    def _find(self, tree: bytes, path: bytes) -> bytes:
        """The tree of a folder below a tree."""
        for part in path.split(b"/"):
            entries = self.objects.trees([tree])[tree]
            found = next((entry for entry in entries if entry.name == part and entry.mode == FOLDER), None)
            if found is None:
                raise UnusualError
            tree = found.id
        return tree

    def _read_rules(self, root: bytes) -> bytes:
        """The id of the attributes in a root, which are known then; empty where there are none."""
        entry = next((entry for entry in self.objects.trees([root])[root] if entry.name == _ATTRIBUTES), None)
        if entry is None:
            return b""
        if entry.id not in self._rules:
            if len(self._rules) > _MOST_KNOWN:
                self._rules = {b"": Attributes()}
            content = self.objects.blobs([entry.id])[entry.id].content
            self._rules[entry.id] = Attributes.parse(content)
        if self._rules[entry.id] is None:
            raise UnusualError
        return entry.id

    def _section(self, root: _Place) -> _Section:
        """What is below a root, of which most is known from other commits."""
        sections: dict[_Place, _Section] = {}
        unknown = self._unfold(root, sections)
        children = chain.from_iterable(unknown.values())
        blobs = self.objects.blobs(
            [child.entry.id for child in children if child.place is None and not child.said.left_out]
        )
        for place in reversed(unknown):  # what is below a folder comes behind it
            section = sections[place] = _build(unknown[place], sections, blobs)
            self._sections.keep(place, section, _cost(unknown[place], section, blobs))
        return sections[root]

    def _unfold(self, root: _Place, sections: dict[_Place, _Section]) -> dict[_Place, list[_Child]]:
        """What is in each folder that is not known yet, level by level; the known go into `sections`."""
        unknown: dict[_Place, list[_Child]] = {}
        level = [root]
        count = 0
        for _ in range(_MOST_DEPTH):
            known = {place: self._sections.get(place) for place in level}
            sections |= {place: section for place, section in known.items() if section is not None}
            level = [place for place, section in known.items() if section is None and place not in unknown]
            if not level:
                return unknown
            trees = self.objects.trees([place.tree for place in level])
            for place in level:
                unknown[place] = list(self._children(place, trees[place.tree]))
                count += len(unknown[place])
            if count > _MOST_ENTRIES:
                break
            level = [child.place for place in level for child in unknown[place] if child.place is not None]
        raise UnusualError

    def _children(self, folder: _Place, entries: Sequence[TreeEntry]) -> Iterator[_Child]:
        """What is in a folder; of one that is left out, the folders alone: git looks into them, too."""
        attributes = self._rules[folder.rules]
        for entry in entries:
            if entry.mode == RARE:
                raise UnusualError
            if folder.path is None or attributes is None:
                if entry.mode == FOLDER:
                    yield _Child(b"", entry, _NOTHING, _Place(entry.id, None, b""))
                continue
            if len(folder.path) > _MOST_PATH or (entry.name == _ATTRIBUTES and folder.path):
                raise UnusualError
            path = folder.path + entry.name
            if entry.mode != FOLDER:
                yield _Child(path, entry, attributes.of(path))
                continue
            path += b"/"
            said = attributes.of(path)
            place = _Place(entry.id, None, b"") if said.left_out else _Place(entry.id, path, folder.rules)
            yield _Child(path, entry, said, place)


def _build(
    children: Iterable[_Child], sections: Mapping[_Place, _Section], blobs: Mapping[bytes, Blob]
) -> _Section:
    """A folder's section, of those of the folders in it."""
    members: list[_Member] = []
    reached = False
    for path, entry, said, place in children:
        if place is None:
            reached = True
            if not said.left_out:
                members.append(_member(path, entry.mode, blobs[entry.id], said.text))
        elif place.path is not None and sections[place].reached:
            reached = True
            members.append(_member(path, FOLDER, _EMPTY, None))
            members += sections[place].members
    return _Section(tuple(members), reached)


def _cost(children: Iterable[_Child], section: _Section, blobs: Mapping[bytes, Blob]) -> int:
    """About the bytes that a folder's section takes, without those of the folders in it."""
    own = [child for child in children if child.place is None and not child.said.left_out]
    return 8 * len(section.members) + sum(
        300 + len(child.path) + len(blobs[child.entry.id].content) for child in own
    )


def _member(path: bytes, mode: bytes, blob: Blob, text: bool | None) -> _Member:
    """An entry of a zip; where it is not said whether a file is `text`, its content decides."""
    system, attributes = _SYSTEMS[mode]
    length, count = _ROOT + 1 + len(path), len(blob.content)
    return (
        _SUMS.pack(blob.crc, count, count, length, _EXTRA.size),
        path,
        blob.content,
        system,
        _MARKS.pack(0, 0, blob.text if text is None else text, attributes),
        _LOCAL + length + _EXTRA.size + count,
    )


def _zip(members: Sequence[_Member], *, comment: bytes, seconds: int) -> bytes:
    """The bytes of a zip: below a folder named after its comment, the id of a commit."""
    if len(members) > _MOST_ENTRIES or sum(size for *_, size in members) > 2 * MOST_BYTES:
        raise UnusualError
    common = repeat(_COMMON.pack(_VERSION, 0, 0, *_dos_time(seconds)))
    root, extra = repeat(comment[:_ROOT] + b"/"), repeat(_EXTRA.pack(b"UT\5\0", 1, seconds))
    sums, paths, contents, systems, marks, sizes = zip(*members, strict=True)
    ends = list(accumulate(sizes))
    offsets = map(_OFFSET.pack, chain((0,), ends))
    # all at once in C: this is most of what a version takes
    files = zip(repeat(b"PK\3\4"), common, sums, root, paths, extra, contents)
    directory = b"".join(
        chain.from_iterable(zip(repeat(b"PK\1\2"), systems, common, sums, marks, offsets, root, paths, extra))
    )
    count = len(members)
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), ends[-1], len(comment))
    return b"".join(chain(chain.from_iterable(files), (directory, end, comment)))


def commit_of_folder(treeish: str, tree: str, commit: bytes) -> str | None:
    """The text of a commit of a folder alone, with the time of the one that it is in; None where that has none.

    Of a tree git makes an archive with the time of today. Nothing of this text may ever change: the checksums
    that were advertised depend on it.
    """
    found = _TIME.search(commit)
    if found is None:
        return None
    who = f"Pricore <pricore@localhost> {found[1].decode()}"
    return f"tree {tree}\nauthor {who}\ncommitter {who}\n\n{treeish}\n"


def _id(commit: str, *, like: str) -> str:
    """The id that a commit has in a repository with ids like that one."""
    text = commit.encode()
    kind = "sha1" if len(like) == 40 else "sha256"
    return hashlib.new(kind, b"commit %d\0%b" % (len(text), text), usedforsecurity=False).hexdigest()


def _dos_time(seconds: int) -> tuple[int, int]:
    """The time and the date, in UTC, as a zip has them: in steps of two seconds."""
    at = time.gmtime(seconds)
    date = (at.tm_year - 1980) << 9 | at.tm_mon << 5 | at.tm_mday
    return at.tm_hour << 11 | at.tm_min << 5 | at.tm_sec >> 1, date
