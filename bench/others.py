"""What clients notice of what others do at the same time."""

import io
import json
import shutil
import statistics
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.changes import changing
from bench.effort import Effort
from bench.instances import generate
from bench.instances import path as generated
from bench.latency import watching
from bench.load import put_load
from bench.machine import cores, runner, server_and_load
from bench.results import Goal, Result, Spread, compare, percentile, rate, seconds
from pricore.archives.uploads import Uploads
from pricore.auth import access_tokens

_PACKAGE: Final = "acme/library"
_PATH: Final = f"/org/{registries.ORGANIZATION}/p2/{_PACKAGE}.json"
_VERSIONS: Final = 50
_MOST_VERSIONS: Final = 1000
_GOAL: Final = Goal(0.01, unit=" s at p99")
_GIT_GOAL: Final = Goal(1.5)
_RATE_GOAL: Final = Goal(0.9, at_least=True)
_MEMORY_GOAL: Final = Goal(1.1)
_SCOPES: Final = ("packages:read", "packages:write", "repositories:read", "repositories:write")
_PATIENCE: Final = 600
_REPORTED: Final = 10_000
"""Installs in one report, the most that is counted."""

_LIMIT_SECONDS: Final = 0.06
"""From one request of a token to its next at the limit of a thousand a minute."""

_ALLOWED: Final = 64 * 1024 * 1024
"""Bytes of documents that may be kept in memory."""

_ANSWER: Final = 2048
"""Bytes that are counted for an answer besides its body."""


def measure(folder: Path, effort: Effort) -> list[Result]:
    """Each kind of work by others, with the slowest of a hundred p2 answers meanwhile, in memory and not."""
    return [
        *_beside_archives(folder / "archives", effort),
        *_beside_providers(folder / "providers", effort),
        *_beside_a_sync(folder / "sync", effort),
        _beside_changes(folder / "changes", effort),
        *_beside_checks(folder / "checks", effort),
        _kept_answers(folder / "kept", effort),
    ]


@dataclass(frozen=True)
class _Watched:
    """The seconds of answers that were in memory, and of those that were not."""

    kept: list[float]
    fresh: list[float]


@contextmanager
def _watching(server: servers.Server, headers: dict[str, str], path: str = _PATH) -> Iterator[_Watched]:
    """Ask for both kinds of answers from processes of their own as long as the block runs."""
    with watching(server, path, headers) as kept, watching(server, path, headers, fresh=True) as fresh:
        yield (watched := _Watched([], []))
    watched.kept.extend(kept)
    watched.fresh.extend(fresh)


def _results(what: str, watched: _Watched) -> list[Result]:
    return [
        Result(
            what=f"p2 GET {kind} beside {what}, {len(taken)} requests",
            ours=_show(taken),
            goal=_GOAL,
            met=_GOAL.met(percentile(taken, 99)),
        )
        for kind, taken in (("in memory", watched.kept), ("not in memory", watched.fresh))
    ]


def _show(taken: Sequence[float]) -> str:
    return f"median {seconds(statistics.median(taken))}, p99 {seconds(percentile(taken, 99))}"


def _beside_archives(folder: Path, effort: Effort) -> list[Result]:
    """Many archives that nobody asked for before, and the same made by git alone, two at a time."""
    tags = max(effort.many_tags, effort.cold)
    upstream = folder / "upstream"
    url = repositories.create(upstream, name="acme/cold", tags=tags, files=effort.files)
    small = repositories.create(folder / "small", name=_PACKAGE, tags=_VERSIONS, files=3)
    data = folder / "data"
    secret = runner()(_follow(data, small, url))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}

    def download(number: int) -> None:
        version = repositories.release(number)
        _expect(
            servers.get(f"{server.url}/org/{registries.ORGANIZATION}/packages/acme/cold/{version}.zip", headers)
        )

    def archive(number: int) -> None:
        command = ["git", "-C", str(upstream), "archive", "--format=zip", repositories.release(number)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    results = []
    with servers.pricore(data, sync_interval=0) as server:
        with _watching(server, headers) as ours:
            _in_rounds(effort, tags, download, at_once=effort.cold)
        with _watching(server, headers) as git:
            _in_rounds(effort, tags, archive, at_once=2)
        for kind, mine, against in (
            ("in memory", ours.kept, git.kept),
            ("not in memory", ours.fresh, git.fresh),
        ):
            ratio = percentile(mine, 99) / percentile(against, 99)
            results.append(
                Result(
                    what=f"p2 GET {kind} beside {effort.cold} first downloads at once, {len(mine)} requests",
                    ours=_show(mine),
                    against=f"beside two git archive {_show(against)}",
                    ratio=Spread.of([ratio]),
                    goal=_GIT_GOAL,
                    met=_GIT_GOAL.met(ratio),
                )
            )
    # of another process, for which all of them are first downloads again; so many at once that a core is left
    shutil.rmtree(data / "dists")
    with servers.pricore(data, sync_interval=0) as server:
        with _watching(server, headers) as left:
            _in_rounds(effort, tags, download, at_once=max(1, len(cores()) - 1))
        return [*results, *_results("first downloads that leave a core", left)[:1]]


def _in_rounds(effort: Effort, tags: int, work: Callable[[int], None], *, at_once: int) -> None:
    """Do something with so many tags after the other, again with the next ones, until the time is over."""
    ends = time.perf_counter() + effort.beside_seconds
    with ThreadPoolExecutor(at_once) as threads:
        for start in range(0, tags - effort.cold + 1, effort.cold):
            for _ in threads.map(work, range(start, start + effort.cold)):
                pass
            if time.perf_counter() > ends:
                return


def _beside_providers(folder: Path, effort: Effort) -> list[Result]:
    """A client that asks again and again who provides a name."""
    data, headers = _generated(folder, effort)
    asked = f"/org/{registries.ORGANIZATION}/providers/psr/log-implementation.json"

    def ask() -> None:
        answer = servers.get(server.url + asked, headers)
        if answer.status not in (200, 404):
            raise RuntimeError(f"it answered {answer.status}: {answer.body!r}")

    with servers.pricore(data, sync_interval=0) as server, _watching(server, headers, generated(0)) as watched:
        _again(ask, effort.beside_seconds)
    what = f"a client that asks for providers among {effort.provided:,} versions"
    return _results(what, watched)


def _beside_a_sync(folder: Path, effort: Effort) -> list[Result]:
    """The first sync of one package with many versions."""
    small = repositories.create(folder / "small", name=_PACKAGE, tags=_VERSIONS, files=3)
    large = repositories.create(folder / "large", name="acme/large", tags=effort.most_tags, files=1)
    data = folder / "data"
    secret, repository_id = runner()(_add(data, small, large))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    with servers.pricore(data, sync_interval=0) as server, _watching(server, headers) as watched:
        at = f"{server.url}/api/organizations/{registries.ORGANIZATION}/repositories/{repository_id}"
        _expect(servers.post(f"{at}/sync", headers, b""))
        ends = time.perf_counter() + _PATIENCE
        while (found := json.loads(servers.get(at, headers).body)["data"])["sync_status"] != "ok":
            if found["sync_status"] == "failed" or time.perf_counter() > ends:
                raise RuntimeError(f"the sync did not succeed: {found['sync_error']}")
            time.sleep(0.2)
    return _results(f"a first sync of {effort.most_tags + 1:,} versions in one package", watched)


def _beside_changes(folder: Path, effort: Effort) -> Result:
    """Another organization that changes all the time, from another process."""
    data, headers = _generated(folder, effort)
    core, load = server_and_load()
    quiet: list[float] = []
    busy: list[float] = []
    with servers.pricore(data, core=core, sync_interval=0) as server:
        for _ in range(effort.pairs):
            for rates, others in ((quiet, False), (busy, True)):
                with changing(data, active=others):
                    (found,) = put_load(
                        [server], generated(0), headers, status=200, slices=effort.slices, core=load
                    )
                # what the changes themselves take of a processor is not what the server loses by them
                rates.append(statistics.mean(found.by_processor or found.by_clock))
    what = "p2 GET/s beside a change in another organization every 50 ms"
    return compare(what, busy, quiet, rate, name="without", goal=_RATE_GOAL)


def _beside_checks(folder: Path, effort: Effort) -> list[Result]:
    """Clients that check the largest lock file and report the most installs, as often as the limit lets them."""
    data = folder / "data"
    small = repositories.create(folder / "small", name=_PACKAGE, tags=_VERSIONS, files=3)
    secret, other = runner()(_upload(data, small, effort.locked))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    with servers.pricore(data, sync_interval=0) as server:
        base = f"{server.url}/org/{registries.ORGANIZATION}"
        lock = json.dumps(
            {
                "packages": [
                    {
                        "name": _locked(number),
                        "version": "1.0.0",
                        "dist": {"url": f"{base}/packages/{_locked(number)}/1.0.0.zip"},
                    }
                    for number in range(effort.locked)
                ]
            }
        ).encode()
        report = json.dumps(
            {"downloads": [{"name": _locked(n % effort.locked), "version": f"1.{n}.0"} for n in range(_REPORTED)]}
        ).encode()
        own = servers.authorization(other)

        def check() -> None:
            _expect(
                servers.post(f"{server.url}/api/organizations/{registries.ORGANIZATION}/lock-checks", own, lock)
            )

        def tell() -> None:
            _expect(servers.post(f"{base}/downloads", own, report))

        check()  # makes the archives
        with _watching(server, headers) as watched, ThreadPoolExecutor(2) as threads:
            both = [threads.submit(_again, ask, effort.beside_seconds, _LIMIT_SECONDS) for ask in (check, tell)]
            for done in both:
                done.result()
    return _results("lock checks and install reports at the limit", watched)


def _kept_answers(folder: Path, effort: Effort) -> Result:
    """The memory of many answers with one document, beside the bytes that are counted for them."""
    data, headers = _generated(folder, effort)
    with servers.pricore(data, sync_interval=0) as server:
        url = server.url + generated(0)
        for warm in range(20):
            answer = servers.get(url, {**headers, "Host": f"warm{warm}.example.com"})
        before = servers.memory(server).now
        for host in range(effort.hosts):
            _expect(servers.get(url, {**headers, "Host": f"h{host}.example.com"}))
        grown = servers.memory(server).now - before
    counted = min(_ALLOWED, effort.hosts * (len(answer.body) + _ANSWER)) / 1e6
    ratio = grown / counted
    return Result(
        what=f"memory for {effort.hosts:,} answers that are kept, {len(answer.body) / 1000:.0f} kB each",
        ours=f"{grown:.1f} MB",
        against=f"counted {counted:.1f} MB",
        ratio=Spread.of([ratio]),
        goal=_MEMORY_GOAL,
        met=_MEMORY_GOAL.met(ratio),
    )


async def _follow(data: Path, *urls: str) -> str:
    """The secret of a token for repositories that were read."""
    async with registries.opened(data) as registry:
        for url in urls:
            await registry.follow(url)
        return await registry.create_token()


async def _add(data: Path, read: str, unread: str) -> tuple[str, str]:
    """The secret of a token for a repository that was read, and the id of one that was not."""
    async with registries.opened(data) as registry:
        await registry.follow(read)
        return await registry.create_token(scopes=_SCOPES), await registry.add(unread)


async def _upload(data: Path, url: str, packages: int) -> tuple[str, str]:
    """The secrets of two tokens for a repository that was read, and for so many packages that are uploaded."""
    async with registries.opened(data) as registry:
        await registry.follow(url)
        uploads = Uploads(registry.store, registry.config.uploads)
        for number in range(packages):
            content = io.BytesIO()
            with zipfile.ZipFile(content, "w") as file:
                file.writestr("composer.json", json.dumps({"name": _locked(number), "version": "1.0.0"}))
            await uploads.add(registry.organization, content)
        return await registry.create_token(), await registry.create_token(scopes=_SCOPES)


def _locked(number: int) -> str:
    return f"acme/locked-{number:04}"


def _generated(folder: Path, effort: Effort) -> tuple[Path, dict[str, str]]:
    """A data folder with as many versions as are searched, and the headers of a client."""
    data, secret = folder / "data", access_tokens.create_secret()
    each = min(_MOST_VERSIONS, effort.provided)
    runner()(generate(data, packages=effort.provided // each, versions=each, secrets=[secret]))
    return data, {**servers.authorization(secret), "Accept-Encoding": "zstd"}


def _again(ask: Callable[[], None], lasting: float, pace: float = 0.0) -> None:
    """Ask for so many seconds, no more often than each `pace` seconds."""
    ends = time.perf_counter() + lasting
    while (began := time.perf_counter()) < ends:
        ask()
        time.sleep(max(0.0, began + pace - time.perf_counter()))


def _expect(answer: servers.Answer) -> None:
    if answer.status not in (200, 204):
        raise RuntimeError(f"it answered {answer.status}: {answer.body[:500]!r}")
