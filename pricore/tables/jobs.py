"""Syncs that were asked for: rows, so that nothing that was promised is lost with the process."""

from typing import TYPE_CHECKING
from uuid import uuid4

from pricore.clock import now
from pricore.models import Job

if TYPE_CHECKING:
    import aiosqlite

    from pricore.store import Store


class Jobs:
    """The part of the store that holds the queue."""

    def __init__(self, store: "Store") -> None:
        self._store = store

    async def add(self, repository_id: str) -> None:
        """Ask for a sync; where one waits already, that one will do."""
        async with self._store.transaction(revise=False) as db:
            await self.insert(db, repository_id)

    async def insert(self, db: "aiosqlite.Connection", repository_id: str) -> None:
        """Ask for a sync together with what it is for; nothing, where the repository was removed."""
        await db.execute(
            """
            INSERT INTO jobs (id, repository_id, created_at) SELECT ?, id, ? FROM repositories WHERE id = ?
            ON CONFLICT (repository_id) WHERE started_at IS NULL DO NOTHING
            """,
            (str(uuid4()), now(), repository_id),
        )

    async def take(self) -> Job | None:
        """The job that has waited longest, of a repository that no other job works on; it counts as begun."""
        if not await self._store.fetch_one("SELECT 1 FROM jobs WHERE started_at IS NULL LIMIT 1"):
            return None  # without the writer's lock: this is asked all the time
        async with self._store.transaction(revise=False) as db:
            rows = await db.execute_fetchall(
                """
                UPDATE jobs SET started_at = ?
                WHERE id = (
                    SELECT id FROM jobs WHERE started_at IS NULL AND repository_id NOT IN (
                        SELECT repository_id FROM jobs WHERE started_at IS NOT NULL
                    ) ORDER BY created_at, rowid LIMIT 1
                ) RETURNING id, repository_id
                """,
                (now(),),
            )
        return next((Job(*row) for row in rows), None)

    async def finish(self, job: Job) -> None:
        """Take a job that ended, well or not, off the queue."""
        async with self._store.transaction(revise=False) as db:
            await db.execute("DELETE FROM jobs WHERE id = ?", (job.id,))

    async def put_back(self) -> None:
        """Let every job that was begun wait again: for the start, when nothing can be at work."""
        async with self._store.transaction(revise=False) as db:
            await db.execute(
                """
                DELETE FROM jobs WHERE started_at IS NOT NULL AND repository_id IN (
                    SELECT repository_id FROM jobs WHERE started_at IS NULL
                )
                """
            )
            await db.execute("UPDATE jobs SET started_at = NULL")
