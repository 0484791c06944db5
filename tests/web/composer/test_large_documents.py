"""Documents of many megabytes: made once for all who ask, in pieces, and sent as fast as they are read."""

import asyncio
import json
import random
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from pricore.composer import metadata
from pricore.web.composer import metadata as endpoints
from pricore.web.http.responses import FinishedResponse, large_response
from tests.harness import GitRepository
from tests.web.composer.harness import World
from tests.web.composer.test_response_cache import Connect, connect

__all__ = ["connect"]

P2 = "/p2/acme/large.json"
VERSIONS = 12


@pytest.fixture
async def large(world: World, tmp_path: Any) -> World:
    """A world with acme/large, which has a document of more than a megabyte."""
    upstream = GitRepository(tmp_path / "large")
    text = random.Random(7)
    for n in range(VERSIONS):
        upstream.commit({"name": "acme/large", "extra": {"x": text.randbytes(50_000).hex()}})
        upstream.tag(f"1.{n}.0")
    await world.follow(upstream)
    return world


async def test_a_large_document_is_the_same_in_every_encoding(large: World) -> None:
    """Its versions, their URLs and its length are right, whatever it is sent with, and HEAD has no body."""
    bodies = []
    for encoding in ("identity", "gzip", "zstd"):
        reply = await large.get(P2, headers={"Accept-Encoding": encoding})
        assert int(reply.headers["Content-Length"]) == len(reply.body)
        bodies.append(reply.decoded)
        head = await large.get(P2, headers={"Accept-Encoding": encoding}, method="HEAD")
        assert (head.body, head.headers["Content-Length"]) == (b"", reply.headers["Content-Length"])
        known = {"If-Modified-Since": reply.headers["Last-Modified"], "Accept-Encoding": encoding}
        assert (await large.ask(P2, await large.token(), headers=known)).status == 304
    assert len(bodies[0]) > metadata.LARGE
    assert bodies[0] == bodies[1] == bodies[2]
    (versions,) = json.loads(bodies[0])["packages"].values()
    assert len(versions) == VERSIONS
    for entry in versions:
        assert entry["dist"]["url"].startswith(f"{large.base}/org/acme/packages/acme/large/1.")
    assert metadata.BASE.encode() not in bodies[0]


async def test_a_large_document_is_made_once_for_all_who_ask(
    large: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty who ask at the same time wait for one; those in other encodings are made one after the other.

    That is the work of threads for documents: who waits for another kind of work doesn't wait for it.
    """
    made, at_once, threads = [], set(), set()
    now_running = 0

    def note(plain: Iterable[bytes], last_modified: int, encoding: str) -> FinishedResponse:
        nonlocal now_running
        now_running += 1
        at_once.add(now_running)
        made.append(encoding)
        threads.add(threading.current_thread().name.split("_")[0])
        try:
            return large_response(plain, last_modified, encoding)
        finally:
            now_running -= 1

    monkeypatch.setattr(endpoints, "large_response", note)
    secret = await large.token()
    encodings = ["gzip", "zstd", "identity"] * 7
    await asyncio.gather(*(large.get(P2, secret, headers={"Accept-Encoding": item}) for item in encodings))
    assert sorted(made) == ["gzip", "identity", "zstd"]
    assert at_once == {1}
    assert threads == {"documents"}


async def test_a_large_response_waits_for_who_reads_it(large: World, connect: Connect) -> None:
    """It never goes into a connection at once, kept or not: who reads slowly has no more there than a piece."""
    line = await connect(large)
    replies = [await line.get(P2) for _ in range(3)]
    assert {reply.at_once for reply in replies} == {False}
    assert len({reply.body for reply in replies}) == 1
    assert len(replies[0].body) > metadata.LARGE


@pytest.mark.parametrize("size", [1, 2, 5, 13, 14, 15, 1000])
def test_the_base_is_found_wherever_pieces_end(size: int) -> None:
    """URLs are right though a piece ends within what stands for their beginning."""
    text = b"pppricore:/pricore://bas|pricore://base/x|pricore://basepricore://base|p"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    expected = text.replace(b"pricore://base", b"https://x")
    assert expected == b"".join(metadata.with_base(pieces, "https://x"))


def test_the_pieces_of_a_large_response_are_small() -> None:
    """No single piece of memory is as large as the document."""
    piece = random.Random(1).randbytes(100_000)
    for encoding in ("identity", "gzip", "zstd"):
        response = large_response((piece for _ in range(20)), 1, encoding)
        assert response.is_large
        assert max(map(len, response.pieces)) < 500_000
