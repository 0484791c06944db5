"""The archives that were ever advertised, for who looks after those that are kept."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pricore.models import Advertised, Dist
from pricore.system.threads import SYNCS
from pricore.tables.sql import chosen, in_chunks

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction


class Archives:
    """The part of the store that knows what was advertised, and when it was last asked for."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def advertised(self) -> list[Advertised]:
        """Every archive that may be asked for; one that several packages have is there for each of them."""
        rows = await self._database.fetch_all(
            """
            SELECT slug, packages.name, version, repository_id,
                coalesce(treeish, dists.reference), dists.shasum, size
            FROM dists
            JOIN packages ON packages.id = dists.package_id
            JOIN organizations ON organizations.id = organization_id
            LEFT JOIN (
                SELECT package_id, reference, min(version) AS version FROM versions GROUP BY package_id, reference
            ) AS made ON made.package_id = dists.package_id AND made.reference = dists.reference
            ORDER BY slug, packages.name, dists.reference
            """
        )
        return [
            Advertised(slug, package, version or treeish[:12], Dist(repository_id, treeish, shasum, size))
            for slug, package, version, repository_id, treeish, shasum, size in rows
        ]

    async def unrecorded(self) -> list[tuple[str, str, str]]:
        """Versions, as (slug, package, version), that advertise a checksum of which no archive is on record."""
        return await self._database.fetch_all(
            """
            SELECT slug, packages.name, version FROM versions
            JOIN packages ON packages.id = versions.package_id
            JOIN organizations ON organizations.id = organization_id
            LEFT JOIN dists ON dists.package_id = packages.id AND dists.reference = versions.reference
            WHERE dists.shasum IS NULL OR dists.shasum <> versions.shasum
            """
        )

    async def uses(self) -> dict[str, int]:
        """When each archive that is missed if it isn't kept was last asked for, by checksum."""
        return dict(await self._database.fetch_all("SELECT shasum, used_at FROM dist_uses"))

    async def forget(self, shasums: Iterable[str]) -> None:
        """Miss some archives no longer, and none that nothing names any more."""
        async with self._database.transaction(revise=False) as db:
            await db.executemany("DELETE FROM dist_uses WHERE shasum = ?", ((shasum,) for shasum in shasums))
            await db.execute("DELETE FROM dist_uses WHERE shasum NOT IN (SELECT shasum FROM dists)")

    async def checksums(self, repository_id: str) -> dict[str, tuple[str, int]]:
        """Every archive that was advertised for a repository: commit, or commit:folder, to (sha1, bytes)."""
        rows = await self._database.fetch_all(
            """
            SELECT coalesce(treeish, reference), shasum, size FROM dists
            JOIN packages ON packages.id = dists.package_id WHERE repository_id = ?
            """,
            (repository_id,),
        )
        return await SYNCS.for_all(len(rows), lambda: {treeish: (shasum, size) for treeish, shasum, size in rows})

    async def all_checksums(self) -> set[str]:
        """The sha1 of every archive that was ever advertised and may be asked for."""
        return {shasum for (shasum,) in await self._database.fetch_all("SELECT DISTINCT shasum FROM dists")}

    async def uploaded_checksums(self, organization_id: str | None = None) -> set[str]:
        """The sha1 of every archive that was uploaded, of an organization or of all: nobody can make it again."""
        rows = await self._database.fetch_all(
            """
            SELECT DISTINCT shasum FROM dists JOIN packages ON packages.id = dists.package_id
            WHERE repository_id IS NULL AND organization_id = coalesce(?, organization_id)
            """,
            (organization_id,),
        )
        return {shasum for (shasum,) in rows}

    async def uploaded_as(self, organization_id: str, name: str, reference: str) -> str | None:
        """The checksum of the archive with which a content was uploaded to a package; None for a new one."""
        row = await self._database.fetch_one(
            """
            SELECT shasum FROM dists JOIN packages ON packages.id = package_id
            WHERE organization_id = ? AND repository_id IS NULL AND name = ? AND reference = ?
            """,
            (organization_id, name.lower(), reference),
        )
        return None if row is None else str(row[0])

    @asynccontextmanager
    async def unnamed(self, shasums: Iterable[str]) -> AsyncIterator[set[str]]:
        """Those of some checksums that no archive has; until the block ends, none gets one."""
        async with self._database.transaction(revise=False) as db:
            yield await unused(db, shasums)


async def unused(db: "Transaction", shasums: Iterable[str]) -> set[str]:
    """Those of some checksums that no archive has any more."""
    wanted = set(shasums)
    for chunk in in_chunks(list(wanted)):
        rows = await db.execute_fetchall(
            f"SELECT DISTINCT shasum FROM dists WHERE shasum IN {chosen(chunk)}", chunk
        )
        wanted.difference_update(shasum for (shasum,) in rows)
    return wanted
