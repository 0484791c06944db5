"""From `git push` until a client gets the new version."""

import statistics
import time
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.effort import Effort
from bench.machine import runner
from bench.repositories import git
from bench.results import Result, percentile, seconds

_PACKAGE: Final = "acme/large"
_PATH: Final = f"/org/{registries.ORGANIZATION}/p2/{_PACKAGE}.json"
_PATIENCE: Final = 10
"""Seconds after which a version that isn't served is given up."""


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The times of pushes, one after another, and of their parts."""
    url = repositories.create(folder / "upstream", name=_PACKAGE, tags=effort.tags, files=effort.files)
    git("clone", "--quiet", url, "work", folder=folder)
    pushes, syncs, answers = runner()(_time(folder, url, effort.pushes))
    since_push = [sync + answer for sync, answer in zip(syncs, answers, strict=True)]
    whole = [push + rest for push, rest in zip(pushes, since_push, strict=True)]
    what = f"of {effort.pushes} pushes, {effort.tags} tags"
    return [
        Result(what=f"git push to served, {what}", ours=_show(whole)),
        Result(what=f"end of push to served, {what}", ours=_show(since_push)),
    ]


def _show(values: list[float]) -> str:
    return f"median {seconds(statistics.median(values))}, p95 {seconds(percentile(values, 95))}"


async def _time(folder: Path, url: str, count: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each push, of each sync, and of the wait for the answer that has the version."""
    work, data = folder / "work", folder / "data"
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    async with registries.opened(data) as registry:
        repository = await registry.follow(url)
        headers = servers.authorization(await registry.create_token()) | {"Accept-Encoding": "identity"}
        with servers.pricore(data) as server:
            for number in range(count):
                version = f"99.0.{number}"
                (work / "src" / "New.php").write_text(f"<?php // {version}\n")
                git("add", "--all", folder=work)
                git("commit", "--quiet", f"--message={version}", folder=work)
                git("tag", version, folder=work)
                moments = [time.perf_counter()]
                git("push", "--quiet", "origin", "main", version, folder=work)
                moments.append(time.perf_counter())
                await registry.sync(repository)
                moments.append(time.perf_counter())
                _wait_for(server.url + _PATH, headers, version)
                moments.append(time.perf_counter())
                for values, began, ended in zip(times, moments, moments[1:], strict=False):
                    values.append(ended - began)
    return times


def _wait_for(url: str, headers: dict[str, str], version: str) -> None:
    deadline = time.perf_counter() + _PATIENCE
    while f'"{version}"'.encode() not in servers.get(url, headers).body:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{version} was synced and is not served")
