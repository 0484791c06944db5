"""A sync that was due and finds nothing new, against the `git ls-remote` that it cannot do without."""

import subprocess
import time
from pathlib import Path
from typing import Final

from bench import registries, repositories
from bench.effort import Effort
from bench.machine import runner
from bench.results import Goal, Result, compare, seconds
from pricore.models import Trigger

_GOAL: Final = Goal(1.3)


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The times of both as pairs."""
    url = repositories.create(folder / "upstream", name="acme/large", tags=effort.tags, files=1)
    ours, against = runner()(_time(folder / "data", url, effort.syncs))
    what = f"sync with nothing new, {effort.tags} tags"
    return [compare(what, ours, against, seconds, name="git ls-remote", goal=_GOAL)]


async def _time(data: Path, url: str, count: int) -> tuple[list[float], list[float]]:
    ours: list[float] = []
    against: list[float] = []
    async with registries.opened(data) as registry:
        repository = await registry.follow(url)
        for _ in range(count):
            began = time.perf_counter()
            report = await registry.sync(repository, trigger=Trigger.SCHEDULE)
            ours.append(time.perf_counter() - began)
            if report.read or report.added:
                raise RuntimeError("there was something new")
            began = time.perf_counter()
            subprocess.run(["git", "ls-remote", url], capture_output=True, check=True)  # noqa: ASYNC221  # alone
            against.append(time.perf_counter() - began)
    return ours, against
