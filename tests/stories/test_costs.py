"""Repositories that are made to cost far more than they hold are synced and served in little memory."""

import hashlib
import json
import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from tests.harness import Client, GitRepository, Pricore

MEGABYTE = 1024**2
READERS = 9
ENCODINGS = ("zstd", "gzip", "identity")


_RANDOM = random.Random(5)


def same(name: str) -> Iterator[bytes]:
    """1,500 tags on one commit, whose composer.json has 250 kB."""
    yield from commit(0, composer_json(name, 250_000), [f"2.0.{n}" for n in range(1500)])


def turns(name: str) -> Iterator[bytes]:
    """Two of those that take turns, so that a minified document has all of each."""
    contents = [composer_json(name, 250_000) for _ in range(2)]
    for n in range(300):
        yield from commit(n, contents[n % 2], [f"2.0.{n}"])


def different(name: str) -> Iterator[bytes]:
    """More that have nothing in common than one sync reads."""
    for n in range(300):
        yield from commit(n, composer_json(name, 250_000), [f"2.0.{n}"])


def small(name: str) -> Iterator[bytes]:
    """As many tags as a repository may have, with the composer.json of a small library."""
    for n in range(100):
        yield from commit(n, composer_json(name, 500), [f"2.{n}.{patch}" for patch in range(199)])


def composer_json(name: str, size: int) -> bytes:
    text = _RANDOM.randbytes(size // 2).hex()
    return json.dumps({"name": f"acme/{name}", "extra": {"x": text}}).encode()


def commit(number: int, content: bytes, tags: Sequence[str]) -> Iterator[bytes]:
    """A commit with a composer.json and some tags, as git imports it."""
    head = f"commit refs/tags/{tags[0]}\nmark :1\ncommitter Ada <ada@example.com> {1_700_000_000 + number} +0000\n"
    yield (
        f"{head}data 0\ndeleteall\nM 100644 inline composer.json\ndata {len(content)}\n".encode() + content + b"\n"
    )
    for tag in tags[1:]:
        yield f"reset refs/tags/{tag}\nfrom :1\n\n".encode()


@pytest.mark.long
def test_repositories_that_multiply_what_they_hold_cost_little(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """Each has its newest versions served to all who ask, and is told what was left out, in little memory."""
    expected = {same: 100, turns: 100, different: 100, small: 19_900}
    upstreams = {make: make_repository(make.__name__) for make in expected}
    for make, upstream in upstreams.items():
        upstream.commit({"name": f"acme/{make.__name__}"})
        pricore.run("repo", "add", "acme", upstream.url)
        upstream.git("config", "pack.window", "0")  # packing them takes most of the time otherwise
        upstream.git("fast-import", "--quiet", stdin=b"".join(make(make.__name__)))
    scopes = [part for scope in ("packages:read", "repositories:write") for part in ("--scope", scope)]
    repositories = {item["url"]: item for item in pricore.json("repo", "list", "acme")}
    with pricore.serving() as server:
        client = Client(server["url"], pricore.token(*scopes, "--scope", "repositories:read"))
        for make, upstream in upstreams.items():
            sync(client, repositories[upstream.url]["id"])
            documents = read(client, f"acme/{make.__name__}")
            assert len({hashlib.sha256(body).digest() for body in documents}) == 1
            (versions,) = json.loads(documents[0])["packages"].values()
            refs = pricore.json("repo", "show", "acme", upstream.url)["refs"]
            reasons = [item["left_out"] for item in refs if item["left_out"]]
            assert len(versions) + len(reasons) == len(refs) - 1  # main is in the other document
            assert len(versions) == expected[make]
            assert {reason.partition(":")[0] for reason in reasons} <= {"too much metadata", "not read yet"}
        assert peak(server["pid"]) < 250 * MEGABYTE


def sync(client: Client, repository: str) -> None:
    path = f"/api/organizations/acme/repositories/{repository}"
    client.ask("POST", f"{path}/sync")
    Pricore.wait(
        lambda: client.read(f"{path}/sync-runs")["data"][0]["status"] not in ("queued", "running"), seconds=120
    )


def read(client: Client, name: str) -> list[bytes]:
    """What many get of a package's metadata, decoded, who ask for it at the same time."""

    def ask(number: int) -> bytes:
        encoding = ENCODINGS[number % len(ENCODINGS)]
        status, body = client.ask("GET", f"/org/acme/p2/{name}.json", Accept_Encoding=encoding)
        assert status == 200
        match encoding:
            case "zstd":
                return zstandard.ZstdDecompressor().decompressobj().decompress(body)
            case "gzip":
                return zlib.decompress(body, wbits=31)
        return body

    with ThreadPoolExecutor(READERS) as readers:
        return list(readers.map(ask, range(READERS)))


def peak(pid: int) -> int:
    """The most memory that a process has had, bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024
