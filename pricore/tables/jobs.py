"""Syncs that were asked for: rows, so that nothing that was promised is lost with the process."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from pricore.clock import now
from pricore.models import Job, Trigger

if TYPE_CHECKING:
    import aiosqlite

    from pricore.store import Store

BY_WEBHOOK: Final = 0
BY_HAND: Final = 1
"""Priorities; what is due by the schedule comes after both, and is no job."""


class Jobs:
    """The part of the store that holds the queue."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    async def add(self, repository_id: str, *, priority: int = BY_HAND, cause: Trigger | None = None) -> None:
        """Ask for a sync; where one waits already, that one will do, at the higher priority of both."""
        async with self._store.transaction(revise=False) as db:
            await self.insert(db, repository_id, priority=priority, cause=cause)

    async def insert(
        self,
        db: "aiosqlite.Connection",
        repository_id: str,
        *,
        priority: int = BY_HAND,
        cause: Trigger | None = None,
    ) -> None:
        """Ask for a sync together with what it is for; nothing, where the repository was removed."""
        cause = cause or (Trigger.WEBHOOK if priority == BY_WEBHOOK else Trigger.CHANGE)
        await db.execute(
            """
            INSERT INTO jobs (id, repository_id, created_at, priority, cause)
            SELECT ?, id, ?, ?, ? FROM repositories WHERE id = ?
            ON CONFLICT (repository_id) WHERE started_at IS NULL
            DO UPDATE SET priority = min(priority, excluded.priority),
                cause = CASE WHEN excluded.priority < priority THEN excluded.cause ELSE cause END
            """,
            (str(uuid4()), now(), priority, cause, repository_id),
        )

    async def take(self, busy: Mapping[str, str], served: Sequence[str], *, but: str | None = None) -> Job | None:
        """The job that comes first, which counts as begun; it is of none of the repositories that are `busy`.

        It is not of the organization `but`. `busy` are repositories at work with their organizations, `served` the
        organizations that had their turn, the latest last. First comes the higher priority, then the organization
        with the fewest at work, then the one whose turn was longest ago, then who waits longest.
        """
        rows = await self._store.fetch_all(
            """
            SELECT priority, organization_id, min(jobs.rowid) FROM jobs
            JOIN repositories ON repositories.id = repository_id
            WHERE started_at IS NULL AND repository_id NOT IN (SELECT value FROM json_each(?))
            GROUP BY priority, organization_id
            """,
            (msgspec.json.encode(list(busy)).decode(),),
        )
        rows = [row for row in rows if row[1] != but]
        if not rows:
            return None  # without the writer's lock: this is asked all the time
        at_work = Counter(busy.values())

        def order(row: tuple[int, str, int]) -> tuple[int, int, int, int]:
            priority, organization_id, number = row
            turn = served.index(organization_id) if organization_id in served else -1
            return priority, at_work[organization_id], turn, number

        first = min(rows, key=order)
        async with self._store.transaction(revise=False) as db:
            taken: Any = await db.execute_fetchall(
                """
                UPDATE jobs SET started_at = ? WHERE rowid = ? AND started_at IS NULL
                RETURNING id, repository_id, cause
                """,
                (now(), first[2]),
            )
        for job_id, repository_id, cause in taken:
            return Job(job_id, repository_id, first[1], Trigger(cause))
        return None

    async def waiting(self) -> tuple[int, int | None]:
        """How many jobs wait to be begun, and since when the first of them does, seconds since 1970."""
        ((count, oldest),) = await self._store.fetch_all(
            "SELECT count(*), min(created_at) FROM jobs WHERE started_at IS NULL"
        )
        return count, oldest

    async def finish(self, job: Job) -> None:
        """Take a job that ended, well or not, off the queue."""
        async with self._store.transaction(revise=False) as db:
            await db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    async def put_back(self, job: Job | None = None) -> None:
        """Let a job that was begun wait again; for None every one, at the start, when nothing can be at work.

        Under another id: the run that was cut off is in the history with the old one.
        """
        chosen = (None if job is None else job.id,)
        async with self._store.transaction(revise=False) as db:
            await db.execute(
                """
                DELETE FROM jobs WHERE started_at IS NOT NULL AND id = coalesce(?, id) AND repository_id IN (
                    SELECT repository_id FROM jobs WHERE started_at IS NULL
                )
                """,
                chosen,
            )
            begun: Any = await db.execute_fetchall(
                "SELECT id FROM jobs WHERE started_at IS NOT NULL AND id = coalesce(?, id)", chosen
            )
            for (job_id,) in begun:
                await db.execute("UPDATE jobs SET id = ?, started_at = NULL WHERE id = ?", (str(uuid4()), job_id))
