"""A body may be large, but not without end, and not for ever on its way."""

import asyncio
import hashlib
import hmac
import io
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from tests.web.api.harness import jobs, refusal
from tests.web.webhooks.harness import HOSTS, QUEUED, Followed, hex_hmac

MEGABYTE = 1024 * 1024
PIECE = b"x" * MEGABYTE


async def pieces(count: int) -> AsyncIterator[bytes]:
    """A body of so many megabytes, whose length nobody is told."""
    for _ in range(count):
        yield PIECE


async def stalled() -> AsyncIterator[bytes]:
    """A body that begins, and doesn't go on."""
    yield b"{"
    await asyncio.sleep(5)


def sign(followed: Followed, count: int) -> dict[str, str]:
    """GitHub's headers for a body of so many megabytes."""
    mac = hmac.new(followed.secret.encode(), digestmod=hashlib.sha256)
    for _ in range(count):
        mac.update(PIECE)
    return {**HOSTS["github"].headers, "X-Hub-Signature-256": f"sha256={mac.hexdigest()}"}


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
@pytest.mark.usefixtures("busy")
async def test_a_large_body_passes(followed: Followed, chunked: bool) -> None:
    """A push of thousands of commits (24 MB) is taken."""
    reply = await followed.send("github", sign(followed, 24), pieces(24) if chunked else io.BytesIO(PIECE * 24))

    assert (reply.status, reply.json) == (200, QUEUED)


@pytest.mark.usefixtures("busy")
async def test_a_large_body_is_not_held_in_memory(followed: Followed) -> None:
    """What it takes to check one is a small part of its size."""
    headers = sign(followed, 24)
    await followed.deliver(HOSTS["github"])
    tracemalloc.start()
    reply = await followed.send("github", headers, pieces(24))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert reply.status == 200
    assert peak < 6 * MEGABYTE


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
async def test_a_body_that_is_too_large(followed: Followed, chunked: bool) -> None:
    """Past 25 MB it is 413, signed or not, and nothing is queued."""
    headers = sign(followed, 26)
    url = f"{followed.world.base}/webhooks/github/{followed.id}"
    body = pieces(26) if chunked else io.BytesIO(PIECE * 26)
    refusal(await followed.world.ask(url, method="POST", headers=headers, body=body), 413)

    assert jobs(followed.world) == []


@pytest.mark.parametrize("route", ["github", "git"])
async def test_a_body_that_takes_too_long(followed: Followed, route: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends half a body and then nothing is told so after a while, and nothing is queued."""
    monkeypatch.setattr("pricore.web.webhooks.BODY_SECONDS", 0.2)
    headers = {"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=00", "X-Webhook-Secret": followed.secret}
    async with asyncio.timeout(4):
        message, _ = refusal(await followed.send(route, headers, stalled()), 400)

    assert "took longer" in message
    assert jobs(followed.world) == []


async def test_a_wrong_token_is_refused_before_the_body(followed: Followed) -> None:
    """Where the secret is in a header, nobody without it gets a body read."""
    async with asyncio.timeout(4):
        refusal(await followed.send("gitlab", {"X-Gitlab-Token": "wrong"}, stalled()), 401)


async def test_a_body_that_breaks_off(followed: Followed) -> None:
    """A host that goes away in the middle leaves no job, and the server goes on."""
    body = b"{}"
    _, writer = await asyncio.open_connection(followed.world.client.host, followed.world.client.port)
    head = (
        f"POST /webhooks/github/{followed.id} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        f"X-GitHub-Event: push\r\nX-Hub-Signature-256: sha256={hex_hmac(followed.secret, body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    await writer.wait_closed()
    await asyncio.sleep(0.1)

    assert jobs(followed.world) == []
    assert (await followed.deliver(HOSTS["github"])).status == 200
