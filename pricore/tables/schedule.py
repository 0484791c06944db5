"""When each repository is looked at without being asked: on an interval, and sooner or later where it failed."""

import random
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from pricore.models import Due
from pricore.system.clock import now
from pricore.tables.sql import chosen

if TYPE_CHECKING:
    from pricore.engine.database import Database
    from pricore.engine.transaction import Transaction

_FIRST_RETRY: Final = 30
_LONGEST_RETRY: Final = 3600
"""Seconds until the first retry and between two at most; each waits twice as long as the one before it."""

_INTERVAL: Final = """
    coalesce(repositories.sync_interval, (
        SELECT sync_interval FROM organizations WHERE id = repositories.organization_id
    ), ?1)
"""

_NEXT: Final = f"CASE WHEN {_INTERVAL} > 0 THEN ?2 + {_INTERVAL} * ?3 / 1000 END"
"""When to look again, out of the instance's interval, the time now, and `_jitter`."""

_RETRY: Final = " ".join(
    (
        "CASE failures",
        *(f"WHEN {number} THEN {_FIRST_RETRY << number}" for number in range(7)),
        f"ELSE {_LONGEST_RETRY} END",
    )
)
"""Seconds until the next retry."""

_TIMED: Final = f"id, failures, next_sync_at, {_INTERVAL}"
"""What a repository's next time depends on, with its interval."""


class Schedule:
    """The part of the store that knows when repositories are due.

    `interval` is the instance's, seconds between two looks at a repository where nothing else is set, 0 for none.
    """

    def __init__(self, database: "Database", *, interval: int) -> None:
        self._database = database
        self.interval = interval

    async def due(self, busy: Collection[str]) -> list[Due]:
        """Of each organization the repository that has been due longest, without those at work."""
        rows = await self._database.fetch_all(
            f"""
            SELECT id, organization_id, next_sync_at FROM (
                SELECT id, organization_id, next_sync_at,
                    row_number() OVER (PARTITION BY organization_id ORDER BY next_sync_at, number) AS place
                FROM repositories WHERE next_sync_at <= ? AND id NOT IN {chosen(busy)}
            ) AS ranked WHERE place = 1
            """,
            (now(), *busy),
        )
        return [Due(*row) for row in rows]

    async def next_at(self, busy: Collection[str], *, held: Collection[str] = ()) -> int | None:
        """When the next repository is due that isn't at work, seconds; None where none ever is.

        None of the organizations that are `held` back.
        """
        ((at,),) = await self._database.fetch_all(
            f"""
            SELECT min(next_sync_at) FROM repositories
            WHERE id NOT IN {chosen(busy)} AND organization_id NOT IN {chosen(held)}
            """,
            (*busy, *held),
        )
        return None if at is None else int(at)

    async def begin(self) -> None:
        """Take over the instance's interval at the start: each repository gets a time that is no farther."""
        async with self._database.transaction(revise=False) as db:
            await self.spread(db)

    async def put_off(self, repository_id: str) -> None:
        """Look at a repository again when its interval is over; all else about it stands."""
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                f"UPDATE repositories SET next_sync_at = {_NEXT} WHERE id = ?4",
                (self.interval, now(), _jitter(), repository_id),
            )

    def settled(
        self,
        repository_id: str,
        *,
        failed: bool = False,
        retry: bool = False,
        unchanged: bool = False,
    ) -> tuple[str, tuple[Any, ...]]:
        """The statement that notes that a sync ended, and when to look again.

        Where a `retry` may help that is soon, and then ever later. Where all was `unchanged` it is the whole
        record that its repository has of it.
        """
        return (
            f"""
            UPDATE repositories SET
                sync_status = CASE WHEN ?7 THEN 'ok' ELSE sync_status END,
                sync_error = CASE WHEN ?7 THEN NULL ELSE sync_error END,
                last_synced_at = CASE WHEN ?7 THEN ?2 ELSE last_synced_at END,
                failures = CASE WHEN ?5 THEN failures + 1 ELSE 0 END,
                failing_since = CASE WHEN ?5 THEN coalesce(failing_since, ?2) END,
                next_sync_at = CASE WHEN ?6 THEN ?2 + {_RETRY} * ?3 / 1000 ELSE {_NEXT} END
            WHERE id = ?4
            """,
            (self.interval, now(), _jitter(), repository_id, failed, retry, unchanged),
        )

    async def spread(self, db: "Transaction", organization_id: str | None = None) -> None:
        """Bring the times of an organization's repositories, or of all, into their intervals: not all at once."""
        within = () if organization_id is None else (organization_id,)
        where = "organization_id = ?2" if within else "TRUE"
        rows: Any = await db.execute_fetchall(
            f"SELECT {_TIMED} FROM repositories WHERE {where}", (self.interval, *within)
        )
        at = now()
        times: dict[str, int | None] = {}
        for repository_id, failures, next_sync_at, interval in rows:
            if next_sync_at is None or interval == 0 or next_sync_at > at + 1.1 * interval:
                if next_sync_at is not None and failures > 0:
                    continue  # it is tried again
                times[repository_id] = at + random.randrange(interval) if interval else None  # noqa: S311  # as below
        await db.executemany(
            "UPDATE repositories SET next_sync_at = ? WHERE id = ?",
            ((moment, repository_id) for repository_id, moment in times.items()),
        )


def _jitter() -> int:
    """A tenth more or less, in thousandths, so that those that began together don't stay together."""
    return random.randint(900, 1100)  # noqa: S311  # nothing depends on nobody guessing it
