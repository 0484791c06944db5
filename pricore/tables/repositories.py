"""Repositories that are followed, and what the last sync made of each of their refs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Unpack
from uuid import uuid4

import msgspec

from pricore.errors import ConflictError, NotFoundError
from pricore.hosts.addresses import Address, login_place
from pricore.models import Organization, Ref, Repository, RepositoryChanges, Trigger
from pricore.system.clock import now
from pricore.system.threads import PUBLISHING, SYNCS
from pricore.tables import archives, deletion, jobs, locks, organizations, runs
from pricore.tables.deletion import read_anew

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction
    from pricore.tables.schedule import Schedule

_COLUMNS = ", ".join(Repository.__struct_fields__)
_FIRST_LOOK: Final = 60
"""Seconds until a repository is looked at that nobody asked to be."""


class Repositories:
    """The part of the store that holds repositories and their refs."""

    def __init__(self, database: "Database", schedule: "Schedule") -> None:
        self._database = database
        self._schedule = schedule

    async def count_by_status(self) -> dict[str, int]:
        """How many there are, by how their last sync went."""
        rows = await self._database.fetch_all(
            "SELECT sync_status, count(*) FROM repositories GROUP BY sync_status"
        )
        return dict(rows)

    async def add(
        self,
        organization: Organization,
        address: Address,
        *,
        paths: Sequence[str] = (),
        credential_id: str | None = None,
        confined: bool = False,
        queued: bool = False,
    ) -> Repository:
        """Follow a repository; a confined one may not reach inside the network.

        `paths` are patterns of the folders that are packages, none where it is one itself. It is read with a
        credential, or for None with what the organization has for the host. With `queued`, its
        first sync is asked for at the same time. Raises ConflictError where the organization follows it already.
        """
        at = now()
        async with self._database.transaction(organization_id=organization.id) as db:
            if (url := await _followed(db, organization.id, address)) is not None:
                raise ConflictError(
                    f"{organization.slug} follows {url} already; `pricore repo sync` reads it again",
                    public=f"{organization.slug} follows {address.url} already",
                )
            rows: Any = await db.execute_fetchall(
                f"""
                INSERT INTO repositories (id, organization_id, provider, identifier, url, url_key, confined,
                    refs_digest, sync_status, created_at, next_sync_at, paths, credential_id)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, '', 'pending', ?8, ?9, ?10, ?11)
                RETURNING {_COLUMNS}
                """,
                (
                    str(uuid4()),
                    organization.id,
                    address.provider,
                    address.identifier,
                    address.url,
                    address.key,
                    confined,
                    at,
                    at + _FIRST_LOOK,
                    msgspec.json.encode(paths).decode(),
                    credential_id,
                ),
            )
            repository = _repository(rows[0])
            if queued:
                await jobs.insert(db, repository.id)
        return repository

    async def change(
        self, repository: Repository, address: Address | None = None, **changes: Unpack[RepositoryChanges]
    ) -> Repository:
        """Follow a repository at another address, or otherwise.

        What is served stays. After a change of the address, the paths or the policy, a sync that reads all is
        asked for. On another host, or by another protocol, it keeps no credential that it was given. Raises
        ConflictError where the organization follows that address already, NotFoundError where the repository was
        removed in the meantime.
        """
        values = ({} if address is None else _placed(repository, address)) | changes
        if "paths" in changes:
            values["paths"] = msgspec.json.encode(changes["paths"]).decode()
        anew = not (address is None and changes.keys().isdisjoint(("paths", "vanished_versions")))
        if anew:
            values |= {"refs_digest": read_anew(), "failed_digest": None}
        organization_id = repository.organization_id
        async with self._database.transaction(organization_id=organization_id, revise=address is not None) as db:
            if address is not None:
                await _check_free(db, repository, address)
            if values:
                columns = ", ".join(f"{column} = ?" for column in values)
                await db.execute(
                    f"UPDATE repositories SET {columns} WHERE id = ?", (*values.values(), repository.id)
                )
            if anew:
                await jobs.insert(db, repository.id)
            if "credential_id" in changes:
                # what is never looked at by itself (NULL) stays so
                await db.execute(
                    "UPDATE repositories SET next_sync_at = ?1 WHERE id = ?2 AND next_sync_at > ?1",
                    (now(), repository.id),
                )
            if "sync_interval" in changes:
                await self._schedule.spread(db, organization_id)
            rows: Any = await db.execute_fetchall(
                f"SELECT {_COLUMNS} FROM repositories WHERE id = ?", (repository.id,)
            )
            if not rows:
                raise NotFoundError(f"the repository {repository.url} was removed")
        return _repository(rows[0])

    async def default_names(self, repository_id: str) -> dict[str, str]:
        """The package name in each folder ('' is the root) of the default branch that the last sync found."""
        rows = await self._database.fetch_all(
            "SELECT path, name FROM default_names WHERE repository_id = ?", (repository_id,)
        )
        return dict(rows)

    async def of_organization(self, organization_id: str) -> list[Repository]:
        """The repositories of an organization, oldest first."""
        rows = await self._database.fetch_all(
            f"SELECT {_COLUMNS} FROM repositories WHERE organization_id = ? ORDER BY created_at, number",
            (organization_id,),
        )
        return [_repository(row) for row in rows]

    async def get(self, organization: Organization, reference: str, *, url_key: str = "") -> Repository:
        """The repository of that id, identifier or address.

        Raises NotFoundError, and ConflictError where an identifier means several.
        """
        rows = await self._database.fetch_all(
            f"""
            SELECT {_COLUMNS} FROM repositories
            WHERE organization_id = ? AND (id = ? OR url = ? OR url_key = ? OR identifier = ?)
            ORDER BY created_at
            """,
            (organization.id, reference, reference, url_key, reference),
        )
        if not rows:
            raise NotFoundError(
                f"{organization.slug} follows no repository {reference}; "
                f"`pricore repo list {organization.slug}` shows those it follows"
            )
        if len(rows) > 1:
            raise ConflictError(f"{reference} means {len(rows)} repositories; give the id or the URL")
        return _repository(rows[0])

    async def find(self, repository_id: str | None) -> Repository | None:
        """The repository of that id, or None."""
        row = self._database.look_up(f"SELECT {_COLUMNS} FROM repositories WHERE id = ?", (repository_id,))
        return None if row is None else _repository(row)

    async def webhook_secret(self, repository_id: str) -> bytes | None:
        """What the repository's webhooks are signed with, sealed; None where none was made, or it isn't there."""
        row = await self._database.fetch_one(
            "SELECT webhook_secret FROM repositories WHERE id = ?", (repository_id,)
        )
        return None if row is None else row[0]

    async def set_webhook_secret(self, repository_id: str, sealed: bytes, *, replacing: bytes | None) -> None:
        """Put a secret in the place of the one that was read; where another is there by now, that one stays."""
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                """
                UPDATE repositories SET webhook_secret = ?2
                WHERE id = ?1 AND (webhook_secret = ?3 OR (webhook_secret IS NULL AND ?3 IS NULL))
                """,
                (repository_id, sealed, replacing),
            )

    async def refs(self, repository_id: str) -> dict[str, Ref]:
        """What the last sync made of each ref, by full ref name."""
        rows = await self._database.fetch_all(
            """
            SELECT name, reference, package, version, reason, deleted_at, accepted FROM refs
            WHERE repository_id = ? ORDER BY name
            """,
            (repository_id,),
        )
        return await SYNCS.for_all(len(rows), lambda: {row[0]: Ref(*row) for row in rows})

    async def left_out(self, repository_id: str) -> dict[str, str]:
        """Why each ref that makes no version now makes none, by full ref name."""
        rows = await self._database.fetch_all(
            "SELECT name, reason FROM refs WHERE repository_id = ? AND reason IS NOT NULL ORDER BY name",
            (repository_id,),
        )
        return dict(rows)

    async def made_of(self, repository_id: str) -> tuple[list[str], dict[str, str]]:
        """The names of the packages that a repository supplies, and what `left_out` says: both of one moment."""
        rows = await self._database.fetch_all(
            """
            SELECT NULL, name FROM packages WHERE repository_id = ?1
            UNION ALL
            SELECT name, reason FROM refs WHERE repository_id = ?1 AND reason IS NOT NULL
            ORDER BY 1, 2
            """,
            (repository_id,),
        )
        return [text for ref, text in rows if ref is None], {ref: text for ref, text in rows if ref is not None}

    async def record_unchanged(
        self, repository_id: str, *, started_at: int, run_id: str | None = None, cause: Trigger | None = None
    ) -> None:
        """Note that a sync found nothing new. Raises NotFoundError where the repository was removed."""
        settled = self._schedule.settled(repository_id, unchanged=True)
        again = runs.unchanged_again(repository_id, run_id=run_id, started_at=started_at, cause=cause)
        # if the power fails and it is lost, the repository is looked at once more
        if await self._database.note(settled, again):
            return
        # what is served stays the same, and so do the caches
        async with self._database.transaction(revise=False) as db:
            if not (await db.execute(*settled)).rowcount:
                raise NotFoundError("the repository was removed while it was being read")
            await runs.add_unchanged(db, repository_id, run_id=run_id, started_at=started_at, cause=cause)

    async def record_failure(
        self,
        repository_id: str,
        error: str,
        *,
        started_at: int,
        run_id: str | None = None,
        digest: str | None = None,
        refs_digest: str = "",
        retry: bool = False,
        cause: Trigger | None = None,
    ) -> None:
        """Note that a sync failed, in the run that it began if it began one; what is served stays.

        `digest` is what was seen upstream, `refs_digest` that of the record when the sync began. Where a `retry`
        may help it comes sooner.
        """
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                """
                UPDATE repositories SET sync_status = 'failed', sync_error = ?,
                    -- not where it is to be read anew since: then the next sync may succeed
                    failed_digest = CASE WHEN refs_digest = ? THEN ? END
                WHERE id = ?
                """,
                (error, refs_digest, None if retry else digest, repository_id),
            )
            await db.execute(*self._schedule.settled(repository_id, failed=True, retry=retry))
            await runs.add_failure(
                db, repository_id, run_id=run_id, started_at=started_at, error=error, cause=cause
            )

    async def ids(self) -> set[str]:
        """The ids of all repositories of all organizations."""
        return {
            repository_id for (repository_id,) in await self._database.fetch_all("SELECT id FROM repositories")
        }

    async def remove(self, repository: Repository) -> set[str]:
        """Stop following a repository: its packages go too.

        Gives the checksums that were advertised for it and are for nothing else. Raises ConflictError where a
        registered lock file names one of them.
        """
        async with self._database.transaction(organization_id=repository.organization_id) as db:
            packages = [
                row[0]
                for row in await db.execute_fetchall(
                    "SELECT id FROM packages WHERE repository_id = ?", (repository.id,)
                )
            ]
            rows: Any = await db.execute_fetchall(
                """
                SELECT shasum FROM dists JOIN packages ON packages.id = dists.package_id
                WHERE packages.repository_id = ?
                """,
                (repository.id,),
            )
            shasums = await PUBLISHING.for_all(len(rows), lambda: [shasum for (shasum,) in rows])
            await locks.check_unlocked(db, repository.organization_id, packages, shasums=shasums)
            await organizations.remember_dates(db, repository.organization_id, packages)
            await db.execute("DELETE FROM repositories WHERE id = ?", (repository.id,))
            await deletion.read_others_anew(db, repository.organization_id, repository_id=repository.id)
            if packages:
                await organizations.touch_root(db, repository.organization_id, names_changed=True)
            return await archives.unused(db, shasums)


async def _followed(db: "Transaction", organization_id: str, address: Address, *, but: str = "") -> str | None:
    """The URL of an organization's repository that an address means, apart from one; None where there is none.

    By the URL too: keys that were made before ports counted are others.
    """
    rows: Any = await db.execute_fetchall(
        "SELECT url FROM repositories WHERE organization_id = ? AND (url_key = ? OR url = ?) AND id <> ?",
        (organization_id, address.key, address.url, but),
    )
    return next((url for (url,) in rows), None)


def _placed(repository: Repository, address: Address) -> dict[str, object]:
    """What changes of a repository that is at another address, by column."""
    changes: dict[str, object] = {
        "provider": address.provider,
        "identifier": address.identifier,
        "url": address.url,
        "url_key": address.key,
        "sync_status": "pending",
        "sync_error": None,
    }
    if login_place(address.url) != login_place(repository.url):
        changes["credential_id"] = None
    return changes


async def _check_free(db: "Transaction", repository: Repository, address: Address) -> None:
    """Refuse with ConflictError an address that another repository of the organization has."""
    url = await _followed(db, repository.organization_id, address, but=repository.id)
    if url is not None:
        followed = "is followed already, as a repository of its own"
        raise ConflictError(f"{url} {followed}", public=f"{address.url} {followed}")


def _repository(row: tuple[object, ...]) -> Repository:
    fields = dict(zip(Repository.__struct_fields__, row, strict=True))
    fields["paths"] = msgspec.json.decode(str(fields["paths"]))
    return msgspec.convert(fields, Repository, strict=False)
