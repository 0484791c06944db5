"""What publishing does inside its transaction: packages, their versions, and what became of refs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from pricore.composer.candidates import NewVersion
from pricore.composer.discovery import BRANCHES
from pricore.composer.publication import Publication, find_touched
from pricore.errors import ConflictError, NotFoundError
from pricore.models import Repository
from pricore.system.clock import now
from pricore.system.concurrency import OnShare, counted
from pricore.system.threads import PUBLISHING
from pricore.tables import deletion, documents, organizations

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction


AT_A_TIME: Final = 1000
"""Versions that are put into the database before it is told how far that is."""


class Publications:
    """The part of the store that brings what syncs find into service."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def publish(
        self, repository: Repository, change: Publication, *, on_share: OnShare = lambda share: None
    ) -> None:
        """Bring what a sync found into service, documents included, all or nothing.

        Cached responses about the organization end with that. What was deleted in the meantime is passed over.
        `on_share` is told how far that is. Raises ConflictError where a package comes from another repository,
        NotFoundError where the repository was removed in the meantime.
        """
        async with self._database.transaction(organization_id=repository.organization_id) as db:
            change = await deletion.without_deleted(db, repository, change)
            await update_repository(db, repository, change)
            ids, names_changed = await package_ids(db, repository, change)
            for start in range(0, len(change.versions), AT_A_TIME):
                await put_versions(db, ids, change.versions[start : start + AT_A_TIME])
                on_share(start / len(change.versions) / 2)
            await take_out(db, ids, change)
            await update_refs(db, repository, change)
            renamed = await mark_replaced(db, repository, change)
            unmarked = await unmark(db, repository, change)
            touched = ids | renamed | unmarked
            for name, package_id in counted(
                touched.items(), len(touched), lambda share: on_share((1 + share) / 2)
            ):
                await documents.rebuild(db, package_id, name)
            if touched:
                await organizations.touch_root(db, repository.organization_id, names_changed=names_changed)


async def update_repository(db: "Transaction", repository: Repository, change: Publication) -> None:
    cursor = await db.execute(
        """
        -- none is one too: where it comes back it has to be marked again
        UPDATE repositories SET default_branch = CASE WHEN ?7 THEN ?1 ELSE default_branch END,
            -- changed to another address, or to be read anew, while it was read: the next sync reads all of it
            refs_digest = CASE WHEN ?7 AND url = ?5 AND refs_digest = ?6 THEN ?2 ELSE refs_digest END,
            sync_status = CASE WHEN ?7 THEN 'ok' ELSE sync_status END,
            sync_error = CASE WHEN ?7 THEN NULL ELSE sync_error END,
            last_synced_at = CASE WHEN ?7 THEN ?3 ELSE last_synced_at END
        WHERE id = ?4
        """,
        (
            change.default_branch,
            change.digest,
            now(),
            repository.id,
            repository.url,
            repository.refs_digest,
            change.digest is not None,
        ),
    )
    if not cursor.rowcount:
        raise NotFoundError(f"the repository {repository.url} was removed while it was being read")
    await db.executemany(
        """
        INSERT INTO default_names (repository_id, path, name) VALUES (?, ?, ?)
        ON CONFLICT (repository_id, path) DO UPDATE SET name = excluded.name
        """,
        [(repository.id, path, name) for path, name in change.default_names.items()],
    )


async def package_ids(
    db: "Transaction", repository: Repository, change: Publication
) -> tuple[dict[str, str], bool]:
    """The ids of all packages that the change touches, and whether one was made, as it is for new versions."""
    supplied, moved, names = await PUBLISHING.for_all(change.size, find_touched, change)
    ids: dict[str, str] = {}
    made = False
    for name in sorted(names):
        rows: Any = await db.execute_fetchall(
            """
            SELECT packages.id, repository_id, url FROM packages
            LEFT JOIN repositories ON repositories.id = repository_id
            WHERE packages.organization_id = ? AND packages.name = ?
            """,
            (repository.organization_id, name),
        )
        for package_id, owner, url in rows:
            if owner == repository.id:
                ids[name] = package_id
            elif name in supplied:
                raise ConflictError(name_taken(name, url))
        if name in supplied and name not in ids:
            made = True
            ids[name] = str(uuid4())
            await db.execute(
                """
                INSERT INTO packages
                    (id, organization_id, repository_id, name, path, description, type, inline_size, created_at)
                VALUES (?, ?, ?, ?, ?, '', 'library', 0, ?)
                """,
                (ids[name], repository.organization_id, repository.id, name, supplied[name], now()),
            )
    await db.executemany(
        "UPDATE packages SET path = ?1 WHERE id = ?2 AND path <> ?1",
        [(path, ids[name]) for name, path in moved.items()],
    )
    return ids, made


def name_taken(name: str, url: str | None) -> str:
    """What to say where a repository supplies a package of another one, or for None one that is uploaded."""
    if url is None:
        return f"the package {name} is uploaded; delete that first, or rename this package"
    return f"the package {name} comes from {url} already; remove that repository first, or rename this package"


async def put_versions(db: "Transaction", ids: Mapping[str, str], items: Sequence[NewVersion]) -> None:
    """Put versions and their archives into packages given by name; what is there already is brought up to date."""
    await db.executemany(
        """
        INSERT INTO versions (package_id, version, normalized, ref, reference, shasum, entry,
            default_branch, released_at, gone_at, created_at, published_at)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, NULL, ?10, ?10)
        ON CONFLICT (package_id, version) DO UPDATE SET
            normalized = excluded.normalized, ref = excluded.ref, reference = excluded.reference,
            shasum = excluded.shasum, entry = excluded.entry, default_branch = excluded.default_branch,
            released_at = excluded.released_at, gone_at = NULL,
            published_at = CASE WHEN versions.reference = excluded.reference THEN versions.published_at
                ELSE excluded.published_at END,
            first_reference = CASE
                WHEN substr(excluded.ref, 1, 10) = 'refs/tags/' AND versions.reference <> excluded.reference
                THEN coalesce(versions.first_reference, versions.reference) ELSE versions.first_reference
            END
        """,
        # one by one, in the database's thread: all of them together are many times what they share
        (
            (
                ids[item.package.lower()],
                item.version,
                item.normalized,
                item.ref,
                item.reference,
                item.shasum,
                bytes(item.entry),
                item.default_branch,
                item.released_at,
                now(),
            )
            for item in items
        ),
    )
    await db.executemany(
        """
        INSERT INTO dists (package_id, reference, shasum, size, treeish) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (package_id, reference) DO UPDATE SET pinned = FALSE
        """,
        ((ids[item.package.lower()], item.reference, item.shasum, item.size, item.treeish) for item in items),
    )
    # what was advertised of a commit before is what it stays, though the package is in another folder now
    await db.executemany(
        """
        UPDATE versions SET shasum = dists.shasum FROM dists
        WHERE versions.package_id = ?1 AND version = ?2 AND dists.package_id = ?1
            AND dists.reference = versions.reference AND dists.shasum <> versions.shasum
        """,
        ((ids[item.package.lower()], item.version) for item in items if item.treeish is not None),
    )


async def take_out(db: "Transaction", ids: Mapping[str, str], change: Publication) -> None:
    """Take out what is removed, and mark what is gone upstream."""
    # get: a package that was deleted in the meantime is not there, and its versions neither
    await db.executemany(
        "DELETE FROM versions WHERE package_id = ? AND version = ?",
        # one by one, in the database's thread: there may be many
        ((ids.get(package.lower()), version) for package, version in change.removed),
    )
    await db.executemany(
        "UPDATE versions SET gone_at = ? WHERE package_id = ? AND version = ? AND gone_at IS NULL",
        ((now(), ids.get(package.lower()), version) for package, version in change.gone),
    )


async def update_refs(db: "Transaction", repository: Repository, change: Publication) -> None:
    """Remember what became of refs. A mark of deletion stays when its ref is gone: it may be back tomorrow.

    It has no reason as long: nobody wants to know why a ref makes no version that is nowhere.
    """
    await db.executemany(
        """
        INSERT INTO refs (repository_id, name, reference, package, version, reason) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (repository_id, name) DO UPDATE SET reference = excluded.reference,
            package = excluded.package, version = excluded.version, reason = excluded.reason, deleted_at = NULL,
            -- what is let move to one commit is not for any other
            accepted = CASE
                WHEN excluded.reason IS NOT NULL AND refs.accepted = excluded.reference THEN refs.accepted
            END
        """,
        ((repository.id, ref.name, ref.commit, ref.package, ref.version, ref.reason) for ref in change.refs),
    )
    await db.executemany(
        "DELETE FROM refs WHERE repository_id = ? AND name = ? AND deleted_at IS NULL",
        ((repository.id, name) for name in change.forgotten),
    )
    await db.executemany(
        "UPDATE refs SET reason = NULL WHERE repository_id = ? AND name = ? AND deleted_at IS NOT NULL",
        ((repository.id, name) for name in change.forgotten),
    )
    rows: Any = await db.execute_fetchall(
        "SELECT name, deleted_at FROM refs WHERE repository_id = ? AND deleted_at IS NOT NULL", (repository.id,)
    )
    back = frozenset(change.back)
    await db.executemany(
        "UPDATE refs SET reason = ? WHERE repository_id = ? AND name = ?",
        ((deletion.deleted_on(at), repository.id, name) for name, at in rows if name in back),
    )


async def mark_replaced(db: "Transaction", repository: Repository, change: Publication) -> dict[str, str]:
    """Packages that a folder supplied under another name are frozen; gives those that changed, by name."""
    changed: dict[str, str] = {}
    for path, name in change.default_names.items():
        rows: Any = await db.execute_fetchall(
            """
            UPDATE packages SET replaced_by = nullif(?1, name)
            WHERE repository_id = ?2 AND path = ?3 AND coalesce(replaced_by, name) <> ?1 RETURNING name, id
            """,
            (name.lower(), repository.id, path),
        )
        changed |= dict(rows)
    return changed


async def unmark(db: "Transaction", repository: Repository, change: Publication) -> dict[str, str]:
    """Take the mark of the default branch from what others make, also unread; gives the packages, by name."""
    if change.digest is None:
        return {}
    branch = f"{BRANCHES}{change.default_branch or ''}"
    rows: Any = await db.execute_fetchall(
        """
        SELECT versions.id, packages.name, packages.id FROM versions
        JOIN packages ON packages.id = package_id
        WHERE repository_id = ?1 AND default_branch AND replaced_by IS NULL
            AND ref <> ?2 AND substr(ref, 1, ?4) <> ?3
        """,
        (repository.id, branch, f"{branch}:", len(branch) + 1),
    )
    for version_id, _, _ in rows:
        # one at a time: in a repository of many folders each has its own
        ((content,),) = await db.execute_fetchall("SELECT entry FROM versions WHERE id = ?", (version_id,))
        entry = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        entry.pop("default-branch", None)
        await db.execute(
            "UPDATE versions SET default_branch = FALSE, entry = ? WHERE id = ?",
            (msgspec.json.encode(entry), version_id),
        )
    return {name: package_id for _, name, package_id in rows}
