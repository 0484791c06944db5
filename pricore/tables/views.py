"""The dates of what is shown of documents to who doesn't see all of them."""

import asyncio
import random
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from pricore.errors import StoreError
from pricore.system.clock import now

if TYPE_CHECKING:
    from pricore.engine.database import Database

_SPAN: Final = 60
_KEPT: Final = 2 * _SPAN
_UNUSED: Final = 90 * 24 * 3600
_TRIES: Final = 5
_PATIENCE: Final = 0.2
"""Seconds that a date may take, which waits for who writes: an answer without one is asked for again."""

_chance: Final = random.SystemRandom()


class Views:
    """The part of the store that holds the dates of views.

    A client knows what it has by its date alone, and may have got it with another token. So no date is given to
    two contents of a document. Those of whole documents are even numbers of seconds; those of views are odd, and
    out of the last minute by chance, so that nobody can tell from one how many others there are.
    """

    def __init__(self, database: "Database") -> None:
        self._database = database

    async def date(self, organization_id: str, document: str, *, view: bytes, content: bytes) -> int | None:
        """Since when a view of a document has a content, both given as hashes; a new one is remembered.

        It is later than what the view had before. None where it cannot be remembered now. `document` is a
        package's name, with ~dev behind it for its branches, or '' for packages.json.
        """
        for _ in range(_TRIES):
            row = await self._database.find(
                """
                SELECT last_modified, digest, dates_after FROM organizations
                LEFT JOIN view_dates ON organization_id = organizations.id AND document = ? AND view = ?
                WHERE organizations.id = ? ORDER BY last_modified DESC LIMIT 1
                """,
                (document, view, organization_id),
            )
            if row is None:
                return None
            last, known, floor = row
            if known == content:
                return int(last)
            before = max(last or 0, floor)
            given = await self._database.fetch_all(
                """
                SELECT last_modified FROM view_dates
                WHERE organization_id = ? AND document = ? AND last_modified > ?
                """,
                (organization_id, document, max(before, now() - _KEPT)),
                by_key=True,
            )
            date = _choose(before, {used for (used,) in given})
            try:
                async with asyncio.timeout(_PATIENCE):
                    if await self._keep(organization_id, document, date, view, content):
                        return date
            except (TimeoutError, StoreError):
                return None
        return None

    async def _keep(self, organization_id: str, document: str, date: int, view: bytes, content: bytes) -> bool:
        """Whether nobody was given the date meanwhile, and it is remembered."""
        return await self._database.note(
            (
                """
                INSERT INTO view_dates (organization_id, document, last_modified, view, digest)
                SELECT id, ?, ?, ?, ? FROM organizations WHERE id = ? ON CONFLICT DO NOTHING
                """,
                (document, date, view, content, organization_id),
            )
        )

    async def forget(self) -> None:
        """Let go of dates that no view has any more, and of old ones: who still asks for it is given a new one."""
        async with self._database.transaction(revise=False) as db:
            await db.execute(
                """
                DELETE FROM view_dates WHERE (last_modified < ? AND EXISTS (
                    SELECT 1 FROM view_dates AS later
                    WHERE later.organization_id = view_dates.organization_id
                        AND later.document = view_dates.document AND later.view = view_dates.view
                        AND later.last_modified > view_dates.last_modified
                )) OR last_modified < ?
                """,
                (now() - _KEPT, now() - _UNUSED),
            )


def _choose(before: int, given: Collection[int]) -> int:
    """An odd number of seconds after `before` that was not given: in the last minute, or the first one left."""
    at = now()
    free = [date for date in range(max(before, at - _SPAN) + 1, at + 1) if date % 2 and date not in given]
    if free:
        return _chance.choice(free)
    date = max(before, at) + 1
    while date % 2 == 0 or date in given:
        date += 1
    return date
