"""Which folders of commits are packages: a search through trees that ends, whatever is in them.

Pure: `BareRepository.find_folders` reads what it wants. Trees name each other, so that a few of them can unfold to
billions of folders: each is read once, and what is found is counted before it is kept.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from pricore.errors import GitError

MOST_TREE: Final = 16 * 1024 * 1024
"""Bytes of a folder's list that is searched: some 400,000 entries."""
MOST_BYTES: Final = 256 * 1024 * 1024
MOST_TREES: Final = 100_000
MOST_LINKS: Final = 1_000_000
MOST_FOUND: Final = 64 * 1024 * 1024
"""Of one search: bytes of lists, different folders, folders in folders, and bytes of what is found."""
_MOST_NAME: Final = 255

_FOLDER: Final = b"40000"

_Node = tuple[str, frozenset[tuple[str, ...]]]
"""A tree, and what is left of the patterns to match below it, in parts."""


class Search:
    """A search by patterns below the root trees given, level by level: most commits share most of their folders.

    As long as `wanted` has trees, each of them is given to `take`, as far as `limit` bytes and one more, and then
    `descend` called. `target` is what errors say that is searched. Any of it raises GitError for more than can be
    meant.
    """

    def __init__(self, roots: Iterable[str], patterns: Sequence[str], target: str) -> None:
        self.limit = MOST_TREE
        self._refusal = f"{' and '.join(patterns)} match too many folders in {target}: say more exactly"
        self._patterns = frozenset(tuple(pattern.split("/")) if pattern != "." else () for pattern in patterns)
        self._below: dict[_Node, list[tuple[str, _Node]]] = {}
        self._packages: set[str] = set()
        self._nodes = _by_tree({(root, self._patterns) for root in roots})
        self._next: dict[_Node, _Node] = {}
        self._read = 0
        self._links = 0
        self._size = 0
        self._found: dict[_Node, list[tuple[str, str]]] = {}

    @property
    def wanted(self) -> list[str]:
        """The trees to read next."""
        return list(self._nodes)

    def take(self, tree: str, content: bytes) -> None:
        """Look at a tree. One larger than the limit is no package, and is refused where more may match in it."""
        nodes = self._nodes[tree]
        deeper = [node for node in nodes if any(node[1])]
        if len(content) > self.limit:
            if deeper:
                raise GitError(self._refusal)
            content = b""
        self._read += len(content)
        if self._read > MOST_BYTES:
            raise GitError(self._refusal)
        for node in nodes:
            self._below[node] = []
        for mode, raw, child in _entries(content, len(tree) // 2):
            if raw == b"composer.json" and mode.startswith(b"100"):
                self._packages.add(tree)
            if deeper and mode == _FOLDER and (name := _folder_name(raw)):
                for node in deeper:
                    if rest := _rest(node[1], name):
                        self._link(node, name, (child.hex(), rest))

    def descend(self) -> None:
        """Go on with the folders that were found."""
        self._nodes = _by_tree(self._next.keys() - self._below.keys())
        self._next = {}

    def folders(self, root: str) -> dict[str, str]:
        """The folders below a root that match and have a composer.json: path to tree."""
        return dict(self._collect((root, self._patterns)))

    def _link(self, node: _Node, name: str, child: _Node) -> None:
        self._below[node].append((sys.intern(name), self._next.setdefault(child, child)))
        self._links += 1
        if self._links > MOST_LINKS or len(self._below) + len(self._next) > MOST_TREES:
            raise GitError(self._refusal)

    def _collect(self, node: _Node) -> list[tuple[str, str]]:
        """What is found at and below a node: once, wherever it is."""
        if node in self._found:
            return self._found[node]
        tree, patterns = node
        found = [("", tree)] if () in patterns and tree in self._packages else []
        for name, child in self._below[node]:
            for path, package in self._collect(child):
                found.append((f"{name}/{path}" if path else name, package))
                self._size += len(found[-1][0]) + 64
                if self._size > MOST_FOUND:
                    raise GitError(self._refusal)
        self._found[node] = found
        return found


def _by_tree(nodes: Iterable[_Node]) -> dict[str, list[_Node]]:
    found: dict[str, list[_Node]] = {}
    for node in sorted(nodes, key=lambda node: node[0]):
        found.setdefault(node[0], []).append(node)
    return found


def _rest(patterns: frozenset[tuple[str, ...]], name: str) -> frozenset[tuple[str, ...]]:
    """What is left of patterns to match below a folder."""
    return frozenset(
        pattern[1:]
        for pattern in patterns
        if pattern and fnmatchcase(name, pattern[0]) and (name[0] != "." or pattern[0][0] == ".")
    )


def _folder_name(raw: bytes) -> str | None:
    """The name of a folder in which packages are looked for."""
    name = raw.decode(errors="backslashreplace")
    odd = name in ("", ".", "..", ".git") or len(raw) > _MOST_NAME or not name.isprintable()
    return None if odd or set(name) & set(":\\/") else name


def _entries(content: bytes, size: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    """The mode, name and id of each entry of a tree object, whose ids have `size` bytes."""
    start = 0
    while (space := content.find(b" ", start)) > 0 and (end := content.find(b"\0", space)) > 0:
        yield content[start:space], content[space + 1 : end], content[end + 1 : end + 1 + size]
        start = end + 1 + size
