"""The single file, where `make binary` made it: its size, and its start against the installed program's."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from bench import registries
from bench.effort import Effort
from bench.machine import runner
from bench.results import Goal, Result, compare, seconds

_MADE: Final = Path(__file__).parents[1] / "dist"
_SIZE_GOAL: Final = Goal(40, unit=" MB")
_START_GOAL: Final = Goal(1.3)
_FIRST_STARTS: Final = 5


def measure(folder: Path, effort: Effort) -> list[Result]:
    """Its size; the first start, which unpacks; and the same command by both, as pairs."""
    made = sorted(_MADE.glob("pricore-*-linux-*"), key=lambda path: path.stat().st_mtime)
    if not made:
        return [Result(what="the single file", ours="skipped: make binary has not made it")]
    folder.mkdir()
    file, data = made[-1], folder / "data"
    runner()(_fill(data))
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PRICORE_DATA": str(data)}
    list_tokens = ["token", "list", registries.ORGANIZATION]
    first = [
        _time([str(file), "--version"], environment | {"PRICORE_CACHE": str(folder / f"cache{number}")})
        for number in range(_FIRST_STARTS)
    ]
    ours, installed = [], []
    for _ in range(effort.commands):
        ours.append(_time([str(file), *list_tokens], environment))
        installed.append(_time([sys.executable, "-m", "pricore", *list_tokens], environment))
    size = file.stat().st_size / 1024**2
    unpacked = sum(path.stat().st_size for path in (folder / "cache0").rglob("*") if path.is_file()) / 1024**2
    return [
        Result(what="the single file", ours=f"{size:.1f} MB", goal=_SIZE_GOAL, met=_SIZE_GOAL.met(size)),
        Result(
            what=f"first start of the single file, which unpacks {unpacked:.0f} MB",
            ours=f"{sorted(first)[len(first) // 2]:.2f} s (at most {max(first):.2f} s)",
        ),
        # the first of the pairs unpacks, and is none
        compare(
            "list of tokens by the single file, unpacked",
            ours[1:],
            installed[1:],
            seconds,
            name="as it is installed here",
            goal=_START_GOAL,
        ),
    ]


def _time(command: list[str], environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


async def _fill(data: Path) -> None:
    async with registries.opened(data) as registry:
        await registry.create_token()
