"""What deleting does inside its transaction, and what keeps the deleted from coming back."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pricore.composer import discovery
from pricore.models import Package, Repository
from pricore.system.clock import now
from pricore.system.threads import PUBLISHING
from pricore.tables.publishing import Publication, deleted_on, read_anew
from pricore.tables.sql import sooner

if TYPE_CHECKING:
    import aiosqlite


async def mark_refs(db: "aiosqlite.Connection", package: Package, deleted: Sequence[tuple[str, str, str]]) -> None:
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

    def choose() -> tuple[dict[str, tuple[str | None, str | None, str]], set[str], bool]:
        others = {ref for ref, _, supplies, _ in rows if supplies not in (None, package.name)}
        commits = {ref: commit for ref, commit, _, _ in rows if ref not in others}
        there = {ref for ref, *_ in rows}
        # not the commit of the ref, but of what it made: a tag that moved and was refused is let in now
        made = {ref: (package.name, version) for ref, version, _ in deleted}
        marks = {ref: commit for ref, _, commit in deleted if ref not in others}
        claims = {discovery.claim(ref) for ref in made} - {None}
        gone = {discovery.claim(ref): commit for ref, _, commit in deleted if ref not in there}
        same = {ref: commit for ref, commit in commits.items() if discovery.claim(ref) in claims}
        let_in = {ref for ref, commit in same.items() if gone.get(discovery.claim(ref), commit) != commit}
        marked = {ref: commit for ref, commit in same.items() if ref not in let_in} | marks
        moved = any(commits.get(ref, commit) != commit for ref, commit in marks.items())
        # what there was no room for, too
        waiting = any((reason or "").startswith(discovery.NO_ROOM) for _, _, _, reason in rows)
        return (
            {ref: (*made.get(ref, (None, None)), commit) for ref, commit in marked.items()},
            marked.keys() - there,
            bool(let_in) or moved or waiting,
        )

    marked, nowhere, anew = await PUBLISHING.for_all(len(rows) + len(deleted), choose)
    await _mark(db, package.repository_id, marked, nowhere=nowhere)
    if anew:
        await db.execute(
            "UPDATE repositories SET refs_digest = ?, failed_digest = NULL WHERE id = ?",
            (read_anew(), package.repository_id),
        )


async def without_deleted(db: "aiosqlite.Connection", repository: Repository, change: Publication) -> Publication:
    """What a sync found without what was deleted while it ran."""
    rows: Any = await db.execute_fetchall(
        "SELECT name, reference FROM refs WHERE repository_id = ? AND deleted_at IS NOT NULL", (repository.id,)
    )
    deleted: dict[str, str] = dict(rows)
    rows = await db.execute_fetchall("SELECT name FROM packages WHERE repository_id = ?", (repository.id,))
    gone = change.there - {name for (name,) in rows}

    def find_late() -> dict[str, tuple[str | None, str | None, str]]:
        late = [item for item in change.versions if item.package.lower() in gone]
        # of a package that was deleted between two batches: the refs of this one make nothing either
        marks: dict[str, tuple[str | None, str | None, str]] = {
            item.ref: (item.package, item.version, item.reference) for item in late
        }
        # and those that were left out because they mean the same
        claims = {discovery.claim(ref) for ref in (deleted.keys() | marks.keys()) - change.deleted} - {None}
        return marks | {
            ref.name: (None, None, ref.commit)
            for ref in change.refs
            if ref.reason and ref.name not in deleted and discovery.claim(ref.name) in claims
        }

    def leave_out() -> Publication:
        return msgspec.structs.replace(
            change,
            versions=[item for item in change.versions if deleted.get(item.ref) != item.reference],
            refs=[ref for ref in change.refs if deleted.get(ref.name) != ref.commit],
            # the sync decided by what was served when it began: the next one looks at everything
            digest="" if change.digest is not None and deleted.keys() - change.deleted else change.digest,
        )

    size = change.size + len(deleted)
    marks = await PUBLISHING.for_all(size, find_late)
    await _mark(db, repository.id, marks)
    deleted |= {ref: commit for ref, (_, _, commit) in marks.items()}
    return await PUBLISHING.for_all(size, leave_out)


async def _mark(
    db: "aiosqlite.Connection",
    repository_id: str,
    refs: Mapping[str, tuple[str | None, str | None, str]],
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


async def read_others_anew(db: "aiosqlite.Connection", organization_id: str, *, repository_id: str | None) -> None:
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
