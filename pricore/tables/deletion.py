"""What deleting does inside its transaction, and what keeps the deleted from coming back."""

import secrets
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from pricore.composer.publication import Marks, Publication, delete_refs, find_late, leave_out
from pricore.models import Package, Repository
from pricore.system.clock import now, rfc3339
from pricore.system.threads import PUBLISHING
from pricore.tables.sql import sooner

if TYPE_CHECKING:
    from pricore.engine.transaction import Transaction


def read_anew() -> str:
    """A digest that no upstream has, and none that came before: whoever reads the repository now notices too."""
    return f"anew:{secrets.token_hex(8)}"


def deleted_on(at: int) -> str:
    """Why a ref makes no version whose version was deleted then."""
    return f"deleted on {rfc3339(at)[:10]}: it comes back with another commit"


async def mark_refs(db: "Transaction", package: Package, deleted: Sequence[tuple[str, str, str]]) -> None:
    """Keep versions, given as (ref, version, commit), from being published again before their refs move.

    Marked too are the refs that were left out because they mean the same versions (1.0.0 beside v1.0.0). Where a
    version's own tag is gone, such a one that is at another commit is what it has become, and is let in now.
    """
    if package.repository_id is None:
        return  # uploaded: nothing brings it back but who uploads it
    if package.replaced_by is not None:
        return  # renamed: its refs make versions of another package by now
    rows: Any = await db.execute_fetchall(
        "SELECT name, reference, lower(package), reason FROM refs WHERE repository_id = ?",
        (package.repository_id,),
    )
    marked, nowhere, anew = await PUBLISHING.for_all(
        len(rows) + len(deleted), delete_refs, package.name, rows, deleted
    )
    await _mark(db, package.repository_id, marked, nowhere=nowhere)
    if anew:
        await db.execute(
            "UPDATE repositories SET refs_digest = ?, failed_digest = NULL WHERE id = ?",
            (read_anew(), package.repository_id),
        )


async def without_deleted(db: "Transaction", repository: Repository, change: Publication) -> Publication:
    """What a sync found without what was deleted while it ran."""
    rows: Any = await db.execute_fetchall(
        "SELECT name, reference FROM refs WHERE repository_id = ? AND deleted_at IS NOT NULL", (repository.id,)
    )
    deleted: dict[str, str] = dict(rows)
    rows = await db.execute_fetchall("SELECT name FROM packages WHERE repository_id = ?", (repository.id,))
    left = {name for (name,) in rows}
    size = change.size + len(deleted)
    marks = await PUBLISHING.for_all(size, find_late, change, deleted=deleted, left=left)
    await _mark(db, repository.id, marks)
    deleted |= {ref: commit for ref, (_, _, commit) in marks.items()}
    return await PUBLISHING.for_all(size, leave_out, change, deleted)


async def _mark(
    db: "Transaction",
    repository_id: str,
    refs: Marks,
    *,
    nowhere: Collection[str] = (),
) -> None:
    """Keep refs, given with the package, version and commit that they were, from making a version again.

    Those that are `nowhere` upstream get no reason: see `update_refs`.
    """
    await db.executemany(
        """
        INSERT INTO refs (repository_id, name, reference, package, version, reason, deleted_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (repository_id, name) DO UPDATE SET reference = excluded.reference,
            reason = excluded.reason, deleted_at = excluded.deleted_at
        """,
        # one by one, in the database's thread: there may be many
        (
            (
                repository_id,
                ref,
                commit,
                package,
                version,
                None if ref in nowhere else deleted_on(now()),
                now(),
            )
            for ref, (package, version, commit) in refs.items()
        ),
    )


async def read_others_anew(db: "Transaction", organization_id: str, *, repository_id: str | None) -> None:
    """Let an organization's other repositories be read again: they may have left refs out for this one's sake.

    `repository_id` None is what was uploaded: all of them are others.
    """
    await db.execute(
        f"""
        UPDATE repositories SET refs_digest = ?3, failed_digest = NULL,
            next_sync_at = {sooner("next_sync_at", "?4")}
        WHERE organization_id = ?1 AND id <> ?2 AND (
            failed_digest IS NOT NULL
            OR id IN (SELECT repository_id FROM refs WHERE reason IS NOT NULL)
            OR id IN (SELECT repository_id FROM sync_runs WHERE status = 'running')
        )
        """,
        (organization_id, repository_id or "", read_anew(), now()),
    )
