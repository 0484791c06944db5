"""What clients and memory notice of the first sync of a large repository."""

import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.effort import Effort
from bench.latency import watching
from bench.machine import runner
from bench.results import Goal, Result, percentile, seconds

_PACKAGE: Final = "acme/library"
_PATH: Final = f"/org/{registries.ORGANIZATION}/p2/{_PACKAGE}.json"
_LATENCY_GOAL: Final = Goal(0.01, unit=" s at p99")
_MEMORY_GOAL: Final = Goal(200, unit=" MB")
_SCOPES: Final = ("packages:read", "repositories:read", "repositories:write")
_PATIENCE: Final = 300


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The latency of p2 documents while a sync runs and without one, and the most memory that the server took."""
    small = repositories.create(folder / "small", name=_PACKAGE, tags=50 if effort.tags > 50 else 5, files=3)
    large = repositories.create(folder / "large", name="acme/large", tags=effort.many_tags, files=effort.files)
    data = folder / "data"
    secret, repository_id = runner()(_fill(data, small, large))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    with servers.pricore(data, sync_interval=0) as server:
        with watching(server, _PATH, headers) as idle:
            time.sleep(effort.slices / 50)
        with watching(server, _PATH, headers) as busy:
            took = _sync(server, secret, repository_id)
        memory = servers.memory(server).most
    what = f"during the first sync of {effort.many_tags} tags"
    return [
        Result(
            what=f"p2 GET {what} ({seconds(took)}), {len(busy)} requests",
            ours=_show(busy),
            against=f"without it {_show(idle)}",
            goal=_LATENCY_GOAL,
            met=_LATENCY_GOAL.met(percentile(busy, 99)),
        ),
        Result(
            what=f"resident memory {what}, at most",
            ours=f"{memory:.0f} MB",
            goal=_MEMORY_GOAL,
            met=_MEMORY_GOAL.met(memory),
        ),
    ]


def _show(values: Sequence[float]) -> str:
    return f"median {seconds(statistics.median(values))}, p99 {seconds(percentile(values, 99))}"


async def _fill(data: Path, small: str, large: str) -> tuple[str, str]:
    """A token, and the id of a repository that was not read yet."""
    async with registries.opened(data) as registry:
        await registry.follow(small)
        return await registry.create_token(scopes=_SCOPES), await registry.add(large)


def _sync(server: servers.Server, secret: str, repository_id: str) -> float:
    """Let the server sync a repository; gives the seconds that it took."""
    path = f"{server.url}/api/organizations/{registries.ORGANIZATION}/repositories/{repository_id}"
    headers = servers.authorization(secret)
    began = time.perf_counter()
    servers.post(f"{path}/sync", headers, b"")
    while True:
        found = json.loads(servers.get(path, headers).body)["data"]
        if found["sync_status"] == "ok":
            return time.perf_counter() - began
        if found["sync_status"] == "failed" or time.perf_counter() - began > _PATIENCE:
            raise RuntimeError(f"the sync did not succeed: {found['sync_error']}")
        time.sleep(0.1)
