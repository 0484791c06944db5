"""Load on several servers in turn, slice by slice, over kept connections.

A slice is much shorter than what else happens on a machine, so that a server's slice and its neighbour's meet the
same conditions: `wrk`, which counts in whole seconds, gave ratios that differed by a factor of two between runs.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bench.machine import on_core
from bench.servers import Server

CONNECTIONS: Final = 32
SLICE: Final = 0.05
"""Seconds."""


@dataclass(frozen=True)
class Rates:
    """Answers a second in each slice: by the clock, and by the processor time of the server.

    The latter is what nobody else on the machine can take away: what it would be if each of the server's processes
    had a core to itself. It is empty where the system does not tell.
    `slowest` are the seconds that 99 of 100 answers did not exceed.
    """

    by_clock: list[float]
    by_processor: list[float]
    slowest: list[float]


@dataclass(frozen=True)
class Target:
    """What to load: a page of a server, over one connection for each of `connections`, its headers."""

    server: Server
    path: str
    connections: Sequence[Mapping[str, str]]


def put_load(
    servers: Sequence[Server],
    path: str | Sequence[str],
    headers: Mapping[str, str],
    *,
    status: int,
    slices: int,
    core: int | None,
) -> list[Rates]:
    """Load on each server in turn, that many slices each, from a client on that core; `path` is one, or one each.

    Raises RuntimeError where an answer has another status.
    """
    paths = [path] * len(servers) if isinstance(path, str) else path
    targets = [Target(server, paths[number], [headers] * CONNECTIONS) for number, server in enumerate(servers)]
    return load(targets, status=status, slices=slices, seconds=SLICE, core=core)


def load(targets: Sequence[Target], *, status: int, slices: int, seconds: float, core: int | None) -> list[Rates]:
    """Load on each target in turn, in slices of that many seconds; the rest is as for `put_load`."""
    request = {
        "servers": [
            {
                "url": target.server.url,
                "pids": target.server.answering,
                "path": target.path,
                "connections": [dict(headers) for headers in target.connections],
            }
            for target in targets
        ],
        "status": status,
        "slices": slices,
        "seconds": seconds,
    }
    with on_core(core):
        done = subprocess.run(
            [sys.executable, "-m", "bench.client"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"the load failed: {done.stderr[-500:]}")
    return [Rates(**rates) for rates in json.loads(done.stdout)]
