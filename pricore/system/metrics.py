"""What the server counts: additions to numbers in memory that all processes of a server share.

Counting is on the hot path. `web/metrics.py` renders what was counted.
"""

import mmap
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

_ROW: Final = 4096
"""Numbers of one process; a route takes some 14 of them."""

REQUEST_BOUNDS: Final = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
SYNC_BOUNDS: Final = (1.0, 5.0, 30.0, 120.0, 600.0, 1800.0)
"""Seconds up to which requests and syncs are counted together."""

OUTCOMES: Final = ("changed", "unchanged", "failed", "interrupted")
"""What can come of a sync."""


class SharedNumbers:
    """Numbers that the processes forked from this one share: each adds to its own row, and sees all of them."""

    def __init__(self, processes: int = 1) -> None:
        self._rows = memoryview(mmap.mmap(-1, processes * _ROW * 8)).cast("d")

    def row(self, number: int) -> "memoryview[float]":
        """The numbers of one process; another one in its place goes on with them."""
        return self._rows[number * _ROW : (number + 1) * _ROW]

    def total(self, cell: int) -> float:
        """The sum of a number over all processes."""
        return sum(self._rows[cell::_ROW])


class Counter:
    """A number that grows."""

    def __init__(self, place: Callable[[int], int], row: "memoryview[float]") -> None:
        self._row = row
        self.cell = place(1)

    def add(self, much: float = 1) -> None:
        self._row[self.cell] += much


class Requests:
    """The requests of one route."""

    def __init__(self, place: Callable[[int], int], row: "memoryview[float]", method: str, path: str) -> None:
        self.method = method
        self.path = path
        self._row = row
        self.statuses = place(6)  # by their first digit
        self.seconds = place(len(REQUEST_BOUNDS) + 2)
        self.bytes = place(1)

    def add(self, status: int, seconds: float, size: int) -> None:
        """Count one that was answered; this takes half a microsecond."""
        row, times = self._row, self.seconds
        row[self.statuses + status // 100] += 1
        row[times] += seconds
        row[times + 1 + bisect_left(REQUEST_BOUNDS, seconds)] += 1
        row[self.bytes] += size


class Syncs:
    """The syncs of the queue."""

    def __init__(self, place: Callable[[int], int], row: "memoryview[float]") -> None:
        self._row = row
        self.outcomes = {outcome: place(1) for outcome in OUTCOMES}
        self.seconds = place(len(SYNC_BOUNDS) + 2)
        self.running = place(1)
        row[self.running] = 0  # those of a process before this one

    def begin(self) -> float:
        """Count one that begins; gives the time, for `end`."""
        self._row[self.running] += 1
        return time.monotonic()

    def end(self, outcome: str, begun: float) -> None:
        """Count what came of it, one of OUTCOMES."""
        row, seconds = self._row, time.monotonic() - begun
        row[self.running] -= 1
        row[self.outcomes[outcome]] += 1
        row[self.seconds] += seconds
        row[self.seconds + 1 + bisect_left(SYNC_BOUNDS, seconds)] += 1


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked up when somebody asks.

    `queued` syncs wait, the first of them since `oldest` seconds; `repositories` are counted by how their last
    sync went; `database` and `wal` are bytes.
    """

    queued: int
    oldest: float
    repositories: Mapping[str, int]
    database: int
    wal: int


class Metrics:
    """What one process of a server counts, among the numbers of all of them."""

    def __init__(self, numbers: SharedNumbers | None = None, *, number: int = 0) -> None:
        self._numbers = numbers or SharedNumbers()
        self._row = self._numbers.row(number)
        self._used = 0
        self._routes: list[Requests] = []
        self.archives_made = Counter(self._place, self._row)
        self.syncs = Syncs(self._place, self._row)
        self.unread = self.route("*", "unreadable")
        """What cannot be read as a request."""

    def _place(self, count: int) -> int:
        """Room for some more numbers; the same in each process, which all count the same in the same order."""
        cell = self._used
        self._used += count
        if self._used > _ROW:
            raise RuntimeError("there are more routes than numbers to count them in")
        return cell

    def route(self, method: str, path: str) -> Requests:
        """Where the requests of a route are counted."""
        counts = Requests(self._place, self._row, method, path)
        self._routes.append(counts)
        return counts

    @property
    def routes(self) -> Sequence[Requests]:
        """All routes, in the order in which they came."""
        return self._routes

    def total(self, cell: int) -> float:
        """The sum of a number over all processes."""
        return self._numbers.total(cell)
