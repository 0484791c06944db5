"""Organizations, and what their packages.json depends on."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec

from pricore.errors import ConflictError, NotFoundError
from pricore.models import Organization
from pricore.system.clock import now

if TYPE_CHECKING:
    import aiosqlite

    from pricore.engine.database import Database

_COLUMNS = "id, slug, name, description, created_at, sync_interval"


class Organizations:
    """The part of the store that holds organizations."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def create(self, slug: str, name: str, *, description: str = "") -> Organization:
        """Add an organization. Raises ConflictError where the slug is taken."""
        organization = Organization(str(uuid4()), slug, name, description, now())
        async with self._database.transaction() as db:
            cursor = await db.execute(
                """
                INSERT INTO organizations
                    (id, slug, name, description, root_modified, views_modified, inline, created_at)
                SELECT ?1, ?2, ?3, ?4, begun, begun, 1, ?5 FROM (SELECT max(?5, 1 + coalesce((
                    SELECT last_modified FROM former_organizations WHERE slug = ?2
                ), 0)) AS begun) WHERE true ON CONFLICT (slug) DO NOTHING
                """,
                (organization.id, slug, name, description, organization.created_at),
            )
            if not cursor.rowcount:
                raise ConflictError(f"there is an organization {slug} already; choose another slug")
        return organization

    async def all(self) -> list[Organization]:
        """All organizations, by slug."""
        rows = await self._database.fetch_all(f"SELECT {_COLUMNS} FROM organizations ORDER BY slug")
        return [Organization(*row) for row in rows]

    async def find(self, slug: str) -> Organization | None:
        """The organization of that slug, or None."""
        row = await self._database.fetch_one(
            f"SELECT {_COLUMNS} FROM organizations WHERE slug = ?", (slug,), by_key=True
        )
        return None if row is None else Organization(*row)

    async def get(self, slug: str) -> Organization:
        """The organization of that slug. Raises NotFoundError."""
        organization = await self.find(slug)
        if organization is None:
            raise NotFoundError(f"there is no organization {slug}; `pricore org list` shows those there are")
        return organization

    async def change(
        self, organization: Organization, *, name: str | None = None, description: str | None = None
    ) -> Organization:
        """Give an organization another name or description; None leaves it. Raises NotFoundError."""
        async with self._database.transaction(organization_id=organization.id) as db:
            rows: Any = await db.execute_fetchall(
                f"""
                UPDATE organizations SET name = coalesce(?, name), description = coalesce(?, description)
                WHERE id = ? RETURNING {_COLUMNS}
                """,
                (name, description, organization.id),
            )
            if not rows:
                raise NotFoundError(f"the organization {organization.slug} was deleted")
        return Organization(*rows[0])

    async def delete(self, organization: Organization) -> None:
        """Remove an organization with everything that belongs to it. Raises NotFoundError where it is gone."""
        async with self._database.transaction() as db:
            await db.execute(
                """
                INSERT INTO former_organizations (slug, last_modified)
                SELECT slug, max(
                    root_modified,
                    coalesce((
                        SELECT max(last_modified) FROM documents
                        JOIN packages ON packages.id = documents.package_id
                        WHERE organization_id = organizations.id
                    ), 0),
                    coalesce((
                        SELECT max(max(last_modified), views_modified + sum(changes)) FROM package_dates
                        WHERE organization_id = organizations.id
                    ), 0)
                ) FROM organizations WHERE id = ?
                ON CONFLICT (slug) DO UPDATE SET last_modified = excluded.last_modified
                """,
                (organization.id,),
            )
            cursor = await db.execute("DELETE FROM organizations WHERE id = ?", (organization.id,))
            if not cursor.rowcount:
                raise NotFoundError(f"the organization {organization.slug} was deleted")

    async def root(self, slug: str, only: frozenset[str] | None = None) -> tuple[str, int, bool] | None:
        """What packages.json is made from: the id, its last modification, whether versions are inline.

        Where it shows the packages in `only`, both are as if there were no others, and none ever had been.
        """
        row = await self._database.fetch_one(
            """
            SELECT id, iif(?2, root_modified, views_modified), inline,
                (SELECT CAST(value AS INTEGER) FROM served_settings WHERE name = 'inline_limit')
            FROM organizations WHERE slug = ?1
            """,
            (slug, only is None),
            by_key=True,
        )
        if row is None:
            return None
        organization_id, modified, inline, limit = row
        if only is None or limit is None:
            return organization_id, modified, bool(inline)
        rows = await self._database.fetch_all(
            """
            SELECT package_dates.name, changes, coalesce(inline_size, 0) FROM package_dates
            LEFT JOIN packages ON packages.organization_id = ?1 AND packages.name = package_dates.name
            WHERE package_dates.organization_id = ?1
            """,
            (organization_id,),
        )
        shown = [(changes, size) for name, changes, size in rows if name in only]
        # a sum moves with each of them, whichever comes first; the latest of their dates might not
        return (
            organization_id,
            modified + sum(changes for changes, _ in shown),
            sum(size for _, size in shown) <= limit,
        )

    async def apply_settings(self, *, public_url: str, inline_limit: int) -> None:
        """Take over the settings that are part of every answer; where one changed, all of them count as new."""
        settings = {"public_url": public_url, "inline_limit": str(inline_limit)}
        rows = await self._database.fetch_all("SELECT name, value FROM served_settings")
        if dict(rows) == settings:
            return
        async with self._database.transaction() as db:
            await db.executemany(
                """
                INSERT INTO served_settings (name, value) VALUES (?, ?)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value
                """,
                settings.items(),
            )
            await db.execute("UPDATE documents SET last_modified = max(last_modified + 1, ?)", (now(),))
            await db.execute(
                """
                UPDATE organizations SET root_modified = max(root_modified + 1, ?1),
                    views_modified = max(views_modified + 1, ?1)
                """,
                (now(),),
            )
            for (organization_id,) in await db.execute_fetchall("SELECT id FROM organizations"):
                await touch_root(db, organization_id, names_changed=False)


async def remember_dates(db: "aiosqlite.Connection", organization_id: str, package_ids: Iterable[str]) -> None:
    """Remember the dates of packages that go: one that comes back must have another."""
    ids = msgspec.json.encode(list(package_ids)).decode()
    await db.execute(
        """
        INSERT INTO package_dates (organization_id, name, changes, last_modified)
        SELECT organization_id, name, 1, coalesce((
            SELECT max(last_modified) FROM documents WHERE package_id = packages.id
        ), 0) FROM packages WHERE id IN (SELECT value FROM json_each(?))
        ON CONFLICT (organization_id, name) DO UPDATE SET
            changes = changes + 1, last_modified = max(last_modified, excluded.last_modified)
        """,
        (ids,),
    )
    await db.execute(
        """
        UPDATE organizations SET root_modified = max(root_modified, (
            SELECT coalesce(max(last_modified), 0) FROM documents
            WHERE package_id IN (SELECT value FROM json_each(?))
        )) WHERE id = ?
        """,
        (ids, organization_id),
    )


async def touch_root(db: "aiosqlite.Connection", organization_id: str, *, names_changed: bool) -> None:
    """Move packages.json of an organization forward where a change of its packages shows in it.

    It shows when a name came or went, when versions travel inline, or when they begin or cease to.
    """
    rows: Any = await db.execute_fetchall(
        """
        SELECT organizations.inline,
            (SELECT coalesce(sum(inline_size), 0) FROM packages WHERE organization_id = organizations.id)
                <= (SELECT CAST(value AS INTEGER) FROM served_settings WHERE name = 'inline_limit')
        FROM organizations WHERE id = ?
        """,
        (organization_id,),
    )
    ((before, after),) = rows
    after = before if after is None else after
    if names_changed or before or after:
        await db.execute(
            "UPDATE organizations SET root_modified = max(root_modified + 1, ?), inline = ? WHERE id = ?",
            (now(), after, organization_id),
        )
