"""Work on many things, several of them at a time, and telling how far it is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from typing import Any, Final, TypeVar

T = TypeVar("T")
U = TypeVar("U")
OnDone = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and how much there is."""

OnShare = Callable[[float], None]
"""Is told how much of something is done, from 0 to 1, in the thread that does it."""

_AT_ONCE: Final = 4

TELL_SECONDS: Final = 0.1
"""Between two times that it is told how far something is."""


def from_thread(tell: OnShare) -> OnShare:
    """The same for who is in another thread: it is told in this loop."""
    loop = asyncio.get_running_loop()

    def pass_on(share: float) -> None:
        loop.call_soon_threadsafe(tell, share)

    return pass_on


def counted(items: Iterable[T], count: int, on_share: OnShare) -> Iterator[T]:
    """The items, so many, of which it is told now and then how far they have been gone through."""
    told = time.monotonic()
    for number, item in enumerate(items):
        if (at := time.monotonic()) - told >= TELL_SECONDS:
            on_share(number / count)
            told = at
        yield item


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


async def both(first: Coroutine[Any, Any, T], second: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """What two steps give that go on at the same time; where one fails, nothing of the other goes on behind it."""
    try:
        async with asyncio.TaskGroup() as group:
            one, other = group.create_task(first), group.create_task(second)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return one.result(), other.result()
