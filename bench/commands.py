"""How soon a command of the shell is there, against Python that only loads what commands are made with."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.effort import Effort
from bench.machine import runner
from bench.results import Goal, Result, compare, seconds

_GOAL: Final = Goal(2)
_MEMORY_GOAL: Final = Goal(80, unit=" MB")


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The times of a command as pairs, and the memory of a server that nobody has asked for anything."""
    url = repositories.create(folder / "upstream", name="acme/library", tags=3, files=3)
    data = folder / "data"
    runner()(_fill(data, url))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PRICORE_DATA": str(data)}
    ours, against = [], []
    for _ in range(effort.commands):
        ours.append(_time(["-m", "pricore", "token", "list", registries.ORGANIZATION], environment))
        against.append(_time(["-c", "import typer"], environment))
    with servers.pricore(data) as server:
        time.sleep(2)
        memory = servers.memory(server).now
    return [
        compare("pricore token list", ours, against, seconds, name='python -c "import typer"', goal=_GOAL),
        Result(
            what="resident memory of a server that nobody asks",
            ours=f"{memory:.0f} MB",
            goal=_MEMORY_GOAL,
            met=_MEMORY_GOAL.met(memory),
        ),
    ]


def _time(arguments: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


async def _fill(data: Path, url: str) -> None:
    async with registries.opened(data) as registry:
        await registry.follow(url)
        await registry.create_token()
