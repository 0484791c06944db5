"""Reports of installs: what is counted, passed over and refused."""

import json
from collections.abc import Mapping

import pytest

from tests.registry.harness import Reply, World, error


async def report(world: World, secret: str, *installs: Mapping[str, object]) -> Reply:
    """The answer to a report of installs, as Composer sends it."""
    body = json.dumps({"downloads": installs}).encode()
    return await world.ask("/downloads", secret, method="POST", body=body)


async def count_downloads(world: World) -> dict[tuple[str, str], int]:
    """What was counted, by package and version."""
    await world.store.usage.flush()
    with world.database() as connection:
        rows = connection.execute(
            """
            SELECT packages.name, version, sum(count) FROM downloads
            JOIN packages ON packages.id = package_id GROUP BY packages.name, version
            """
        ).fetchall()
    return {(name, version): count for name, version, count in rows}


async def test_installs_are_counted(world: World, secret: str) -> None:
    """What clients report is counted by the version that people see; what isn't here is passed over."""
    installs: list[dict[str, object]] = [
        {"name": "acme/library", "version": "1.0.0.0"},
        {"name": "ACME/library", "version": "1.0.0.0", "downloaded": True},
        {"name": "acme/library", "version": "dev-feature/x"},
        {"name": "acme/library", "version": "9.9.9.9"},
        {"name": "public/other", "version": "1.0.0.0"},
        {"name": "other/thing", "version": "1.0.0.0"},
    ]
    replies = [await report(world, secret, *installs) for _ in range(2)]

    assert [(reply.status, reply.body) for reply in replies] == [(204, b"")] * 2
    expected = {("acme/library", "v1.0.0"): 4, ("acme/library", "dev-feature/x"): 2}
    assert expected == await count_downloads(world)


async def test_installs_of_hidden_packages_are_not_counted(world: World) -> None:
    """A restricted token cannot move the counts of what it doesn't see."""
    reply = await report(
        world,
        await world.token(packages=["acme/library"]),
        {"name": "acme/library", "version": "1.0.0.0"},
        {"name": "acme/plugin", "version": "dev-main"},
    )

    assert reply.status == 204
    assert await count_downloads(world) == {("acme/library", "v1.0.0"): 1}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"{}", b'"downloads"', b"null", b'{"downloads": {}}', b'{"downloads": [1]}'),
        *(b'{"downloads": [{"name": "acme/library"}]}', b'{"downloads": [{"name": 1, "version": "1.0.0.0"}]}'),
        *(b'{"downloads": [{"name": "\xff", "version": "1"}]}', b"downloads[]=acme/library"),
        pytest.param(b'{"more": ' + b"[" * 100_000 + b"]" * 100_000 + b', "downloads": []}', id="nested"),
    ],
)
async def test_a_malformed_report_is_refused(world: World, secret: str, body: bytes) -> None:
    """What is no report is 400 and counts nothing."""
    error(await world.ask("/downloads", secret, method="POST", body=body), 400)
    assert await count_downloads(world) == {}
