"""Archives: the first download, those after it, their bytes, and the disk that they take, beside plain zips."""

import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from bench import peers, registries, repositories, servers
from bench.effort import Effort
from bench.latency import watching
from bench.load import CONNECTIONS, put_load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, Spread, compare, percentile, seconds, size

_PACKAGE: Final = "acme/console"
_SOURCE: Final = Path("/usr/share/php/Symfony/Component/Console")
"""What Debian's Composer brings: a package as people have them."""

_LARGE_SOURCE: Final = Path("/usr/share/php")
"""Composer with all that it needs."""

_LARGER: Final = 10
_BUILT_GOAL: Final = Goal(1.2)
_BYTES_GOAL: Final = Goal(0.5)
_LATENCY_GOAL: Final = Goal(0.01, unit=" s at p99")
_QUIET: Final = 2.0
_RATE_GOAL: Final = Goal(0.7, at_least=True)


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The times of first downloads as pairs, and where nginx is there, of those that are kept, and the bytes."""
    source = _SOURCE if _SOURCE.is_dir() else None
    tags = effort.dists + 1
    upstream = folder / "upstream"
    url = repositories.create(upstream, name=_PACKAGE, tags=tags, files=effort.files, source=source)
    data, zips = folder / "data", folder / "zips"
    secret = runner()(_fill(data, url))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    core, _ = server_and_load()
    zips.mkdir()
    with servers.pricore(data, core=core, sync_interval=0) as server:
        _download(server, tags - 1, headers)  # the first one loads what all of them need
        ours, against = [], []
        for number in range(effort.dists):
            ours.append(_download(server, number, headers))
            against.append(_archive(upstream, zips, number, core))
        with watching(server, f"/org/{registries.ORGANIZATION}/p2/{_PACKAGE}.json", headers) as answers:
            _wait_until_packed(data)
        what = f"first download of an archive, {'symfony/console' if source else f'{effort.files} files'}"
        results = [
            compare(what, ours, against, seconds, name="git archive --format=zip", goal=_BUILT_GOAL),
            *_sizes(data, zips, effort.dists),
            Result(
                what=f"p2 GET while they are packed harder, {len(answers)} requests",
                ours=f"p99 {seconds(percentile(answers, 99))}",
                goal=_LATENCY_GOAL,
                met=_LATENCY_GOAL.met(percentile(answers, 99)),
            ),
        ]
        if peers.has_nginx():
            results += _rates(folder / "small", server, zips, headers, effort)
    if peers.has_nginx() and effort.large_dists:
        results += _rates_of_large(folder / "large", effort)
    return results


def _rates(
    folder: Path, server: servers.Server, zips: Path, headers: dict[str, str], effort: Effort
) -> list[Result]:
    """What both bring of the first release, unpacked: by the clock, and by the server's processor time."""
    core, load = server_and_load()
    name = f"{repositories.release(0)}.zip"
    content = len(servers.get(server.url + _path(0), headers | {"Accept-Encoding": "identity"}).body)
    with peers.nginx(folder, zips, core=core) as other:
        mine, theirs = put_load(
            [server, other], [_path(0), f"/{name}"], headers, status=200, slices=effort.slices, core=load
        )
    what = f"content of a kept archive, {size((zips / name).stat().st_size)} as a zip, {CONNECTIONS} connections"

    def show(rate: float) -> str:
        return f"{rate * content / 1e6:,.0f} MB/s ({rate:,.0f}/s)"

    by_clock = compare(
        f"{what}, by the clock",
        mine.by_clock,
        theirs.by_clock,
        show,
        name="nginx, git's zip",
        goal=_RATE_GOAL,
    )
    if not mine.by_processor or not theirs.by_processor:
        return [by_clock]
    processor = mine.by_processor, theirs.by_processor
    return [by_clock, compare(f"{what}, by processor time", *processor, show, name="nginx, git's zip")]


def _rates_of_large(folder: Path, effort: Effort) -> list[Result]:
    """The same for a package that is large."""
    source = _LARGE_SOURCE if _SOURCE.is_dir() else None
    url = repositories.create(
        folder / "upstream", name=_PACKAGE, tags=1, files=effort.files * _LARGER, source=source
    )
    data, zips = folder / "data", folder / "zips"
    secret = runner()(_fill(data, url))
    headers = {**servers.authorization(secret), "Accept-Encoding": "zstd"}
    zips.mkdir()
    core, _ = server_and_load()
    _archive(folder / "upstream", zips, 0, core)
    with servers.pricore(data, core=core, sync_interval=0) as server:
        _download(server, 0, headers)
        _wait_until_packed(data)
        return _rates(folder / "nginx", server, zips, headers, effort)


async def _fill(data: Path, url: str) -> str:
    async with registries.opened(data) as registry:
        await registry.follow(url)
        return await registry.create_token()


def _path(number: int) -> str:
    return f"/org/{registries.ORGANIZATION}/packages/{_PACKAGE}/{repositories.release(number)}.zip"


def _download(server: servers.Server, number: int, headers: dict[str, str]) -> float:
    began = time.perf_counter()
    answer = servers.get(server.url + _path(number), headers)
    took = time.perf_counter() - began
    if answer.status != 200 or answer.headers["content-encoding"] != "zstd":
        raise RuntimeError(f"it answered {answer.status}: {answer.headers}")
    return took


def _wait_until_packed(data: Path) -> None:
    """Let the server pack what it keeps as hard as it does: until it has written no new file for a while."""
    since = time.monotonic()
    while time.monotonic() - since < _QUIET:
        if any((data / "dists").glob("*/.new-*")):
            since = time.monotonic()
        time.sleep(0.01)


def _archive(upstream: Path, zips: Path, number: int, core: int | None) -> float:
    """Seconds that git takes to write the usual zip."""
    release = repositories.release(number)
    command = ["git", "-C", str(upstream), "archive", "--format=zip", f"--output={zips}/{release}.zip", release]
    if core is not None and shutil.which("taskset"):
        command = ["taskset", "--cpu-list", str(core), *command]
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


def _sizes(data: Path, zips: Path, count: int) -> list[Result]:
    """The bytes of one archive, and of the disk for all of them."""
    kept = sorted(path.stat().st_size for path in (data / "dists").rglob("*.zst"))
    plain = sorted(path.stat().st_size for path in zips.iterdir())
    mirrors = sum(path.stat().st_size for path in (data / "repositories").rglob("*") if path.is_file())
    ratio = kept[len(kept) // 2] / plain[count // 2]
    return [
        Result(
            what="bytes of an archive on the wire and on the disk, zstd",
            ours=size(kept[len(kept) // 2]),
            against=f"git's zip {size(plain[count // 2])}",
            ratio=Spread.of([ratio]),
            goal=_BYTES_GOAL,
            met=_BYTES_GOAL.met(ratio),
        ),
        Result(
            what=f"disk for {count + 1} archives that were all asked for, and the mirror",
            ours=f"{size(sum(kept))} and {size(mirrors)}",
            against=f"a zip of each version, as Satis keeps them {size(sum(plain) * (count + 1) / count)}",
        ),
    ]
