"""Work on many things, several of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

T = TypeVar("T")
OnDone = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""

_AT_ONCE: Final = 4


async def each(items: Iterable[T], work: Callable[[T], Awaitable[None]], text: str, progress: OnDone) -> None:
    """Do something with each item; the first failure ends all of it, and is raised."""
    todo = [*items]
    waiting = iter(todo)
    done = 0

    async def take() -> None:
        nonlocal done
        for item in waiting:
            await work(item)
            done += 1
            progress(text, done, len(todo))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(take())
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
