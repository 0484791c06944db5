"""What the server does around its handlers: slow clients are let go, and failures are told by an id."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from pricore import server
from pricore.config import Config
from pricore.web.http import connection


@contextlib.asynccontextmanager
async def serving(data: Path) -> AsyncIterator[int]:
    """The port of a server on a new data folder."""
    config = Config(data=data, port=0)
    with server.bind(config) as bound:
        ready = asyncio.Event()
        task = asyncio.create_task(server.serve(bound, config, ready=ready.set, reread=lambda: config))
        await asyncio.wait_for(ready.wait(), timeout=10)
        try:
            yield int(bound.getsockname()[1])
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: "], ids=["nothing", "half a head"])
async def test_who_does_not_get_to_the_point_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A connection without a whole request ends, though bytes still trickle in."""
    monkeypatch.setattr(connection, "SETTINGS", {**connection.SETTINGS, "keepalive_timeout": 0.5})
    async with serving(tmp_path / "data") as port, asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        while not reader.at_eof():
            if sent:
                writer.write(b"x")
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(1), timeout=0.1)
        writer.close()


async def test_a_failure_around_the_handlers_is_found_in_the_log_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 has an id and no reason; under that id the log has the request, on its line, and the reason."""

    async def fail(*_: object) -> None:
        raise RuntimeError("the inside")

    async with serving(tmp_path / "data") as port, asyncio.timeout(10):
        monkeypatch.setattr(web.UrlDispatcher, "resolve", fail)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /org/a%0Ab HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()

    found = re.search(r"^X-Request-Id: ([0-9a-f]{16})\r$", head, re.MULTILINE)
    assert found, head
    assert body == f'{{"message":"the registry failed; its log has the reason under request {found[1]}"}}'
    (record,) = caplog.records
    assert record.getMessage() == f"request {found[1]}: GET /org/a%0Ab: RuntimeError: the inside"
