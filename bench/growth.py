"""What an answer costs where there are ever more packages."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import registries, servers
from bench.effort import Effort
from bench.instances import generate, path
from bench.load import CONNECTIONS, SLICE, Rates, Target, load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, compare
from pricore.auth import access_tokens

_ROOT: Final = f"/org/{registries.ORGANIZATION}/packages.json"
_VERSIONS: Final = 3
_GOAL: Final = Goal(1.1)


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The processor time of a p2 document, and of a packages.json that is known, beside the smallest instance."""
    secret = access_tokens.create_secret()
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    core, load_core = server_and_load()
    results = []
    with ExitStack() as stack:
        found = []
        for size in effort.sizes:
            data = folder / str(size)
            runner()(generate(data, packages=size, versions=_VERSIONS, secrets=[secret]))
            found.append(stack.enter_context(servers.pricore(data, core=core, sync_interval=0)))
        for what, asked, status in (("p2 GET 200", path(1), 200), ("packages.json 304", _ROOT, 304)):
            targets = [
                Target(server, asked, [_known(server, asked, headers, status)] * CONNECTIONS) for server in found
            ]
            rates = load(targets, status=status, slices=effort.slices, seconds=SLICE, core=load_core)
            few, *more = map(_costs, rates)
            results += [
                compare(
                    f"{what}, processor time of each, {size:,} packages",
                    costs,
                    few,
                    lambda value: f"{value * 1e6:.1f} µs",
                    name=f"{effort.sizes[0]} packages",
                    goal=_GOAL,
                )
                for size, costs in zip(effort.sizes[1:], more, strict=True)
            ]
    return results


def _costs(rates: Rates) -> list[float]:
    return [1 / rate for rate in rates.by_processor or rates.by_clock]


def _known(server: servers.Server, asked: str, headers: Mapping[str, str], status: int) -> Mapping[str, str]:
    """The headers of a client; where it is to be told 304, of one that has the answer."""
    answer = servers.get(server.url + asked, headers)
    if answer.status != 200:
        raise RuntimeError(f"it answered {answer.status}: {answer.body!r}")
    return headers if status == 200 else {**headers, "If-Modified-Since": answer.headers["last-modified"]}
