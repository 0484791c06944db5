"""Threads for work that would stop the event loop, a bounded number for each kind: none waits for another kind.

What takes a moment, such as a piece of a file, goes to asyncio's own threads. Git has its own (`git`).
"""

import asyncio
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_FEW: Final = 100


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Threads:
    """The threads for one kind of work, at most `most`; each begins when it is needed first."""

    def __init__(self, kind: str, most: int) -> None:
        self.kind = kind
        self._executor = ThreadPoolExecutor(most, thread_name_prefix=kind)

    async def run(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` gives, in one of these threads; cancelled before its turn, it never runs."""
        call = functools.partial(work, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    async def for_all(self, count: int, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` makes of so many things; of a few at once, which takes less than the way to a thread."""
        return await self.run(work, *args, **kwargs) if count > _FEW else work(*args, **kwargs)


NAMES: Final = Threads("names", 8)
"""Asking the resolver for a name, which nothing can stop: it takes as long as a name server lets it wait."""

DOCUMENTS: Final = Threads("documents", max(2, cores()))
"""Reading what clients send, and finishing what they get: of large ones one at a time, beside all others."""

ARCHIVES: Final = Threads("archives", cores())
"""Hashing and compressing archives."""

UPLOADS: Final = Threads("uploads", 2)
"""Unpacking and packing what is uploaded."""

SYNCS: Final = Threads("syncs", 4)
"""What a sync computes: seconds, where a repository is large."""

PUBLISHING: Final = Threads("publishing", 1)
"""What is computed inside a transaction, of which there is one at a time: it must wait for nothing else."""
