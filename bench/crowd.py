"""Many clients at the same time, each with a token of its own, beside few."""

from pathlib import Path
from typing import Final

from bench import servers
from bench.effort import Effort
from bench.instances import generate, path
from bench.load import CONNECTIONS, Target, load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, compare
from pricore.auth import access_tokens

_GOAL: Final = Goal(2)
_SECONDS: Final = 0.5
_SLICES_OF_LOAD: Final = 10
"""A slice is as long as so many usual ones: in one of those, not everybody of a crowd has had a turn."""


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The slowest of a hundred answers, by connection: who waits for twice as many others waits twice as long."""
    secrets = [access_tokens.create_secret() for _ in range(effort.crowd)]
    data = folder / "data"
    runner()(generate(data, packages=1, versions=50, secrets=secrets))
    crowd = [{**servers.authorization(secret), "Accept-Encoding": "zstd"} for secret in secrets]
    core, load_core = server_and_load()
    with servers.pricore(data, core=core, sync_interval=0) as server:
        targets = [Target(server, path(0), clients) for clients in (crowd, crowd[:CONNECTIONS])]
        many, few = load(
            targets, status=200, slices=max(1, effort.slices // _SLICES_OF_LOAD), seconds=_SECONDS, core=load_core
        )
    return [
        compare(
            f"p2 GET, {effort.crowd:,} connections with a token each, 99th percentile by connection",
            [value / effort.crowd for value in many.slowest],
            [value / CONNECTIONS for value in few.slowest],
            lambda value: f"{value * 1e6:.1f} µs",
            name=f"{CONNECTIONS} connections",
            goal=_GOAL,
        )
    ]
