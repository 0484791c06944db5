"""From `git push` until a client gets the new version: with a sync that is called, and with a webhook."""

import hashlib
import hmac
import statistics
import time
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.effort import Effort
from bench.machine import runner
from bench.repositories import git
from bench.results import Goal, Result, Spread, percentile, seconds

_PACKAGE: Final = "acme/large"
_PATH: Final = f"/org/{registries.ORGANIZATION}/p2/{_PACKAGE}.json"
_WEBHOOK_GOAL: Final = Goal(0.25, unit=" s at p95")
_PAUSE: Final = 0.003
"""Seconds between two questions: without any, whoever asks takes the processor from what is measured."""

_PATIENCE: Final = 10
"""Seconds after which a version that isn't served is given up."""


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The times of pushes, one after another, and of their parts."""
    url = repositories.create(folder / "upstream", name=_PACKAGE, tags=effort.tags, files=effort.files)
    git("clone", "--quiet", url, "work", folder=folder)
    git("clone", "--quiet", "--mirror", url, "alone", folder=folder)
    pushes, syncs, answers, webhooks, alone = runner()(_time(folder, url, effort.pushes))
    since_push = [sync + answer for sync, answer in zip(syncs, answers, strict=True)]
    whole = [push + rest for push, rest in zip(pushes, since_push, strict=True)]
    what = f"of {effort.pushes} pushes, {effort.tags} tags"
    return [
        Result(what=f"git push to served, {what}", ours=_show(whole)),
        Result(what=f"end of push to served, {what}", ours=_show(since_push)),
        Result(
            what=f"webhook to served, {what}",
            ours=_show(webhooks),
            against=f"git fetch and git archive {_show(alone)}",
            ratio=Spread.of([ours / theirs for ours, theirs in zip(webhooks, alone, strict=True)]),
            goal=_WEBHOOK_GOAL,
            met=_WEBHOOK_GOAL.met(percentile(webhooks, 95)),
        ),
    ]


def _show(values: Sequence[float]) -> str:
    return f"median {seconds(statistics.median(values))}, p95 {seconds(percentile(values, 95))}"


async def _time(folder: Path, url: str, count: int) -> tuple[list[float], ...]:
    """Seconds of pushes, of syncs, of waits for the answer that has the version, and from a webhook to it.

    And of what git alone takes after each of the latter, which tells how fast the machine was.
    """
    data = folder / "data"
    times: tuple[list[float], list[float], list[float]] = ([], [], [])
    webhooks, alone = [], []
    async with registries.opened(data) as registry:
        repository = await registry.follow(url)
        secret = await registry.webhook_secret(repository)
        headers = servers.authorization(await registry.create_token()) | {"Accept-Encoding": "identity"}
        with servers.pricore(data) as server:
            releases = _releases(folder / "work")
            for _ in range(count):
                version = next(releases)
                moments = [time.perf_counter()]
                git("push", "--quiet", "origin", "main", version, folder=folder / "work")
                moments.append(time.perf_counter())
                await registry.sync(repository)
                moments.append(time.perf_counter())
                _wait_for(server.url + _PATH, headers, version)
                moments.append(time.perf_counter())
                for values, began, ended in zip(times, moments, moments[1:], strict=False):
                    values.append(ended - began)
            for _ in range(count):
                version = next(releases)
                git("push", "--quiet", "origin", "main", version, folder=folder / "work")
                began = time.perf_counter()
                _tell(f"{server.url}/webhooks/github/{repository.id}", secret, version)
                _wait_for(server.url + _PATH, headers, version)
                webhooks.append(time.perf_counter() - began)
                alone.append(_git_alone(folder / "alone", version))
    return *times, webhooks, alone


def _git_alone(mirror: Path, version: str) -> float:
    """Seconds that it takes git to fetch a version and to make its archive."""
    began = time.perf_counter()
    git("fetch", "--quiet", folder=mirror)
    git("archive", "--format=zip", "-0", "--output=/dev/null", version, folder=mirror)
    return time.perf_counter() - began


def _releases(work: Path) -> Iterator[str]:
    """Commit and tag one version after another, ready to be pushed."""
    number = 0
    while True:
        version = f"99.0.{number}"
        (work / "src" / "New.php").write_text(f"<?php // {version}\n")
        git("add", "--all", folder=work)
        git("commit", "--quiet", f"--message={version}", folder=work)
        git("tag", version, folder=work)
        yield version
        number += 1


def _tell(url: str, secret: str, version: str) -> None:
    """Say as GitHub does that a tag was pushed."""
    body = f'{{"ref":"refs/tags/{version}","created":true}}'.encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signature}"}
    answer = servers.post(url, headers, body)
    if answer.status != 200:
        raise RuntimeError(f"the webhook was refused: {answer.body!r}")


def _wait_for(url: str, headers: dict[str, str], version: str) -> None:
    """Ask until the version is there, as Composer does: for what has changed since it was asked last."""
    deadline = time.perf_counter() + _PATIENCE
    since: dict[str, str] = {}
    while f'"{version}"'.encode() not in (answer := servers.get(url, headers | since)).body:
        if time.perf_counter() > deadline:
            raise RuntimeError(f"{version} is not served")
        if answer.status == HTTPStatus.OK:
            since = {"If-Modified-Since": answer.headers["last-modified"]}
        time.sleep(_PAUSE)
