"""Counting by the minute, with a clock that the test sets."""

from types import SimpleNamespace

import pytest

from pricore.auth import rate_limits
from pricore.auth.rate_limits import Allowance, Limit, Limits
from pricore.config import Config


class Clock:
    """Two clocks that go together: since some start, and since 1970."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at

    def time(self) -> float:
        return 1_700_000_000.5 + self.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rate_limits, "time", SimpleNamespace(monotonic=clock.monotonic, time=clock.time))
    return clock


def test_a_minute_has_as_many_as_the_limit_says(clock: Clock) -> None:
    """The limit's number is let through, what comes more is over it until the minute is over."""
    limit = Limit(3)
    left = []
    for second in (0, 1, 20, 38.9, 0):
        clock.at += second
        left.append(limit.count("a").left)

    assert left == [2, 1, 0, -1, -2]
    clock.at = 1060.0
    assert limit.count("a").left == 2


def test_the_end_of_a_minute_does_not_move(clock: Clock) -> None:
    """`reset` is 60 seconds after the first request, rounded up, and `retry_after` leads there."""
    limit = Limit(3)
    first = limit.count("a").reset
    clock.at += 45.5
    again = limit.count("a")

    assert (first, again.reset, again.retry_after) == (1_700_001_061, 1_700_001_061, 15)
    clock.at = 1059.99
    assert again.retry_after == 1


def test_nobody_counts_for_another(clock: Clock) -> None:
    """Each has a minute of its own."""
    limit = Limit(2)
    limit.count("a")
    clock.at += 30

    assert (limit.count("b").left, limit.count("a").left) == (1, 0)
    clock.at += 30
    assert (limit.count("a").left, limit.count("b").left) == (1, 0)


def test_a_flood_takes_a_bounded_number_of_counters(clock: Clock) -> None:
    """Of 100,000 that come in one minute the newest are counted; after it, memory is given back."""
    limit = Limit(1000)
    for number in range(100_000):
        limit.count(number)

    assert len(limit) == 20_000
    assert limit.count(99_999).left == 998
    assert limit.count(0).left == 999, "forgotten, and so let in"
    clock.at += 60
    for number in range(20_000):
        limit.count(-number)
    assert len(limit) == 20_000
    clock.at += 60
    for number in range(100):
        limit.count(f"new {number}")
        limit.count(f"new {number}")
    assert len(limit) == 20_000 - 100
    assert limit.count("new 0").left == 997


def test_those_over_the_limit_get_in_at_its_pace(clock: Clock) -> None:
    """Turns follow each other at the limit's pace, none waits for more than five seconds."""
    allowance = Allowance(60, clock.at)

    assert [allowance.wait() for _ in range(7)] == [1, 2, 3, 4, 5, None, None]
    clock.at += 2.5
    assert [allowance.wait() for _ in range(3)] == [3.5, 4.5, None]
    clock.at += 30
    assert allowance.wait() == 1


def test_a_limit_can_be_switched_off_alone_or_with_all() -> None:
    """0 is no limit; `rate_limits` off is none at all."""
    config = Config(data=Config.__dataclass_fields__["data"].default, downloads_per_minute=0)  # type: ignore[arg-type]
    some = Limits(config)

    assert some.requests is not None
    assert some.failures is not None
    assert (some.requests.limit, some.downloads, some.failures.limit) == (1000, None, 60)
