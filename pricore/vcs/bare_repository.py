"""A bare repository, and what is read out of it: refs, files of many commits at once, folders.

Any number read it at the same time, whoever writes to it meanwhile.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final, TypeVar

from pricore.composer.discovery import split_place
from pricore.errors import GitError
from pricore.git import MOST_REFS, Git, read_all, split_lines
from pricore.system.clock import now
from pricore.system.concurrency import OnShare, both, counted
from pricore.system.threads import SYNCS
from pricore.vcs.folders import Search
from pricore.vcs.pitfalls import FILES, MOST_BYTES, Pitfall

T = TypeVar("T")

_MOST_COMMIT: Final = 64 * 1024
_MOST_ALIKE: Final = 16
"""Objects whose names begin alike that are looked at; of 7 digits, there are two in a hundred thousand."""


class BareRepository:
    """A bare repository in a folder; `about` is what errors say of it, which name no folder of the server."""

    def __init__(self, git: Git, path: Path, *, about: str) -> None:
        self._git = git
        self._about = about
        self.path = path

    def exists(self) -> bool:
        """Whether it is there; not whether it has everything."""
        return all((self.path / name).exists() for name in ("HEAD", "config", "objects", "refs"))

    async def refs(self) -> dict[str, str]:
        """Branches and tags by full name, in git's order, with the object that each leads to in the end.

        A name that isn't UTF-8 has backslashes, which no other can have. Raises GitError for more than can be
        read: a remote may offer more to a fetch than it listed.
        """

        def consume(output: IO[bytes]) -> dict[str, str]:
            refs: dict[str, str] = {}
            for line in split_lines(read_all(output, f"git show-ref of {self._about}")):
                value, _, name = line.partition(" ")
                refs[name.removesuffix("^{}")] = value  # an annotated tag's second line is the commit
            return refs

        refs = await self._read(["show-ref", "--heads", "--tags", "--dereference"], consume, accept=(0, 1))
        if len(refs) > MOST_REFS:
            raise GitError(f"{self._about} has more than {MOST_REFS:,} branches and tags: delete some")
        return refs

    async def tagged(self) -> dict[str, tuple[str, int]]:
        """The commit of each tag by its full name, and when it was tagged, seconds, where git knows.

        That is never later than now.
        """
        form = "%(objectname) %(*objectname) %(creatordate:unix) %(refname)"
        listed = await self._ask("for-each-ref", f"--format={form}", "refs/tags")
        found = {}
        for line in split_lines(listed):
            value, peeled, at, name = line.split(" ", 3)
            if at.isdigit():
                found[name] = peeled or value, min(int(at), now())
        return found

    async def find_files(
        self, places: Sequence[str], name: str, *, on_share: OnShare = lambda share: None
    ) -> tuple[dict[str, int | None], dict[str, tuple[str, int]]]:
        """One file in many commits, or folders (commit:folder), without reading it.

        Gives the time of each commit (its author's, seconds; None for what is no commit), and the file's id and
        bytes in each place that has it. `on_share` is told in a thread how far that is.
        """

        def split() -> list[str]:
            return list(dict.fromkeys(split_place(at)[0] for at in places))

        commits = await SYNCS.for_all(len(places), split)
        return await both(self._find_times(commits), self._find_blobs(places, name, on_share))

    async def _find_times(self, commits: Sequence[str]) -> dict[str, int | None]:
        def consume(output: IO[bytes]) -> dict[str, int | None]:
            # where git ends early its status says so; StopIteration would never get out of a thread
            answers = itertools.chain(_batch_answers(output, 0), itertools.repeat((b"", b"")))
            return {commit: _authored_at(*next(answers)) for commit in commits}

        return await self._read(["cat-file", "--batch"], consume, lines=commits)

    async def read_blobs(
        self,
        blobs: Sequence[str],
        take: Callable[[str, bytes], None],
        *,
        limit: int,
        on_share: OnShare = lambda share: None,
    ) -> None:
        """Give files by id, one after the other, to `take`, in a thread; `limit` is the bytes of the largest.

        `on_share` is told there how far that is.
        """

        def consume(output: IO[bytes]) -> None:
            answers = zip(blobs, _batch_answers(output, limit), strict=False)
            for blob, (_, content) in counted(answers, len(blobs), on_share):
                take(blob, content)

        await self._read(["cat-file", "--batch"], consume, lines=blobs)

    async def find_pitfalls(self, commits: Sequence[str]) -> set[Pitfall]:
        """What commits have, by the files in their roots that say so, that `git archive` leaves out."""
        wanted = [(commit, name) for commit in commits for name in FILES]

        def consume(output: IO[bytes]) -> set[Pitfall]:
            found = set()
            for (_, name), (_, content) in zip(wanted, _batch_answers(output, MOST_BYTES), strict=False):
                pitfall, pattern = FILES[name]
                if pattern.search(content):
                    found.add(pitfall)
            return found

        lines = [f"{commit}:{name}" for commit, name in wanted]
        return await self._read(["cat-file", "--batch"], consume, lines=lines)

    async def _find_blobs(self, places: Sequence[str], name: str, on_share: OnShare) -> dict[str, tuple[str, int]]:
        """The id and the size of a file in each place that has it; what is large is never unpacked for it."""
        # one by one, in git's thread: there may be many
        lines = (f"{at}/{name}" if split_place(at)[1] else f"{at}:{name}" for at in places)

        def consume(output: IO[bytes]) -> dict[str, tuple[str, int]]:
            answers = counted(zip(places, output, strict=False), len(places), on_share)
            found = ((at, line.decode(errors="backslashreplace").split()) for at, line in answers)
            return {
                at: (fields[0], int(fields[2])) for at, fields in found if len(fields) == 3 and fields[1] == "blob"
            }

        return await self._read(["cat-file", "--batch-check"], consume, lines=lines)

    async def find_folders(self, commits: Sequence[str], patterns: Sequence[str]) -> dict[str, Mapping[str, str]]:
        """The folders of commits that match patterns and have a composer.json: path to tree, by commit.

        In a pattern, *, ? and [] stand for a part of one folder's name; "." is the root. Raises GitError where
        more match than can be meant.
        """
        trees = await self._trees(commits)
        search = Search(trees.values(), patterns, self._about)
        while search.wanted:
            await self._look(search)

        def gather() -> dict[str, Mapping[str, str]]:
            found = {tree: search.folders(tree) for tree in set(trees.values())}
            return {commit: found[trees[commit]] if commit in trees else {} for commit in commits}

        return await SYNCS.run(gather)

    async def _trees(self, commits: Sequence[str]) -> dict[str, str]:
        """The tree of each commit; what is no commit has none."""

        def consume(output: IO[bytes]) -> dict[str, str]:
            # where git ends early its status says so
            answers = (line.split(" ") for line in split_lines(read_all(output, f"git cat-file of {self._about}")))
            found = zip(commits, answers, strict=False)
            return {commit: answer[0] for commit, answer in found if answer[1:2] == ["tree"]}

        return await self._read(
            ["cat-file", "--batch-check=%(objectname) %(objecttype)"],
            consume,
            lines=(f"{commit}^{{tree}}" for commit in commits),
        )

    async def _look(self, search: Search) -> None:
        """Give a search what it wants, and let it go on."""
        wanted = search.wanted

        def consume(output: IO[bytes]) -> None:
            for tree, (_, content) in zip(wanted, _batch_answers(output, search.limit), strict=False):
                search.take(tree, content)

        await self._read(["cat-file", "--batch"], consume, lines=wanted)
        await SYNCS.run(search.descend)

    async def has(self, treeishes: Sequence[str]) -> set[str]:
        """Those of commits, and of folders as commit:folder, that are there."""
        if not self.exists():
            return set()
        output = await self._ask("cat-file", "--batch-check=%(objecttype)", lines=treeishes)
        answers = zip(treeishes, split_lines(output), strict=True)
        return {at for at, kind in answers if kind in ("commit", "tree")}

    async def led_to(self, beginning: str, tips: Iterable[str]) -> list[str]:
        """The commits with that beginning, a whole one's too, that some others lead to or that are among them."""
        if not self.exists():
            return []
        listed = await self._ask("rev-parse", f"--disambiguate={beginning}")
        names = split_lines(listed)[:_MOST_ALIKE]
        kinds = await self._ask("cat-file", "--batch-check=%(objecttype)", lines=names)
        commits = [name for name, kind in zip(names, split_lines(kinds), strict=True) if kind == "commit"]
        others = [f"^{tip}" for tip in tips]
        found = []
        for commit in commits:
            # what nothing leads to is what is left
            left = await self._ask(
                "rev-list", "--max-count=1", "--ignore-missing", "--stdin", lines=[commit, *others]
            )
            if not left:
                found.append(commit)
        return found

    async def _ask(self, *arguments: str, lines: Iterable[str] | None = None) -> bytes:
        """The output of one git command in it; `lines` are its standard input."""
        return await self._git.run(arguments, folder=self.path, about=self._about, lines=lines)

    async def _read(
        self,
        arguments: Sequence[str],
        consume: Callable[[IO[bytes]], T],
        *,
        lines: Iterable[str] | None = None,
        accept: Sequence[int] = (0,),
    ) -> T:
        """What `consume` makes of the output of one git command in it, in a thread."""
        return await self._git.read(
            arguments, consume, folder=self.path, about=self._about, lines=lines, accept=accept
        )


def _batch_answers(output: IO[bytes], limit: int) -> Iterator[tuple[bytes, bytes]]:
    """The (type, content) of each answer of `cat-file --batch`; type is empty where nothing was found."""
    while header := output.readline():
        fields = header.split()
        if len(fields) != 3 or not fields[2].isdigit():
            yield b"", b""
            continue
        size = int(fields[2])
        wanted = min(size, _MOST_COMMIT if fields[1] == b"commit" else limit + 1)
        content = output.read(wanted)
        rest = size - wanted + 1  # the line feed behind it
        while rest > 0 and (skipped := output.read(min(rest, 1 << 16))):
            rest -= len(skipped)
        yield fields[1], content


def _authored_at(kind: bytes, header: bytes) -> int | None:
    if kind != b"commit":
        return None
    authored = re.search(rb"^author .*> (\d{1,12}) [+-]\d{4}$", header, re.MULTILINE)
    # what RFC 3339 can say ends with the year 9999
    return min(int(authored[1]), 253_402_300_799) if authored else 0
