"""What tells whether a registry is well, out of what is on record."""

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pricore.engine.database import Database


class Trial(msgspec.Struct, frozen=True):
    """A version that can be tried out: its organization's slug and id, its package, number, and archive's sha1."""

    organization: str
    organization_id: str
    package: str
    version: str
    normalized: str
    shasum: str


class Failing(msgspec.Struct, frozen=True):
    """A repository that cannot be read, by its organization's slug and its URL; since when, and why."""

    organization: str
    url: str
    since: int
    error: str


class Health:
    """The part of the store that is asked how things are."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def latest_time(self) -> int:
        """The latest time that is on record for anything that happened, seconds; 0 where nothing has."""
        ((latest,),) = await self._database.fetch_all(
            """
            SELECT max(coalesce(at, 0)) FROM (
                SELECT max(created_at) AS at FROM organizations
                UNION ALL SELECT max(created_at) FROM tokens
                UNION ALL SELECT max(last_used_at) FROM tokens
                UNION ALL SELECT max(created_at) FROM repositories
                UNION ALL SELECT max(last_synced_at) FROM repositories
                UNION ALL SELECT max(started_at) FROM sync_runs
            ) AS times
            """
        )
        return int(latest)

    async def sealed(self) -> dict[tuple[str, str], bytes]:
        """Every secret as it was sealed: of (credential, its id) and of (webhook, its repository's id)."""
        rows = await self._database.fetch_all(
            """
            SELECT 'credential', id, secret FROM credentials
            UNION ALL
            SELECT 'webhook', id, webhook_secret FROM repositories WHERE webhook_secret IS NOT NULL
            """
        )
        return {(kind, owner): secret for kind, owner, secret in rows}

    async def failing(self, *, before: int) -> list[Failing]:
        """The repositories that have been failing since before some time, the longest first."""
        rows = await self._database.fetch_all(
            """
            SELECT slug, url, failing_since, coalesce(sync_error, '') FROM repositories
            JOIN organizations ON organizations.id = repositories.organization_id
            WHERE failing_since <= ? ORDER BY failing_since, url
            """,
            (before,),
        )
        return [Failing(*row) for row in rows]

    async def urls(self) -> list[str]:
        """The addresses of all repositories of all organizations."""
        return [url for (url,) in await self._database.fetch_all("SELECT url FROM repositories ORDER BY url")]

    async def public_url(self) -> str | None:
        """The public URL that the server was started with last, empty where it has none; None if it never was."""
        row = await self._database.fetch_one("SELECT value FROM served_settings WHERE name = 'public_url'")
        return None if row is None else str(row[0])

    async def trial(self) -> Trial | None:
        """The version with the smallest archive; None where none is served."""
        row = await self._database.fetch_one(
            """
            SELECT slug, organizations.id, packages.name, version, normalized, versions.shasum FROM versions
            JOIN packages ON packages.id = versions.package_id
            JOIN organizations ON organizations.id = packages.organization_id
            LEFT JOIN dists ON dists.package_id = packages.id AND dists.reference = versions.reference
            ORDER BY dists.size IS NULL, dists.size, versions.id LIMIT 1
            """
        )
        return None if row is None else Trial(*row)
