"""Two processes behind one port, beside one."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import servers
from bench.effort import Effort
from bench.instances import generate, path
from bench.load import Target, load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, compare, rate
from pricore.auth import access_tokens

_GOAL: Final = Goal(1.7, at_least=True)
_CONNECTIONS: Final = 512
"""So many that the system spreads them evenly."""

_SECONDS: Final = 0.3


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The rates by processor time of the busiest process: the load is on the same machine, and does not count."""
    secret = access_tokens.create_secret()
    runner()(generate(folder / "data", packages=1, versions=50, secrets=[secret]))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    core, load_core = server_and_load()
    with ExitStack() as stack:
        two = stack.enter_context(servers.pricore(folder / "data", sync_interval=0, workers=2))
        # on a copy: a data folder has one server
        runner()(generate(folder / "copy", packages=1, versions=50, secrets=[secret]))
        one = stack.enter_context(servers.pricore(folder / "copy", core=core, sync_interval=0))
        targets = [Target(server, path(0), [headers] * _CONNECTIONS) for server in (two, one)]
        ours, against = load(
            targets, status=200, slices=max(1, effort.slices // 2), seconds=_SECONDS, core=load_core
        )
    return [
        compare(
            f"p2 GET of two processes, {_CONNECTIONS} connections, by processor time of the busier one",
            ours.by_processor or ours.by_clock,
            against.by_processor or against.by_clock,
            rate,
            name="one process",
            goal=_GOAL,
        )
    ]
