"""Requests a second for p2 metadata with authentication, against aiohttp that does nothing else."""

import base64
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from bench import peers, registries, repositories
from bench.effort import Effort
from bench.load import CONNECTIONS, put_load
from bench.machine import runner, server_and_load
from bench.results import Goal, Result, compare, rate
from bench.servers import Answer, Server, authorization, get, pricore, serving

_PACKAGE: Final = "acme/library"
_PATH: Final = f"/org/{registries.ORGANIZATION}/p2/{_PACKAGE}.json"
_VERSIONS: Final = 50
_GOAL: Final = Goal(0.8, at_least=True)
_NGINX_GOAL: Final = Goal(2.5, at_least=True)
_SAME: Final = ("content-type", "content-encoding", "last-modified", "cache-control", "vary")


def measure(folder: Path, effort: Effort) -> list[Result]:
    """The rates of 200 and of 304, each as pairs."""
    versions = min(_VERSIONS, effort.tags)
    url = repositories.create(folder / "upstream", name=_PACKAGE, tags=versions, files=3)
    data = folder / "data"
    core, _ = server_and_load()
    with ExitStack() as stack:
        secret = runner()(_fill(data, url))
        headers = {**authorization(secret), "Accept-Encoding": "zstd"}
        ours = stack.enter_context(pricore(data, core=core))
        answer = get(ours.url + _PATH, headers)
        results = []
        for status, sent in (
            (200, headers),
            (304, headers | {"If-Modified-Since": answer.headers["last-modified"]}),
        ):
            bare = stack.enter_context(serving(["bench.bare"], core=core, request=_request(answer, status)))
            _check(get(ours.url + _PATH, sent), get(bare.url + _PATH, sent), status)
            what = f"p2 GET {status}, {versions} versions, {len(answer.body)} bytes, {CONNECTIONS} connections"
            results += _compare(what, ours, bare, sent, status, effort)
        if peers.has_nginx():
            plain = get(ours.url + _PATH, authorization(secret) | {"Accept-Encoding": "identity"}).body
            results.append(_against_nginx(folder / "nginx", ours, plain, secret, effort))
    return results


def _against_nginx(folder: Path, ours: Server, plain: bytes, secret: str, effort: Effort) -> Result:
    """The same document as Satis leaves it to nginx: a file, behind an htpasswd."""
    root = folder / "root"
    file = root / f"p2/{_PACKAGE}.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(plain)
    htpasswd = folder / "htpasswd"
    htpasswd.write_text(f"token:{peers.hash_password(secret)}")
    core, load = server_and_load()
    headers = authorization(secret) | {"Accept-Encoding": "zstd"}
    more = f'auth_basic "Satis"; auth_basic_user_file {htpasswd};'
    with peers.nginx(folder / "run", root, core=core, more=more) as nginx:
        if get(f"{nginx.url}/p2/{_PACKAGE}.json", {}).status != 401:
            raise RuntimeError("nginx lets everybody in")
        mine, other = put_load(
            [ours, nginx], [_PATH, f"/p2/{_PACKAGE}.json"], headers, status=200, slices=effort.slices, core=load
        )
    return compare(
        f"p2 GET 200, {CONNECTIONS} connections, by processor time",
        mine.by_processor or mine.by_clock,
        other.by_processor or other.by_clock,
        rate,
        name="nginx, htpasswd of apr1, one worker",
        goal=_NGINX_GOAL,
    )


async def _fill(data: Path, url: str) -> str:
    async with registries.opened(data) as registry:
        await registry.follow(url)
        return await registry.create_token()


def _request(answer: Answer, status: int) -> Mapping[str, object]:
    """What the bare server is to answer."""
    return {
        "body": base64.b64encode(answer.body).decode(),
        "headers": {name.title(): answer.headers[name] for name in _SAME},
        "not_modified": answer.headers["last-modified"] if status == 304 else None,
    }


def _check(ours: Answer, bare: Answer, status: int) -> None:
    """Refuse to compare what isn't the same."""
    same = all(ours.headers.get(name) == bare.headers.get(name) for name in _SAME)
    if {ours.status, bare.status} != {status} or ours.body != bare.body or not same:
        raise RuntimeError(f"the answers differ: {ours.status} {ours.headers}, {bare.status} {bare.headers}")
    if status == 200 and (not ours.body or ours.headers["content-encoding"] != "zstd"):
        raise RuntimeError(f"this is not what was asked for: {ours.headers}")


def _compare(
    what: str, ours: Server, bare: Server, headers: Mapping[str, str], status: int, effort: Effort
) -> list[Result]:
    _, core = server_and_load()
    mine, other = put_load([ours, bare], _PATH, headers, status=status, slices=effort.slices, core=core)
    if not mine.by_processor:
        return [compare(what, mine.by_clock, other.by_clock, rate, name="bare aiohttp", goal=_GOAL)]
    of_processor = mine.by_processor, other.by_processor
    return [
        # where others take the core away both wait alike, which makes them look more alike than they are
        compare(f"{what}, by the clock", mine.by_clock, other.by_clock, rate, name="bare aiohttp"),
        compare(f"{what}, by processor time", *of_processor, rate, name="bare aiohttp", goal=_GOAL),
    ]
