"""Turns: a bounded number at once, and nobody waits behind all that another one wants."""

import asyncio
from collections.abc import Sequence

import pytest

from pricore.errors import BusyError
from pricore.system.fair_semaphore import FairSemaphore, Who


async def _order(turns: FairSemaphore, wanted: Sequence[Who]) -> list[Who]:
    """The order in which those get a turn who want one, one after the other and before the first ends."""
    got: list[Who] = []
    begin = asyncio.Event()

    async def want(who: Who) -> None:
        async with turns.take(who):
            got.append(who)
            await begin.wait()

    tasks = [asyncio.create_task(want(who)) for who in wanted]
    for _ in wanted:
        await asyncio.sleep(0)
    begin.set()
    await asyncio.gather(*tasks)
    return got


async def test_organizations_take_turns_and_in_each_its_clients() -> None:
    """Who wants many waits for its own; another organization, or another client of the same one, comes next."""
    many, sibling, other = ("a", "x"), ("a", "y"), ("b", "z")
    wanted = [many, many, many, many, sibling, other, other]
    assert await _order(FairSemaphore(1, seconds=60), wanted) == [many, many, other, sibling, other, many, many]


async def test_no_more_than_that_are_in_at_once() -> None:
    """Also when some give up waiting, and some while they are in: each turn is passed on once."""
    turns = FairSemaphore(2, seconds=60)
    running = most = 0

    async def want(number: int) -> None:
        nonlocal running, most
        async with turns.take(("a", str(number))):
            running += 1
            most = max(most, running)
            try:
                await asyncio.sleep(0)
            finally:
                running -= 1

    for given_up in range(20):
        tasks = [asyncio.create_task(want(number)) for number in range(8)]
        for _ in range(given_up % 5):
            await asyncio.sleep(0)
        tasks[given_up % 8].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert (running, most) == (0, 2)
    assert await _order(turns, [("a", "x"), ("b", "y")]) == [("a", "x"), ("b", "y")]


async def test_who_waits_too_long_is_told_when_to_come_again() -> None:
    """A wait ends with an error that has a time, and takes no turn from those behind; we ourselves wait on."""
    turns = FairSemaphore(1, seconds=0)
    async with turns.take(("a", "x")):
        with pytest.raises(BusyError, match="others have been waiting for longer; try again in 10 s") as caught:
            async with turns.take(("b", "y")):
                pass
        assert caught.value.retry_after == 10
        waiting = asyncio.create_task(_take(turns, None))
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting


async def _take(turns: FairSemaphore, who: Who | None) -> None:
    async with turns.take(who):
        pass
