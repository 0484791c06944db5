"""What is asked by who looks after a server.

A server is ready while its database answers, and says so in the shape of every error where it doesn't."""

import asyncio
from ipaddress import ip_network
from typing import Any

import pytest

from pricore.web import health
from tests.web.composer.harness import Start, World, error


async def test_a_database_that_does_not_answer_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with the reason, while the process itself is well; ready again once it answers."""
    monkeypatch.setattr(health, "READY_SECONDS", 0.05)
    counting = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 4000000) SELECT max(x) FROM c"
    busy = [asyncio.create_task(world.store.fetch_one(counting, by_key=True)) for _ in range(2)]
    await asyncio.sleep(0)

    reply = await world.ask(world.base + "/readyz")
    assert error(reply, 503) == "the database does not answer; the log says more"
    assert (await world.ask(world.base + "/healthz")).status == 200
    assert any("not ready" in record.getMessage() for record in caplog.records)

    await asyncio.gather(*busy)
    monkeypatch.undo()
    assert (await world.ask(world.base + "/readyz")).json == {"status": "ready"}


LOOPBACK = (ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    ("settings", "headers"),
    [
        ({"trusted_proxies": LOOPBACK}, {}),
        ({"public_url": "https://packages.example.com"}, {}),
        ({}, {"Host": "packages.example.com"}),
        ({}, {"Host": "127.0.0.1.example.com:8000"}),
        ({}, {"Host": ""}),
        *[({}, {name: "x"}) for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-IP", "Forwarded", "Via")],
    ],
)
async def test_metrics_are_not_for_who_comes_through_a_proxy_on_this_machine(
    start: Start, settings: dict[str, Any], headers: dict[str, str]
) -> None:
    """It needs a token where a proxy is trusted, announced by the public URL or seen; health does not."""
    world = await start(**settings)

    error(await world.ask(world.base + "/metrics", headers=headers), 401)
    for path in ("/healthz", "/readyz"):
        assert (await world.ask(world.base + path, headers=headers)).status == 200


@pytest.mark.parametrize("host", ["localhost:8000", "LOCALHOST", "127.0.0.1", "127.1.2.3:80", "[::1]:80", "[::1]"])
async def test_metrics_are_for_this_machine(start: Start, host: str) -> None:
    """Who asks it by an address of its own needs no token; proxies elsewhere change nothing."""
    world = await start(trusted_proxies=(ip_network("10.0.0.0/8"),))

    assert (await world.ask(world.base + "/metrics", headers={"Host": host})).status == 200
