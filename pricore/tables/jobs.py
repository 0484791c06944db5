"""Syncs that were asked for: rows, so that nothing that was promised is lost with the process."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pricore.models import Job, Trigger
from pricore.system.clock import now
from pricore.tables.sql import chosen, sooner

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction

BY_WEBHOOK: Final = 0
BY_HAND: Final = 1
"""Priorities; what is due by the schedule comes after both, and is no job."""


class Jobs:
    """The part of the store that holds the queue."""

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def add(self, repository_id: str, *, priority: int = BY_HAND, cause: Trigger | None = None) -> None:
        """Ask for a sync; where one waits already, that one will do, at the higher priority of both."""
        async with self._database.transaction(revise=False) as db:
            await insert(db, repository_id, priority=priority, cause=cause)

    async def first(self, busy: Collection[str]) -> dict[str, tuple[int, int]]:
        """Of each organization the job that comes first, as (priority, number), for `take`.

        The highest priority is the lowest number, and who waits longest has the lowest number. Nothing of the
        repositories that are `busy`.
        """
        rows = await self._database.fetch_all(
            f"""
            SELECT organization_id, priority, min(jobs.number) FROM jobs
            JOIN repositories ON repositories.id = repository_id
            WHERE started_at IS NULL AND repository_id NOT IN {chosen(busy)}
            GROUP BY organization_id, priority ORDER BY priority DESC
            """,
            list(busy),
        )
        # the last of an organization is its highest priority
        return {organization_id: (priority, number) for organization_id, priority, number in rows}

    async def take(self, number: int) -> Job | None:
        """The job of that number, which counts as begun; None where its repository was removed in the meantime."""
        async with self._database.transaction(revise=False) as db:
            taken: Any = await db.execute_fetchall(
                """
                UPDATE jobs SET started_at = ? WHERE number = ? AND started_at IS NULL
                RETURNING id, repository_id, cause,
                    (SELECT organization_id FROM repositories WHERE id = repository_id)
                """,
                (now(), number),
            )
        for job_id, repository_id, cause, organization_id in taken:
            return Job(job_id, repository_id, organization_id, Trigger(cause))
        return None

    async def waiting(self) -> tuple[int, int | None]:
        """How many jobs wait to be begun, and since when the first of them does, seconds since 1970."""
        ((count, oldest),) = await self._database.fetch_all(
            "SELECT count(*), min(created_at) FROM jobs WHERE started_at IS NULL"
        )
        return count, oldest

    async def finish(self, job: Job) -> None:
        """Take a job that ended, well or not, off the queue."""
        async with self._database.transaction(revise=False) as db:
            await db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    async def put_back(self, job: Job | None = None) -> None:
        """Let a job that was begun wait again; for None every one, at the start, when nothing can be at work.

        Under another id: the run that was cut off is in the history with the old one.
        """
        one = (None if job is None else job.id,)
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                """
                DELETE FROM jobs WHERE started_at IS NOT NULL AND id = coalesce(?, id) AND repository_id IN (
                    SELECT repository_id FROM jobs WHERE started_at IS NULL
                )
                """,
                one,
            )
            begun: Any = await db.execute_fetchall(
                "SELECT id FROM jobs WHERE started_at IS NOT NULL AND id = coalesce(?, id)", one
            )
            for (job_id,) in begun:
                await db.execute("UPDATE jobs SET id = ?, started_at = NULL WHERE id = ?", (str(uuid4()), job_id))


async def insert(
    db: "Transaction",
    repository_id: str,
    *,
    priority: int = BY_HAND,
    cause: Trigger | None = None,
) -> None:
    """Ask for a sync together with what it is for; nothing, where the repository was removed."""
    cause = cause or (Trigger.WEBHOOK if priority == BY_WEBHOOK else Trigger.CHANGE)
    await db.execute(
        f"""
        INSERT INTO jobs (id, repository_id, created_at, priority, cause)
        SELECT ?, id, ?, ?, ? FROM repositories WHERE id = ?
        ON CONFLICT (repository_id) WHERE started_at IS NULL
        DO UPDATE SET priority = {sooner("jobs.priority", "excluded.priority")},
            cause = CASE WHEN excluded.priority < jobs.priority THEN excluded.cause ELSE jobs.cause END
        """,
        (str(uuid4()), now(), priority, cause, repository_id),
    )
