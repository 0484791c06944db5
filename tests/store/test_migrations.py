"""A database of any earlier schema becomes one as if it had been made today, with everything in it."""

import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from pricore.engine.sqlite import newest_schema
from pricore.errors import StoreError
from pricore.store import Store
from tests.harness import Pricore
from tests.store.harness import everything, make_earlier, outside

NEWEST: Final = newest_schema()
UNNUMBERED: Final = 17
"""The last schema in which an order was SQLite's own."""


def schema(path: Path) -> dict[str, tuple[tuple[object, ...], ...]]:
    """The columns of every table by name, and the statements of all else."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'")
        return {
            name: tuple(column[1:] for column in connection.execute(f"PRAGMA table_info({name})"))
            if kind == "table"
            else ((sql,),)
            for kind, name, sql in rows.fetchall()
        }


@pytest.mark.parametrize("version", range(1, NEWEST))
async def test_an_earlier_database_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    """Every row and every relation is there afterwards, and the schema is that of a new database."""
    path, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    make_earlier(path, version)
    for database in (path, new):
        async with Store(database):
            pass

    assert schema(new) == schema(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    async with Store(path) as store:
        acme = await store.organizations.get("acme")
        assert [item.id for item in await store.repositories.of_organization(acme.id)] == ["r1", "r2"]
        assert list(await store.repositories.refs("r1")) == ["refs/tags/1"]
        assert [item.name for item in await store.packages.of_organization(acme.id)] == ["a/b"]
        assert await store.archives.all_checksums() == {"s"}
        assert [item.name for item in await store.tokens.of_organization(acme.id)] == ["CI"]
        ((_, number),) = (await store.jobs.first([])).values()
        job = await store.jobs.take(number)
        assert job is not None
        assert job.repository_id == "r2"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [('{"abandoned":"a/c"}', "a/c"), ('{"abandoned":true}', True), ('{"abandoned":["a/c"]}', None), ("{}", None)],
)
async def test_what_was_abandoned_before_is_known(path: Path, entry: str, expected: object) -> None:
    """Of the latest version, as lists begin to show it, without a sync."""
    path.parent.mkdir()
    make_earlier(path, 10)
    with outside(path) as connection:
        connection.execute(
            """
            INSERT INTO versions (package_id, version, normalized, ref, reference, shasum, entry, default_branch,
                released_at, created_at) VALUES ('p1', '1', '1.0.0.0', 'refs/tags/1', 'c', 's', ?, 0, 1, 1)
            """,
            (entry.encode(),),
        )
        connection.execute("UPDATE packages SET latest_version = '1'")
    async with Store(path) as store:
        package = await store.packages.get(await store.organizations.get("acme"), "a/b")

    assert package.successor == expected


def copies(path: Path) -> list[str]:
    """The names of what lies beside a database apart from what SQLite puts there."""
    return sorted(item.name for item in path.parent.iterdir() if item.name.startswith(f"{path.name}."))


async def test_what_is_migrated_is_copied_before(path: Path) -> None:
    """The copy lies beside it, named by its schema, for this user alone, with all that was in it."""
    path.parent.mkdir()
    make_earlier(path, NEWEST - 1)
    before = everything(path)
    async with Store(path):
        pass

    (name,) = copies(path)
    assert name == f"{path.name}.schema-{NEWEST - 1}"
    copied = path.with_name(name)
    assert everything(copied) == before
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600
    with outside(copied) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST - 1,)


async def test_what_others_have_just_written_is_in_the_copy(path: Path) -> None:
    """Also what is not in the file itself yet, because somebody else still has it open."""
    path.parent.mkdir()
    make_earlier(path, NEWEST - 1)
    with outside(path) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("UPDATE organizations SET name = 'Late'")
        async with Store(path):
            pass
        with outside(path.with_name(f"{path.name}.schema-{NEWEST - 1}")) as connection:
            assert connection.execute("SELECT name FROM organizations").fetchall() == [("Late",)]


async def test_nothing_is_copied_where_nothing_is_migrated(path: Path) -> None:
    """Neither for a new database nor for one that is opened again."""
    for _ in range(2):
        async with Store(path):
            pass

    assert copies(path) == []


def go_back(path: Path, version: int) -> None:
    """Put an earlier database in the place of one."""
    path.unlink(missing_ok=True)
    make_earlier(path, version)


async def test_the_latest_copies_are_kept(path: Path) -> None:
    """Three of them; whoever goes back to an old one does not lose its copy for its number."""
    path.parent.mkdir()
    for version in (NEWEST - 1, NEWEST - 2, NEWEST - 3, 1):
        go_back(path, version)
        async with Store(path):
            pass

    kept = [f"{path.name}.schema-{version}" for version in (1, NEWEST - 3, NEWEST - 2)]
    assert copies(path) == sorted(kept)  # as text: 10 is before 9


def test_processes_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    """The server and commands beside it: one of them migrates, and the others find it done."""
    pricore = Pricore(tmp_path / "data")
    path = pricore.data / "pricore.sqlite3"
    path.parent.mkdir()
    make_earlier(path, 1)
    make_earlier(tmp_path / "again.sqlite3", 1)
    before = everything(tmp_path / "again.sqlite3")
    commands = [pricore.start("org", "list", "--json", log=tmp_path / "log") for _ in range(3)]
    with pricore.serving():
        assert [command.communicate(timeout=60)[0].count("acme") for command in commands] == [1, 1, 1]
    assert [command.returncode for command in commands] == [0, 0, 0]

    assert copies(path) == [f"{path.name}.schema-1"]
    assert everything(path.with_name(f"{path.name}.schema-1")) == before


async def test_a_migration_that_is_killed_begins_again(tmp_path: Path) -> None:
    """In its middle nothing of it is there; the next process finds everything, and brings it up to date."""
    pricore = Pricore(tmp_path / "data")
    path = pricore.data / "pricore.sqlite3"
    path.parent.mkdir()
    make_earlier(path, UNNUMBERED)
    with outside(path) as connection:
        connection.execute(
            """
            WITH RECURSIVE numbers (number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM numbers LIMIT 40000)
            INSERT INTO sync_runs (id, repository_id, status, started_at, report)
            SELECT printf('%06d', 100000 - number), 'r1', 'ok', number, randomblob(500) FROM numbers
            """
        )
    before, log = everything(path), path.with_name(f"{path.name}-wal")
    process = pricore.start("org", "list", log=tmp_path / "log")
    Pricore.wait(lambda: log.exists() and log.stat().st_size > 1_000_000)
    process.kill()
    process.communicate()

    assert everything(path) == before
    with outside(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (UNNUMBERED,)
    assert "acme" in pricore.run("org", "list").stdout
    with outside(path) as connection:
        runs = connection.execute("SELECT id, started_at, report FROM sync_runs ORDER BY number").fetchall()
    assert runs == [(id_, started_at, report) for id_, _, _, _, started_at, _, report, _ in before["sync_runs"]]
    assert copies(path) == [f"{path.name}.schema-{UNNUMBERED}"]


async def test_a_copy_that_cannot_be_made_stops_everything(path: Path) -> None:
    """One line says why, and the database is what it was."""
    path.parent.mkdir()
    make_earlier(path, NEWEST - 1)
    before = everything(path)
    path.with_name(f"{path.name}.schema-{NEWEST - 1}.new").mkdir()  # root may write everywhere else
    with pytest.raises(StoreError, match=r"cannot be copied before that: Is a directory; make room"):
        async with Store(path):
            pass

    assert everything(path) == before
    with outside(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (NEWEST - 1,)


async def test_tokens_of_one_name_get_names_of_their_own(path: Path) -> None:
    """Later ones are numbered, whatever they are called already; what has expired is in nobody's way."""
    path.parent.mkdir(exist_ok=True)
    make_earlier(path, 19)
    names = ["CI", "CI (2)", "CI", "CI", "CI (2)", "deploy", "deploy"]
    with outside(path) as connection:
        (organization_id,) = connection.execute("SELECT id FROM organizations LIMIT 1").fetchone()
        connection.execute("DELETE FROM tokens")
        for number, name in enumerate(names):
            connection.execute(
                """
                INSERT INTO tokens (id, organization_id, name, hash, scopes, restricted, expires_at, created_at)
                VALUES (?, ?, ?, ?, '[]', 0, ?, 1)
                """,
                (f"t{number}", organization_id, name, bytes([number]), 1 if number == 5 else None),
            )
    async with Store(path) as store:
        found = [token.name for token in await store.tokens.of_organization(organization_id)]
    assert found[0] == "CI"
    assert found[3] == "CI (3)"
    assert found[5:] == ["deploy", "deploy"]
    assert len(set(found[:5])) == 5
    assert all(name.startswith("CI (2)") for name in (found[1], found[2], found[4]))
