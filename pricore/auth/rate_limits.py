"""Rate limits: how often a minute something may be done, counted in memory.

A minute begins with the first request that is counted and ends for good 60 seconds later. Whatever comes, a limit
takes constant time and holds a bounded number of counters.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

from pricore.config import Config

_MINUTE: Final = 60.0

_MOST_COUNTERS: Final = 20_000
"""Minutes that a limit counts at the same time; beyond, the oldest are forgotten. They take some 8 MB."""

LONGEST_WAIT: Final = 5.0
"""Seconds that a request over the limit is held back at most."""

LONGEST_DOWNLOAD_WAIT: Final = 15.0
"""The same of a download: clients ask for many at a time, and older ones give up for one that is refused."""


class Allowance:
    """What is left of one minute.

    `limit` is how often something may be done in it, `left` how often still, `reset` when it is over, seconds
    since 1970.
    """

    __slots__ = ("ends", "left", "limit", "reset", "turn")

    def __init__(self, limit: int, at: float) -> None:
        self.limit = limit
        self.left = limit
        self.ends = at + _MINUTE
        self.turn = 0.0
        self.reset = math.ceil(time.time() + _MINUTE)

    @property
    def retry_after(self) -> int:
        """Seconds until the minute is over, from 1 to 60: Composer waits for no longer."""
        return max(1, min(60, math.ceil(self.ends - time.monotonic())))

    def wait(self, *, longest: float = LONGEST_WAIT) -> float | None:
        """Seconds after which it is the turn of one more request over the limit; None for more than the `longest`.

        They get in one after another at the limit's own pace, so that a client with a few connections goes on,
        only slower.
        """
        at = time.monotonic()
        turn = max(self.turn, at) + _MINUTE / self.limit
        if turn - at > longest:
            return None
        self.turn = turn
        return turn - at


class Limit:
    """How often a minute one kind of thing may be done by each of many."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # in the order in which their minutes began, and so will end; a dict would look for its first ever longer
        self._counters: OrderedDict[Hashable, Allowance] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    def count(self, who: Hashable) -> Allowance:
        """Count one more; `left` is below zero from then on where it was one too many."""
        at = time.monotonic()
        counter = self._counters.get(who)
        if counter is None or counter.ends <= at:
            counter = self._begin(who, at)
        counter.left -= 1
        return counter

    def spare(self, who: Hashable) -> Allowance | None:
        """What one of many still has in a minute that has begun; None where it has nothing. Counts nothing."""
        counter = self._counters.get(who)
        return counter if counter and counter.left > 0 and counter.ends > time.monotonic() else None

    def _begin(self, who: Hashable, at: float) -> Allowance:
        counters = self._counters
        counters.pop(who, None)
        # two go for each that comes: it takes as long however many there are, and shrinks after a flood
        for _ in range(2):
            oldest = next(iter(counters), None)
            if oldest is None or (counters[oldest].ends > at and len(counters) < _MOST_COUNTERS):
                break
            del counters[oldest]
        counter = counters[who] = Allowance(self.limit, at)
        return counter


class Limits:
    """The limits of a server; None where one is switched off.

    `requests` is by token and address, `downloads` by token, address and package, `failures` by address.
    """

    def __init__(self, config: Config) -> None:
        def limit(most: int) -> Limit | None:
            return Limit(most) if config.rate_limits and most else None

        self.requests = limit(config.requests_per_minute)
        self.downloads = limit(config.downloads_per_minute)
        self.failures = limit(config.failures_per_minute)
