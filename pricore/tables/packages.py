"""Packages, their versions, the documents made of them, and the archives that were ever advertised."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import zstandard

from pricore import metadata, versions
from pricore.clock import now
from pricore.errors import ConflictError, NotFoundError
from pricore.metadata import Published
from pricore.models import Dist, Document, NewVersion, Organization, Package, Ref, Repository, Version

if TYPE_CHECKING:
    import aiosqlite

    from pricore.store import Store

_COLUMNS: Final = ", ".join(f"packages.{name}" for name in Package.__struct_fields__)
_MOST_DESCRIPTION: Final = 1000
"""Characters of a description that lists and searches go through; the metadata has it whole."""

_DIST_SIZE: Final = 300
"""Bytes that `dist` and `uid` add to a version, about; for deciding what is small enough to be inline."""


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction of a sync changes.

    `versions` come or change. `removed` go; `gone` stay and are marked, as (package, version). `refs` are
    what became of refs, `forgotten` the names of those that are no more. `digest` is what was
    seen upstream, given by the last transaction of a complete sync; None while it goes on.
    """

    versions: Sequence[NewVersion] = ()
    removed: Sequence[tuple[str, str]] = ()
    gone: Sequence[tuple[str, str]] = ()
    refs: Sequence[Ref] = ()
    forgotten: Sequence[str] = ()
    default_branch: str | None = None
    default_name: str | None = None
    digest: str | None = None


class Packages:
    """The part of the store that holds packages and everything that is made of them."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    async def publish(self, repository: Repository, change: Publication) -> None:
        """Bring what a sync found into service, documents included, all or nothing.

        Raises ConflictError where a package comes from another repository, NotFoundError where the
        repository was removed in the meantime.
        """
        async with self._store.transaction() as db:
            await _update_repository(db, repository, change)
            ids, names_changed = await _package_ids(db, repository, change)
            await db.executemany(
                """
                INSERT INTO versions (package_id, version, normalized, ref, reference, shasum, entry,
                    default_branch, released_at, gone_at, created_at)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?)
                ON CONFLICT (package_id, version) DO UPDATE SET
                    normalized = excluded.normalized, ref = excluded.ref, reference = excluded.reference,
                    shasum = excluded.shasum, entry = excluded.entry, default_branch = excluded.default_branch,
                    released_at = excluded.released_at, gone_at = NULL
                """,
                [
                    (
                        ids[item.package.lower()],
                        item.version,
                        item.normalized,
                        item.ref,
                        item.reference,
                        item.shasum,
                        item.entry,
                        item.default_branch,
                        item.released_at,
                        now(),
                    )
                    for item in change.versions
                ],
            )
            await db.executemany(
                """
                INSERT INTO dists (package_id, reference, shasum, size) VALUES (?, ?, ?, ?)
                ON CONFLICT (package_id, reference) DO NOTHING
                """,
                [(ids[item.package.lower()], item.reference, item.shasum, item.size) for item in change.versions],
            )
            await db.executemany(
                "DELETE FROM versions WHERE package_id = ? AND version = ?",
                [(ids[package.lower()], version) for package, version in change.removed],
            )
            await db.executemany(
                """
                UPDATE versions SET gone_at = ? WHERE package_id = ? AND version = ? AND gone_at IS NULL
                """,
                [(now(), ids[package.lower()], version) for package, version in change.gone],
            )
            await _update_refs(db, repository, change)
            renamed = await _mark_replaced(db, repository, change)
            for name, package_id in (ids | renamed).items():
                await _rebuild(db, package_id, name)
            if ids or renamed:
                await self._store.organizations.touch_root(
                    db, repository.organization_id, names_changed=names_changed
                )

    async def of_organization(self, organization_id: str) -> list[Package]:
        """The packages of an organization, by name."""
        rows = await self._store.fetch_all(
            f"SELECT {_COLUMNS} FROM packages WHERE organization_id = ? ORDER BY name", (organization_id,)
        )
        return [_package(row) for row in rows]

    async def search(
        self, organization_id: str, *, text: str, only: frozenset[str] | None, limit: int, offset: int
    ) -> tuple[list[Package], int]:
        """A part of the packages whose name contains `text`, by name, and how many there are in all.

        `only` are the names that the caller may see; None for all.
        """
        where = """
            organization_id = ?1 AND instr(name, ?2)
            AND (?3 IS NULL OR name IN (SELECT value FROM json_each(?3)))
        """
        parameters = (organization_id, text.lower(), None if only is None else _json(only))
        ((total,),) = await self._store.fetch_all(f"SELECT count(*) FROM packages WHERE {where}", parameters)
        rows = await self._store.fetch_all(
            f"SELECT {_COLUMNS} FROM packages WHERE {where} ORDER BY name LIMIT ?4 OFFSET ?5",
            (*parameters, limit, offset),
        )
        return [_package(row) for row in rows], total

    async def find(self, organization_id: str, reference: str) -> Package | None:
        """The package of that id or name, or None."""
        row = await self._store.fetch_one(
            f"SELECT {_COLUMNS} FROM packages WHERE organization_id = ?1 AND (id = ?2 OR name = ?3)",
            (organization_id, reference, reference.lower()),
        )
        return None if row is None else _package(row)

    async def get(self, organization: Organization, name: str) -> Package:
        """The package of that name. Raises NotFoundError."""
        package = await self.find(organization.id, name)
        if package is None:
            raise NotFoundError(
                f"{organization.slug} has no package {name}; "
                f"`pricore package list {organization.slug}` shows those it has"
            )
        return package

    async def names(self, repository_id: str) -> list[str]:
        """The names of the packages that a repository supplies."""
        rows = await self._store.fetch_all(
            "SELECT name FROM packages WHERE repository_id = ? ORDER BY name", (repository_id,)
        )
        return [name for (name,) in rows]

    async def owners(self, organization_id: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Which repository each of some packages comes from: name to (repository id, its address)."""
        rows = await self._store.fetch_all(
            """
            SELECT packages.name, repositories.id, repositories.url FROM packages
            JOIN repositories ON repositories.id = packages.repository_id
            WHERE packages.organization_id = ? AND packages.name IN (SELECT value FROM json_each(?))
            """,
            (organization_id, _json(names)),
        )
        return {name: (repository_id, url) for name, repository_id, url in rows}

    async def versions(self, package: Package) -> list[Version]:
        """The versions of a package as they are served, newest first."""
        rows = await self._store.fetch_all(
            """
            SELECT version, normalized, ref, reference, shasum, released_at, gone_at
            FROM versions WHERE package_id = ?
            """,
            (package.id,),
        )
        found = [Version(**dict(zip(Version.__struct_fields__, row, strict=True))) for row in rows]
        return sorted(found, key=lambda item: versions.sort_key(item.normalized), reverse=True)

    async def of_repository(self, repository_id: str) -> dict[tuple[str, str], Version]:
        """Every version that a repository supplies, by (package, version)."""
        rows = await self._store.fetch_all(
            """
            SELECT packages.name, version, normalized, ref, reference, shasum, released_at, gone_at
            FROM versions JOIN packages ON packages.id = versions.package_id WHERE repository_id = ?
            """,
            (repository_id,),
        )
        fields = Version.__struct_fields__
        return {(row[0], row[1]): Version(**dict(zip(fields, row[1:], strict=True))) for row in rows}

    async def checksums(self, repository_id: str) -> dict[str, tuple[str, int]]:
        """Every archive that was advertised for a repository: commit to (sha1, bytes)."""
        rows = await self._store.fetch_all(
            """
            SELECT reference, shasum, size FROM dists
            JOIN packages ON packages.id = dists.package_id WHERE repository_id = ?
            """,
            (repository_id,),
        )
        return {reference: (shasum, size) for reference, shasum, size in rows}

    async def document(self, slug: str, name: str, half: str) -> Document | None:
        """A finished half (`stable` or `dev`) of a package's metadata, or None where there is no such package."""
        row = await self._store.fetch_one(
            """
            SELECT documents.body, documents.last_modified FROM documents
            JOIN packages ON packages.id = documents.package_id
            JOIN organizations ON organizations.id = packages.organization_id
            WHERE organizations.slug = ? AND packages.name = ? AND documents.half = ?
            """,
            (slug, name, half),
        )
        return None if row is None else Document(*row)

    async def inline(self, organization_id: str, only: frozenset[str] | None) -> dict[str, msgspec.Raw]:
        """The versions of an organization's packages as packages.json carries them, for the names in `only`."""
        rows = await self._store.fetch_all(
            """
            SELECT packages.name, replaced_by, version, normalized, reference, shasum, entry, versions.id
            FROM versions JOIN packages ON packages.id = versions.package_id
            WHERE organization_id = ? ORDER BY packages.name
            """,
            (organization_id,),
        )
        found: dict[tuple[str, str | None], list[Published]] = {}
        for name, replaced_by, *fields in rows:
            if only is None or name in only:
                found.setdefault((name, replaced_by), []).append(_published(name, fields))
        return {
            name: metadata.build_inline(metadata.newest_first(items), replaced_by=replaced_by)
            for (name, replaced_by), items in found.items()
        }

    async def providers(self, organization_id: str, name: str) -> list[Package]:
        """The packages that say they provide `name`."""
        rows = await self._store.fetch_all(
            f"""
            SELECT DISTINCT {_COLUMNS}
            FROM packages JOIN versions ON versions.package_id = packages.id,
                json_each(CAST(versions.entry AS TEXT), '$.provide') AS provided
            WHERE packages.organization_id = ? AND lower(provided.key) = ? ORDER BY packages.name
            """,
            (organization_id, name.lower()),
        )
        return [_package(row) for row in rows]

    async def dist(self, slug: str, name: str, *, version: str, reference: str | None) -> Dist | None:
        """The archive of a commit that was ever advertised, or of a version as it is served now.

        A version is found by its pretty form, and by any other that means the same (1.0, v1.0.0).
        """
        row = await self._store.fetch_one(
            """
            SELECT packages.id, packages.repository_id FROM packages
            JOIN organizations ON organizations.id = packages.organization_id
            WHERE slug = ? AND packages.name = ?
            """,
            (slug, name),
        )
        if row is None:
            return None
        package_id, repository_id = row
        fixed = True
        if reference is None:
            row = await self._store.fetch_one(
                """
                SELECT reference, normalized FROM versions
                WHERE package_id = ?1 AND (version = ?2 OR normalized = ?3)
                ORDER BY version = ?2 DESC LIMIT 1
                """,
                (package_id, version, _normalized(version)),
            )
            if row is None:
                return None
            reference, normalized = row
            fixed = not versions.is_dev(normalized)
        row = await self._store.fetch_one(
            "SELECT reference, shasum, size FROM dists WHERE package_id = ? AND reference = ?",
            (package_id, reference),
        )
        if row is None:
            return None
        reference, shasum, size = row
        return Dist(repository_id, reference, shasum, size, fixed)


def _normalized(version: str) -> str | None:
    try:
        return versions.normalize(version)
    except ValueError:
        return None


def _json(values: Iterable[str]) -> str:
    return msgspec.json.encode(list(values)).decode()


def _package(row: tuple[object, ...]) -> Package:
    return Package(**dict(zip(Package.__struct_fields__, row, strict=True)))  # type: ignore[arg-type]


def _published(name: str, fields: Sequence[Any]) -> Published:
    version, normalized, reference, shasum, entry, uid = fields
    return Published(
        name=name,
        version=version,
        normalized=normalized,
        reference=reference,
        shasum=shasum,
        entry=entry,
        uid=uid,
    )


async def _update_repository(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> None:
    cursor = await db.execute(
        """
        UPDATE repositories SET default_branch = coalesce(?1, default_branch),
            default_name = coalesce(?2, default_name),
            -- changed to another address while it was read: the next sync reads all of that one
            refs_digest = CASE WHEN url = ?6 THEN coalesce(?3, refs_digest) ELSE '' END,
            sync_status = CASE WHEN ?3 IS NULL THEN sync_status ELSE 'ok' END,
            sync_error = CASE WHEN ?3 IS NULL THEN sync_error END,
            last_synced_at = CASE WHEN ?3 IS NULL THEN last_synced_at ELSE ?4 END
        WHERE id = ?5
        """,
        (change.default_branch, change.default_name, change.digest, now(), repository.id, repository.url),
    )
    if not cursor.rowcount:
        raise NotFoundError(f"the repository {repository.url} was removed while it was being read")


async def _package_ids(
    db: "aiosqlite.Connection", repository: Repository, change: Publication
) -> tuple[dict[str, str], bool]:
    """The ids of all packages that the change touches, made where they are missing, and whether any was."""
    names = {item.package.lower() for item in change.versions}
    names |= {package.lower() for package, _ in (*change.removed, *change.gone)}
    ids: dict[str, str] = {}
    made = False
    for name in sorted(names):
        rows: Any = await db.execute_fetchall(
            """
            SELECT packages.id, repository_id, url FROM packages
            JOIN repositories ON repositories.id = repository_id
            WHERE packages.organization_id = ? AND packages.name = ?
            """,
            (repository.organization_id, name),
        )
        for package_id, owner, url in rows:
            if owner != repository.id:
                raise ConflictError(name_taken(name, url))
            ids[name] = package_id
        if name not in ids:
            made = True
            ids[name] = str(uuid4())
            await db.execute(
                """
                INSERT INTO packages
                    (id, organization_id, repository_id, name, description, type, inline_size, created_at)
                VALUES (?, ?, ?, ?, '', 'library', 0, ?)
                """,
                (ids[name], repository.organization_id, repository.id, name, now()),
            )
    return ids, made


def name_taken(name: str, url: str) -> str:
    """What to say where a second repository supplies a package."""
    return f"the package {name} comes from {url} already; remove that repository first, or rename this package"


async def _update_refs(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> None:
    await db.executemany(
        """
        INSERT INTO refs (repository_id, name, reference, package, version, reason) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (repository_id, name) DO UPDATE SET reference = excluded.reference,
            package = excluded.package, version = excluded.version, reason = excluded.reason
        """,
        [(repository.id, ref.name, ref.commit, ref.package, ref.version, ref.reason) for ref in change.refs],
    )
    await db.executemany(
        "DELETE FROM refs WHERE repository_id = ? AND name = ?",
        [(repository.id, name) for name in change.forgotten],
    )


async def _mark_replaced(
    db: "aiosqlite.Connection", repository: Repository, change: Publication
) -> dict[str, str]:
    """Packages that the repository supplied under another name are frozen; gives those that changed, by name."""
    if change.default_name is None:
        return {}
    rows: Any = await db.execute_fetchall(
        """
        UPDATE packages SET replaced_by = nullif(?1, name)
        WHERE repository_id = ?2 AND replaced_by IS NOT nullif(?1, name) RETURNING name, id
        """,
        (change.default_name.lower(), repository.id),
    )
    return dict(rows)


async def _rebuild(db: "aiosqlite.Connection", package_id: str, name: str) -> None:
    """Make both documents of a package anew out of its versions, and what lists show of it."""
    rows: Any = await db.execute_fetchall(
        "SELECT version, normalized, reference, shasum, entry, id FROM versions WHERE package_id = ?",
        (package_id,),
    )
    ((replaced_by,),) = await db.execute_fetchall("SELECT replaced_by FROM packages WHERE id = ?", (package_id,))
    published = metadata.newest_first(_published(name, row) for row in rows)
    halves = await asyncio.to_thread(_documents, name, published, replaced_by)
    for half, body in halves.items():
        # an unchanged half keeps its Last-Modified, and every client its copy
        await db.execute(
            """
            INSERT INTO documents (package_id, half, body, last_modified)
            SELECT id, ?2, ?3, max(?4, 1 + (SELECT root_modified FROM organizations WHERE id = organization_id))
            FROM packages WHERE id = ?1
            ON CONFLICT (package_id, half) DO UPDATE SET
                body = excluded.body, last_modified = max(last_modified + 1, excluded.last_modified)
            WHERE body <> excluded.body
            """,
            (package_id, half, body, now()),
        )
    latest = metadata.latest_version((item.version, item.normalized) for item in published)
    shown = next((item.entry for item in published if item.version == latest), b"{}")
    entry = msgspec.json.decode(shown, type=dict[str, Any])
    await db.execute(
        "UPDATE packages SET description = ?, type = ?, latest_version = ?, inline_size = ? WHERE id = ?",
        (
            entry.get("description", "")[:_MOST_DESCRIPTION],
            entry.get("type", "library"),
            latest,
            sum(len(item.entry) + _DIST_SIZE for item in published),
            package_id,
        ),
    )


def _documents(name: str, published: Sequence[Published], replaced_by: str | None) -> dict[str, bytes]:
    compress = zstandard.ZstdCompressor(level=6).compress
    return {
        half: compress(
            metadata.build_document(
                name,
                [item for item in published if versions.is_dev(item.normalized) == (half == "dev")],
                replaced_by=replaced_by,
            )
        )
        for half in ("stable", "dev")
    }
