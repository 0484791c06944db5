"""Bodies are JSON whatever their Content-Type says, may be packed, and are limited in size and time."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator

import pytest

from tests.web.api.harness import ORG, refusal
from tests.web.composer.harness import Reply, World, error

TOKENS = f"{ORG}/tokens"
GOOD = b'{"name": "made"}'
MEGABYTE = 1024 * 1024


async def send(world: World, secret: str, body: bytes, **headers: str) -> Reply:
    """The answer to a request for a new token with these headers."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return await world.ask(world.base + TOKENS, secret, method="POST", headers=fields, body=body)


@pytest.mark.parametrize(
    "kind", ["text/plain; charset=utf-16", "application/x-www-form-urlencoded", ";;;", "json"]
)
async def test_the_content_type_plays_no_part(world: World, admin: str, kind: str) -> None:
    """A body is taken for JSON in UTF-8, whatever the client calls it."""
    assert (await send(world, admin, GOOD, Content_Type=kind)).status == 201


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        *(
            ("gzip", gzip.compress(GOOD, mtime=0)),
            ("GZIP", gzip.compress(GOOD, mtime=0)),
            ("deflate", zlib.compress(GOOD)),
        ),
        *(("identity", GOOD), ("gzip", gzip.compress(GOOD.ljust(MEGABYTE)))),
    ],
    ids=["gzip", "GZIP", "deflate", "identity", "a megabyte"],
)
async def test_a_packed_body_is_unpacked(world: World, admin: str, encoding: str, body: bytes) -> None:
    """gzip and deflate are understood, up to a megabyte unpacked."""
    assert (await send(world, admin, body, Content_Encoding=encoding)).status == 201


@pytest.mark.parametrize("encoding", ["br", "zstd", "bogus", "gzip, gzip", "chunked"])
async def test_another_packing_is_refused(world: World, admin: str, encoding: str) -> None:
    """What cannot be unpacked is 400, and said to be that."""
    message, _ = refusal(await send(world, admin, GOOD, Content_Encoding=encoding), 400)

    assert "Content-Encoding" in message


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        *(("gzip", GOOD), ("deflate", GOOD), ("gzip", b""), ("gzip", gzip.compress(GOOD, mtime=0)[:-1])),
        *(("deflate", zlib.compress(GOOD)[:-1]), ("gzip", gzip.compress(GOOD, mtime=0) + b"x")),
        ("gzip", gzip.compress(GOOD, mtime=0)[:-8] + bytes(8)),
    ],
)
async def test_a_body_that_is_packed_badly_is_refused(
    world: World, admin: str, encoding: str, body: bytes
) -> None:
    """Neither what is no archive, nor half of one, nor one with a wrong checksum is read."""
    message, _ = refusal(await send(world, admin, body, Content_Encoding=encoding), 400)

    assert message == "the request body is damaged"


@pytest.mark.parametrize("path", [TOKENS, "/org/acme/downloads", "/org/acme/security-advisories"])
async def test_a_small_body_that_unpacks_to_a_large_one_is_refused(world: World, admin: str, path: str) -> None:
    """More than a megabyte is 413, however little was sent."""
    body = gzip.compress(GOOD.ljust(MEGABYTE + 1))
    reply = await world.ask(
        world.base + path, admin, method="POST", headers={"Content-Encoding": "gzip"}, body=body
    )

    error(reply, 413)
    assert len(body) < 5000


@pytest.mark.parametrize("path", [TOKENS, "/org/acme/downloads", "/org/acme/security-advisories"])
async def test_a_body_that_takes_too_long(
    world: World, admin: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who sends half a body and then nothing is told so after a while."""
    monkeypatch.setattr("pricore.web.http.bodies.BODY_SECONDS", 0.2)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)

    async with asyncio.timeout(4):
        reply = await world.ask(world.base + path, admin, method="POST", body=stalled())

    assert "took longer" in error(reply, 400)
