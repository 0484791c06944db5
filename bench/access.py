"""What rules cost: answers to tokens that see a part, beside those to one that sees everything."""

import time
from itertools import count
from pathlib import Path
from typing import Final

from bench import registries, servers
from bench.effort import Effort
from bench.instances import generate, name, path
from bench.load import CONNECTIONS, Target, load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, compare, rate, seconds
from pricore.auth import access_tokens

_RULES: Final = 20
_ASKED: Final = 10
_VERSIONS: Final = 50
_CACHED: Final = Goal(0.95, at_least=True)
_MADE: Final = Goal(2)
_CROWD: Final = Goal(0.9, at_least=True)
_MEMORY: Final = Goal(200, unit=" MB")


def measure(folder: Path, effort: Effort) -> list[Result]:
    """Kept answers, those that have to be made, and many tokens with rules of their own."""
    return [*_one(folder / "one", effort), *_many(folder / "many", effort)]


def _one(folder: Path, effort: Effort) -> list[Result]:
    """A token with twenty rules."""
    whole, restricted = (access_tokens.create_secret() for _ in range(2))
    rules = [f"{name(0)}:<150", *(f"acme/package-{number:04}*:^{number}" for number in range(1, _RULES))]
    runner()(_fill(folder, packages=_RULES, versions=_VERSIONS, tokens={whole: None, restricted: rules}))
    core, load_core = server_and_load()
    results = []
    with servers.pricore(folder, core=core, sync_interval=0, inline_limit=0) as server:
        for what, asked in (("p2", path(0)), ("packages.json", f"/org/{registries.ORGANIZATION}/packages.json")):
            targets = [Target(server, asked, [_headers(secret)] * CONNECTIONS) for secret in (restricted, whole)]
            mine, other = load(targets, status=200, slices=effort.slices, seconds=0.05, core=load_core)
            results.append(
                compare(
                    f"{what} GET in memory, with {_RULES} rules, by processor time",
                    mine.by_processor or mine.by_clock,
                    other.by_processor or other.by_clock,
                    rate,
                    name="without",
                    goal=_CACHED,
                )
            )
        hosts = (f"h{number}.example.com" for number in count())
        taken: dict[str, list[float]] = {restricted: [], whole: []}
        for _ in range(effort.slices):
            for secret, found in taken.items():
                began = time.perf_counter()
                answer = servers.get(server.url + path(0), _headers(secret) | {"Host": next(hosts)})
                found.append(time.perf_counter() - began)
                if answer.status != 200:
                    raise RuntimeError(f"it answered {answer.status}")
        results.append(
            compare(
                f"p2 GET not in memory, {_VERSIONS} versions, with {_RULES} rules",
                taken[restricted],
                taken[whole],
                seconds,
                name="without",
                goal=_MADE,
            )
        )
    return results


def _many(folder: Path, effort: Effort) -> list[Result]:
    """As many tokens as packages, each with rules of its own, after each has asked for some documents."""
    number_of = effort.crowd
    whole, *others = (access_tokens.create_secret() for _ in range(number_of + 1))
    tokens: dict[str, list[str] | None] = {whole: None}
    for number, secret in enumerate(others):
        tokens[secret] = [f"acme/*:<{number + 1}.5", f"{name(number)}:>=0.{number}"]
    runner()(_fill(folder, packages=number_of, versions=10, tokens=tokens))
    core, load_core = server_and_load()
    with servers.pricore(folder, core=core, sync_interval=0, inline_limit=0) as server:
        for number, secret in enumerate(others):
            for place in range(_ASKED):
                servers.get(server.url + path((number + place) % number_of), _headers(secret))
        crowd = [_headers(secret) for secret in others[:CONNECTIONS]]
        for headers in crowd:
            servers.get(server.url + path(0), headers)
        targets = [
            Target(server, path(0), crowd),
            Target(server, path(0), [_headers(whole)] * CONNECTIONS),
        ]
        mine, other = load(targets, status=200, slices=effort.slices, seconds=0.05, core=load_core)
        memory = servers.memory(server).now
    what = f"{number_of:,} tokens with rules of their own on {number_of:,} packages"
    return [
        compare(
            f"p2 GET in memory, {what}, by processor time",
            mine.by_processor or mine.by_clock,
            other.by_processor or other.by_clock,
            rate,
            name="one that sees everything",
            goal=_CROWD,
        ),
        Result(
            what=f"resident memory, {what}, each has asked for {_ASKED}",
            ours=f"{memory:.0f} MB",
            goal=_MEMORY,
            met=_MEMORY.met(memory),
        ),
    ]


def _headers(secret: str) -> dict[str, str]:
    return {**servers.authorization(secret), "Accept-Encoding": "zstd"}


async def _fill(data: Path, *, packages: int, versions: int, tokens: dict[str, list[str] | None]) -> None:
    await generate(data, packages=packages, versions=versions, secrets=[])
    async with registries.opened(data) as registry:
        for secret, rules in tokens.items():
            await registry.create_token(secret=secret, rules=rules)
