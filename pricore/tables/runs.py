"""The history of syncs: a row for each that found something new or failed, and one for several that found nothing.
Before it are those that were asked for: a job is the run that comes of it, under the same id.

Who writes here holds the repository's lock, so that a run which is still `running` belongs to a process that is
no more. What is written of a repository that was removed in the meantime goes nowhere.
"""

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec
import zstandard

from pricore.errors import NotFoundError
from pricore.models import LeftOut, Outcome, SyncRun, Trigger
from pricore.system.clock import now

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction
    from pricore.tables.schedule import Schedule

_MOST_RUNS: Final = 100
"""Runs of a repository that are kept; older ones go."""

_COLUMNS: Final = "id, status, error, started_at, finished_at, report, cause"
_HISTORY: Final = """
    SELECT id, status, error, started_at, finished_at, report, cause, 0 AS asked, number
    FROM sync_runs WHERE repository_id = ?1
    UNION ALL
    SELECT id, 'queued', NULL, started_at, NULL, NULL, cause,
        CASE WHEN started_at IS NULL THEN 2 ELSE 1 END, number
    FROM jobs WHERE repository_id = ?1 AND id NOT IN (SELECT id FROM sync_runs WHERE repository_id = ?1)
"""
_NEWEST: Final = "SELECT id FROM sync_runs WHERE repository_id = ? ORDER BY number DESC LIMIT 1"


class Runs:
    """The part of the store that holds the history of syncs."""

    def __init__(self, database: "Database", schedule: "Schedule") -> None:
        self._database = database
        self._schedule = schedule

    async def begin(
        self, repository_id: str, *, started_at: int, run_id: str | None = None, cause: Trigger | None = None
    ) -> str:
        """Note that a sync has found something new and goes on; gives the id of the run."""
        async with self._database.transaction(revise=False) as db:
            return await _insert(db, repository_id, "running", started_at=started_at, run_id=run_id, cause=cause)

    async def finish(self, run_id: str, outcome: Outcome, *, error: str | None = None) -> None:
        """Note what a sync did; an `error` is what it could not do beside that, for its repository's record too.

        Raises NotFoundError where its repository was removed.
        """
        async with self._database.transaction(revise=False) as db:
            cursor = await db.execute(
                "UPDATE sync_runs SET status = ?, error = ?, finished_at = ?, report = ? WHERE id = ?",
                ("failed" if error else "ok", error, now(), _pack(outcome), run_id),
            )
            rows: Any = await db.execute_fetchall("SELECT repository_id FROM sync_runs WHERE id = ?", (run_id,))
            failed = error is not None
            for (repository_id,) in rows:
                await db.execute(
                    """
                    UPDATE repositories SET failed_digest = NULL, sync_error = ?2,
                        sync_status = CASE WHEN ?3 THEN 'failed' ELSE sync_status END
                    WHERE id = ?1
                    """,
                    (repository_id, error, failed),
                )
                await db.execute(*self._schedule.settled(repository_id, failed=failed, retry=failed))
        if not cursor.rowcount:
            raise NotFoundError("the repository was removed while it was being read")

    async def interrupt(self, run_id: str) -> None:
        """Note that a sync was stopped on the way."""
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                "UPDATE sync_runs SET status = 'interrupted', finished_at = ? WHERE id = ?", (now(), run_id)
            )

    async def of_repository(self, repository_id: str, *, limit: int, offset: int) -> tuple[list[SyncRun], int]:
        """A part of the runs of a repository, newest first, and how many there are in all."""
        ((total,),) = await self._database.fetch_all(
            f"SELECT count(*) FROM ({_HISTORY}) AS history", (repository_id,)
        )
        rows = await self._database.fetch_all(
            f"""
            SELECT {_COLUMNS} FROM ({_HISTORY}) AS history ORDER BY asked DESC, number DESC LIMIT ?2 OFFSET ?3
            """,
            (repository_id, limit, offset),
        )
        return [_run(row) for row in rows], total

    async def find(self, repository_id: str, run_id: str) -> SyncRun | None:
        """The run of that id, or None where the repository has no such run.

        It is queued until there is something to tell of it; one that was taken up has begun.
        """
        row = await self._database.fetch_one(
            f"SELECT {_COLUMNS} FROM ({_HISTORY}) AS history WHERE id = ?2", (repository_id, run_id)
        )
        return None if row is None else _run(row)


async def _insert(
    db: "Transaction",
    repository_id: str,
    status: str,
    *,
    started_at: int,
    error: str | None = None,
    report: bytes | None = None,
    run_id: str | None = None,
    cause: Trigger | None = None,
) -> str:
    """Add a run, end those that nobody works at any more, and let the oldest go; gives its id."""
    run_id = run_id or str(uuid4())
    await db.execute(
        """
        UPDATE sync_runs SET status = 'interrupted', finished_at = ? WHERE repository_id = ? AND status = 'running'
        """,
        (now(), repository_id),
    )
    await db.execute(
        """
        INSERT INTO sync_runs (id, repository_id, status, error, started_at, finished_at, report, cause)
        SELECT ?, id, ?, ?, ?, ?, ?, ? FROM repositories WHERE id = ?
        """,
        (run_id, status, error, started_at, None if status == "running" else now(), report, cause, repository_id),
    )
    await db.execute(
        """
        DELETE FROM sync_runs WHERE repository_id = ?1 AND number <= (
            SELECT number FROM sync_runs WHERE repository_id = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2
        )
        """,
        (repository_id, _MOST_RUNS),
    )
    return run_id


def _pack(outcome: Outcome) -> bytes:
    return zstandard.ZstdCompressor(level=6).compress(msgspec.json.encode(outcome))


def _run(row: tuple[Any, ...]) -> SyncRun:
    run_id, status, error, started_at, finished_at, report, cause = row
    outcome = Outcome() if report is None else unpack(report)
    return SyncRun(run_id, status, error, started_at, finished_at, outcome, cause)


def unpack(report: bytes) -> Outcome:
    """What came of a sync, as its row has it."""
    return msgspec.json.decode(zstandard.ZstdDecompressor().decompress(report), type=Outcome)


def unchanged_again(
    repository_id: str, *, run_id: str | None, started_at: int, cause: Trigger | None = None
) -> tuple[str, tuple[Any, ...]]:
    """The statement that notes that a sync found nothing new as the one before it: several are one run.

    That moves, and goes on under the new id if there is one: whoever asked for that sync looks for it there.
    The statement finds no row where the one before ended in another way.
    """
    return (
        f"""
        UPDATE sync_runs SET id = coalesce(?, id), started_at = ?, finished_at = ?, cause = ?
        WHERE id = ({_NEWEST}) AND status = 'unchanged'
        """,
        (run_id, started_at, now(), cause, repository_id),
    )


async def add_unchanged(
    db: "Transaction",
    repository_id: str,
    *,
    run_id: str | None,
    started_at: int,
    cause: Trigger | None = None,
) -> None:
    """Note that a sync found nothing new, where the one before it ended in another way."""
    rows: Any = await db.execute_fetchall(
        "SELECT name, reason FROM refs WHERE repository_id = ? AND reason IS NOT NULL ORDER BY name",
        (repository_id,),
    )
    outcome = Outcome(left_out=[LeftOut(*row) for row in rows])
    await _insert(
        db,
        repository_id,
        "unchanged",
        started_at=started_at,
        report=_pack(outcome),
        run_id=run_id,
        cause=cause,
    )


async def add_failure(
    db: "Transaction",
    repository_id: str,
    *,
    run_id: str | None,
    started_at: int,
    error: str,
    cause: Trigger | None = None,
) -> None:
    """Note that a sync failed, in the run that it began if it began one.

    Where the one before it failed in the same way, that one goes on to now instead, under the new id if there
    is one.
    """
    await db.execute("DELETE FROM sync_runs WHERE id = ?", (run_id,))
    cursor = await db.execute(
        f"""
        UPDATE sync_runs SET id = coalesce(?, id), finished_at = ?
        WHERE id = ({_NEWEST}) AND status = 'failed' AND error = ? AND report IS NULL
        """,
        (run_id, now(), repository_id, error),
    )
    if not cursor.rowcount:
        await _insert(db, repository_id, "failed", started_at=started_at, error=error, run_id=run_id, cause=cause)
