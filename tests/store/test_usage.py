"""Downloads and the use of tokens are counted once, and written together."""

import asyncio
import sqlite3
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pricore.errors import StoreError
from pricore.models import Organization, Repository
from pricore.store import Store
from tests.store.harness import follow, make_token, outside, publish, released


def downloads(path: Path) -> list[tuple[str, int]]:
    """What was counted: (version, count)."""
    with outside(path) as connection:
        return connection.execute(
            "SELECT version, sum(count) FROM downloads GROUP BY version ORDER BY 1"
        ).fetchall()


def archives(path: Path) -> list[tuple[str, int]]:
    """How often archives were sent: (version, count)."""
    with outside(path) as connection:
        return connection.execute(
            "SELECT version, sum(archives) FROM downloads GROUP BY version ORDER BY 1"
        ).fetchall()


async def test_downloads_are_counted_by_the_version_as_it_is_shown(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Clients report normalized versions: the counts are those of the versions that people see."""
    await publish(store, repository, released("v1.0.0"), released("dev-main"), released("1.1.0-beta.2"))
    for version in ("1.0.0.0", "v1.0.0", "1.0.0.0", "dev-main", "1.1.0.0-beta2"):
        store.usage.installed(acme.id, "acme/library", version)
    await store.usage.flush()
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()

    assert downloads(path) == [("1.1.0-beta.2", 1), ("dev-main", 1), ("v1.0.0", 4)]


async def test_downloads_of_what_is_not_here_are_passed_over(
    path: Path, store: Store, acme: Organization, repository: Repository, other: Organization
) -> None:
    """Unknown packages, versions and organizations in a report take nothing from the others in it."""
    await publish(store, repository, released())
    store.usage.installed(acme.id, "acme/missing", "1.0.0.0")
    store.usage.installed(acme.id, "acme/library", "9.0.0.0")
    store.usage.installed(other.id, "acme/library", "1.0.0.0")
    store.usage.installed("nobody", "acme/library", "1.0.0.0")
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()

    assert downloads(path) == [("1.0.0", 1)]


async def test_archives_are_counted_by_the_version_as_it_is_shown(
    path: Path, store: Store, acme: Organization, repository: Repository, other: Organization
) -> None:
    """A URL may have any form of a version; where two mean the same, the one that it names is counted."""
    await publish(store, repository, released("v1.0.0"), released("dev-main"))
    for version in ("1.0.0", "v1.0.0", "1", "dev-main", "9.0.0", "nonsense"):
        store.usage.downloaded("acme", "acme/library", version)
    store.usage.downloaded("acme", "acme/missing", "1.0.0")
    store.usage.downloaded(other.slug, "acme/library", "1.0.0")
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    await store.usage.flush()
    store.usage.downloaded("acme", "acme/library", "1.0")
    await store.usage.flush()

    assert archives(path) == [("dev-main", 1), ("v1.0.0", 4)]
    assert downloads(path) == [("dev-main", 0), ("v1.0.0", 1)]


async def test_the_use_of_a_token_is_written_with_the_next_flush(store: Store, acme: Organization) -> None:
    """A token shows when it was used last; an earlier time doesn't take the place of a later one."""
    token = await make_token(store, acme)
    seen = []
    for moment in (100, 300, 200):
        store.usage.token_used(token.id, moment)
        await store.usage.flush()
        seen.append([item.last_used_at for item in await store.tokens.of_organization(acme.id)])

    assert token.last_used_at is None
    assert seen == [[100], [300], [300]]


async def test_the_use_of_a_token_that_was_revoked_is_passed_over(store: Store, acme: Organization) -> None:
    """A token that was revoked since its last use doesn't keep the others' use from being written."""
    gone, kept = await make_token(store, acme, name="gone"), await make_token(store, acme)
    store.usage.token_used(gone.id, 100)
    store.usage.token_used(kept.id, 100)
    await store.tokens.revoke(acme, gone.id)
    await store.usage.flush()

    assert [item.last_used_at for item in await store.tokens.of_organization(acme.id)] == [100]


async def test_a_flush_that_fails_keeps_the_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is written with the next flush, together with what came meanwhile."""
    monkeypatch.setattr("pricore.engine.database.BUSY_SECONDS", 0.1)
    async with Store(path) as store:
        acme = await store.organizations.create("acme", "Acme")
        token = await make_token(store, acme)
        await publish(store, await follow(store, acme, "library"), released())
        store.usage.token_used(token.id, 100)
        store.usage.installed(acme.id, "acme/library", "1.0.0.0")
        store.usage.downloaded("acme", "acme/library", "1.0.0")
        with outside(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError):
                await store.usage.flush()
            connection.execute("ROLLBACK")
        store.usage.installed(acme.id, "acme/library", "1.0.0.0")
        await store.usage.flush()

        assert downloads(path) == [("1.0.0", 2)]
        assert archives(path) == [("1.0.0", 1)]
        assert [item.last_used_at for item in await store.tokens.of_organization(acme.id)] == [100]


async def test_a_flush_that_is_cancelled_counts_once(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """Wherever the end of the program interrupts a flush, each download is counted, and none twice."""
    await publish(store, repository, released())
    for number in range(30):
        store.usage.installed(acme.id, "acme/library", "1.0.0.0")
        task = asyncio.create_task(store.usage.flush())
        for _ in range(number):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.wait([task])
    await store.usage.flush()

    assert downloads(path) == [("1.0.0", 30)]


async def test_what_clients_invent_costs_a_look_each_and_holds_no_lock(
    path: Path, store: Store, acme: Organization, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many versions a package has, one that it hasn't is looked up once, before the database is locked."""
    many = [released(f"{number}.0.0", package="acme/many") for number in range(200)]
    await publish(store, repository, released(), *many)
    steps = {"ro": 0, "rw": 0}

    class Counted(sqlite3.Connection):
        def __init__(self, database: str, *args: Any, **options: Any) -> None:
            super().__init__(database, *args, **options)
            self.set_progress_handler(lambda: count(database[-2:]), 1)

    def count(mode: str) -> None:
        steps[mode] += 1

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Counted))
    async with Store(path) as counted:

        async def cost(package: str, count: int) -> tuple[int, int]:
            """What SQLite does to find and to write so many invented versions, beside one that is here."""
            for number in range(count):
                counted.usage.installed(acme.id, package, f"invented-{number}")
                counted.usage.downloaded("acme", package, f"{number}.0.0-alpha")
            counted.usage.installed(acme.id, "acme/library", "1.0.0.0")
            before = dict(steps)
            await counted.usage.flush()
            return steps["ro"] - before["ro"], steps["rw"] - before["rw"]

        for _ in range(5):
            await cost(
                "acme/library", 1
            )  # every reader has read the schema, and a row that is there is counted up
        few, written = await cost("acme/library", 200)
        assert written == (await cost("acme/library", 0))[1]
        assert abs((await cost("acme/many", 200))[0] - few) < few / 10
        assert few < 200 * 2 * 200


async def test_what_is_remembered_of_reports_is_bounded(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """No report makes the memory grow by more than some kinds of downloads with names of some length."""
    await publish(store, repository, released("1.0.0"), released("2.0.0"))
    tracemalloc.start()
    for number in range(100):
        store.usage.installed(acme.id, "acme/library", f"{number}" * 100_000)
        store.usage.installed(acme.id, f"{number}" * 100_000, "1.0.0.0")
    assert tracemalloc.get_traced_memory()[0] < 1_000_000
    tracemalloc.stop()
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    for number in range(3, 11_000):
        store.usage.installed(acme.id, "acme/library", f"{number}")
    store.usage.installed(acme.id, "acme/library", "1.0.0.0")
    store.usage.installed(acme.id, "acme/library", "2.0.0.0")
    await store.usage.flush()
    assert downloads(path) == [("1.0.0", 2)], "there was no room for another kind"

    store.usage.installed(acme.id, "acme/library", "2.0.0.0")
    await store.usage.flush()
    assert downloads(path) == [("1.0.0", 2), ("2.0.0", 1)]


async def test_a_package_that_goes_during_a_flush_takes_no_counts_along(
    path: Path, store: Store, acme: Organization, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between finding a version and counting it, its package may be deleted: the others are counted."""
    await publish(store, repository, released(), released(package="acme/gone"))
    transaction = store.transaction

    def begin(**options: Any) -> Any:
        with outside(path) as connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("DELETE FROM packages WHERE name = 'acme/gone'")
        return transaction(**options)

    monkeypatch.setattr(store, "transaction", begin)
    for package in ("acme/library", "acme/gone"):
        store.usage.installed(acme.id, package, "1.0.0.0")
    await store.usage.flush()

    assert downloads(path) == [("1.0.0", 1)]
