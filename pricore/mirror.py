"""Mirrors: bare repositories that follow remotes, and what is read out of them."""

import asyncio
import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Final, TypeVar

from pricore.access import BY_ITSELF, Access
from pricore.discovery import place, split_place
from pricore.errors import GitError
from pricore.git import Git, split_lines
from pricore.models import CommitFile

T = TypeVar("T")

_MOST_COMMIT: Final = 64 * 1024
_MOST_TREE: Final = 1024 * 1024
"""Bytes of a folder's list that is searched: some 25,000 entries."""
_MOST_TREES: Final = 100_000
"""Different folders that are searched in one go."""

_Entry = tuple[bytes, bytes, str]
"""What is in a folder: mode, name, id."""
_Node = tuple[str, frozenset[tuple[str, ...]]]
"""A tree, and what is left of the patterns to match below it, in parts."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Mirror:
    """A bare repository that follows a remote's branches and tags.

    Commits that were ever served stay: `keep` holds them by refs of our own, below refs/pricore/. Who writes
    to it holds a lock, and gives its descriptor as `hold`. `url` is what errors say that it follows.
    """

    def __init__(self, git: Git, path: Path, *, url: str = "", hold: int | None = None) -> None:
        self._git = git
        self._about = f"the mirror of {url}" if url else "the mirror"
        self.path = path
        self._hold = hold

    def exists(self) -> bool:
        """Whether it is there; not whether it has everything."""
        return all((self.path / name).exists() for name in ("HEAD", "config", "objects", "refs"))

    async def fetch(self, url: str, *, access: Access = BY_ITSELF) -> None:
        """Bring branches and tags to what `url` has now. Raises GitError, GitUnavailableError.

        `access` is how it may be read.
        """
        if not self.exists():
            # one that was killed on the way leaves the lock of its configuration
            await asyncio.to_thread(_remove_lock_files, self.path)
            await self._write(["init", "--quiet", "--bare", "--template="])
        attributes = self.path / "info" / "attributes"
        if not attributes.exists():
            attributes.parent.mkdir(exist_ok=True)
            # $Format:%d$ would put the names of today's refs into an archive: its bytes have to depend on
            # the commit alone, or the checksum could not be kept
            attributes.write_text("* -export-subst\n", encoding="ascii")
        await asyncio.to_thread(_remove_halves, self.path)
        try:
            await self._fetch(url, access)
        except BaseException:
            # what there is of a pack can be all the space that there was
            await asyncio.shield(asyncio.to_thread(_remove_halves, self.path))
            raise

    async def _fetch(self, url: str, access: Access) -> None:
        await self._write(
            [
                "fetch",
                "--quiet",
                "--prune",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--",
                url,
                "+refs/heads/*:refs/heads/*",
                "+refs/tags/*:refs/tags/*",
            ],
            url=url,
            access=access,
        )

    async def _write(
        self,
        arguments: Sequence[str],
        *,
        url: str = "",
        access: Access = BY_ITSELF,
        lines: Iterable[str] | None = None,
    ) -> None:
        """Run a command that changes refs; lock files that a killed git left behind don't stop it."""
        for attempt in (1, 2):
            try:
                await self._git.run(
                    arguments,
                    folder=self.path,
                    about=self._about,
                    url=url,
                    access=access,
                    lines=lines,
                    hold=self._hold,
                )
            except GitError as error:
                # whoever writes here holds our lock: these belong to nobody any more
                if attempt == 2 or ".lock': File exists" not in str(error):
                    raise
                await asyncio.to_thread(_remove_lock_files, self.path)
            else:
                return

    async def refs(self) -> dict[str, str]:
        """Branches and tags by full name, in git's order, with the object that each leads to in the end.

        A name that isn't UTF-8 has backslashes, which no other can have.
        """
        output = await self._git.run(
            ["show-ref", "--heads", "--tags", "--dereference"],
            folder=self.path,
            about=self._about,
            accept=(0, 1),
        )
        refs: dict[str, str] = {}
        for line in split_lines(output):
            value, _, name = line.partition(" ")
            refs[name.removesuffix("^{}")] = value  # an annotated tag's second line is the commit
        return refs

    async def read_files(self, places: Sequence[str], name: str, *, limit: int) -> dict[str, CommitFile]:
        """One file out of many commits, or folders (commit:folder), through one process; `limit` is in bytes."""
        requests: list[str] = []
        for at in places:
            commit, path = split_place(at)
            requests += (commit, f"{commit}:{path}/{name}" if path else f"{commit}:{name}")

        def consume(output: IO[bytes]) -> dict[str, CommitFile]:
            # where git ends early its status says so; StopIteration would never get out of a thread
            answers = itertools.chain(_batch_answers(output, limit), itertools.repeat((b"", b"")))
            return {at: _commit_file(next(answers), next(answers)) for at in places}

        return await self._git.read(
            ["cat-file", "--batch"], consume, folder=self.path, about=self._about, lines=requests
        )

    async def find_folders(self, commits: Sequence[str], patterns: Sequence[str]) -> dict[str, dict[str, str]]:
        """The folders of commits that match patterns and have a composer.json: path to tree, by commit.

        In a pattern, *, ? and [] stand for a part of one folder's name; "." is the root. Raises GitError where
        more match than can be meant.
        """
        wanted = frozenset(tuple(pattern.split("/")) if pattern != "." else () for pattern in patterns)
        trees = await self._trees(commits)
        below: dict[_Node, list[tuple[str, _Node]]] = {}
        packages: set[str] = set()
        # all commits at once, level by level: most share most of their folders, which are read once
        level = {(tree, wanted) for tree in trees.values()}
        while level:
            entries = await self._entries({tree for tree, _ in level})
            for node in level:
                below[node] = _children(node, entries[node[0]])
                if () in node[1] and _has_file(entries[node[0]], b"composer.json"):
                    packages.add(node[0])
            level = {child for node in level for _, child in below[node]} - below.keys()
            if len(below) + len(level) > _MOST_TREES:
                raise GitError(
                    f"{' and '.join(patterns)} match too many folders in {self._about}: say more exactly"
                )
        return await asyncio.to_thread(
            lambda: {
                commit: dict(_collect((trees[commit], wanted), "", below, packages)) if commit in trees else {}
                for commit in commits
            }
        )

    async def _trees(self, commits: Sequence[str]) -> dict[str, str]:
        """The tree of each commit; what is no commit has none."""
        lines = [f"{commit}^{{tree}}" for commit in commits]
        output = await self._git.run(
            ["cat-file", "--batch-check=%(objectname) %(objecttype)"],
            folder=self.path,
            about=self._about,
            lines=lines,
        )
        answers = (line.split(" ") for line in split_lines(output))
        found = zip(commits, answers, strict=True)
        return {commit: answer[0] for commit, answer in found if answer[1] == "tree"}

    async def _entries(self, trees: Collection[str]) -> dict[str, list[_Entry]]:
        """What is in trees, each read once; one that is too large has nothing that could be a package."""
        ordered = sorted(trees)

        def consume(output: IO[bytes]) -> dict[str, list[_Entry]]:
            answers = itertools.chain(_batch_answers(output, _MOST_TREE), itertools.repeat((b"", b"")))
            return {tree: list(_tree_entries(next(answers)[1], len(tree) // 2)) for tree in ordered}

        return await self._git.read(
            ["cat-file", "--batch"], consume, folder=self.path, about=self._about, lines=ordered
        )

    async def keep(self, commits: Iterable[str]) -> None:
        """Hold commits for good, whatever happens to the branches and tags that led to them."""
        lines = [f"update refs/pricore/{commit} {commit}" for commit in dict.fromkeys(commits)]
        if lines:
            await self._write(["update-ref", "--stdin"], lines=lines)

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T]) -> T:
        """What `consume` makes of the zip of a commit, or of a folder in one as commit:folder.

        It is stored, not compressed, in one root folder. The bytes depend on the commit and the folder alone.
        """
        commit, path = split_place(treeish)
        if not _COMMIT.fullmatch(commit):
            raise GitError(f"{commit[:80]!r} is not a commit")
        if path:
            commit = await self._commit_folder(commit, path)
        return await self._git.read(
            ["archive", "--format=zip", "-0", f"--prefix={commit[:12]}/", commit],
            consume,
            folder=self.path,
            about=self._about,
        )

    async def _commit_folder(self, commit: str, path: str) -> str:
        """A commit of a folder alone with the time of the one that it is in, always the same.

        Of a tree git makes an archive with the time of today. Nothing of this text may ever change: the checksums
        that were advertised depend on it.
        """
        at = place(commit, path)
        header = await self._git.run(["cat-file", "commit", commit], folder=self.path, about=self._about)
        time = re.search(rb"^committer .*> (\d{1,12} [+-]\d{4})$", header, re.MULTILINE)
        tree, _, kind = (
            await self._git.run(
                ["cat-file", "--batch-check=%(objectname) %(objecttype)"],
                folder=self.path,
                about=self._about,
                lines=[at],
            )
        ).partition(b" ")
        if time is None or kind.strip() != b"tree":
            raise GitError(f"there is no folder {path} in {commit[:12]} of {self._about}")
        who = f"Pricore <pricore@localhost> {time[1].decode()}"
        made = await self._git.run(
            ["hash-object", "-t", "commit", "-w", "--stdin"],
            folder=self.path,
            about=self._about,
            lines=[f"tree {tree.decode()}", f"author {who}", f"committer {who}", "", at],
        )
        return made.decode().strip()


def _children(node: _Node, entries: Sequence[_Entry]) -> list[tuple[str, _Node]]:
    """The folders in a tree that lead on, each with what is left to match below it."""
    found: list[tuple[str, _Node]] = []
    _, patterns = node
    for mode, raw, child in entries:
        name = raw.decode(errors="backslashreplace")
        if mode != b"40000" or name in (".", "..", ".git") or not name.isprintable() or set(name) & set(":\\"):
            continue
        rest = frozenset(
            pattern[1:]
            for pattern in patterns
            if pattern and fnmatchcase(name, pattern[0]) and (name[0] != "." or pattern[0][0] == ".")
        )
        if rest:
            found.append((name, (child, rest)))
    return found


def _collect(
    node: _Node, path: str, below: Mapping[_Node, Sequence[tuple[str, _Node]]], packages: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The packages at and below a node, as path and tree."""
    tree, patterns = node
    if () in patterns and tree in packages:
        yield path, tree
    for name, child in below[node]:
        yield from _collect(child, f"{path}/{name}" if path else name, below, packages)


def _has_file(entries: Iterable[_Entry], name: bytes) -> bool:
    return any(found == name and mode.startswith(b"100") for mode, found, _ in entries)


def _tree_entries(content: bytes, size: int) -> Iterator[_Entry]:
    """The entries of a tree object, whose ids have `size` bytes."""
    if len(content) > _MOST_TREE:
        return
    start = 0
    while (space := content.find(b" ", start)) > 0:
        end = content.index(b"\0", space)
        yield content[start:space], content[space + 1 : end], content[end + 1 : end + 1 + size].hex()
        start = end + 1 + size


def _remove_lock_files(mirror: Path) -> None:
    for path in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock")):
        path.unlink(missing_ok=True)


def _remove_halves(mirror: Path) -> None:
    """Remove the packs of fetches that came to no end, which git leaves; who writes any holds the lock."""
    for path in (mirror / "objects" / "pack").glob("tmp_*"):
        path.unlink(missing_ok=True)


def _batch_answers(output: IO[bytes], limit: int) -> Iterator[tuple[bytes, bytes]]:
    """The (type, content) of each answer of `cat-file --batch`; type is empty where nothing was found."""
    equal: dict[bytes, bytes] = {}  # most versions share a file with their neighbours: keep it once
    while header := output.readline():
        fields = header.split()
        if len(fields) != 3 or not fields[2].isdigit():
            yield b"", b""
            continue
        size = int(fields[2])
        wanted = min(size, _MOST_COMMIT if fields[1] == b"commit" else limit + 1)
        content = output.read(wanted)
        if fields[1] == b"blob":
            content = equal.setdefault(content, content)
        rest = size - wanted + 1  # the line feed behind it
        while rest > 0 and (skipped := output.read(min(rest, 1 << 16))):
            rest -= len(skipped)
        yield fields[1], content


def _commit_file(commit: tuple[bytes, bytes], file: tuple[bytes, bytes]) -> CommitFile:
    kind, header = commit
    authored = re.search(rb"^author .*> (\d{1,12}) [+-]\d{4}$", header, re.MULTILINE)
    # what RFC 3339 can say ends with the year 9999
    authored_at = min(int(authored[1]), 253_402_300_799) if authored else 0
    return CommitFile(kind == b"commit", authored_at, file[1] if file[0] == b"blob" else None)
