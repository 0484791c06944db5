"""The checksums of archives, made ahead of publication and on all cores."""

import asyncio
import os
import time
from collections import deque
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self, TypeAlias

from pricore import dists
from pricore.errors import GitError
from pricore.mirror import Mirror

Sum: TypeAlias = tuple[str, int]
"""The sha1 of an archive, and its bytes."""


class Checksums:
    """Makes the checksums of commits, and of folders as commit:folder; an async context manager.

    Those that are `known` already are taken over. After so many `seconds` no more are begun: other repositories
    want a turn. What is not made when the block ends is given up.
    """

    def __init__(self, mirror: Mirror, known: Mapping[str, Sum], *, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._mirror = mirror
        self._known = known
        self._futures: dict[str, asyncio.Future[Sum]] = {}
        self._waiting: deque[str] = deque()
        self._workers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for future in self._futures.values():
            if not future.cancel() and not future.cancelled():
                future.exception()  # seen, even where nobody waited for it

    def begin(self, treeishes: Iterable[str]) -> None:
        """Make these, behind those that were begun before, in the order given."""
        loop = asyncio.get_running_loop()
        for treeish in treeishes:
            if treeish not in self._futures:
                self._futures[treeish] = loop.create_future()
                self._waiting.append(treeish)
        free = _cores() - sum(not worker.done() for worker in self._workers)
        self._workers += [loop.create_task(self._work()) for _ in range(min(free, len(self._waiting)))]

    async def of(self, treeish: str) -> Sum:
        """The checksum of one that was begun, when it is made. Raises ArchiveError, GitError."""
        return await self._futures[treeish]

    async def _work(self) -> None:
        while self._waiting:
            treeish = self._waiting.popleft()
            future = self._futures[treeish]
            try:
                made = self._known.get(treeish) or await self._make(treeish)
            except Exception as error:  # noqa: BLE001  # whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(made)

    async def _make(self, treeish: str) -> Sum:
        if time.monotonic() > self._deadline:
            raise GitError("not made yet, because it took longer than git_timeout so far; the next sync goes on")
        return await self._mirror.archive(treeish, dists.checksum)


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
