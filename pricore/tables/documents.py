"""The documents that are made of a package's versions, and what lists show of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from pricore.composer import metadata
from pricore.composer.metadata import DOCUMENT_FORMAT, Published
from pricore.models import Document, Package
from pricore.rights.visibility import Rights
from pricore.system.clock import now
from pricore.system.threads import DOCUMENTS, PUBLISHING
from pricore.tables.sql import chosen, even, in_chunks, next_date

if TYPE_CHECKING:
    import msgspec

    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction

PUBLISHED: Final = """
    version, normalized, reference, shasum, entry, published_at, first_reference IS NOT NULL
"""
"""The columns of a version that documents are made of."""

_SMALL: Final = 64 * 1024
"""Bytes of a stored document that is read at once; of a larger one, each page is one more on the disk."""

_ANY: Final = 2**40


class Documents:
    """The part of the store that holds what clients read of packages."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def find(self, slug: str, name: str, half: str) -> Document | None:
        """A finished half (`stable` or `dev`) of a package's metadata, or None where there is no such package."""
        sql = """
            SELECT CASE WHEN length(body) <= ?4 THEN body END, documents.last_modified, organization_id
            FROM documents
            JOIN packages ON packages.id = documents.package_id
            JOIN organizations ON organizations.id = packages.organization_id
            WHERE organizations.slug = ?1 AND packages.name = ?2 AND documents.half = ?3
        """
        row = await self._database.find(sql, (slug, name, half, _SMALL))
        if row is not None and row[0] is None:
            row = await self._database.fetch_one(sql, (slug, name, half, _ANY), by_key=True)
        return None if row is None else Document(*row)

    async def inline(self, organization_id: str, rights: Rights) -> dict[str, "msgspec.Raw"]:
        """The versions of an organization's packages as packages.json carries them, as far as they are shown."""
        rows = await self._database.fetch_all(
            f"""
            SELECT packages.name, replaced_by, {PUBLISHED}
            FROM versions JOIN packages ON packages.id = versions.package_id
            WHERE organization_id = ? ORDER BY packages.name
            """,
            (organization_id,),
        )

        def build() -> dict[str, "msgspec.Raw"]:
            found: dict[tuple[str, str | None], list[Published]] = {}
            for name, replaced_by, *fields in rows:
                item, view = as_published(name, fields), rights.view(name)
                if view is not None and view.admits(item.normalized, item.published_at):
                    found.setdefault((name, replaced_by), []).append(item)
            return {
                name: metadata.build_inline(
                    metadata.newest_first(items), replaced_by=replaced_by, sources=rights.sources
                )
                for (name, replaced_by), items in found.items()
            }

        return await DOCUMENTS.for_all(len(rows), build)

    async def published(self, package: Package) -> list[Published]:
        """The versions of a package as documents are made of them."""
        rows = await self._database.fetch_all(
            f"SELECT {PUBLISHED} FROM versions WHERE package_id = ?", (package.id,)
        )
        return [as_published(package.name, fields) for fields in rows]

    async def entries(self, version_ids: Collection[int]) -> dict[int, bytes]:
        """The metadata of some versions, by their ids."""
        found: dict[int, bytes] = {}
        for chunk in in_chunks(version_ids):
            rows = await self._database.fetch_all(
                f"SELECT id, entry FROM versions WHERE id IN {chosen(chunk)}", chunk
            )
            found |= dict(rows)
        return found


async def rebuild(db: "Transaction", package_id: str, name: str) -> None:
    """Make both documents of a package anew out of its versions, and what lists show of it."""
    ((replaced_by, floor, last_modified),) = await db.execute_fetchall(
        """
        SELECT replaced_by, dates_after, coalesce(last_modified, 0) FROM packages
        JOIN organizations ON organizations.id = packages.organization_id
        LEFT JOIN package_dates ON package_dates.organization_id = packages.organization_id
            AND package_dates.name = packages.name
        WHERE packages.id = ?
        """,
        (package_id,),
    )
    built = await _build(db, package_id, name, replaced_by)
    await db.execute("DELETE FROM provided_names WHERE package_id = ?", (package_id,))
    await db.executemany(
        "INSERT INTO provided_names (package_id, name) VALUES (?, ?)",
        [(package_id, item) for item in sorted(built.provided)],
    )
    # of a new half: after all that the package had before under its name, and owing nothing to other packages
    await _put(db, package_id, built.documents, at=even(max(now() - 1, 1 + floor, 1 + last_modified)))
    await db.execute(
        """
        UPDATE packages SET description = ?, type = ?, latest_version = ?, inline_size = ?, document_format = ?,
            abandoned = ?
        WHERE id = ?
        """,
        (
            built.shown.description,
            built.shown.type,
            built.latest_version,
            built.inline_size,
            DOCUMENT_FORMAT,
            built.shown.abandoned,
            package_id,
        ),
    )


async def _build(db: "Transaction", package_id: str, name: str, replaced_by: str | None) -> metadata.BuiltPackage:
    rows: Any = await db.execute_fetchall(f"SELECT {PUBLISHED} FROM versions WHERE package_id = ?", (package_id,))
    main: Any = await db.execute_fetchall(
        "SELECT entry FROM versions WHERE package_id = ? AND default_branch ORDER BY id LIMIT 1", (package_id,)
    )
    return await PUBLISHING.run(
        metadata.build_package,
        name,
        # the rows are let go as they get into documents
        (as_published(name, row) for row in metadata.take(rows)),
        main=next((entry for (entry,) in main), None),
        replaced_by=replaced_by,
    )


async def _put(db: "Transaction", package_id: str, halves: Mapping[str, bytes], *, at: int) -> None:
    """Store a package's documents; an unchanged half keeps its Last-Modified, and every client its copy."""
    for half, body in halves.items():
        await db.execute(
            f"""
            INSERT INTO documents (package_id, half, body, last_modified) VALUES (?, ?, ?, ?)
            ON CONFLICT (package_id, half) DO UPDATE SET body = excluded.body,
                last_modified = {next_date("documents.last_modified", "excluded.last_modified")}
            WHERE documents.body <> excluded.body
            """,
            (package_id, half, body, at),
        )


def as_published(name: str, fields: Sequence[Any]) -> Published:
    """A row of versions (PUBLISHED) as documents are made of it."""
    version, normalized, reference, shasum, entry, published_at, moved = fields
    return Published(
        name=name,
        version=version,
        normalized=normalized,
        reference=reference,
        shasum=shasum,
        entry=entry,
        published_at=published_at,
        moved=bool(moved),
    )
