"""What was answered before is answered at once: with the same words, and by the same rules."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest

from pricore.auth.access_tokens import hash_secret
from pricore.server import SERVER
from tests.harness import GitRepository, Pricore
from tests.web.composer.harness import Start, World, connections, handled

P2 = "/p2/acme/library.json"
ZIP = "/packages/acme/library/v1.0.0.zip"


class Response(msgspec.Struct, frozen=True):
    """A response as it came, and whether it came at once."""

    status: int
    headers: dict[str, str]
    body: bytes
    at_once: bool


class Line:
    """A connection to a server, with the token that is sent over it."""

    def __init__(self, world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.secret = ""
        self._world = world
        self._reader = reader
        self._writer = writer

    async def get(self, path: str, *lines: str, org: str = "acme", first: str = "GET {} HTTP/1.1") -> Response:
        """The answer to a request with some more lines in its head."""
        head = [
            first.format(f"/org/{org}{path}"),
            "Host: localhost",
            f"Authorization: Bearer {self.secret}",
            *lines,
        ]
        return await self.send("\r\n".join([*head, "", ""]).encode())

    async def send(self, *pieces: bytes) -> Response:
        """The first answer to some bytes, which are sent one piece after the other."""
        before = handled(self._world)
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()
            await asyncio.sleep(0.05 if len(pieces) > 1 else 0)
        return await self.read(before)

    async def read(self, before: int) -> Response:
        """The next response; `before` is how many requests had been handled when it was asked for."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:-2])}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Response(int(lines[0].split()[1]), headers, body, handled(self._world) == before)

    def close(self) -> None:
        self._writer.close()


Connect = Callable[..., Awaitable[Line]]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """A maker of connections, with a token that sees all of acme's packages."""
    with contextlib.ExitStack() as stack:

        async def run(world: World, **options: Any) -> Line:
            line = Line(world, *await asyncio.open_connection(world.client.host, world.client.port))
            stack.callback(line.close)
            line.secret = await world.token(**options)
            return line

        yield run


def same(response: Response) -> tuple[Any, ...]:
    """What does not change from one response to the next."""
    left = {
        name: value for name, value in response.headers.items() if name not in ("date", "x-ratelimit-remaining")
    }
    return response.status, left, response.body


@pytest.mark.parametrize("path", ["/packages.json", P2, "/p2/acme/library~dev.json", ZIP])
@pytest.mark.parametrize("accepted", ["zstd", "gzip"])
async def test_the_second_answer_is_the_first(world: World, connect: Connect, path: str, accepted: str) -> None:
    """Status, headers and body; and it counts as one more request."""
    line = await connect(world)
    answers = [await line.get(path, f"Accept-Encoding: {accepted}") for _ in range(4)]

    assert answers[-1].at_once
    assert not answers[0].at_once
    assert answers[0].headers["content-encoding"] == accepted
    assert len({str(same(answer)) for answer in answers}) == 1
    left = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers]
    assert left == list(range(left[0], left[0] - 4, -1))


async def test_a_document_that_is_known_is_304_at_once(world: World, connect: Connect) -> None:
    """By the date that came with it; with another date, or none, it comes whole."""
    line = await connect(world)
    first = await line.get(P2)
    date = f"If-Modified-Since: {first.headers['last-modified']}"
    known = await line.get(P2, date)

    assert (known.status, known.body, known.at_once) == (304, b"", True)
    assert known.headers["last-modified"] == first.headers["last-modified"]
    again = await line.get(P2, "If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT")
    assert (again.status, again.body, again.at_once) == (200, first.body, True)


async def test_what_a_token_may_is_asked_each_time(world: World, connect: Connect) -> None:
    """Of what others were answered, one gets nothing that it may not see."""
    line = await connect(world)
    for _ in range(2):
        everything = [await line.get(path, "Accept-Encoding: zstd") for path in ("/packages.json", P2, ZIP)]
    assert {(answer.status, answer.at_once) for answer in everything} == {(200, True)}

    line.secret = await world.token(packages=["acme/plugin"])
    for known in (False, True):
        assert {(await line.get(path)).status for path in (P2, ZIP)} == {404}
        view = await line.get("/packages.json")
        assert (view.status, view.at_once) == (200, known)
        assert b"acme/library" not in view.body
    line.secret = await world.token(packages=["acme/library"])
    for path in (P2, ZIP):
        answers = [await line.get(path, "Accept-Encoding: zstd") for _ in range(3)]
        assert {answer.status for answer in answers} == {200}
        assert answers[-1].at_once

    for secret, status in (
        (await world.token(org="other"), 404),
        (await world.token(scopes=("packages:write",)), 403),
        (await world.token(expires_at=int(time.time()) - 1), 401),
        ("pri_nobody", 401),
        ("", 401),
    ):
        line.secret = secret
        assert [(await line.get(path)).status for path in ("/packages.json", P2, ZIP) * 2] == [status] * 6


async def test_it_ends_with_the_token(world: World, connect: Connect) -> None:
    """Revoked by another process, or expired, it is refused by the next request of the same connection."""
    line = await connect(world)
    assert [(await line.get(P2)).at_once for _ in range(3)][-1]
    with world.database() as connection:
        connection.execute("DELETE FROM tokens WHERE hash = ?", (hash_secret(line.secret),))
        connection.execute("UPDATE revisions SET value = value + 1")
    assert (await line.get(P2)).status == 401

    line.secret = await world.token(expires_at=int(time.time()) + 2)
    assert [(await line.get(P2)).at_once for _ in range(3)][-1]
    await asyncio.sleep(2.1)
    assert (await line.get(P2)).status == 401


async def test_a_change_is_seen_at_once(world: World, connect: Connect) -> None:
    """By whatever process it was made: what was kept is no answer any more."""
    line = await connect(world)
    assert [(await line.get(P2)).at_once for _ in range(3)][-1]
    with world.database() as connection:
        connection.execute("DELETE FROM documents")
        connection.execute("UPDATE revisions SET value = value + 1")
    assert (await line.get(P2)).status == 404


async def test_what_others_change_costs_nothing(world: World, connect: Connect) -> None:
    """Answers and tokens of an organization stay known whatever happens in another one, and end with their own."""
    line = await connect(world)
    assert [(await line.get(P2)).at_once for _ in range(3)][-1]
    program = Pricore(world.config.data)
    await asyncio.to_thread(program.run, "token", "create", "other", "new")
    await asyncio.to_thread(program.run, "package", "delete", "other", "other/thing", "--yes")
    assert (await line.get(P2)).at_once
    await asyncio.to_thread(program.run, "token", "create", "acme", "new")
    assert [(await line.get(P2)).at_once for _ in range(2)] == [False, True]


async def test_a_token_that_a_command_revokes_is_refused_at_once(world: World, connect: Connect) -> None:
    """By the next request, of an organization and of the instance, and whatever stays known of others."""
    line = await connect(world)
    program = Pricore(world.config.data)
    for owner in ("acme", "--instance"):
        made = await asyncio.to_thread(program.json, "token", "create", owner, "x")
        line.secret = made["token"]
        assert [(await line.get(P2)).at_once for _ in range(3)][-1]
        await asyncio.to_thread(program.run, "token", "revoke", owner, made["id"], "--yes")
        assert [(await line.get(path)).status for path in (P2, ZIP)] == [401, 401]


async def test_limits_hold(start: Start, connect: Connect) -> None:
    """What is counted at once is counted with the rest, and by the address that a proxy tells."""
    world = await start(
        requests_per_minute=30, downloads_per_minute=3, trusted_proxies=(ip_network("127.0.0.1"),), inline_limit=0
    )
    line = await connect(world)

    def address(number: int) -> str:
        return f"X-Forwarded-For: 10.0.0.{number}"

    zips = [await line.get(ZIP, "Accept-Encoding: zstd", address(1)) for _ in range(4)]
    assert [answer.status for answer in zips] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining"] for answer in zips] == ["2", "1", "0", "0"]
    others = [await line.get(P2, address(2)) for _ in range(30)]
    assert [answer.headers["x-ratelimit-remaining"] for answer in others] == [
        str(29 - number) for number in range(30)
    ]
    assert others[-1].at_once
    began = time.monotonic()
    late = await line.get(P2, address(2))
    assert (late.status, late.at_once) == (200, False)
    assert time.monotonic() - began > 1.9, "it was held back until it was its turn"


async def test_urls_are_those_of_who_asks(start: Start, connect: Connect) -> None:
    """Two hosts, or two schemes that a trusted proxy tells, are no answer for each other."""
    world = await start(trusted_proxies=(ip_network("127.0.0.1"),), inline_limit=0)
    line = await connect(world)
    for _ in range(3):
        plain = await line.get("/packages.json")
        secure = await line.get("/packages.json", "X-Forwarded-Proto: https", "X-Forwarded-Host: example.com")
    assert plain.at_once
    assert secure.at_once
    assert b'"http://localhost/org/acme/' in plain.body
    assert b'"https://example.com/org/acme/' in secure.body


async def test_new_settings_are_followed(world: World, connect: Connect) -> None:
    """On a connection that was there before them."""
    line = await connect(world)
    assert [(await line.get("/packages.json")).at_once for _ in range(3)][-1]
    await world.client.app[SERVER].apply(replace(world.config, public_url="https://packages.example.com"))
    assert b"https://packages.example.com/org/acme/" in (await line.get("/packages.json")).body


async def test_downloads_and_uses_are_counted(world: World, connect: Connect) -> None:
    """Those that were answered at once too."""
    line = await connect(world)
    answers = [await line.get(ZIP, "Accept-Encoding: zstd") for _ in range(5)]
    assert answers[-1].at_once
    await world.store.usage.flush()
    with world.database() as connection:
        assert connection.execute("SELECT sum(archives) FROM downloads").fetchone() == (5,)


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        ((), "GET {} HTTP/1.0"),
        ((), "GET {}?some=query HTTP/1.1"),
        (("Content-Length: 0",), "GET {} HTTP/1.1"),
        (("X-A: 1", "X-A: 2"), "GET {} HTTP/1.1"),
        (("If-None-Match: abc",), "GET {} HTTP/1.1"),
    ],
)
async def test_what_is_unusual_is_answered_too(
    world: World, connect: Connect, lines: tuple[str, ...], first: str
) -> None:
    """As slowly as ever."""
    line = await connect(world)
    plain = [await line.get(P2) for _ in range(3)][-1]
    assert plain.at_once
    answer = await line.get(P2, *lines, first=first)
    assert (answer.status, answer.body, answer.at_once) == (200, plain.body, False)


async def test_requests_in_pieces_and_in_a_row_have_their_answers(world: World, connect: Connect) -> None:
    """However a client cuts what it sends: each request has one answer, in their order."""
    line = await connect(world)
    plain = [await line.get(P2) for _ in range(3)][-1]
    one = f"GET /org/acme{P2} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {line.secret}\r\n\r\n".encode()
    other = one.replace(P2.encode(), b"/p2/acme/none.json")

    assert same(await line.send(one, other + one)) == same(plain)
    assert [(await line.read(0)).status for _ in range(2)] == [404, 200]
    assert same(await line.send(one[:40], one[40:])) == same(plain)
    # what comes in the middle of a request is a part of it, whatever it looks like
    body = b"POST /org/acme/downloads HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(one)
    assert (await line.send(body, one)).status == 401


async def test_who_does_not_read_waits(world: World, connect: Connect, upstream: GitRepository) -> None:
    """Hundreds of archives that nobody reads, far more than sockets hold, take the memory of a few."""
    upstream.commit({"name": "acme/large"}, files={"noise": os.urandom(400_000)})
    upstream.tag("1.0.0")
    await world.follow(upstream)
    path = "/packages/acme/large/1.0.0.zip"
    line = await connect(world)
    kept = await line.get(path, "Accept-Encoding: zstd")
    async with asyncio.timeout(20):
        while not kept.at_once:  # it is packed once more first
            await asyncio.sleep(0.1)
            kept = await line.get(path, "Accept-Encoding: zstd")
    size = len(kept.body)
    head = f"GET /org/acme{path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: zstd\r\n"
    request = f"{head}Authorization: Bearer {line.secret}\r\n\r\n".encode()
    (connection,) = connections(world)
    assert connection.transport is not None
    waiting = []
    for _ in range(300):
        connection.data_received(request)
        waiting.append(connection.transport.get_write_buffer_size())
        await asyncio.sleep(0)
    assert max(waiting) < 64 * 1024 + 2 * (size + 1000)
