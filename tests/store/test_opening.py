"""A database is made, opened again, or refused and left alone."""

import asyncio
import contextlib
import os
import stat
from pathlib import Path

import pytest

from pricore.errors import StoreError
from pricore.store import Store
from tests.store.harness import everything, outside


def occupy(path: Path, content: bytes) -> None:
    """Put a file where the database would be."""
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_database_is_made_out_of_nothing_and_opened_again(path: Path) -> None:
    """The first opening makes folder and file for this user alone; the second finds what was kept."""
    async with Store(path) as store:
        made = await store.organizations.create("acme", "Acme", description="Tools")
    async with Store(path) as store:
        assert [made] == await store.organizations.all()

    assert [stat.S_IMODE(item.stat().st_mode) for item in (path.parent, path)] == [0o700, 0o600]


async def test_an_empty_file_is_a_new_database(path: Path) -> None:
    """A file of no bytes, as a failed start leaves behind, is made a database of."""
    occupy(path, b"")
    async with Store(path) as store:
        assert await store.organizations.all() == []


async def test_several_openings_at_once_make_one_database(path: Path) -> None:
    """Processes that start together on an empty folder don't get in each other's way."""
    async with contextlib.AsyncExitStack() as stack:
        stores = await asyncio.gather(*(stack.enter_async_context(Store(path)) for _ in range(4)))
        await stores[0].organizations.create("acme", "Acme")
        for store in stores:
            assert await store.organizations.find("acme") is not None


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    """A database that a newer Pricore wrote is not touched, and the error says to upgrade."""
    async with Store(path):
        pass
    with outside(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = everything(path)
    with pytest.raises(StoreError, match=r"written by a newer Pricore \(schema 99.*upgrade this program$"):
        async with Store(path):
            pass

    assert before == everything(path)


async def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    """Whatever else lies under the database's name stays as it is."""
    content = b"Dear diary, " * 1000
    occupy(path, content)
    with pytest.raises(StoreError, match="cannot open the database"):
        async with Store(path):
            pass

    assert content == content_of(path)


async def test_a_folder_under_the_name_of_the_database_is_refused(path: Path) -> None:
    """A folder where the database should be is an error of one line."""
    occupy(path / "file", b"")
    with pytest.raises(StoreError):
        async with Store(path):
            pass


async def test_a_folder_that_cannot_be_used_is_refused_with_the_setting(path: Path) -> None:
    """Where the data folder cannot be written, the error says how to give another."""
    if os.geteuid() == 0:  # root may write everywhere, but not into a file as if it were a folder
        path.parent.touch()
    else:
        path.parent.mkdir(mode=0o500)
    with pytest.raises(StoreError, match=r"^cannot use the data folder .* with --data or PRICORE_DATA$"):
        async with Store(path):
            pass
