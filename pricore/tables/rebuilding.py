"""Documents that are built anew though no sync brought anything: after an upgrade, and with other dates."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pricore.composer.discovery import TAGS, split_place
from pricore.composer.metadata import DOCUMENT_FORMAT
from pricore.models import Repository
from pricore.system.clock import now
from pricore.tables import documents, organizations, runs

if TYPE_CHECKING:
    from pricore.engine.database import Database

_MOST_PACKAGES: Final = 50
_MOST_VERSIONS: Final = 500
"""Of one transaction, which everybody who writes waits for; a package alone may have more."""


class _Package(NamedTuple):
    id: str
    name: str
    organization_id: str
    repository_id: str | None
    versions: int


class Rebuilding:
    """The part of the store that builds documents anew out of the versions that there are."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._known: tuple[str | None, dict[str, int]] = (None, {})

    async def left(self) -> int:
        """How many packages have documents of an older format."""
        ((count,),) = await self._database.fetch_all(
            "SELECT count(*) FROM packages WHERE document_format < ?", (DOCUMENT_FORMAT,)
        )
        return int(count)

    async def go_on(self) -> bool:
        """Build the documents of some packages anew; whether there were any. What is served stays until then."""
        rows = await self._database.fetch_all(
            """
            SELECT id, name, organization_id, repository_id,
                (SELECT count(*) FROM versions WHERE package_id = packages.id)
            FROM packages WHERE document_format < ? ORDER BY organization_id, repository_id, id LIMIT ?
            """,
            (DOCUMENT_FORMAT, _MOST_PACKAGES),
        )
        batch: list[_Package] = []
        for package in map(_Package._make, rows):
            full = sum(item.versions for item in batch) + package.versions > _MOST_VERSIONS
            if batch and (full or package.organization_id != batch[0].organization_id):
                break
            batch.append(package)
        if not batch:
            return False
        times = {item.id: await self._times(item) for item in batch}
        organization_id = batch[0].organization_id
        async with self._database.transaction(organization_id=organization_id) as db:
            gone = True  # with its organization, meanwhile
            for item in batch:
                # of branches, before versions had this time: what the history tells of them, else now
                await db.executemany(
                    """
                    UPDATE versions SET published_at = ?
                    WHERE package_id = ? AND version = ? AND published_at IS NULL
                    """,
                    [(at, item.id, version) for version, at in times[item.id].items()],
                )
                await db.execute(
                    "UPDATE versions SET published_at = ? WHERE package_id = ? AND published_at IS NULL",
                    (now(), item.id),
                )
                there: Any = await db.execute_fetchall("SELECT 1 FROM packages WHERE id = ?", (item.id,))
                if there:  # it may have been deleted meanwhile
                    gone = False
                    await documents.rebuild(db, item.id, item.name)
            if not gone:
                await organizations.touch_root(db, organization_id, names_changed=False)
        return True

    async def backdate(self, repository: Repository, tagged: Mapping[str, tuple[str, int]]) -> int:
        """Let releases of a repository count as published when they were tagged, if that is earlier.

        Gives how many do. `tagged` has the commit and the time of tags by their full names.
        """
        async with self._database.transaction(organization_id=repository.organization_id) as db:
            rows: Any = await db.execute_fetchall(
                """
                SELECT versions.id, packages.id, packages.name, ref, reference, published_at FROM versions
                JOIN packages ON packages.id = versions.package_id WHERE repository_id = ?
                """,
                (repository.id,),
            )
            earlier: dict[int, int] = {}
            touched: dict[str, str] = {}
            for version_id, package_id, name, ref, reference, published_at in rows:
                tag, _ = split_place(ref)
                commit, at = tagged.get(tag, ("", 0))
                if tag.startswith(TAGS) and commit == reference and (published_at is None or at < published_at):
                    earlier[version_id], touched[package_id] = at, name
            await db.executemany(
                "UPDATE versions SET published_at = ? WHERE id = ?", [(at, item) for item, at in earlier.items()]
            )
            for package_id, name in touched.items():
                await documents.rebuild(db, package_id, name)
            if touched:
                await organizations.touch_root(db, repository.organization_id, names_changed=False)
        return len(earlier)

    async def _times(self, package: _Package) -> dict[str, int]:
        """When each version of a package that has no such time was published, as far as the history says."""
        rows = await self._database.fetch_all(
            "SELECT version FROM versions WHERE package_id = ? AND published_at IS NULL", (package.id,)
        )
        if not rows or package.repository_id is None:
            return {}
        if self._known[0] != package.repository_id:  # packages of a repository come one after the other
            self._known = package.repository_id, await self._history(package.repository_id)
        told = self._known[1]
        return {
            version: told[f"{package.name}:{version}"]
            for (version,) in rows
            if f"{package.name}:{version}" in told
        }

    async def _history(self, repository_id: str) -> dict[str, int]:
        """When a sync last brought each version (vendor/name:version) of a repository to its commit."""
        rows = await self._database.fetch_all(
            """
            SELECT finished_at, report FROM sync_runs
            WHERE repository_id = ? AND report IS NOT NULL AND finished_at IS NOT NULL ORDER BY finished_at
            """,
            (repository_id,),
        )
        told: dict[str, int] = {}
        for finished_at, report in rows:
            outcome = runs.unpack(report)
            for item in (*outcome.added, *outcome.updated):
                name, _, version = item.partition(":")
                told[f"{name.lower()}:{version}"] = finished_at
        return told
