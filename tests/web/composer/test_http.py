"""What answers have as HTTP: dates, caching, encodings, HEAD, and one answer for many at once."""

import asyncio
import logging
import os
import re
import socket
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime

import pytest

from pricore.system.metrics import Metrics
from pricore.web.http.admission import Access
from pricore.web.http.response_cache import CachedResponse, CachedResponses
from pricore.web.http.responses import FinishedResponse
from tests.harness import GitRepository
from tests.web.composer.harness import Server, Start, World, connections, error, handled

# Dates


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/library.json", "/p2/acme/library~dev.json"])
async def test_what_a_client_has_is_not_sent_again(world: World, secret: str, path: str) -> None:
    """The exact date of a document is answered with 304 and no body, any other date with the document."""
    first = await world.get(path, secret)
    date = first.headers["Last-Modified"]
    moment = int(parsedate_to_datetime(date).timestamp())
    again = await world.ask(path, secret, headers={"If-Modified-Since": date})

    assert (again.status, again.body) == (304, b"")
    for header in ("Last-Modified", "Vary", "Cache-Control"):
        assert first.headers[header] == again.headers[header]
    for other in (formatdate(moment - 1, usegmt=True), formatdate(moment + 1, usegmt=True), "", "yesterday"):
        reply = await world.get(path, secret, headers={"If-Modified-Since": other})
        assert first.body == reply.body


async def test_two_views_never_have_one_date(start: Start) -> None:
    """A client that changes its token never takes the other token's packages.json for its own."""
    world = await start()
    views: list[list[str] | None] = [
        *(None, [], ["acme/library"], ["acme/plugin"], ["acme/library", "acme/plugin"]),
        *(["beta/tools"], ["acme/library", "acme/plugin", "beta/tools"]),
    ]
    secrets = [await world.token(packages=view) for view in views]
    dates = [(await world.get("/packages.json", secret)).headers["Last-Modified"] for secret in secrets]

    assert len(views) == len(set(dates))
    for secret, own in zip(secrets, dates, strict=True):
        for date in dates:
            reply = await world.ask("/packages.json", secret, headers={"If-Modified-Since": date})
            assert reply.status == (304 if date == own else 200)


async def test_equal_views_have_one_date(world: World) -> None:
    """Two tokens that see the same share a date, and a client that changes between them keeps its copy."""
    first, second = [await world.token(packages=["acme/plugin", "acme/library"]) for _ in range(2)]

    dates = [(await world.get("/packages.json", secret)).headers["Last-Modified"] for secret in (first, second)]
    assert dates[0] == dates[1]


async def test_a_package_that_is_not_seen_moves_no_date(world: World, upstream: GitRepository) -> None:
    """packages.json of a restricted token stays 304 while others come, and moves with its own package."""
    secret = await world.token(packages=["acme/library", "acme/late"])
    date = (await world.get("/packages.json", secret)).headers["Last-Modified"]
    upstream.commit({"name": "acme/hidden"})
    await world.follow(upstream)
    reply = await world.ask("/packages.json", secret, headers={"If-Modified-Since": date})
    assert (reply.status, reply.headers["Last-Modified"]) == (304, date)

    upstream.commit({"name": "acme/late"})
    upstream.tag("1.0.0")
    await world.sync(upstream)
    reply = await world.get("/packages.json", secret, headers={"If-Modified-Since": date})
    assert parsedate_to_datetime(reply.headers["Last-Modified"]) > parsedate_to_datetime(date)
    assert "acme/late" in reply.json["available-packages"]


# Caching


@pytest.mark.parametrize("path", ["/packages.json", "/p2/acme/library.json", "/p2/acme/plugin.json"])
async def test_documents_are_for_one_client_and_asked_for_again(world: World, path: str) -> None:
    """No proxy keeps a document for others, and no client uses it without asking whether it is still right."""
    headers = (await world.get(path)).headers

    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["Vary"] == "Authorization, Accept-Encoding"
    assert headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", ["/list.json", "/search.json", "/security-advisories"])
async def test_lists_are_for_one_client(world: World, path: str) -> None:
    """What depends on the token says so to proxies."""
    headers = (await world.get(path)).headers

    assert headers["Cache-Control"] == "private, no-cache"
    assert "Authorization" in headers["Vary"]


async def test_many_at_once_get_the_same_answer(world: World, secret: str) -> None:
    """Clients that ask at the same time for what isn't in memory yet all get it."""
    for path in ("/p2/acme/library.json", "/p2/acme/plugin~dev.json", "/packages.json"):
        replies = await asyncio.gather(*(world.ask(path, secret) for _ in range(20)))

        assert {200} == {reply.status for reply in replies}
        assert len({reply.body for reply in replies}) == 1


def test_a_response_takes_its_room_in_memory_once() -> None:
    """A response made for several clients at a time drives no other out; beyond the limit the oldest go."""
    response = FinishedResponse(b"x" * 1000, {})
    kept = CachedResponse(response, Access("acme", None), Metrics().unread, 1)
    first, second, third, fourth = (
        (f"/{name}", "zstd", "", None) for name in ("first", "second", "third", "fourth")
    )
    alone = CachedResponses(2**40)
    alone.keep(third, kept)
    cache = CachedResponses(4 * alone.size - 100)
    cache.keep(first, kept)
    for _ in range(10):
        cache.keep(second, kept)
    cache.keep(third, kept)
    assert list(cache) == [first, second, third]
    cache.keep(fourth, kept)
    assert list(cache) == [second, third, fourth]


# Encodings

ENCODINGS = [
    ("deflate, gzip, br, zstd", "zstd"),
    ("gzip", "gzip"),
    ("gzip, deflate", "gzip"),
    ("gzip;q=0.5", "gzip"),
    ("identity", None),
    ("br", None),
    ("", None),
    ("zstd;q=0, gzip;q=0", None),
    ("gzip;q=0.5, zstd;q=0.1", "gzip"),
    ("zstd;q=0.2, GZIP ; Q=0.200", "zstd"),
    ("zstd;q=0, gzip", "gzip"),
    ("gzip;q=0.9, identity", None),
    ("gzip, identity;q=0.9, *;q=0", "gzip"),
    ("identity;q=0, gzip;q=0.001", "gzip"),
    ("x-gzip", "gzip"),
    ("*", "gzip"),
    ("*;q=0.5, gzip;q=0", None),
    ("*, gzip;q=0, identity;q=0", "zstd"),
    ("*;q=0", None),
    ("identity;q=0", None),
    ("zstd;q=much, gzip;q=0.1", "gzip"),
    ("not-zstd, gzip-like", None),
]
every_kind_of_body = pytest.mark.parametrize(
    "path", ["/packages.json", "/p2/acme/library.json", "/packages/acme/library/v1.0.0.zip"]
)


@every_kind_of_body
async def test_every_encoding_gives_the_same_bytes(world: World, path: str) -> None:
    """zstd for who takes it, gzip for who doesn't, neither for who takes none: decoded they are equal."""
    plain = await world.get(path)
    for accepted, encoding in ENCODINGS:
        reply = await world.get(path, headers={"Accept-Encoding": accepted})

        assert encoding == reply.headers.get("Content-Encoding")
        assert str(len(reply.body)) == reply.headers["Content-Length"]
        assert plain.body == reply.decoded
        assert encoding is None or len(reply.body) < len(plain.body)


@every_kind_of_body
@pytest.mark.parametrize("accepted", ["zstd", "gzip", "identity"])
async def test_head_is_get_without_the_body(world: World, secret: str, path: str, accepted: str) -> None:
    """HEAD tells what GET would, length included."""
    headers = {"Accept-Encoding": accepted}
    head = await world.get(path, secret, method="HEAD", headers=headers)
    full = await world.get(path, secret, headers=headers)

    assert head.body == b""
    moving = ("Date", "X-RateLimit-Remaining")
    told = [{key: value for key, value in item.headers.items() if key not in moving} for item in (head, full)]
    assert told[0] == told[1]
    error(await world.ask(path, method="GET", headers=headers), 401)
    assert (await world.ask(path, method="HEAD", headers=headers)).status == 401


async def raw(world: World, *requests: str) -> bytes:
    """What comes back over one connection until the server closes it."""
    reader, writer = await asyncio.open_connection(world.client.host, world.client.port)
    writer.write("".join(requests).encode())
    received = await asyncio.wait_for(reader.read(), timeout=10)
    writer.close()
    return received


@pytest.mark.parametrize("path", ["/org/acme/packages.json", "/org/acme/p2/acme/library.json"])
async def test_every_kind_of_connection_gets_the_same(world: World, secret: str, path: str) -> None:
    """Requests behind each other, of HTTP/1.0 and with Connection: close get one body, whole, with its length."""
    head = f"Host: {world.client.host}:{world.client.port}\r\nAuthorization: Bearer {secret}\r\n"
    keeping = f"GET {path} HTTP/1.1\r\n{head}\r\n"
    received = await raw(world, keeping, keeping, f"GET {path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n")
    received += await raw(world, f"GET {path} HTTP/1.0\r\n{head}\r\n")

    answers = [answer.partition(b"\r\n\r\n") for answer in re.split(rb"HTTP/1\.[01] 200 OK\r\n", received)[1:]]
    assert len(answers) == 4
    assert len({body for _, _, body in answers}) == 1
    for lines, _, body in answers:
        fields = dict(line.split(": ", 1) for line in lines.decode().split("\r\n"))
        assert int(fields["Content-Length"]) == len(body) > 0
        assert re.fullmatch(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", fields["Date"])
        assert (fields["Content-Type"], fields["X-RateLimit-Limit"]) == ("application/json", "1000")


async def test_an_unchanged_answer_has_no_body_and_keeps_the_connection(world: World, secret: str) -> None:
    """After a 304 the next answer comes over the same connection."""
    path = "/org/acme/packages.json"
    date = (await world.get("/packages.json", secret)).headers["Last-Modified"]
    head = f"Host: x\r\nAuthorization: Bearer {secret}\r\n"
    received = await raw(
        world,
        f"GET {path} HTTP/1.1\r\n{head}If-Modified-Since: {date}\r\n\r\n" * 2,
        f"GET {path} HTTP/1.1\r\n{head}If-Modified-Since: {date}\r\nConnection: close\r\n\r\n",
    )

    answers = received.split(b"HTTP/1.1 304 Not Modified\r\n")
    assert len(answers) == 4
    assert all(answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1 for answer in answers[1:])


async def test_a_client_that_does_not_read_is_not_answered_on(start: Start) -> None:
    """Who sends request after request and reads nothing gets what the connection holds, and no more."""
    world = await start(inline_limit=0, requests_per_minute=0)
    secret = await world.token()
    size = len((await world.get("/p2/acme/library.json", secret)).body)
    count = 64 * 1024 * 1024 // size
    asked = f"GET /org/acme/p2/acme/library.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n\r\n"
    loop = asyncio.get_running_loop()
    began = handled(world)
    with socket.create_connection((world.client.host, world.client.port)) as connection:
        connection.setblocking(False)
        task = loop.create_task(loop.sock_sendall(connection, asked.encode() * count))
        seen = [began]
        while len(seen) < 3 or seen[-1] != seen[-3]:
            await asyncio.sleep(0.3)
            seen.append(handled(world))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert 0 < (seen[-1] - began) * size < 16 * 1024 * 1024


@pytest.fixture
async def large(start: Start, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch) -> World:
    """A server with an archive and a document larger than buffers; who takes nothing for a second is let go."""
    monkeypatch.setattr(Server, "unread_seconds", 1.0)
    upstream.commit(
        {"name": "acme/large", "extra": {"text": "x" * 200_000}}, files={"noise": os.urandom(8_000_000)}
    )
    upstream.tag("1.0.0")
    world = await start(inline_limit=0, requests_per_minute=0)
    await world.follow(upstream)
    return world


def ask_for(world: World, secret: str, path: str, *, accepted: str) -> socket.socket:
    """A client that has asked and not read yet, with little room for what comes."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((world.client.host, world.client.port))
    head = f"GET /org/acme{path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accepted}\r\n"
    connection.sendall(f"{head}Authorization: Bearer {secret}\r\n\r\n".encode())
    connection.setblocking(False)
    return connection


LARGE = [
    *[("/packages/acme/large/1.0.0.zip", accepted) for accepted in ("zstd", "identity")],
    ("/p2/acme/large.json", "identity"),
]


@pytest.mark.parametrize(("path", "accepted"), LARGE)
async def test_who_reads_nothing_is_let_go(
    large: World, caplog: pytest.LogCaptureFixture, path: str, accepted: str
) -> None:
    """Neither an archive nor a document keeps its connection while nobody takes it, and the log has no word."""
    secret = await large.token()
    await large.get(path, secret)
    before = connections(large)
    with ask_for(large, secret, path, accepted=accepted):
        await until(lambda: any(item not in before for item in connections(large)))
        (asked,) = [item for item in connections(large) if item not in before]
        await until(lambda: asked not in connections(large))

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_who_reads_slowly_is_kept(large: World) -> None:
    """Three times as long as who reads nothing has, a client goes on reading."""
    secret, loop = await large.token(), asyncio.get_running_loop()
    path = "/packages/acme/large/1.0.0.zip"
    await large.get(path, secret)
    with ask_for(large, secret, path, accepted="zstd") as connection:
        until = loop.time() + 3
        while loop.time() < until:
            assert await loop.sock_recv(connection, 20_000)
            await asyncio.sleep(0.02)
        assert await loop.sock_recv(connection, 1_000_000)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the server does by itself."""
    async with asyncio.timeout(30):
        for _ in iter(condition, True):
            await asyncio.sleep(0.02)
