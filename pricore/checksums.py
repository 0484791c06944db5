"""The checksums of archives, made ahead of publication and on all cores."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager

from pricore import dists
from pricore.errors import GitError
from pricore.mirror import Mirror


class Checksums:
    """Makes the checksums of commits on all cores; those that are known already are taken over.

    After so many `seconds` no more are begun: other repositories want a turn.
    """

    def __init__(self, mirror: Mirror, known: Mapping[str, tuple[str, int]], *, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._mirror = mirror
        self._known = known

    @asynccontextmanager
    async def of(self, commits: Iterable[str]) -> AsyncIterator[Mapping[str, asyncio.Future[tuple[str, int]]]]:
        """A future of (sha1, bytes) for each commit, made in the order given."""
        loop = asyncio.get_running_loop()
        futures = {commit: loop.create_future() for commit in commits}
        waiting = iter(futures.items())
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(_cores())]
        try:
            yield futures
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for future in futures.values():
                if not future.cancel():
                    future.exception()  # seen, even where nobody waited for it

    async def _work(self, waiting: Iterator[tuple[str, asyncio.Future[tuple[str, int]]]]) -> None:
        for commit, future in waiting:
            try:
                made = self._known.get(commit) or await self._make(commit)
            except Exception as error:  # noqa: BLE001  # whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(made)

    async def _make(self, commit: str) -> tuple[str, int]:
        if time.monotonic() > self._deadline:
            raise GitError("not made yet, because it took longer than git_timeout so far; the next sync goes on")
        return await self._mirror.archive(commit, dists.checksum)


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
