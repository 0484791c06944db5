"""Packages and their versions."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pricore.composer import versions
from pricore.composer.candidates import NewVersion
from pricore.errors import ConflictError, NotFoundError
from pricore.models import Dist, Organization, Package, Version
from pricore.rights.visibility import Rights
from pricore.system.threads import DOCUMENTS, PUBLISHING, SYNCS
from pricore.tables import archives, deletion, documents, locks, organizations, pins, publishing, uploads
from pricore.tables.deletion import read_anew
from pricore.tables.sql import chosen, in_chunks

if TYPE_CHECKING:
    from pricore.engine.database import Database

_COLUMNS: Final = ", ".join(f"packages.{name}" for name in Package.__struct_fields__)
_MOVED: Final = """
    refs.repository_id = packages.repository_id AND lower(refs.package) = packages.name
        AND substr(refs.name, 1, 10) = 'refs/tags/' AND refs.deleted_at IS NULL
        AND refs.reference <> versions.reference
"""
_VERSION: Final = f"""
    versions.version, normalized, ref, versions.reference, shasum, released_at, gone_at,
    coalesce((
        SELECT refs.reference FROM refs WHERE refs.name = versions.ref AND {_MOVED}
    ), CASE WHEN gone_at IS NOT NULL THEN (
        -- where its own tag is gone, another one that means the same
        SELECT refs.reference FROM refs WHERE refs.version = versions.version AND {_MOVED}
        -- not by the name itself, in whose order SQLite would go through all refs
        ORDER BY refs.name || '' LIMIT 1
    ) END),
    first_reference, published_at
"""


class Served(NamedTuple):
    """A version that is served: since when at its commit, and the one that it was released with, if another."""

    id: int
    version: str
    normalized: str
    published_at: int | None
    reference: str
    first_reference: str | None


class Packages:
    """The part of the store that holds packages and everything that is made of them."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def upload(
        self, organization: Organization, item: NewVersion, *, keep: Callable[[], Awaitable[None]]
    ) -> Version:
        """Bring an uploaded version into service, as it is served then; what is there already stays as it is.

        `keep` puts its archive where it lasts: it is called before anything is committed. Raises ConflictError
        where the package comes from a repository, or the version is there with another content, NotFoundError
        where the organization was deleted in the meantime.
        """
        async with self._database.transaction(organization_id=organization.id) as db:
            package_id, made = await uploads.uploaded_package(db, organization.id, item.package.lower())
            version = await uploads.same_version(db, package_id, item)
            if version is None:
                version = item.version
                await uploads.check_room(db, package_id, item)
                await publishing.put_versions(db, {item.package.lower(): package_id}, [item])
                await documents.rebuild(db, package_id, item.package.lower())
                await organizations.touch_root(db, organization.id, names_changed=made)
            await keep()
            rows: Any = await db.execute_fetchall(
                f"""
                SELECT {_VERSION} FROM versions JOIN packages ON packages.id = package_id
                WHERE package_id = ? AND version = ?
                """,
                (package_id, version),
            )
        return _version(rows[0])

    async def delete(self, organization: Organization, package: Package) -> set[str]:
        """Take a package out of service with its history; what it had stays out until its refs move.

        Gives the checksums of the archives that are for nothing else. Raises NotFoundError where it is gone,
        ConflictError where a registered lock file names one of its archives.
        """
        async with self._database.transaction(organization_id=organization.id) as db:
            versions: Any = await db.execute_fetchall(
                "SELECT ref, version, reference FROM versions WHERE package_id = ?", (package.id,)
            )
            rows: Any = await db.execute_fetchall(
                "SELECT shasum, reference FROM dists WHERE package_id = ?", (package.id,)
            )

            def split() -> tuple[list[str], list[str]]:
                return [shasum for shasum, _ in rows], [reference for _, reference in rows]

            dists, references = await PUBLISHING.for_all(len(rows), split)
            await locks.check_unlocked(db, organization.id, [package.id], shasums=dists)
            await organizations.remember_dates(db, organization.id, [package.id])
            await pins.withdraw(db, package.id, references)
            cursor = await db.execute("DELETE FROM packages WHERE id = ?", (package.id,))
            if not cursor.rowcount:
                raise NotFoundError(f"{organization.slug} has no package {package.name} any more")
            await deletion.mark_refs(db, package, versions)
            await deletion.read_others_anew(db, organization.id, repository_id=package.repository_id)
            await organizations.touch_root(db, organization.id, names_changed=True)
            return await archives.unused(db, dists)

    async def delete_version(self, organization: Organization, package: Package, version: str) -> set[str]:
        """Take a version, given as it is shown, out of service until its ref moves.

        Its archive goes, unless another version is made of the same commit. A package without versions stays,
        as it does when its last branch goes upstream. Gives the checksums of archives that are for nothing
        else. Raises NotFoundError where it is gone, ConflictError where a registered lock file names it.
        """
        async with self._database.transaction(organization_id=organization.id) as db:
            rows: Any = await db.execute_fetchall(
                """
                DELETE FROM versions WHERE package_id = ? AND version = ?
                RETURNING ref, reference, coalesce(first_reference, reference)
                """,
                (package.id, version),
            )
            if not rows:
                raise NotFoundError(f"{package.name} has no version {version} any more")
            ((ref, commit, first),) = rows
            await pins.withdraw(db, package.id, [commit, first])
            gone: Any = await db.execute_fetchall(
                """
                DELETE FROM dists WHERE package_id = ?1 AND reference IN (?2, ?3) AND NOT EXISTS (
                    SELECT 1 FROM versions WHERE package_id = ?1
                        AND (versions.reference = dists.reference OR first_reference = dists.reference)
                )
                RETURNING shasum
                """,
                (package.id, commit, first),
            )
            dists = [shasum for (shasum,) in gone]
            await locks.check_unlocked(db, organization.id, [package.id], shasums=dists, address=version)
            await deletion.mark_refs(db, package, [(ref, version, commit)])
            await documents.rebuild(db, package.id, package.name)
            await organizations.touch_root(db, organization.id, names_changed=False)
            return await archives.unused(db, dists)

    async def accept(self, package: Package, version: Version) -> None:
        """Let a released version move to where its tag is now; the next sync does it.

        Raises ConflictError where the tag has gone on in the meantime.
        """
        # what is served stays the same until then
        async with self._database.transaction(revise=False) as db:
            cursor = await db.execute(
                """
                UPDATE refs SET accepted = reference
                WHERE repository_id = ? AND reference = ? AND lower(package) = ? AND deleted_at IS NULL
                    AND (name = ? OR version = ?)
                """,
                (package.repository_id, version.moved_to, package.name, version.ref, version.version),
            )
            if not cursor.rowcount:
                raise ConflictError(f"the tag of {package.name} {version.version} has moved again: look once more")
            await db.execute(
                "UPDATE repositories SET refs_digest = ?, failed_digest = NULL WHERE id = ?",
                (read_anew(), package.repository_id),
            )

    async def of_organization(self, organization_id: str) -> list[Package]:
        """The packages of an organization, by name."""
        rows = await self._database.fetch_all(
            f"SELECT {_COLUMNS} FROM packages WHERE organization_id = ? ORDER BY name", (organization_id,)
        )
        return [_package(row) for row in rows]

    async def search(
        self, organization_id: str, *, text: str, rights: Rights, limit: int, offset: int
    ) -> tuple[list[Package], int]:
        """A part of the packages that are seen and whose name contains `text`, by name, and how many there are."""
        rows = await self._database.fetch_all(
            "SELECT name FROM packages WHERE organization_id = ? ORDER BY name", (organization_id,)
        )
        part = text.lower()

        def choose() -> list[str]:
            return [name for (name,) in rows if part in name and rights.sees(name)]

        names = await DOCUMENTS.for_all(len(rows), choose)
        found: list[Any] = []
        for chunk in in_chunks(names[offset : offset + limit]):
            found += await self._database.fetch_all(
                f"""
                SELECT {_COLUMNS} FROM packages
                WHERE organization_id = ? AND name IN {chosen(chunk)} ORDER BY name
                """,
                [organization_id, *chunk],
            )
        return [_package(row) for row in found], len(names)

    async def find(self, organization_id: str, reference: str) -> Package | None:
        """The package of that id or name, or None."""
        row = await self._database.fetch_one(
            f"SELECT {_COLUMNS} FROM packages WHERE organization_id = ?1 AND (id = ?2 OR name = ?3)",
            (organization_id, reference, reference.lower()),
            by_key=True,
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
        rows = await self._database.fetch_all(
            "SELECT name FROM packages WHERE repository_id = ? ORDER BY name", (repository_id,)
        )
        return [name for (name,) in rows]

    async def owners(
        self, organization_id: str, names: Iterable[str]
    ) -> dict[str, tuple[str, str] | tuple[None, None]]:
        """Which repository each of some packages comes from: name to (repository id, its address).

        Both are None for a package that is uploaded.
        """
        owners: dict[str, tuple[str, str] | tuple[None, None]] = {}
        for chunk in in_chunks(names):
            rows = await self._database.fetch_all(
                f"""
                SELECT packages.name, repositories.id, repositories.url FROM packages
                LEFT JOIN repositories ON repositories.id = packages.repository_id
                WHERE packages.organization_id = ? AND packages.name IN {chosen(chunk)}
                """,
                [organization_id, *chunk],
            )
            owners |= {name: (repository_id, url) for name, repository_id, url in rows}
        return owners

    async def versions(self, package: Package) -> list[Version]:
        """The versions of a package as they are served, newest first."""
        rows = await self._database.fetch_all(
            f"SELECT {_VERSION} FROM versions JOIN packages ON packages.id = package_id WHERE package_id = ?",
            (package.id,),
        )

        def order() -> list[Version]:
            return versions.newest_first(map(_version, rows), lambda item: item.normalized)

        return await DOCUMENTS.for_all(len(rows), order)

    async def served(self, package_id: str) -> list[Served]:
        """The versions of a package, as far as rights are decided by them."""
        return (await self.all_served([package_id])).get(package_id, [])

    async def all_served(self, package_ids: Collection[str]) -> dict[str, list[Served]]:
        """The same of some packages, by their ids."""
        found: dict[str, list[Served]] = {}
        for chunk in in_chunks(package_ids):
            rows = await self._database.fetch_all(
                f"""
                SELECT package_id, id, version, normalized, published_at, reference, first_reference
                FROM versions WHERE package_id IN {chosen(chunk)}
                """,
                chunk,
            )
            for package_id, *fields in rows:
                found.setdefault(package_id, []).append(Served(*fields))
        return found

    async def find_version(self, package: Package, version: str) -> Version | None:
        """The version of that pretty form, or of any other that means the same (1.0, v1.0.0); or None."""
        return await self._version(package.id, version)

    async def _version(self, package_id: str, version: str) -> Version | None:
        select = f"SELECT {_VERSION} FROM versions JOIN packages ON packages.id = package_id WHERE package_id = ?"
        row = await self._database.fetch_one(f"{select} AND version = ?", (package_id, version), by_key=True)
        if row is None and (normalized := versions.normalized_or_none(version)) is not None:
            row = await self._database.fetch_one(
                f"{select} AND normalized = ?", (package_id, normalized), by_key=True
            )
        return None if row is None else _version(row)

    async def of_repository(self, repository_id: str) -> dict[tuple[str, str], Version]:
        """Every version that a repository supplies, by (package, version)."""
        rows = await self._database.fetch_all(
            f"""
            SELECT packages.name, {_VERSION}
            FROM versions JOIN packages ON packages.id = versions.package_id WHERE repository_id = ?
            """,
            (repository_id,),
        )
        return await SYNCS.for_all(
            len(rows), lambda: {(name, fields[0]): _version(fields) for name, *fields in rows}
        )

    async def metadata_sizes(self, repository_id: str) -> dict[tuple[str, str], int]:
        """The bytes of metadata of every version that a repository supplies, by (package, version)."""
        rows = await self._database.fetch_all(
            """
            SELECT packages.name, versions.version, length(entry)
            FROM versions JOIN packages ON packages.id = versions.package_id WHERE repository_id = ?
            """,
            (repository_id,),
        )
        return await SYNCS.for_all(len(rows), lambda: {(name, version): size for name, version, size in rows})

    async def providers(self, organization_id: str, name: str) -> list[Package]:
        """The packages that say they provide `name`."""
        rows = await self._database.fetch_all(
            f"""
            SELECT {_COLUMNS} FROM provided_names JOIN packages ON packages.id = package_id
            WHERE provided_names.name = ? AND organization_id = ? ORDER BY packages.name
            """,
            (name.lower(), organization_id),
        )
        return [_package(row) for row in rows]

    async def dist(self, slug: str, name: str, *, version: str, reference: str | None) -> Dist | None:
        """The archive of a commit that was ever advertised or pinned, or of a version as it is served now.

        The commit may be a beginning that was looked up before. A version is found by its pretty form, and by any
        other that means the same (1.0, v1.0.0).
        """
        row = await self._database.fetch_one(
            """
            SELECT packages.id, packages.repository_id FROM packages
            JOIN organizations ON organizations.id = packages.organization_id
            WHERE slug = ? AND packages.name = ?
            """,
            (slug, name),
            by_key=True,
        )
        if row is None:
            return None
        package_id, repository_id = row
        fixed = True
        if reference is None:
            found = await self._version(package_id, version)
            if found is None:
                return None
            # of a release that moved, what had this address when it was advertised
            reference, fixed = found.first_reference or found.reference, not versions.is_dev(found.normalized)
        row = await self._database.fetch_one(
            """
            SELECT coalesce(treeish, reference), shasum, size FROM dists
            WHERE package_id = ?1 AND reference = coalesce(
                (SELECT reference FROM abbreviations WHERE package_id = ?1 AND abbreviation = ?2), ?2
            )
            """,
            (package_id, reference),
            by_key=True,
        )
        if row is None:
            return None
        treeish, shasum, size = row
        return Dist(repository_id, treeish, shasum, size, fixed)


def _package(row: tuple[object, ...]) -> Package:
    return Package(**dict(zip(Package.__struct_fields__, row, strict=True)))  # type: ignore[arg-type]


def _version(row: Sequence[Any]) -> Version:
    return Version(**dict(zip(Version.__struct_fields__, row, strict=True)))
