"""Satis, where it is installed: its build beside an import, its files behind nginx beside `composer update`."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import peers, registries, repositories, servers
from bench.effort import Effort
from bench.machine import runner
from bench.results import Goal, Result, Spread, compare, seconds, size
from tests.harness import Client, Composer

_PACKAGE: Final = "acme/large"
_VERSIONS: Final = 10
_ORG: Final = f"/org/{registries.ORGANIZATION}"
_IMPORT_GOAL: Final = Goal(1 / 30)
_UPDATE_GOAL: Final = Goal(1)
_BYTES_GOAL: Final = Goal(0.2)


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The figures of one large repository, and of an organization of many small ones."""
    missing = [name for name in ("satis", "composer", "php", "nginx") if shutil.which(name) is None]
    if missing:
        return [Result(what="Pricore against Satis", ours=f"skipped: {' and '.join(missing)} not installed")]
    return [*_large(folder / "large", effort), *_updates(folder / "many", effort)]


def _large(folder: Path, effort: Effort) -> list[Result]:
    """The time and the disk that it takes to serve all versions of one repository, archives included."""
    folder.mkdir(parents=True)
    url = effort.repository or repositories.create(
        folder / "upstream", name=_PACKAGE, tags=effort.tags, files=effort.files
    )
    archive = {"directory": "dist", "format": "zip", "checksum": True}
    data, output = folder / "data", folder / "satis" / "output"
    ours, secret = _import(data, url)
    theirs = _build(folder / "satis", [url], archive=archive)
    # it takes minutes, in which a machine can become another one
    times = [ours, *(_import(folder / f"again{number}", url)[0] for number in range(effort.imports))]
    imported = _disk(data)
    headers = servers.authorization(secret) | {"Accept-Encoding": "zstd"}
    with servers.pricore(data, sync_interval=0) as server:
        client = Client(server.url, secret)
        (name,) = (package["name"] for package in client.read(f"{_ORG}/search.json")["results"])
        archives = [entry["dist"]["url"] for entry in client.versions(name).values()]
        for archive_url in archives:
            if (answer := servers.get(archive_url, headers)).status != 200:
                raise RuntimeError(f"it answered {answer.status}: {answer.body!r}")
    what = f"of {name}, {len(archives)} versions"
    if not effort.repository:
        what = f"of {effort.tags} tags, {effort.files} files each"
    return [
        compare(
            f"first import {what}",
            times,
            [theirs] * len(times),
            seconds,
            name="Satis with archives",
            goal=_IMPORT_GOAL,
        ),
        _sizes(f"disk after the import {what}", imported, _disk(output)),
        _sizes("disk once each version was asked for", _disk(data), _disk(output)),
    ]


def _updates(folder: Path, effort: Effort) -> list[Result]:
    """`composer update` of all packages of an organization, against what Satis makes of the same behind nginx."""
    count = max(effort.packages)
    names = [f"acme/part{number}" for number in range(count)]
    urls = [repositories.create(folder / name, name=name, tags=_VERSIONS - 1, files=3) for name in names]
    _build(folder / "satis", urls)
    secret = runner()(_fill(folder / "data", urls))
    htpasswd = folder / "htpasswd"
    htpasswd.write_text(f"token:{peers.hash_password(secret)}")
    with ExitStack() as stack:
        ours = stack.enter_context(servers.pricore(folder / "data", sync_interval=0))
        more = f'auth_basic "Satis"; auth_basic_user_file {htpasswd};'
        nginx = stack.enter_context(
            peers.nginx(folder / "nginx", folder / "satis" / "output", core=None, more=more)
        )
        clients = [
            _client(folder / "ours", ours.url + _ORG, secret, names),
            _client(folder / "theirs", nginx.url, secret, names),
        ]
        cold: tuple[list[float], list[float]] = ([], [])
        warm: tuple[list[float], list[float]] = ([], [])
        for composer in clients:
            _update(composer)  # PHP's own files are read from the disk once
        for _ in range(effort.pairs):
            for times, composer in zip(cold, clients, strict=True):
                composer.forget()
                times.append(_update(composer))
            for times, composer in zip(warm, clients, strict=True):
                times.append(_update(composer))
        sent = (_bytes(folder, ours.url, _ORG, secret, names), _bytes(folder, nginx.url, "", secret, names))
    what = f"composer update of {count} packages"
    name = "Satis behind nginx"
    return [
        compare(f"{what}, cold cache", *cold, seconds, name=name, goal=_UPDATE_GOAL),
        compare(f"{what}, warm cache", *warm, seconds, name=name, goal=_UPDATE_GOAL),
        _sizes(f"bytes on the wire of {what}, cold cache", *sent, name=name, goal=_BYTES_GOAL),
    ]


def _import(data: Path, url: str) -> tuple[float, str]:
    """Seconds that it takes to follow a repository in a new data folder, and the secret of a token for it."""
    began = time.perf_counter()
    secret = runner()(_fill(data, [url]))
    return time.perf_counter() - began, secret


async def _fill(data: Path, urls: Sequence[str]) -> str:
    """The secret of a token of a new registry that follows these repositories."""
    async with registries.opened(data) as registry:
        for url in urls:
            await registry.follow(url)
        return await registry.create_token()


def _build(folder: Path, urls: Sequence[str], **more: object) -> float:
    """Seconds that Satis takes for a folder of files with all versions of some repositories."""
    folder.mkdir()
    content = {
        "name": "acme/satis",
        "homepage": "http://localhost",
        "repositories": [{"type": "vcs", "url": url} for url in urls],
        "require-all": True,
        "output-html": False,
    }
    (folder / "satis.json").write_text(json.dumps(content | more))
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "COMPOSER_HOME": str(folder / "home"),
        "COMPOSER_ALLOW_SUPERUSER": "1",
    }
    began = time.perf_counter()
    subprocess.run(
        ["satis", "build", "--no-interaction", "--quiet", "satis.json", "output"],
        cwd=folder,
        env=environment,
        check=True,
    )
    return time.perf_counter() - began


def _client(folder: Path, registry: str, secret: str, names: Sequence[str]) -> Composer:
    composer = Composer(folder)
    composer.write(require=dict.fromkeys(names, "*"), registry=registry)
    composer.log_in(registry, secret)
    return composer


def _update(composer: Composer) -> float:
    (composer.folder / "composer.lock").unlink(missing_ok=True)
    began = time.perf_counter()
    composer.run("update", "--no-install")
    return time.perf_counter() - began


def _bytes(folder: Path, url: str, path: str, secret: str, names: Sequence[str]) -> int:
    """Bytes that go over the wire, both ways, for an update without a cache."""
    count = folder / "count"
    request: Mapping[str, object] = {"url": url, "seconds": 0, "count": str(count)}
    with servers.serving(["bench.distance"], request=request) as between:
        client = _client(folder / f"client{path.replace('/', '-')}", between.url + path, secret, names)
        _update(client)
    return int(count.read_text())


def _disk(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _sizes(what: str, ours: int, theirs: int, *, name: str = "Satis", goal: Goal | None = None) -> Result:
    ratio = Spread.of([ours / theirs])
    return Result(
        what=what,
        ours=size(ours),
        against=f"{name} {size(theirs)}",
        ratio=ratio,
        goal=goal,
        met=None if goal is None else goal.met(ratio.median),
    )
