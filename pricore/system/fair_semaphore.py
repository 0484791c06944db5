"""A fair semaphore: so many do something at once, and whoever wants to as well gets a fair turn."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from pricore.errors import BusyError

Who: TypeAlias = tuple[str, str]
"""An organization, and one of its clients."""

_OURSELVES: Final = ("", "")
_RETRY_SECONDS: Final = 10


class FairSemaphore:
    """Lets `most` in at once; then one organization after the other, and in it one client after the other.

    Who waits longer than `seconds` for a turn is sent away.
    """

    def __init__(self, most: int, *, seconds: float) -> None:
        self._free = most
        self._seconds = seconds
        self._waiting: OrderedDict[str, OrderedDict[str, deque[asyncio.Future[None]]]] = OrderedDict()

    @asynccontextmanager
    async def take(self, who: Who | None) -> AsyncIterator[None]:
        """One turn, as long as the block runs; None is this process itself, which waits as long as it takes.

        Raises BusyError where it doesn't come in time.
        """
        await self.acquire(who)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, who: Who | None) -> None:
        """The same turn, until `release`."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(who)

    def release(self) -> None:
        """Give a turn to who is next, or keep it where nobody waits."""
        while self._waiting:
            organization, clients = next(iter(self._waiting.items()))
            client, turns = next(iter(clients.items()))
            turn = turns.popleft()
            clients.move_to_end(client)
            if not turns:
                del clients[client]
            self._waiting.move_to_end(organization)
            if not clients:
                del self._waiting[organization]
            if not turn.done():  # who gave up is passed over
                turn.set_result(None)
                return
        self._free += 1

    async def _wait(self, who: Who | None) -> None:
        organization, client = who or _OURSELVES
        turn = asyncio.get_running_loop().create_future()
        clients = self._waiting.setdefault(organization, OrderedDict())
        clients.setdefault(client, deque()).append(turn)
        try:
            async with asyncio.timeout(None if who is None else self._seconds):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.release()  # it came in the same moment
            if isinstance(error, TimeoutError):
                raise BusyError(
                    f"others have been waiting for longer; try again in {_RETRY_SECONDS} s",
                    retry_after=_RETRY_SECONDS,
                ) from None
            raise
