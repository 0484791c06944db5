"""What the store's tests put into it, and what they find there."""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from pricore.auth.access_tokens import create_secret, hash_secret
from pricore.composer import metadata, versions
from pricore.composer.candidates import NewVersion
from pricore.composer.composer_json import read_manifest
from pricore.composer.publication import Publication
from pricore.engine.sqlite import statements
from pricore.hosts.addresses import parse_address
from pricore.models import Document, Organization, Repository
from pricore.rights.tokens import Token
from pricore.rights.visibility import ALL
from pricore.store import Store
from tests.rules import reach, token_name

COMMIT = "a" * 40
OTHER_COMMIT = "b" * 40
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
"""What there was in every schema."""


async def follow(store: Store, organization: Organization, name: str) -> Repository:
    return await store.repositories.add(organization, parse_address(f"https://git.example.com/{name}"))


def released(
    version: str = "1.0.0",
    *,
    package: str = "acme/library",
    reference: str = COMMIT,
    description: str = "A library",
    **composer_json: Any,
) -> NewVersion:
    """A version as a sync hands it over: a tag's, or a branch's where it is written dev-."""
    normalized = versions.normalize(version)
    entry = metadata.version_entry(
        read_manifest({"description": description} | composer_json),
        name=package,
        version=version,
        normalized=normalized,
        reference=reference,
        released_at=1_700_000_000,
        source_url=None,
    )
    ref = f"refs/heads/{version[4:]}" if version.startswith("dev-") else f"refs/tags/{version}"
    return NewVersion(
        package=package,
        version=version,
        normalized=normalized,
        ref=ref,
        reference=reference,
        released_at=1_700_000_000,
        default_branch=False,
        entry=entry,
        shasum=reference,
        size=1,
    )


async def publish(store: Store, repository: Repository, *versions: NewVersion, **change: Any) -> None:
    await store.publications.publish(repository, Publication(versions=versions, digest="seen", **change))


async def document(store: Store, half: str, name: str = "acme/library") -> Document:
    found = await store.documents.find("acme", name, half)
    assert found is not None
    return found


async def dates(store: Store) -> dict[str, int]:
    """Every Last-Modified of acme's."""
    root = await store.organizations.root("acme", ALL)
    assert root is not None
    return {
        "root": root.last_modified,
        "stable": (await document(store, "stable")).last_modified,
        "dev": (await document(store, "dev")).last_modified,
    }


def served(found: Document, name: str = "acme/library") -> list[str]:
    """The versions in a document."""
    body = msgspec.json.decode(zstandard.ZstdDecompressor().decompressobj().decompress(found.body))
    return [item["version"] for item in body["packages"][name]]


@contextlib.contextmanager
def outside(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else's."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as connection:
        yield connection


def make_earlier(path: Path, version: int) -> None:
    """A database of an earlier schema with something in each table that there was."""
    scripts = sorted(
        (item for item in resources.files("pricore.schema").iterdir() if item.name.endswith(".sql")),
        key=lambda item: item.name,
    )
    with outside(path) as connection:
        for script in scripts[:version]:
            for statement in statements(script.read_text(encoding="utf-8")):
                connection.execute(statement)
        rows = ROWS
        if version > 1:  # what came to be needed
            rows = rows.replace("url_key, refs_digest,", "url_key, confined, refs_digest,")
            rows = rows.replace("'file:/srv/x', ", "'file:/srv/x', 0, ").replace(
                "'github.com/a/b', ", "'github.com/a/b', 1, "
            )
        connection.executescript(rows)
        connection.execute(f"PRAGMA user_version = {version}")


def everything(path: Path) -> dict[str, list[Any]]:
    """All rows of all tables, as another process finds them."""
    with outside(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for (name,) in tables}


async def make_token(
    store: Store,
    organization: Organization,
    packages: Sequence[str] | None = None,
    name: str | None = None,
    **options: Any,
) -> Token:
    return await store.tokens.create(
        reach(organization, packages),
        name=name or token_name(),
        token_hash=hash_secret(create_secret()),
        scopes=["packages:read"],
        **options,
    )
