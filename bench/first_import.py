"""The first import of a large repository, every checksum included, against git alone."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from bench import registries, repositories
from bench.effort import Effort
from bench.machine import cores, runner
from bench.results import Goal, Result, Spread, compare, seconds
from pricore.archives.dists import open_dists
from pricore.archives.sources import Sources
from pricore.archives.uploads import Uploads
from pricore.git import Git
from pricore.hosts.addresses import parse_address
from pricore.remotes.access import BY_ITSELF, Access
from pricore.store import Store
from pricore.sync.syncer import Syncer
from pricore.system.process import OnReceived
from pricore.vcs.mirror import Mirror

_PACKAGE: Final = "acme/large"
_GOAL: Final = Goal(1.2)
_FIRST: Final = 20
_FIRST_GOAL: Final = Goal(1, unit=" s")
_BASELINE: Final = (
    "git clone -q --mirror {url} mirror.git && cd mirror.git && "
    "git for-each-ref --format='%(refname)' refs/heads refs/tags | "
    "xargs -P{cores} -I{{}} sh -c 'git archive --format=zip -0 --prefix=x/ {{}} | sha1sum'"
)


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The times of whole imports as pairs, and until the first versions are served."""
    url = repositories.create(folder / "upstream", name=_PACKAGE, tags=effort.tags, files=effort.files)
    ours: list[float] = []
    first: list[float] = []
    against: list[float] = []
    wanted = min(_FIRST, effort.tags)
    for _ in range(effort.pairs):
        whole, served = runner()(_import(folder / "data", url, effort.tags, wanted))
        ours.append(whole)
        first.append(served)
        shutil.rmtree(folder / "data")
        against.append(_baseline(folder / "shell", url, effort.tags))
        shutil.rmtree(folder / "shell")
    what = f"first import of {effort.tags} tags, {effort.files} files each"
    spread = Spread.of(first)
    return [
        compare(what, ours, against, seconds, name="git | sha1sum", goal=_GOAL),
        Result(
            what=f"the newest {wanted} are served after the fetch in",
            ours=f"{seconds(spread.median)} ({seconds(spread.low)}-{seconds(spread.high)})",
            goal=_FIRST_GOAL,
            met=_FIRST_GOAL.met(spread.median),
        ),
    ]


async def _import(data: Path, url: str, tags: int, wanted: int) -> tuple[float, float]:
    """Seconds of the whole import, and from the end of the fetch until `wanted` versions are served."""
    async with registries.opened(data) as registry:
        fetched = time.perf_counter()

        def on_fetch() -> None:
            nonlocal fetched
            fetched = time.perf_counter()

        class Observed(Sources):
            """Mirrors that tell when a fetch has ended."""

            def mirror(self, repository_id: str, *, url: str = "", hold: int | None = None) -> Mirror:
                mirror = super().mirror(repository_id)
                return _ObservedMirror(registry.git, mirror.path, on_fetch, hold)

        served = asyncio.create_task(_wait_for(registry.store, wanted))
        try:
            began = time.perf_counter()
            store, git, config = registry.store, registry.git, registry.config
            uploads, dists = Uploads(store, config.uploads), open_dists(config)
            syncer = Syncer(store, git, Observed(git, uploads, config), dists, config)
            report = await syncer.add(registry.organization, parse_address(url), progress=registries.unobserved)
            ended = time.perf_counter()
            if len(report.added) != tags + 1:
                raise RuntimeError(f"{len(report.added)} versions were imported instead of {tags + 1}")
            return ended - began, await served - fetched
        finally:
            served.cancel()


class _ObservedMirror(Mirror):
    def __init__(self, git: Git, path: Path, on_fetch: Callable[[], None], hold: int | None) -> None:
        super().__init__(git, path, hold=hold)
        self._on_fetch = on_fetch

    async def fetch(self, url: str, *, access: Access = BY_ITSELF, on_received: OnReceived | None = None) -> None:
        await super().fetch(url, access=access, on_received=on_received)
        self._on_fetch()


async def _wait_for(store: Store, wanted: int) -> float:
    """When a client would have got so many versions."""
    while True:
        halves = [await store.documents.find(registries.ORGANIZATION, _PACKAGE, h) for h in ("stable", "dev")]
        bodies = [
            zstandard.ZstdDecompressor().decompressobj().decompress(half.body)
            for half in halves
            if half is not None
        ]
        if sum(len(msgspec.json.decode(body)["packages"][_PACKAGE]) for body in bodies) >= wanted:
            return time.perf_counter()
        await asyncio.sleep(0.005)


def _baseline(folder: Path, url: str, tags: int) -> float:
    """Seconds that a shell takes to clone and to hash every archive."""
    folder.mkdir()
    began = time.perf_counter()
    done = subprocess.run(
        ["sh", "-c", _BASELINE.format(url=url, cores=len(cores()) or 1)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    ended = time.perf_counter()
    if len(set(done.stdout.split("\n"))) != tags + 2:  # a line for each, and the end
        raise RuntimeError(
            f"the shell made other archives than expected: {done.stdout[-500:]}{done.stderr[-500:]}"
        )
    return ended - began
