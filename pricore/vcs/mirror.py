"""Mirrors: bare repositories that follow remotes, and the archives that are made of their commits."""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, Final, TypeVar

from pricore.composer.discovery import place, split_place
from pricore.errors import ArchiveError, GitError
from pricore.git import Git
from pricore.remotes.access import BY_ITSELF, Access
from pricore.system.process import BOUNDS, Bounds, OnReceived
from pricore.system.threads import SYNCS
from pricore.vcs.bare_repository import BareRepository
from pricore.vcs.gitzip import GitZip, commit_of_folder
from pricore.vcs.objects import Objects

T = TypeVar("T")

MOST_LOOSE_REFS: Final = 100
MOST_PACKS: Final = 20
"""Beyond these, what pushes have added one by one is put together: every git would go through all of it."""

_MOST_REFS_AT_ONCE: Final = 16
"""Commits that are kept by a ref each: more of them by one, because each new ref is a new file."""

_HOLDER: Final = "Pricore <pricore@localhost> 4000000000 +0000"
"""Who made the commit that keeps others, in 2096: git walks commits by their time, and parents are older."""

_LEAST_ROOM: Final = 64 * 1024
_LOCKED: Final = (".lock': File exists", "packed-refs.new: File exists")
"""What git says of a lock file that is there already."""

ARCHIVE_BOUNDS: Final = Bounds(memory=512 * 1024**2, seconds=60)
"""What git may take to make one archive: a few hundred bytes of a repository can unfold to more than there is."""

_MOST_ARCHIVE_SECONDS: Final = 300

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_NO_DATE: Final = "no archive can be made: the date of its commit is one that git cannot write"
_NO_ARCHIVE: Final = (
    ("ut of memory", "too large for an archive: git needs more than 512 MB of memory for its files"),
    ("of a processor's time", "too large for an archive: git needs more than a minute for its folders"),
    ("timestamp too large", _NO_DATE),
    ("invalid path '", "no archive can be made: a file in it has a name that git refuses, such as .. or .git"),
)


class Mirror(BareRepository):
    """A bare repository that follows a remote's branches and tags.

    Commits that were ever served stay: `keep` holds them by refs of our own, below refs/pricore/. Who writes
    to it holds a lock, and gives its descriptor as `hold`. `url` is what errors say that it follows. `limit` are
    the bytes that it may take, 0 for as many as there are.
    """

    def __init__(self, git: Git, path: Path, *, url: str = "", hold: int | None = None, limit: int = 0) -> None:
        super().__init__(git, path, about=f"the mirror of {url}" if url else "the mirror")
        self._hold = hold
        self._limit = limit

    async def fetch(self, url: str, *, access: Access = BY_ITSELF, on_received: OnReceived | None = None) -> None:
        """Bring branches and tags to what `url` has now. Raises GitError, GitUnavailableError.

        `access` is how it may be read. `on_received` is told how far it is. What comes of a fetch that fails does
        not stay.
        """
        await self._prepare()
        await asyncio.to_thread(_remove_halves, self.path)
        try:
            await self._fetch(url, access, on_received)
        except BaseException:
            # what there is of a pack can be all the space that there was
            await asyncio.shield(asyncio.to_thread(_remove_halves, self.path))
            raise

    async def _prepare(self) -> None:
        """Make it, where it isn't there."""
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

    async def _fetch(self, url: str, access: Access, on_received: OnReceived | None) -> None:
        bounds = BOUNDS
        if self._limit:
            room = self._limit - await asyncio.to_thread(_size, self.path)
            bounds = Bounds(file=max(room, _LEAST_ROOM))  # refs are files too
        try:
            await self._fetch_within(bounds, url, access, on_received)
        except GitError:
            # the kernel ended what wrote it, and git doesn't say so
            if any(half.stat().st_size == bounds.file for half in _halves(self.path)):
                raise GitError(
                    f"cannot read {url}: with it, the mirror would take more than the {self._limit // 1024**2} MB "
                    "that repository_limit allows"
                ) from None
            raise

    async def _fetch_within(
        self, bounds: Bounds, url: str, access: Access, on_received: OnReceived | None
    ) -> None:
        await self._write(
            [
                "fetch",
                # a quiet one tells no progress
                "--quiet" if on_received is None else "--progress",
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
            bounds=bounds,
            on_received=on_received,
        )

    async def _write(
        self,
        arguments: Sequence[str],
        *,
        url: str = "",
        access: Access = BY_ITSELF,
        lines: Iterable[str] | None = None,
        bounds: Bounds = BOUNDS,
        on_received: OnReceived | None = None,
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
                    bounds=bounds,
                    on_received=on_received,
                )
            except GitError as error:
                # whoever writes here holds our lock: these belong to nobody any more
                if attempt == 2 or not any(sign in str(error) for sign in _LOCKED):
                    raise
                await asyncio.to_thread(_remove_lock_files, self.path)
            else:
                return

    async def maintain(self) -> None:
        """Put refs together, and packs, where there are many; nothing goes, also of what no ref leads to.

        Others may read meanwhile. Raises GitError, OSError; it is whole then, too.
        """
        loose, packs = await asyncio.to_thread(_count, self.path)
        if loose > MOST_LOOSE_REFS:
            await self._write(["pack-refs", "--all"])
        # the large ones stay as they are, so that no object is copied often
        if packs >= MOST_PACKS and packs % MOST_PACKS == 0:
            await self._write(["repack", "--geometric=2", "-d", "-n", "--quiet", "--threads=1"])

    async def bundle(self, file: Path) -> bool:
        """Write all that refs lead to into one file, a bundle of git's; False where there is nothing.

        Its path is absolute, because git runs in another folder. Somebody may fetch into it meanwhile.
        """
        if not self.exists():
            return False
        if not await self._ask("for-each-ref", "--count=1"):
            return False
        await self._ask("bundle", "create", "--quiet", str(file), "--all")
        return True

    async def unbundle(self, file: Path) -> None:
        """Make it of a bundle, with all refs. Raises GitError where that isn't whole."""
        await self._prepare()
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
        await self._write(["fetch", *options, "--", str(file), "+refs/*:refs/*"])

    async def keep(self, commits: Iterable[str]) -> None:
        """Hold commits for good, whatever happens to the branches and tags that led to them."""
        # in a thread: there may be ten thousand
        kept = await SYNCS.run(lambda: [*dict.fromkeys(commits)])
        if len(kept) > _MOST_REFS_AT_ONCE:
            kept = [await self._join(kept)]
        if kept:
            lines = [f"update refs/pricore/{commit} {commit}" for commit in kept]
            await self._write(["update-ref", "--stdin"], lines=lines)

    async def _join(self, commits: Sequence[str]) -> str:
        """The id of a commit of ours, without any file, that has these as its parents: who keeps it keeps them."""
        tree = await self._ask("hash-object", "-t", "tree", "-w", "--stdin", lines=[])
        parents = [f"parent {commit}" for commit in commits]
        lines = [
            f"tree {tree.decode().strip()}",
            *parents,
            f"author {_HOLDER}",
            f"committer {_HOLDER}",
            "",
            "Keep",
        ]
        made = await self._ask("hash-object", "-t", "commit", "-w", "--stdin", lines=lines)
        return made.decode().strip()

    async def archive(self, treeish: str, consume: Callable[[IO[bytes]], T]) -> T:
        """What `consume` makes of the zip of a commit, or of a folder in one as commit:folder.

        It is stored, not compressed, in one root folder. The bytes depend on the commit and the folder alone.
        Raises ArchiveError where git makes none of it, and never will.
        """
        commit, path = split_place(treeish)
        if not _COMMIT.fullmatch(commit):
            raise GitError(f"{commit[:80]!r} is not a commit")
        if path:
            commit = await self._commit_folder(commit, path)
        try:
            return await self._git.read(
                ["archive", "--format=zip", "-0", f"--prefix={commit[:12]}/", commit],
                consume,
                folder=self.path,
                about=self._about,
                seconds=_MOST_ARCHIVE_SECONDS,
                bounds=ARCHIVE_BOUNDS,
            )
        except GitError as error:
            for sign, reason in _NO_ARCHIVE:
                if sign in str(error):
                    raise ArchiveError(reason) from None
            raise

    async def with_zips(self, make: Callable[[GitZip], T]) -> T:
        """What `make` gives, which has the zips of many commits made one after the other, in a thread of its own.

        They are what `archive` gives, and cost far less than as many gits. Raises GitError.
        """

        def talk(requests: IO[bytes], answers: IO[bytes]) -> T:
            with closing(GitZip(Objects(requests, answers))) as zips:
                return make(zips)

        return await self._git.converse(["cat-file", "--batch"], talk, folder=self.path, about=self._about)

    async def _commit_folder(self, commit: str, path: str) -> str:
        """The id of the commit of a folder alone, which is made where it isn't there."""
        at = place(commit, path)
        header = await self._ask("cat-file", "commit", commit)
        tree, _, kind = (
            await self._ask("cat-file", "--batch-check=%(objectname) %(objecttype)", lines=[at])
        ).partition(b" ")
        text = commit_of_folder(at, tree.decode(), header)
        if kind.strip() != b"tree":
            raise GitError(f"there is no folder {path} in {commit[:12]} of {self._about}")
        if text is None:
            raise ArchiveError(_NO_DATE)
        made = await self._ask(
            "hash-object", "-t", "commit", "-w", "--stdin", lines=text.removesuffix("\n").split("\n")
        )
        return made.decode().strip()


def _count(mirror: Path) -> tuple[int, int]:
    """The refs that have files of their own, and the packs."""
    loose = sum(len(names) for _, _, names in os.walk(mirror / "refs"))
    return loose, len([*(mirror / "objects" / "pack").glob("*.pack")])


def _size(mirror: Path) -> int:
    return sum(pack.stat().st_size for pack in (mirror / "objects" / "pack").glob("*.pack"))


def _halves(mirror: Path) -> list[Path]:
    """What a fetch or a repack that was cut off has written so far; git would leave it for weeks."""
    packs = mirror / "objects" / "pack"
    return [*packs.glob("tmp_*"), *packs.glob(".tmp-*")]


def _remove_halves(mirror: Path) -> None:
    """Remove those; who writes any holds the lock."""
    for path in _halves(mirror):
        path.unlink(missing_ok=True)


def _remove_lock_files(mirror: Path) -> None:
    left = (*mirror.glob("*.lock"), *mirror.glob("packed-refs.new"), *(mirror / "refs").rglob("*.lock"))
    for path in left:
        path.unlink(missing_ok=True)
