"""Mirrors: bare repositories that follow remotes; how they are brought to what is there, and kept in order."""

import asyncio
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from pricore.errors import GitError
from pricore.git import Git
from pricore.remotes.access import BY_ITSELF, Access
from pricore.system.process import BOUNDS, Bounds, OnReceived
from pricore.system.threads import SYNCS
from pricore.vcs.bare_repository import BareRepository

MOST_LOOSE_REFS: Final = 100
MOST_PACKS: Final = 20
"""Beyond these, what pushes have added one by one is put together: every git would go through all of it."""

_LEAST_ROOM: Final = 64 * 1024
_LOCKED: Final = (".lock': File exists", "packed-refs.new: File exists")
"""What git says of a lock file that is there already."""


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
        lines = await SYNCS.run(
            lambda: [f"update refs/pricore/{commit} {commit}" for commit in dict.fromkeys(commits)]
        )
        if lines:
            await self._write(["update-ref", "--stdin"], lines=lines)


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
