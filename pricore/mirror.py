"""Mirrors: bare repositories that follow remotes, and what is read out of them."""

import asyncio
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final, TypeVar

from pricore.access import BY_ITSELF, Access
from pricore.errors import GitError
from pricore.git import Git, split_lines
from pricore.models import CommitFile

T = TypeVar("T")

_MOST_COMMIT: Final = 64 * 1024
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

    async def read_files(self, commits: Sequence[str], name: str, *, limit: int) -> dict[str, CommitFile]:
        """One file out of many commits, through a single process; `limit` is in bytes."""
        requests = [request for commit in commits for request in (commit, f"{commit}:{name}")]

        def consume(output: IO[bytes]) -> dict[str, CommitFile]:
            # where git ends early its status says so; StopIteration would never get out of a thread
            answers = itertools.chain(_batch_answers(output, limit), itertools.repeat((b"", b"")))
            return {commit: _commit_file(next(answers), next(answers)) for commit in commits}

        return await self._git.read(
            ["cat-file", "--batch"], consume, folder=self.path, about=self._about, lines=requests
        )

    async def keep(self, commits: Iterable[str]) -> None:
        """Hold commits for good, whatever happens to the branches and tags that led to them."""
        lines = [f"update refs/pricore/{commit} {commit}" for commit in dict.fromkeys(commits)]
        if lines:
            await self._write(["update-ref", "--stdin"], lines=lines)

    async def archive(self, commit: str, consume: Callable[[IO[bytes]], T]) -> T:
        """What `consume` makes of the zip of a commit: stored, not compressed, in one root folder.

        The bytes depend on the commit alone.
        """
        if not _COMMIT.fullmatch(commit):
            raise GitError(f"{commit[:80]!r} is not a commit")
        return await self._git.read(
            ["archive", "--format=zip", "-0", f"--prefix={commit[:12]}/", commit],
            consume,
            folder=self.path,
            about=self._about,
        )


def _remove_lock_files(mirror: Path) -> None:
    for path in (*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock")):
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
