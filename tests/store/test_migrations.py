"""A database of any earlier schema becomes one as if it had been made today, with everything in it."""

import sqlite3
from contextlib import closing
from importlib import resources
from pathlib import Path

import pytest

from pricore.store import Store, _statements

SCRIPTS = sorted(
    (item for item in resources.files("pricore.schema").iterdir() if item.name.endswith(".sql")),
    key=lambda item: item.name,
)
ROWS = """
    INSERT INTO organizations (id, slug, name, description, root_modified, inline, created_at)
        VALUES ('o1', 'acme', 'Acme', '', 5, 1, 1);
    INSERT INTO repositories (id, organization_id, provider, identifier, url, url_key, refs_digest, sync_status,
        created_at) VALUES ('r1', 'o1', 'git', 'x', '/srv/x', 'file:/srv/x', '1:abc', 'ok', 2),
        ('r2', 'o1', 'github', 'a/b', 'https://github.com/a/b', 'github.com/a/b', '', 'pending', 3);
    INSERT INTO refs (repository_id, name, reference, package, version)
        VALUES ('r1', 'refs/tags/1', 'c', 'a/b', '1');
    INSERT INTO packages (id, organization_id, repository_id, name, description, type, inline_size, created_at)
        VALUES ('p1', 'o1', 'r1', 'a/b', '', 'library', 10, 4);
    INSERT INTO dists (package_id, reference, shasum, size) VALUES ('p1', 'c', 's', 1);
    INSERT INTO tokens (id, organization_id, name, hash, scopes, restricted, created_at)
        VALUES ('t1', 'o1', 'CI', x'00', '[]', 0, 5);
    INSERT INTO jobs (id, repository_id, created_at) VALUES ('j1', 'r2', 6);
"""


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


@pytest.mark.parametrize("version", range(1, len(SCRIPTS)))
async def test_an_earlier_database_is_brought_up_to_date(version: int, tmp_path: Path) -> None:
    """Every row and every relation is there afterwards, and the schema is that of a new database."""
    path, new = tmp_path / "old.sqlite3", tmp_path / "new.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for script in SCRIPTS[:version]:
            for statement in _statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
        rows = ROWS
        if version > 1:  # what came to be needed
            rows = rows.replace("url_key, refs_digest,", "url_key, confined, refs_digest,")
            rows = rows.replace("'file:/srv/x', ", "'file:/srv/x', 0, ").replace(
                "'github.com/a/b', ", "'github.com/a/b', 1, "
            )
        connection.executescript(rows)
        connection.execute(f"PRAGMA user_version = {version}")
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
        assert await store.packages.all_checksums() == {"s"}
        assert [item.name for item in await store.tokens.of_organization(acme.id)] == ["CI"]
        job = await store.jobs.take({}, [])
        assert job is not None
        assert job.repository_id == "r2"
