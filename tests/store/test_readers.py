"""Questions that many wait for never wait behind long ones."""

import asyncio
import threading
from pathlib import Path

import pytest

from pricore.auth.access_tokens import hash_secret
from pricore.composer.metadata import MOST_PROVIDED
from pricore.engine.sqlite import scripts
from pricore.models import Organization, Repository
from pricore.rights.visibility import ALL
from pricore.store import Store
from tests.rules import reach
from tests.store.harness import document, make_earlier, outside, publish, released

ENDLESS = """
    WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers)
    SELECT max(number) FROM numbers
"""


async def test_what_has_a_key_never_waits_for_what_takes_long(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """However many questions never end: tokens, documents, archives and the probe have their answers."""
    await publish(store, repository, released())
    token = await store.tokens.create(reach(acme), name="CI", token_hash=hash_secret("x"), scopes=())
    long = [asyncio.create_task(store.fetch_all(ENDLESS)) for _ in range(20)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(20):
            for _ in range(50):
                await store.check()
                assert await store.tokens.find(hash_secret("x")) == token
                assert (await document(store, "stable")).last_modified
                assert await store.packages.dist("acme", "acme/library", version="1.0.0", reference=None)
                assert await store.organizations.root("acme", ALL)
        assert [task for task in long if task.done()] == []
    finally:
        for task in long:
            task.cancel()
        await asyncio.gather(*long, return_exceptions=True)


async def test_a_disk_that_has_to_be_waited_for_stops_nobody(store: Store) -> None:
    """After a look-up that took long, the next ones are made in threads, and give the same."""
    slow = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) SELECT max(i) FROM n"

    def threads() -> int:
        return sum(thread.name.startswith("finds") for thread in threading.enumerate())

    for _ in range(10):  # on a machine that stands still for a second, the time for threads is over
        assert await store.find(slow, (300_000,)) == (300_000,)
        assert await store.find(slow, (1,)) == (1,)
        if threads():
            break
    assert threads() == 1


async def test_the_end_waits_for_no_question(path: Path) -> None:
    """A query that nobody waits for any more ends with the database."""
    async with Store(path) as store:
        long = asyncio.create_task(store.fetch_all(ENDLESS))
        await store.fetch_all("SELECT 1")
        long.cancel()
    assert long.cancelled()


async def test_who_provides_a_name_is_known_without_reading_versions(
    path: Path, store: Store, acme: Organization, repository: Repository
) -> None:
    """It is noted when versions come and go, and asking costs what it gives, however many versions there are."""

    async def providers(name: str) -> list[str]:
        return [package.name for package in await store.packages.providers(acme.id, name)]

    await publish(store, repository, released("1.0.0", provide={"PSR/log": "1.0"}))
    await publish(store, repository, released("2.0.0", provide={"psr/cache": "1.0", "psr/log": "1.0"}))
    with outside(path) as connection:
        entries = connection.execute("SELECT id, entry FROM versions").fetchall()
        connection.execute("UPDATE versions SET entry = x'00'")
        assert [await providers(name) for name in ("psr/log", "PSR/Cache", "psr/clock")] == [
            ["acme/library"],
            ["acme/library"],
            [],
        ]
        connection.executemany("UPDATE versions SET entry = ?2 WHERE id = ?1", entries)
    await publish(store, repository, removed=[("acme/library", "2.0.0")])
    assert [await providers(name) for name in ("psr/log", "psr/cache")] == [["acme/library"], []]


async def test_a_package_is_listed_for_so_many_names_and_no_more(
    store: Store, acme: Organization, repository: Repository
) -> None:
    """Small texts that each provide other names make no index of millions: the newest versions count first."""
    for major in range(1, 4):
        provide = {f"psr/{major}-{number}": "1.0" for number in range(MOST_PROVIDED // 2)}
        await publish(store, repository, released(f"{major}.0.0", provide=provide))
    [(count,)] = await store.fetch_all("SELECT count(*) FROM provided_names")
    assert count == MOST_PROVIDED
    found = [bool(await store.packages.providers(acme.id, f"psr/{major}-0")) for major in range(1, 4)]
    assert found == [False, True, True]


@pytest.mark.parametrize("entry", [b'{"provide":{"PSR/log":"1"}}', b'{"provide":[]}', b"{}", b"broken"])
async def test_what_earlier_versions_provide_is_found(path: Path, entry: bytes) -> None:
    """An earlier database is read once, whatever is in it."""
    path.parent.mkdir()
    make_earlier(path, [script.stem.partition("_")[2] for script in scripts()].index("provided_names"))
    with outside(path) as connection:
        connection.execute(
            """
            INSERT INTO versions (package_id, version, normalized, ref, reference, shasum, entry, default_branch,
                released_at, created_at) VALUES ('p1', '1', '1.0.0.0', 'refs/tags/1', 'c', 's', ?, 0, 0, 0)
            """,
            (entry,),
        )
    async with Store(path) as store:
        found = await store.packages.providers("o1", "psr/log")
    assert [package.name for package in found] == (["a/b"] if b"PSR" in entry else [])
