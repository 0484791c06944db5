"""The workers that sync what was asked for."""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from pricore.errors import NotFoundError, PricoreError
from pricore.models import Job
from pricore.store import Store
from pricore.sync import Syncer

_log = logging.getLogger("pricore.jobs")

_POLL_SECONDS: Final = 5.0
"""How long a job of another process waits at most until it is seen."""


class Queue:
    """The queue of syncs and the workers that empty it, in the server."""

    def __init__(self, store: Store, syncer: Syncer) -> None:
        self._store = store
        self._syncer = syncer
        self._added = asyncio.Event()

    async def add(self, repository_id: str) -> None:
        """Ask for a sync; it is on disk when this returns."""
        await self._store.jobs.add(repository_id)
        self.notify()

    def notify(self) -> None:
        """Look for jobs now: one was written together with what it is for."""
        self._added.set()

    async def work(self) -> None:
        """Sync what is asked for, one after another, until cancelled. A job that was cut off is done again."""
        while True:
            try:
                await self._store.jobs.put_back()
                await self._take_turns()
            except Exception:  # noqa: BLE001  # a database that is locked or full for a while must not end all syncing
                _log.exception("the queue of syncs cannot be read or written; it is tried again")
                await asyncio.sleep(_POLL_SECONDS)

    async def _take_turns(self) -> None:
        while True:
            self._added.clear()
            job = await self._store.jobs.take()
            if job is not None:
                await self._do(job)
                continue
            # not wait_for: in Python 3.11 it loses a cancellation that comes together with the event
            with suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._added.wait()

    async def _do(self, job: Job) -> None:
        repository = await self._store.repositories.find(job.repository_id)
        try:
            if repository is not None:
                await self._syncer.sync(repository, progress=_unwatched)
        except NotFoundError as error:
            _log.info("%s", error)  # removed on purpose while it was read
        except PricoreError as error:
            _log.warning("%s", error)  # the repository's record has it too
        except Exception:  # noqa: BLE001  # one repository must not end the syncing of all others
            _log.exception("syncing %s failed", repository.url if repository else job.repository_id)
        await self._store.jobs.finish(job)


def _unwatched(text: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""
