"""Lock files that are in use somewhere, and what they keep from being pruned or deleted."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pricore.errors import ConflictError, NotFoundError
from pricore.models import Lock, LockedPackage, Organization
from pricore.system.clock import now
from pricore.system.threads import PUBLISHING
from pricore.tables.sql import chosen, in_chunks

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction


class Locks:
    """The part of the store that holds registered lock files."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def register(self, organization: Organization, name: str, packages: Sequence[LockedPackage]) -> Lock:
        """Keep what a lock file names; one of the same name is replaced."""
        at = now()
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                """
                INSERT INTO locks (id, organization_id, name, created_at, registered_at) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (organization_id, name) DO UPDATE SET registered_at = excluded.registered_at
                """,
                (str(uuid4()), organization.id, name, at, at),
            )
            ((lock_id, created_at),) = await db.execute_fetchall(
                "SELECT id, created_at FROM locks WHERE organization_id = ? AND name = ?", (organization.id, name)
            )
            await db.execute("DELETE FROM lock_packages WHERE lock_id = ?", (lock_id,))
            await db.executemany(
                """
                INSERT INTO lock_packages (lock_id, package, version, address, shasum) VALUES (?, ?, ?, ?, ?)
                """,
                [(lock_id, item.package, item.version, item.address, item.shasum) for item in packages],
            )
        return Lock(
            id=lock_id,
            organization=organization.slug,
            name=name,
            created_at=created_at,
            registered_at=at,
            packages=tuple(packages),
        )

    async def of_organization(self, organization: Organization, *, name: str | None = None) -> list[Lock]:
        """The lock files of an organization, by name: all, or the one of a name if it is there."""
        rows = await self._database.fetch_all(
            """
            SELECT id, name, created_at, registered_at FROM locks
            WHERE organization_id = ?1 AND name = coalesce(?2, name) ORDER BY name
            """,
            (organization.id, name),
        )
        named = await self._database.fetch_all(
            """
            SELECT lock_id, package, version, address, shasum FROM lock_packages
            JOIN locks ON locks.id = lock_id
            WHERE organization_id = ?1 AND name = coalesce(?2, name) ORDER BY package
            """,
            (organization.id, name),
        )
        packages: dict[str, list[LockedPackage]] = {}
        for lock_id, package, version, address, shasum in named:
            packages.setdefault(lock_id, []).append(
                LockedPackage(
                    organization=organization.slug,
                    package=package,
                    version=version,
                    address=address,
                    shasum=shasum,
                )
            )
        return [
            Lock(
                id=lock_id,
                organization=organization.slug,
                name=name,
                created_at=created_at,
                registered_at=registered_at,
                packages=tuple(packages.get(lock_id, ())),
            )
            for lock_id, name, created_at, registered_at in rows
        ]

    async def remove(self, organization: Organization, name: str) -> None:
        """Forget a lock file. Raises NotFoundError."""
        async with self._database.transaction(revise=False) as db:
            cursor = await db.execute(
                "DELETE FROM locks WHERE organization_id = ? AND name = ?", (organization.id, name)
            )
            if not cursor.rowcount:
                raise NotFoundError(
                    f"{organization.slug} has no lock {name}; "
                    f"`pricore lock list {organization.slug}` shows those it has"
                )

    async def check_unused(self, organization: Organization) -> None:
        """Refuse with ConflictError to delete an organization while a lock file names one of its archives."""
        async with self._database.transaction(revise=False) as db:
            rows = await db.execute_fetchall(
                """
                SELECT packages.id, shasum FROM packages JOIN dists ON dists.package_id = packages.id
                WHERE organization_id = ?
                """,
                (organization.id,),
            )
            await check_unlocked(
                db, organization.id, {package for package, _ in rows}, shasums={shasum for _, shasum in rows}
            )

    async def protected_shasums(self) -> set[str]:
        """The checksums of all archives that a registered lock file names."""
        return {
            shasum for (shasum,) in await self._database.fetch_all("SELECT DISTINCT shasum FROM lock_packages")
        }


async def check_unlocked(
    db: "Transaction",
    organization_id: str,
    package_ids: Iterable[str],
    *,
    shasums: Iterable[str],
    address: str = "",
) -> None:
    """Refuse with ConflictError to delete what a registered lock file names.

    That are archives of some packages, given by their checksums, and what is found at an `address` of theirs.
    """
    wanted, rows = set(shasums), list[Any]()
    for chunk in in_chunks(package_ids):
        rows += await db.execute_fetchall(
            f"""
            SELECT locks.name, lock_packages.package, lock_packages.version, slug, shasum, address
            FROM lock_packages
            JOIN locks ON locks.id = lock_packages.lock_id
            JOIN organizations ON organizations.id = locks.organization_id
            JOIN packages ON packages.organization_id = locks.organization_id
                AND packages.name = lock_packages.package
            WHERE locks.organization_id = ? AND packages.id IN {chosen(chunk)}
            """,
            [organization_id, *chunk],
        )

    def find() -> Any:
        return min((row for row in rows if row[4] in wanted or row[5] == address), default=None)

    if (found := await PUBLISHING.for_all(len(rows), find)) is not None:
        lock, package, version, slug, *_ = found
        raise ConflictError(
            f"the lock {lock} names {package} {version}: when nothing is installed from it any more, "
            f"`pricore lock remove {slug} {lock}` lets go of it",
            public=f"a lock file that is registered names {package} {version}: "
            "it is kept until somebody lets go of that lock",
        )
