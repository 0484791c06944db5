"""Commits that projects pin branches to (dev-main#<commit>) without a version ever having been made of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pricore.composer.discovery import split_place
from pricore.errors import NotFoundError
from pricore.models import Dist
from pricore.tables import archives

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction


class Pinnable(NamedTuple):
    """What a commit is looked up by: a package by its ids, its folder, and the commits of its versions.

    `withdrawn` are the commits of versions that were deleted on purpose. `repository_id` is None where the package
    is uploaded, and the checksums of its archives are what is pinned.
    """

    package_id: str
    organization_id: str
    repository_id: str | None
    path: str
    served: frozenset[str]
    withdrawn: frozenset[str]
    advertised: frozenset[str]


class Pins:
    """The part of the store that holds pinned commits, and what was meant by the beginnings of commits."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def look_up(self, slug: str, name: str, version: str) -> Pinnable | None:
        """A package (name in lower case) as the version of a URL has it, or None where there is none."""
        row = await self._database.fetch_one(
            """
            SELECT packages.id, packages.organization_id, packages.repository_id, packages.path,
                (SELECT ref FROM versions WHERE package_id = packages.id AND version = ?)
            FROM packages JOIN organizations ON organizations.id = packages.organization_id
            WHERE slug = ? AND packages.name = ?
            """,
            (version, slug, name),
        )
        if row is None:
            return None
        package_id, organization_id, repository_id, path, ref = row
        served = await self._database.fetch_all(
            "SELECT DISTINCT reference FROM versions WHERE package_id = ?", (package_id,)
        )
        withdrawn = await self._database.fetch_all(
            "SELECT reference FROM withdrawn WHERE repository_id = ? AND package = ?", (repository_id, name)
        )
        advertised = await self._database.fetch_all(
            "SELECT reference FROM dists WHERE package_id = ?", (package_id,)
        )
        return Pinnable(
            package_id,
            organization_id,
            repository_id,
            path if ref is None else split_place(ref)[1],
            frozenset(reference for (reference,) in served),
            frozenset(reference for (reference,) in withdrawn),
            frozenset(reference for (reference,) in advertised),
        )

    async def add(
        self, found: Pinnable, name: str, reference: str, dist: Dist | None, *, most: int | None
    ) -> set[str]:
        """Keep what a commit, or the beginning of one (`name`), means; `dist` is its archive where it is new.

        Pinned archives of an organization have `most` bytes in all: beyond, those go that nobody asked for the
        longest, except where a registered lock file names them. Gives the checksums of archives that are for
        nothing else. Raises NotFoundError where the package, or the commit's version, was deleted meanwhile.
        """
        async with self._database.transaction(revise=False) as db:
            if name != reference:
                await db.execute(
                    """
                    INSERT INTO abbreviations (package_id, abbreviation, reference) VALUES (?, ?, ?)
                    ON CONFLICT (package_id, abbreviation) DO NOTHING
                    """,
                    (found.package_id, name, reference),
                )
            if dist is None:
                return set()
            await _check_served(db, found, reference)
            await db.execute(
                """
                INSERT INTO dists (package_id, reference, shasum, size, treeish, pinned)
                VALUES (?, ?, ?, ?, ?, TRUE)
                ON CONFLICT (package_id, reference) DO NOTHING
                """,
                (
                    found.package_id,
                    reference,
                    dist.shasum,
                    dist.size,
                    None if dist.treeish == reference else dist.treeish,
                ),
            )
            if most is None:
                return set()
            return await _let_go(db, found.organization_id, but=(found.package_id, reference), most=most)

    async def of_repository(self, repository_id: str) -> list[str]:
        """The commits of a repository that are pinned."""
        rows = await self._database.fetch_all(
            """
            SELECT DISTINCT reference FROM dists JOIN packages ON packages.id = dists.package_id
            WHERE pinned AND repository_id = ?
            """,
            (repository_id,),
        )
        return [reference for (reference,) in rows]


async def withdraw(db: "Transaction", package_id: str, references: Sequence[str]) -> None:
    """Let nobody install commits of a package by pinning them: what was made of them is deleted."""
    await db.executemany(
        """
        INSERT INTO withdrawn (repository_id, package, reference)
        SELECT repository_id, name, ? FROM packages WHERE id = ? AND repository_id IS NOT NULL
        ON CONFLICT (repository_id, package, reference) DO NOTHING
        """,
        # one by one, in the database's thread: there may be many
        ((reference, package_id) for reference in references),
    )


async def _check_served(db: "Transaction", found: Pinnable, reference: str) -> None:
    """Raise NotFoundError where what was looked up is not so any more."""
    rows: Any = await db.execute_fetchall(
        """
        SELECT 1 FROM packages WHERE id = ?1 AND repository_id = ?2 AND NOT EXISTS (
            SELECT 1 FROM withdrawn WHERE repository_id = ?2 AND package = packages.name AND reference = ?3
        )
        """,
        (found.package_id, found.repository_id, reference),
    )
    if not rows:
        raise NotFoundError("it was deleted in the meantime")


async def _let_go(db: "Transaction", organization_id: str, *, but: tuple[str, str], most: int) -> set[str]:
    """Forget an organization's longest unused pinned archives until the others have at most `most` bytes."""
    rows: Any = await db.execute_fetchall(
        """
        SELECT dists.package_id, reference, dists.shasum, size, EXISTS (
            SELECT 1 FROM lock_packages WHERE lock_packages.shasum = dists.shasum
        )
        FROM dists JOIN packages ON packages.id = dists.package_id
        LEFT JOIN dist_uses ON dist_uses.shasum = dists.shasum
        WHERE pinned AND organization_id = ? ORDER BY coalesce(used_at, 0)
        """,
        (organization_id,),
    )
    left = sum(size for _, _, _, size, _ in rows)
    gone: dict[tuple[str, str], str] = {}
    for package_id, reference, shasum, size, locked in rows:
        if left <= most:
            break
        if not locked and (package_id, reference) != but:
            gone[package_id, reference] = shasum
            left -= size
    for table in ("dists", "abbreviations"):
        await db.executemany(f"DELETE FROM {table} WHERE package_id = ? AND reference = ?", list(gone))
    return await archives.unused(db, gone.values())
