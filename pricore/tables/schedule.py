"""When each repository is looked at without being asked: on an interval, and sooner or later where it failed."""

import random
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pricore.models import Due
from pricore.system.clock import now

if TYPE_CHECKING:
    import aiosqlite

    from pricore.engine.database import Database

_FIRST_RETRY: Final = 30
_LONGEST_RETRY: Final = 3600
"""Seconds until the first retry and between two at most; each waits twice as long as the one before it."""

_INTERVAL: Final = """
    coalesce(repositories.sync_interval, (
        SELECT sync_interval FROM organizations WHERE id = repositories.organization_id
    ), ?1)
"""

_NEXT: Final = f"iif({_INTERVAL} = 0, NULL, ?4 + CAST({_INTERVAL} * ?5 AS INTEGER))"


class Schedule:
    """The part of the store that knows when repositories are due.

    `interval` is the instance's, seconds between two looks at a repository where nothing else is set, 0 for none.
    """

    def __init__(self, database: "Database", *, interval: int) -> None:
        self._database = database
        self.interval = interval

    async def due(self, busy: Iterable[str]) -> list[Due]:
        """Of each organization the repository that has been due longest, without those at work."""
        rows = await self._database.fetch_all(
            """
            SELECT id, organization_id, min(next_sync_at) FROM repositories
            WHERE next_sync_at <= ? AND id NOT IN (SELECT value FROM json_each(?))
            GROUP BY organization_id
            """,
            (now(), msgspec.json.encode(list(busy)).decode()),
        )
        return [Due(*row) for row in rows]

    async def next_at(self, busy: Iterable[str], *, held: Iterable[str] = ()) -> int | None:
        """When the next repository is due that isn't at work, seconds; None where none ever is.

        None of the organizations that are `held` back.
        """
        ((at,),) = await self._database.fetch_all(
            """
            SELECT min(next_sync_at) FROM repositories
            WHERE id NOT IN (SELECT value FROM json_each(?))
                AND organization_id NOT IN (SELECT value FROM json_each(?))
            """,
            (msgspec.json.encode(list(busy)).decode(), msgspec.json.encode(list(held)).decode()),
        )
        return None if at is None else int(at)

    async def begin(self) -> None:
        """Take over the instance's interval at the start: each repository gets a time that is no farther."""
        async with self._database.transaction(revise=False) as db:
            await self._spread(db, where="TRUE")

    async def put_off(self, repository_id: str) -> None:
        """Look at a repository again when its interval is over; all else about it stands."""
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                f"UPDATE repositories SET next_sync_at = {_NEXT} WHERE id = ?2 AND ?3",
                (self.interval, repository_id, True, now(), _jitter()),
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
                sync_status = iif(?7, 'ok', sync_status),
                sync_error = iif(?7, NULL, sync_error),
                last_synced_at = iif(?7, ?4, last_synced_at),
                failures = iif(?2, failures + 1, 0),
                failing_since = iif(?2, coalesce(failing_since, ?4), NULL),
                next_sync_at = CASE
                    WHEN ?3 THEN
                        ?4 + CAST(min({_FIRST_RETRY} << min(failures, 20), {_LONGEST_RETRY}) * ?5 AS INTEGER)
                    ELSE {_NEXT}
                END
            WHERE id = ?6
            """,
            (self.interval, failed, retry, now(), _jitter(), repository_id, unchanged),
        )

    async def set_interval(self, organization_id: str, repository_id: str | None, interval: int | None) -> None:
        """Set the interval of a repository, or of its organization where that is None.

        Seconds, 0 for none; None follows what is above.
        """
        async with self._database.transaction(revise=False) as db:
            if repository_id is None:
                await db.execute(
                    "UPDATE organizations SET sync_interval = ? WHERE id = ?", (interval, organization_id)
                )
            else:
                await db.execute(
                    "UPDATE repositories SET sync_interval = ? WHERE id = ?", (interval, repository_id)
                )
            await self._spread(db, where="organization_id = ?2", parameters=(organization_id,))

    async def _spread(self, db: "aiosqlite.Connection", *, where: str, parameters: tuple[str, ...] = ()) -> None:
        """Bring the times of repositories into their intervals, at random, so that not all come at once."""
        await db.execute(
            f"""
            UPDATE repositories SET next_sync_at = CASE
                WHEN failures > 0 AND next_sync_at IS NOT NULL THEN next_sync_at
                WHEN {_INTERVAL} = 0 THEN NULL
                ELSE unixepoch() + abs(random()) % {_INTERVAL}
            END
            WHERE {where} AND (
                next_sync_at IS NULL OR {_INTERVAL} = 0 OR next_sync_at > unixepoch() + 1.1 * {_INTERVAL}
            )
            """,
            (self.interval, *parameters),
        )


def _jitter() -> float:
    """A tenth more or less, so that those that began together don't stay together."""
    return random.uniform(0.9, 1.1)  # noqa: S311  # nothing depends on nobody guessing it
