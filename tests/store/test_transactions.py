"""A change is there as a whole or not at all, however it ends."""

import asyncio
from pathlib import Path

import pytest

from pricore.errors import StoreError
from pricore.models import Organization
from pricore.store import Store
from tests.store.harness import everything, outside

_MARK = ("UPDATE organizations SET name = 'Marked'", ())
"""Bookkeeping that finds whatever organizations there are."""


async def test_a_transaction_that_fails_leaves_nothing(path: Path, store: Store, acme: Organization) -> None:
    """An exception takes back everything that was written before it, and the next transaction works."""
    before, revision = everything(path), store.revision()

    async def work() -> None:
        async with store.transaction() as db:
            await db.execute("DELETE FROM organizations")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()

    assert before == everything(path)
    assert revision == store.revision()
    await store.organizations.delete(acme)
    assert await store.organizations.all() == []


async def test_a_transaction_that_is_cancelled_leaves_nothing(
    path: Path, store: Store, acme: Organization
) -> None:
    """A task that is stopped in the middle of its transaction changes nothing and blocks nobody."""
    before = everything(path)
    reached = asyncio.Event()

    async def work() -> None:
        async with store.transaction() as db:
            await db.execute("DELETE FROM organizations")
            reached.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert before == everything(path)
    await store.organizations.delete(acme)
    assert await store.organizations.all() == []


async def test_a_transaction_can_be_cancelled_at_any_step(path: Path, store: Store) -> None:
    """Wherever a task is stopped, its change is there as a whole or not at all, and the next one works."""

    async def work(number: int) -> None:
        async with store.transaction() as db:
            for half in ("a", "b"):
                await db.execute(
                    "INSERT INTO served_settings (name, value) VALUES (?, ?)", (f"{number}{half}", "test")
                )

    steps = range(40)
    for number in steps:
        task = asyncio.create_task(work(number))
        for _ in range(number):
            await asyncio.sleep(0.0001)
        task.cancel()
        await asyncio.wait([task])
    await work(len(steps))

    names = {name for name, _ in everything(path)["served_settings"]}
    assert {"40a", "40b"} <= names
    assert all({f"{number}a", f"{number}b"} <= names for number in steps if names & {f"{number}a", f"{number}b"})


async def test_who_waits_for_another_process_can_be_cancelled(path: Path, store: Store) -> None:
    """A task that is stopped while another process writes leaves no transaction behind."""
    with outside(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(store.organizations.create("acme", "Acme"))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        connection.execute("ROLLBACK")
    await asyncio.wait([task])

    assert task.cancelled()
    assert await store.organizations.all() == []
    await store.organizations.create("acme", "Acme")


async def test_a_database_that_is_busy_for_too_long_is_an_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that doesn't get its turn gives up with an error of one line; readers go on."""
    monkeypatch.setattr("pricore.engine.database.BUSY_SECONDS", 0.1)
    async with Store(path) as store:
        with outside(path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked"):
                await store.organizations.create("acme", "Acme")
            assert await store.organizations.all() == []
            with pytest.raises(StoreError, match="database is locked"):
                await store.note(_MARK)
            connection.execute("ROLLBACK")
        await store.organizations.create("acme", "Acme")
        assert await store.note(_MARK)


async def test_bookkeeping_is_done_as_a_whole_or_not_at_all(path: Path, store: Store, acme: Organization) -> None:
    """Where one of its statements finds no row, or is none, nothing is written of the others."""
    before = everything(path)
    assert not await store.note(_MARK, ("UPDATE organizations SET name = 'Marked' WHERE id = ?", ("none",)))
    with pytest.raises(StoreError, match="no such table"):
        await store.note(_MARK, ("UPDATE missing SET name = ?", ("x",)))
    assert before == everything(path)

    revision = store.revision()
    assert await store.note(_MARK, ("UPDATE organizations SET name = 'Ours' WHERE id = ?", (acme.id,)))
    assert [item.name for item in await store.organizations.all()] == ["Ours"]
    assert revision == store.revision()


async def test_bookkeeping_that_is_cancelled_blocks_nobody(path: Path, store: Store, acme: Organization) -> None:
    """A task that is stopped while another process writes lets others write only when its own step is over."""
    with outside(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        task = asyncio.create_task(store.note(_MARK))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.sleep(0.1)
        assert not task.done()
        connection.execute("ROLLBACK")
    await asyncio.wait([task])

    assert task.cancelled()
    await store.organizations.delete(acme)
    assert await store.organizations.all() == []
