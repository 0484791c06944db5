"""`composer update` with the metadata inside packages.json, against a p2 document a package.

The figures decide up to how many bytes of metadata travelling inside pays off (`inline_limit`).
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import registries, repositories, servers
from bench.effort import Effort
from bench.machine import runner
from bench.results import Result, compare, seconds, size
from tests.harness import Composer

_LIMITS: Final = {"inline": 2**31, "p2": 0}
_VERSIONS: Final = 10
_ORG: Final = f"/org/{registries.ORGANIZATION}"
_NEAR: Final = 0.0


def measure(folder: Path, effort: Effort) -> list[Result]:
    """Bytes and times for organizations of each size, near and far, with and without a cache."""
    if shutil.which("composer") is None or shutil.which("php") is None:
        return [Result(what="composer update, inline against p2", ours="skipped: composer or php is missing")]
    results = []
    for count in effort.packages:
        results += _measure_size(folder / str(count), count, effort)
    return results


def _measure_size(folder: Path, count: int, effort: Effort) -> list[Result]:
    names = [f"acme/part{number}" for number in range(count)]
    urls = [
        repositories.create(folder / name, name=name, tags=_VERSIONS - 1, files=3) for name in names
    ]  # and main
    secret, metadata = runner()(_fill(folder / "inline", urls))
    shutil.copytree(folder / "inline", folder / "p2")
    headers = servers.authorization(secret)
    with ExitStack() as stack:
        near = {
            kind: stack.enter_context(servers.pricore(folder / kind, inline_limit=limit)).url
            for kind, limit in _LIMITS.items()
        }
        far = {
            kind: stack.enter_context(
                servers.serving(["bench.distance"], request={"url": url, "seconds": effort.distance})
            ).url
            for kind, url in near.items()
        }
        results = [_bytes(near, headers, names, metadata)]
        cases = [(_NEAR, near, names), (effort.distance, far, names)]
        if count > 1:
            cases.append((effort.distance, far, names[:1]))
        for distance, at, required in cases:
            clients = {
                kind: _client(folder / f"{kind}-{distance}-{len(required)}", url, secret, required)
                for kind, url in at.items()
            }
            what = f"composer update of {len(required)} of {count} packages, {distance * 1000:g} ms away"
            results += _compare(what, clients, effort.pairs)
    return results


async def _fill(data: Path, urls: Sequence[str]) -> tuple[str, int]:
    """A token's secret, and the bytes of metadata as `inline_limit` counts them."""
    async with registries.opened(data) as registry:
        for url in urls:
            await registry.follow(url)
        (metadata,) = await registry.store.fetch_one("SELECT sum(inline_size) FROM packages") or (0,)
        return await registry.create_token(), metadata


def _bytes(at: Mapping[str, str], headers: Mapping[str, str], names: Sequence[str], metadata: int) -> Result:
    """How much is sent either way, plain and with gzip."""
    shown = {}
    for kind, url in at.items():
        paths = [f"{_ORG}/packages.json"]
        if kind == "p2":
            paths += [f"{_ORG}/p2/{name}{half}.json" for name in names for half in ("", "~dev")]
        plain, packed = (
            [len(servers.get(url + path, {**headers, "Accept-Encoding": encoding}).body) for path in paths]
            for encoding in ("identity", "gzip")
        )
        shown[kind] = f"packages.json {size(plain[0])} (gzip {size(packed[0])})"
        if kind == "p2":
            shown[kind] += f", with all of p2 {size(sum(plain))} (gzip {size(sum(packed))})"
    what = f"bytes of {len(names)} packages of {_VERSIONS} versions, {size(metadata)} to the limit"
    return Result(what=what, ours=f"inline: {shown['inline']}", against=f"p2: {shown['p2']}")


def _client(folder: Path, url: str, secret: str, required: Sequence[str]) -> Composer:
    composer = Composer(folder)
    composer.write(require=dict.fromkeys(required, "*"), registry=url + _ORG)
    composer.log_in(url + _ORG, secret)
    return composer


def _compare(what: str, clients: Mapping[str, Composer], pairs: int) -> list[Result]:
    cold: dict[str, list[float]] = {kind: [] for kind in clients}
    warm: dict[str, list[float]] = {kind: [] for kind in clients}
    for composer in clients.values():
        _update(composer)  # PHP's own files are read from the disk once
    for _ in range(pairs):
        for kind, composer in clients.items():
            composer.forget()
            cold[kind].append(_update(composer))
        for kind, composer in clients.items():
            warm[kind].append(_update(composer))
    return [
        compare(f"{what}, {cache} cache", times["inline"], times["p2"], seconds, name="p2")
        for cache, times in (("cold", cold), ("warm", warm))
    ]


def _update(composer: Composer) -> float:
    (composer.folder / "composer.lock").unlink(missing_ok=True)
    began = time.perf_counter()
    composer.run("update", "--no-install")
    return time.perf_counter() - began
