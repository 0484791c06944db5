"""The checksums of archives, made ahead of publication and on all cores."""

import asyncio
import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Final, Self, TypeAlias

import msgspec

from pricore.archives.safety import Tail
from pricore.composer.candidates import Candidate, NewVersion
from pricore.errors import ArchiveError, GitError
from pricore.system.concurrency import OnShare
from pricore.system.threads import cores
from pricore.vcs.gitzip import GitZip
from pricore.vcs.mirror import Mirror
from pricore.vcs.objects import UnusualError

_log = logging.getLogger("pricore.checksums")

_AT_A_TIME: Final = 50
"""Archives that are taken up without giving others a turn; there may be 20,000."""

_TOLD_AT_A_TIME: Final = 10
"""The same for those that are made already, each of which is told."""

_MANY: Final = 16
"""From so many on, reading what they have in common once is worth what it takes to begin."""

MOST_BYTES: Final = 2 * 1024**3
CHUNK: Final = 256 * 1024

Digest: TypeAlias = tuple[str, int]
"""The sha1 of an archive, and its bytes."""


def checksum(archive: IO[bytes]) -> tuple[str, int]:
    """The sha1 (hexadecimal) and the size of an archive that is read to its end.

    Raises ArchiveError for one that is larger than what can be a package, or that nobody should unpack.
    """
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    tail = Tail()
    while count := archive.readinto(buffer):  # type: ignore[attr-defined]  # a pipe can
        digest.update(view[:count])
        tail.add(bytes(view[:count]))
        size += count
        if size > MOST_BYTES:
            raise ArchiveError(f"too large for an archive: more than {MOST_BYTES // 1024**3} GB")
    tail.check()
    return digest.hexdigest(), size


class Checksums:
    """Makes the checksums of commits, and of folders as commit:folder; an async context manager.

    Those that are `known` already are taken over. After so many `seconds` no more are begun: other repositories
    want a turn. What is not made when the block ends is given up.

    Many at once are made from objects that are read once; few, and what is unusual, by a git for each.
    """

    def __init__(self, mirror: Mirror, known: Mapping[str, Digest], *, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._mirror = mirror
        self._known = known
        self._made: dict[str, Digest | Exception] = {}
        # those that were begun, with the future of who waits for one: of 20,000, few are waited for
        self._begun: dict[str, asyncio.Future[None] | None] = {}
        self._together: deque[str] = deque()
        self._alone: deque[str] = deque()
        self._joint: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._ended = False
        self._free = threading.Event()
        self._free.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._together.clear()
        tasks = [*self._workers, *([self._joint] if self._joint else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for future in filter(None, self._begun.values()):
            future.cancel()

    async def begin(self, treeishes: Iterable[str]) -> None:
        """Make these, behind those that were begun before, in the order given."""
        wanted = []
        for number, treeish in enumerate(treeishes):
            if number % _AT_A_TIME == _AT_A_TIME - 1:
                await asyncio.sleep(0)
            if treeish in self._known:
                self._made[treeish] = self._known[treeish]
            elif treeish not in self._made and treeish not in self._begun:
                self._begun[treeish] = None
                wanted.append(treeish)
        if len(wanted) < _MANY:
            self._make_alone(wanted)
            return
        self._together.extend(wanted)
        if self._joint is None or self._joint.done():
            self._joint = asyncio.create_task(self._make_together())

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Let what is made together wait, while something else computes.

        Together they take as long as one after the other, and requests get a turn half as often.
        """
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    async def of(self, treeish: str) -> Digest:
        """The checksum of one that was begun, when it is made.

        Raises ArchiveError, GitError, and CancelledError where it was given up.
        """
        if treeish not in self._made:
            future = self._begun[treeish]
            if future is None or future.cancelled():  # of who gave up waiting
                future = self._begun[treeish] = asyncio.get_running_loop().create_future()
            if self._ended:
                future.cancel()
            await future
        made = self._made[treeish]
        if isinstance(made, Exception):
            raise made
        return made

    async def finish(
        self, candidates: Sequence[Candidate], treeishes: Mapping[str, str], *, on_share: OnShare
    ) -> tuple[list[NewVersion], dict[str, str], dict[str, str]]:
        """Those of some candidates of which there is an archive, when each has one, or has none.

        `treeishes` are what their archives are made of, by ref. Besides them by ref why the others have none now,
        which may be over the next time, and why there will never be one.
        """
        found: list[NewVersion] = []
        failed: dict[str, str] = {}
        unfit: dict[str, str] = {}
        for number, candidate in enumerate(candidates):
            if number % _TOLD_AT_A_TIME == 0:
                await asyncio.sleep(0)  # those that are finished are not waited for
            on_share(number / len(candidates))
            treeish = treeishes[candidate.ref]
            try:
                shasum, size = await self.of(treeish)
            except ArchiveError as error:
                unfit[candidate.ref] = str(error)
            except GitError as error:
                failed[candidate.ref] = str(error)
            else:
                folder = None if treeish == candidate.reference else treeish
                fields = msgspec.structs.asdict(candidate)
                found.append(NewVersion(**fields, shasum=shasum, size=size, treeish=folder))
        on_share(1)
        return found, failed, unfit

    def _make_alone(self, treeishes: Iterable[str]) -> None:
        """Have git make these, each by itself."""
        if self._ended:
            return
        self._alone.extend(treeishes)
        free = cores() - sum(not worker.done() for worker in self._workers)
        loop = asyncio.get_running_loop()
        self._workers += [loop.create_task(self._work()) for _ in range(min(free, len(self._alone)))]

    async def _work(self) -> None:
        while self._alone:
            await self._make(self._alone.popleft())

    async def _make(self, treeish: str) -> None:
        try:
            if time.monotonic() > self._deadline:
                raise GitError(
                    "not made yet, because it took longer than git_timeout so far; the next sync goes on"
                )
            made: Digest | Exception = await self._mirror.archive(treeish, checksum)
        except Exception as error:  # noqa: BLE001  # whoever waits for it gets it
            made = error
        self._take(treeish, made)

    def _take(self, treeish: str, made: Digest | Exception) -> None:
        self._made[treeish] = made
        future = self._begun.pop(treeish, None)
        if future is not None and not future.done():  # who waited for it may have been cancelled
            future.set_result(None)

    async def _make_together(self) -> None:
        """Make those that wait, if the first is, byte for byte, what git makes of it."""
        loop = asyncio.get_running_loop()

        def make(zips: GitZip) -> None:
            for treeish, made in self._zipped(zips, loop):
                loop.call_soon_threadsafe(self._take, treeish, made)

        try:
            first = await self._mirror.with_zips(lambda zips: next(self._zipped(zips, loop), None))
            if first is not None and await self._is_as_git_makes_it(*first):
                await self._mirror.with_zips(make)
        except GitError as error:
            _log.warning("archives are made one by one: %s", error)
        except Exception:  # noqa: BLE001  # git makes the rest: what is served does not depend on this
            _log.exception("archives are made one by one")
        finally:
            self._make_alone(self._together)
            self._together.clear()

    async def _is_as_git_makes_it(self, treeish: str, made: Digest) -> bool:
        await self._make(treeish)
        by_git = self._made[treeish]
        if isinstance(by_git, Exception):
            return False  # whoever waits for it is told why
        if by_git != made:
            _log.warning(
                "archives are made one by one: git's own archive of %s is another one than Pricore's", treeish
            )
        return by_git == made

    def _zipped(self, zips: GitZip, loop: asyncio.AbstractEventLoop) -> Iterator[tuple[str, Digest]]:
        """Those that wait, one by one, in a thread; what is unusual goes to git at once."""
        while self._free.wait() and self._together and time.monotonic() < self._deadline:
            treeish = self._together.popleft()
            try:
                content = zips.make(treeish)
                made = hashlib.sha1(content, usedforsecurity=False).hexdigest(), len(content)
            except UnusualError:
                loop.call_soon_threadsafe(self._make_alone, [treeish])
            except BaseException:
                self._together.appendleft(treeish)
                raise
            else:
                yield treeish, made
