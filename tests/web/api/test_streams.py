"""Streams of events: who reads slowly, or not at all, costs the server neither memory nor a place for others."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, TCPConnector, web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from msgspec import structs

from pricore.errors import TooManyRequestsError
from pricore.rights.tokens import Token
from pricore.rights.visibility import ALL
from pricore.store import Store
from pricore.web.api.streams import Events, Streams
from tests.web.api.harness import eventually

LARGE = "x" * 8_000_000
"""More than the kernel takes for a reader that reads nothing."""

TOKEN = Token(
    id="reader",
    name="reader",
    scopes=(),
    instance=True,
    reach={},
    expires_at=None,
    last_used_at=None,
    created_at=0,
)


class Served:
    """A server whose only address streams `record`; `last` is the one after which it ends."""

    def __init__(self, store: Store) -> None:
        self.streams = Streams(store, beat=0.01)
        self.record: dict[str, Any] = {"number": 0}
        self.last: Any = None
        self.open: list[asyncio.Transport] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        transport = request.transport
        organization = request.query.get("organization")
        token = structs.replace(
            TOKEN, id=request.query.get("token", TOKEN.id), reach={organization: ALL} if organization else {}
        )
        self.open.append(transport)

        async def look(_: Token) -> Any:
            return self.record

        async def readmit() -> Token:
            return token

        events = Events(look, lambda record: record is self.last)
        try:
            return await self.streams.send(request, token, events, readmit=readmit)
        finally:
            self.open.remove(transport)

    @contextlib.asynccontextmanager
    async def reader(self) -> AsyncIterator[socket.socket]:
        """Somebody who has asked for the stream, and reads nothing by itself."""
        with socket.create_connection(("127.0.0.1", self.port)) as made:
            made.setblocking(False)
            await asyncio.get_running_loop().sock_sendall(made, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await self.wait(streams=1)
            yield made

    async def wait(self, *, streams: int) -> None:
        async def reached() -> bool:
            return len(self.open) == streams

        await eventually(reached, f"{streams} streams are open")

    async def wait_until_stalled(self) -> None:
        async def stalled() -> bool:
            return self.open[0].get_write_buffer_size() > 0

        await eventually(stalled, "more was sent than is read")


async def read(reader: socket.socket, until: bytes) -> bytes:
    """What comes to a reader until it has seen that; fails where the connection ends before."""
    received = b""
    while until not in received:
        chunk = await asyncio.get_running_loop().sock_recv(reader, 1 << 20)
        if not chunk:
            raise ConnectionResetError
        received += chunk
    return received


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with Store(tmp_path / "data" / "pricore.db") as store:
        made = Served(store)
        app = web.Application()
        app.router.add_get("/", made.answer)
        async with TestServer(app) as server:
            made.port = server.port or 0
            yield made
            await made.streams.close()


async def test_no_organization_has_all_streams(served: Served) -> None:
    """However many tokens it has, an organization opens half of what the others leave, and a token ten of them."""
    app = web.Application(middlewares=[answer_errors])
    app.router.add_get("/", served.answer)
    async with TestServer(app) as server, ClientSession(connector=TCPConnector(limit=0)) as session:
        responses: list[ClientResponse] = []

        async def open_all(organization: str, *, tokens: int = 10) -> int:
            """How many streams an organization gets with some tokens that ask for twelve each."""
            before = len(responses)
            for number in range(12 * tokens):
                query = {"token": f"{organization}-{number // 12}", "organization": organization}
                responses.append(await session.get(server.make_url("/"), params=query))
            return sum(response.status == 200 for response in responses[before:])

        assert await open_all("acme", tokens=2) == 20
        assert await open_all("acme") == 30
        assert [await open_all(name) for name in ("other", "third", "fourth")] == [25, 13, 6]
        assert await open_all("other", tokens=3) == 0
        await served.streams.close()
        for response in responses:
            response.close()


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is too many is 429, as the server says it."""
    try:
        return await handler(request)
    except TooManyRequestsError as error:
        return web.Response(status=429, text=str(error))


async def test_who_is_behind_gets_the_newest(served: Served) -> None:
    """What changes while a reader reads nothing does not wait in memory: it gets the last of it."""
    served.record = {"number": 0, "text": LARGE}
    async with served.reader() as reader:
        await served.wait_until_stalled()
        for number in range(1, 100):
            served.record = {"number": number, "text": LARGE}
            await asyncio.sleep(0.001)
        assert served.open[0].get_write_buffer_size() < 2 * len(LARGE)
        served.last = served.record = {"number": 100}
        received = await read(reader, b"event: end")

    assert re.findall(rb'"number":(\d+)', received) in ([b"0"], [b"0", b"100"])
    await served.wait(streams=0)


async def test_who_does_not_read_is_cut_off(served: Served) -> None:
    """A reader that goes on reading nothing loses its connection, and its place is free."""
    served.streams.patience = 0.2
    served.record = {"text": LARGE}
    async with served.reader() as reader:
        await served.wait(streams=0)
        with pytest.raises(ConnectionResetError):
            await read(reader, b"\n\n")


async def test_the_end_waits_for_no_reader(served: Served) -> None:
    """The end of the server does not wait for a reader that reads nothing."""
    served.record = {"text": LARGE}
    async with served.reader():
        await served.wait_until_stalled()
        await served.streams.close()
        async with asyncio.timeout(1):
            await served.wait(streams=0)


async def test_silence_is_broken(served: Served) -> None:
    """Where nothing changes a comment is sent from time to time, so that no proxy hangs up."""
    served.streams.heartbeat = 0.05
    async with served.reader() as reader:
        received = await read(reader, b"\r\n:\n\n")

    assert received.count(b"event: ") == 1
