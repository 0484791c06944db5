"""An instance with a thousand repositories: its start, its answers, its memory, and looking at all of them."""

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.effort import Effort
from bench.instances import generate, name, path
from bench.load import SLICE, put_load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, compare, rate, seconds
from pricore.auth import access_tokens

_VERSIONS: Final = 50
_FEW: Final = 10
_INTERVAL: Final = 300
_START_GOAL: Final = Goal(1.5, unit=" s")
_START_RATIO: Final = Goal(2)
_REQUESTS: Final = 100_000
_MEMORY_GOAL: Final = Goal(160, unit=" MB")
_SAME_GOAL: Final = Goal(0.95, at_least=True)
_IDLE_GOAL: Final = Goal(0.1, unit=" of a core")


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The figures of an instance of that many repositories with 50 versions each, and of one with ten packages."""
    many, few = folder / "many", folder / "few"
    secret = access_tokens.create_secret()
    runner()(generate(many, packages=effort.repositories, versions=_VERSIONS, secrets=[secret]))
    runner()(generate(few, packages=_FEW, versions=_VERSIONS, secrets=[secret]))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    what = f"{effort.repositories:,} repositories with {effort.repositories * _VERSIONS:,} versions"
    starts, imports = [], []
    for _ in range(effort.starts):
        starts.append(_start(many, headers))
        imports.append(_import())
    results = [
        Result(
            what=f"start to first answer, {what}",
            ours=f"{seconds(statistics.median(starts))} (at most {seconds(max(starts))})",
            goal=_START_GOAL,
            met=_START_GOAL.met(statistics.median(starts)),
        ),
        compare(
            "start to first answer",
            starts,
            imports,
            seconds,
            name='python -c "import aiohttp"',
            goal=_START_RATIO,
        ),
    ]
    core, load = server_and_load()
    with ExitStack() as stack:
        pair = [stack.enter_context(servers.pricore(data, core=core, sync_interval=0)) for data in (many, few)]
        ours, against = put_load(pair, path(0), headers, status=200, slices=effort.slices, core=load)
        results.append(
            compare(
                f"p2 GET by processor time, {what}",
                ours.by_processor or ours.by_clock,
                against.by_processor or against.by_clock,
                rate,
                name=f"{_FEW} packages",
                goal=_SAME_GOAL,
            )
        )
        for number in range(effort.repositories):
            _expect(servers.get(pair[0].url + path(number), headers))
        _expect(servers.get(f"{pair[0].url}/org/{registries.ORGANIZATION}/packages.json", headers))
        asked = 0.0
        while asked < min(_REQUESTS, effort.repositories * 100):
            (rates,) = put_load([pair[0]], path(0), headers, status=200, slices=effort.slices, core=load)
            asked += sum(rates.by_clock) * SLICE
        memory = servers.memory(pair[0])
        results.append(
            Result(
                what=f"resident memory, {what}, each package asked for, after {asked:,.0f} requests and more",
                ours=f"{memory.now:.0f} MB, at most {memory.most:.0f} MB",
                goal=_MEMORY_GOAL,
                met=_MEMORY_GOAL.met(memory.most),
            )
        )
    return [*results, _look(folder / "idle", effort)]


def _expect(answer: servers.Answer) -> None:
    if answer.status != 200:
        raise RuntimeError(f"it answered {answer.status}: {answer.body!r}")


def _start(data: Path, headers: Mapping[str, str]) -> float:
    """Seconds from the start of `pricore serve` until it has answered a request for a package."""
    began = time.perf_counter()
    with servers.pricore(data, sync_interval=0) as server:
        _expect(servers.get(server.url + path(0), headers))
        return time.perf_counter() - began


def _look(folder: Path, effort: Effort) -> Result:
    """What part of a core it takes to look at all repositories once in five minutes, without git itself."""
    data = folder / "data"
    runner()(_follow(folder, data, effort.repositories))
    with servers.pricore(data, sync_interval=effort.look_seconds) as server:
        time.sleep(1)  # the start is not what is measured
        began, processor = int(time.time()), _processor_time(server)
        deadline = time.monotonic() + 3 * effort.look_seconds
        while (looked := runner()(_count(data, since=began))) < effort.repositories / 2:
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {looked} repositories were looked at")
            time.sleep(1)
        used = (_processor_time(server) - processor) / looked
    share = used * effort.repositories / _INTERVAL
    return Result(
        what=f"looking at {effort.repositories:,} idle repositories in {_INTERVAL} s, without git itself",
        ours=f"{share:.3f} of a core, {seconds(used)} each",
        goal=_IDLE_GOAL,
        met=_IDLE_GOAL.met(share),
    )


def _import() -> float:
    """Seconds that Python takes to load aiohttp, and to end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import aiohttp"], check=True)
    return time.perf_counter() - began


async def _follow(folder: Path, data: Path, count: int) -> None:
    async with registries.opened(data) as registry:
        together = asyncio.Semaphore(4)

        async def follow(number: int) -> None:
            async with together:
                upstream = folder / "upstream" / str(number)
                url = await asyncio.to_thread(repositories.create, upstream, name=name(number), tags=3, files=1)
                await registry.follow(url)

        await asyncio.gather(*map(follow, range(count)))


async def _count(data: Path, *, since: int) -> int:
    """How many repositories were looked at after that time."""
    async with registries.opened(data) as registry:
        found = await registry.store.repositories.of_organization(registry.organization.id)
    return sum(1 for item in found if item.last_synced_at is not None and item.last_synced_at > since)


def _processor_time(server: servers.Server) -> float:
    """Seconds of processor time that a process has had, without its children."""
    # the name of the program, in parentheses, may have blanks
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
