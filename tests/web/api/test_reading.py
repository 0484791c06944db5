"""What a request reads depends on what it asks for, and not on how much there is beside that."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pricore.hosts.addresses import parse_address
from pricore.models import LockedPackage
from tests.web.api.harness import ORG, call, read, repository_id
from tests.web.composer.harness import World

_BESIDE = 30


class Rows:
    """Counts the rows that queries give."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        fetch_all = world.store.fetch_all

        async def counted(sql: str, parameters: Sequence[Any] = (), **options: Any) -> list[Any]:
            rows = await fetch_all(sql, parameters, **options)
            self.count += len(rows)
            return rows

        monkeypatch.setattr(world.store, "fetch_all", counted)


@pytest.fixture
async def crowded(world: World) -> World:
    """The registry with many more repositories and lock files in the same organization."""
    organization = await world.store.organizations.get("acme")
    for number in range(_BESIDE):
        await world.store.repositories.add(
            organization, parse_address(f"https://git.example.com/acme/beside{number}.git")
        )
        locked = LockedPackage(
            organization="acme", package="acme/library", version="1.0.0", address="1.0.0", shasum="a" * 40
        )
        await world.store.locks.register(organization, f"beside{number}", [locked])
    return world


async def test_one_repository_is_found_without_the_others(
    crowded: World, admin: str, restricted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository, its history and a run of it, for whoever may see them, read no other repository."""
    item = await repository_id(crowded, "acme/library", admin)
    (run, *_) = (await read(crowded, f"{ORG}/repositories/{item}/sync-runs", admin))["data"]
    rows = Rows(crowded, monkeypatch)
    for secret in (admin, restricted):
        for path in ("", "/sync-runs", f"/sync-runs/{run['id']}"):
            await read(crowded, f"{ORG}/repositories/{item}{path}", secret)
    assert rows.count < _BESIDE


async def test_an_event_stream_reads_one_repository_for_each_change(
    crowded: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is committed by anybody, who follows a sync reads that sync's repository and nothing beside it."""
    item = await repository_id(crowded, "acme/library", admin)
    queued = await call(crowded, "POST", f"{ORG}/repositories/{item}/sync", admin)
    assert queued.status == 200
    (run, *_) = (await read(crowded, f"{ORG}/repositories/{item}/sync-runs", admin))["data"]
    rows = Rows(crowded, monkeypatch)
    reply = await asyncio.wait_for(
        call(crowded, "GET", f"{ORG}/repositories/{item}/sync-runs/{run['id']}/events", admin), 60
    )
    assert b"event: end" in reply.body
    assert rows.count < 3 * _BESIDE


async def test_one_lock_is_found_without_the_others(
    crowded: World, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letting go of a lock file reads that one."""
    rows = Rows(crowded, monkeypatch)
    reply = await call(crowded, "DELETE", f"{ORG}/locks/beside1", admin)
    assert reply.status == 200
    assert rows.count < _BESIDE
