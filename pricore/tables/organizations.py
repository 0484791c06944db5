"""Organizations, and what their packages.json depends on."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from msgspec import UNSET, UnsetType

from pricore.errors import ConflictError, NotFoundError
from pricore.models import Organization
from pricore.rights.visibility import Rights, Visibility
from pricore.system.clock import now
from pricore.system.threads import DOCUMENTS
from pricore.tables.sql import even, later, next_date
from pricore.tables.tokens import remove_homeless

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction
    from pricore.tables.schedule import Schedule

_COLUMNS = "id, slug, name, description, created_at, sync_interval"


class Root(NamedTuple):
    """What packages.json of an organization is made from: names, and whether versions are inside.

    `last_modified` is that of the whole one.
    """

    organization_id: str
    last_modified: int
    names: Sequence[str]
    inline: bool


class Organizations:
    """The part of the store that holds organizations."""

    def __init__(self, database: "Database", schedule: "Schedule") -> None:
        self._database = database
        self._schedule = schedule

    async def create(self, slug: str, name: str, *, description: str = "") -> Organization:
        """Add an organization. Raises ConflictError where the slug is taken."""
        organization = Organization(str(uuid4()), slug, name, description, now())
        async with self._database.transaction() as db:
            rows: Any = await db.execute_fetchall(
                "SELECT last_modified FROM former_organizations WHERE slug = ?", (slug,)
            )
            begun = max([organization.created_at, *(1 + last_modified for (last_modified,) in rows)])
            cursor = await db.execute(
                """
                INSERT INTO organizations
                    (id, slug, name, description, root_modified, dates_after, inline, created_at)
                VALUES (?, ?, ?, ?, ?, ?, TRUE, ?)
                ON CONFLICT (slug) DO NOTHING
                """,
                (organization.id, slug, name, description, even(begun), begun, organization.created_at),
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
        self,
        organization: Organization,
        *,
        name: str | None = None,
        description: str | None = None,
        sync_interval: int | UnsetType | None = UNSET,
    ) -> Organization:
        """Give an organization another name or description (None leaves it), or its repositories an interval.

        That is in seconds, 0 for none; None follows the instance. Raises NotFoundError.
        """
        async with self._database.transaction(organization_id=organization.id) as db:
            if sync_interval is not UNSET:
                await db.execute(
                    "UPDATE organizations SET sync_interval = ? WHERE id = ?", (sync_interval, organization.id)
                )
                await self._schedule.spread(db, organization.id)
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
                INSERT INTO former_organizations (slug, last_modified) VALUES (?, ?)
                ON CONFLICT (slug) DO UPDATE SET last_modified = excluded.last_modified
                """,
                (organization.slug, await _latest_date(db, organization.id)),
            )
            cursor = await db.execute("DELETE FROM organizations WHERE id = ?", (organization.id,))
            if not cursor.rowcount:
                raise NotFoundError(f"the organization {organization.slug} was deleted")
            await remove_homeless(db)

    async def root(self, slug: str, rights: Rights) -> Root | None:
        """What packages.json is made from; None where there is no such organization.

        Where some packages alone are shown, versions are inside as if there were no others. With rules on versions
        they never are: how many bytes all of them take would tell of those that are left out.
        """
        row = await self._database.fetch_one(
            """
            SELECT id, root_modified, inline, (SELECT value FROM served_settings WHERE name = 'inline_limit')
            FROM organizations WHERE slug = ?
            """,
            (slug,),
            by_key=True,
        )
        if row is None:
            return None
        organization_id, last_modified, inline, limit = row
        rows = await self._database.fetch_all(
            "SELECT name, inline_size FROM packages WHERE organization_id = ? ORDER BY name",
            (organization_id,),
            by_key=True,
        )

        def choose() -> list[tuple[str, int, Visibility]]:
            views = [(name, size, rights.view(name)) for name, size in rows]
            return [(name, size, view) for name, size, view in views if view is not None]

        shown = await DOCUMENTS.for_all(len(rows), choose)
        if rights.restricted and limit is not None:
            small = sum(size for _, size, _ in shown) <= int(limit)
            inline = small and all(view.has_all for _, _, view in shown)
        return Root(organization_id, last_modified, [name for name, _, _ in shown], inline=bool(inline))

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
            at = even(now() - 1)
            await db.execute(f"UPDATE documents SET last_modified = {next_date('last_modified', '?1')}", (at,))
            await db.execute(f"UPDATE organizations SET root_modified = {next_date('root_modified', '?1')}", (at,))
            for (organization_id,) in await db.execute_fetchall("SELECT id FROM organizations"):
                await touch_root(db, organization_id, names_changed=False)


async def _latest_date(db: "Transaction", organization_id: str) -> int:
    """The latest date of anything that an organization has, or had; 0 where it is gone."""
    rows: Any = await db.execute_fetchall(
        """
        SELECT root_modified, dates_after, (
            SELECT max(last_modified) FROM package_dates WHERE organization_id = organizations.id
        ), (
            SELECT max(last_modified) FROM documents JOIN packages ON packages.id = documents.package_id
            WHERE organization_id = organizations.id
        ), (
            SELECT max(last_modified) FROM view_dates WHERE organization_id = organizations.id
        ) FROM organizations WHERE id = ?
        """,
        (organization_id,),
    )
    return max((date or 0 for row in rows for date in row), default=0)


async def remember_dates(db: "Transaction", organization_id: str, package_ids: Iterable[str]) -> None:
    """Remember the dates of packages that go: one that comes back must have another."""
    ids = list(package_ids)
    await db.executemany(
        f"""
        INSERT INTO package_dates (organization_id, name, last_modified)
        SELECT organization_id, name, coalesce((
            SELECT max(last_modified) FROM documents WHERE package_id = packages.id
        ), 0) FROM packages WHERE id = ?
        ON CONFLICT (organization_id, name) DO UPDATE SET
            last_modified = {later("package_dates.last_modified", "excluded.last_modified")}
        """,
        ((package_id,) for package_id in ids),
    )
    await db.executemany(
        """
        UPDATE organizations SET root_modified = latest
        FROM (SELECT max(last_modified) AS latest FROM documents WHERE package_id = ?) AS gone
        WHERE id = ? AND root_modified < latest
        """,
        ((package_id, organization_id) for package_id in ids),
    )


async def touch_root(db: "Transaction", organization_id: str, *, names_changed: bool) -> None:
    """Move packages.json of an organization forward where a change of its packages shows in it.

    It shows when a name came or went, when versions travel inline, or when they begin or cease to.
    """
    rows: Any = await db.execute_fetchall(
        """
        SELECT inline, (
            SELECT CAST(coalesce(sum(inline_size), 0) AS BIGINT) FROM packages
            WHERE organization_id = organizations.id
        ),
            (SELECT value FROM served_settings WHERE name = 'inline_limit')
        FROM organizations WHERE id = ?
        """,
        (organization_id,),
    )
    ((before, size, limit),) = rows
    after = bool(before) if limit is None else size <= int(limit)
    if names_changed or before or after:
        await db.execute(
            f"""
            UPDATE organizations SET root_modified = {next_date("root_modified", "?2")}, inline = ?3 WHERE id = ?1
            """,
            (organization_id, even(now() - 1), after),
        )
