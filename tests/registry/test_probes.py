"""A server is ready while its database answers, and says so in the shape of every error where it doesn't."""

import asyncio

import pytest

from pricore import probes
from tests.registry.harness import World, error


async def test_a_database_that_does_not_answer_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """503 with the reason, while the process itself is well; ready again once it answers."""
    monkeypatch.setattr(probes, "_SECONDS", 0.05)
    counting = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 4000000) SELECT max(x) FROM c"
    busy = asyncio.create_task(world.store.fetch_all(counting))
    await asyncio.sleep(0)

    reply = await world.ask(world.base + "/readyz")
    assert error(reply, 503) == "the database does not answer; the log says more"
    assert (await world.ask(world.base + "/healthz")).status == 200
    assert any("not ready" in record.getMessage() for record in caplog.records)

    await busy
    monkeypatch.undo()
    assert (await world.ask(world.base + "/readyz")).json == {"status": "ready"}
