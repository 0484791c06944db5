"""The workers that sync what was asked for, and what is due."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from pricore.errors import NotFoundError, PricoreError, StoreError
from pricore.metrics import Metrics, Syncs
from pricore.models import Job, Trigger
from pricore.progress import ignore
from pricore.store import Store
from pricore.sync import Syncer
from pricore.tables.jobs import BY_HAND, BY_WEBHOOK

_log = logging.getLogger("pricore.jobs")

_POLL_SECONDS: Final = 5.0
"""How long the queue waits at most for something that nobody told of."""

_NOTICE_SECONDS: Final = 0.05
"""How long a job of another process waits at most until it is seen."""

_LEAST_SECONDS: Final = 0.05
"""How often the schedule is asked at most."""


class Queue:
    """The queue of syncs, the schedule behind it and the workers that empty both, in the server.

    A repository is never at work twice, here because `busy` has it, in other processes because of its lock.
    `workers` is how many may be at work; it can be changed at any time. Where there are several, and one
    organization has them all, one more is there for the others: hosts of that one that send next to nothing must
    not stop them. `counts` is where syncs are counted.
    """

    def __init__(self, store: Store, syncer: Syncer, *, workers: int, counts: Syncs | None = None) -> None:
        self.workers = workers
        self._store = store
        self._syncer = syncer
        self._counts = counts or Metrics().syncs
        self._wake = asyncio.Event()
        self._busy: dict[str, str] = {}
        # organizations that had their turn, the latest last
        self._served: list[str] = []
        # whether the log has been told that the database cannot be written
        self._failing = False

    async def add(self, repository_id: str, *, by_webhook: bool = False) -> None:
        """Ask for a sync; it is on disk when this returns."""
        priority, cause = (BY_WEBHOOK, Trigger.WEBHOOK) if by_webhook else (BY_HAND, Trigger.API)
        await self._store.jobs.add(repository_id, priority=priority, cause=cause)
        self.notify()

    def notify(self) -> None:
        """Look for work now: a job was written together with what it is for."""
        self._wake.set()

    async def work(self) -> None:
        """Sync what is asked for and what is due until cancelled.

        A job that is cut off goes back to the queue, and is done again. Whatever fails for one worker, or in
        looking for work, is tried again, and leaves all others at work.
        """
        tasks: set[asyncio.Task[None]] = set()
        try:
            await self._insist(self._store.jobs.put_back)
            await self._insist(lambda: self._hand_out(tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.shield(self._store.jobs.put_back())

    async def _hand_out(self, tasks: set[asyncio.Task[None]]) -> None:
        """Give work to as many workers as there may be; ends only where the queue cannot be read or written."""
        while True:
            self._wake.clear()
            tasks.difference_update([task for task in tasks if task.done()])
            seen = self._store.changes()
            while task := await self._begin(len(tasks)):
                tasks.add(task)
                task.add_done_callback(lambda _: self._wake.set())
            # not wait_for: in Python 3.11 it loses a cancellation that comes together with the event
            with suppress(TimeoutError):
                async with asyncio.timeout(await self._pause(full=len(tasks) >= self.workers)):
                    await self._woken(seen)

    async def _insist(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do a step until the database takes it."""
        while True:
            try:
                await step()
            except Exception as error:  # noqa: BLE001  # one failure must not end the syncing of all others
                await self._wait_for_store(error)
            else:
                self._failing = False
                return

    async def _woken(self, seen: int) -> None:
        """Wait until there may be work: somebody here says so, or whoever has written since `seen`."""
        while not self._wake.is_set() and self._store.changes() == seen:
            with suppress(TimeoutError):
                async with asyncio.timeout(_NOTICE_SECONDS):
                    await self._wake.wait()

    async def _begin(self, at_work: int) -> asyncio.Task[None] | None:
        """A worker for what comes first beside those at work, None where nothing is to be done or all are."""
        but = None
        if at_work >= self.workers:
            organizations = set(self._busy.values())
            if at_work > self.workers or self.workers == 1 or len(organizations) != 1:
                return None
            (but,) = organizations
        if job := await self._store.jobs.take(self._busy, self._served, but=but):
            return self._work_on(job.repository_id, job.organization_id, job)
        if found := [due for due in await self._store.schedule.due(self._busy) if due.organization_id != but]:
            turns = {organization_id: turn for turn, organization_id in enumerate(self._served)}
            first = min(found, key=lambda due: (turns.get(due.organization_id, -1), due.at))
            return self._work_on(first.repository_id, first.organization_id, None)
        return None

    def _work_on(self, repository_id: str, organization_id: str, job: Job | None) -> asyncio.Task[None]:
        self._busy[repository_id] = organization_id
        with suppress(ValueError):
            self._served.remove(organization_id)
        self._served.append(organization_id)
        return asyncio.create_task(self._do(repository_id, job))

    async def _do(self, repository_id: str, job: Job | None) -> None:
        end = self._store.jobs.finish
        try:
            try:
                await self._sync(repository_id, job)
            except Exception as error:  # noqa: BLE001  # a worker's failure is its own
                await self._wait_for_store(error)
                end = self._store.jobs.put_back
            else:
                self._failing = False
            if job is not None:
                # until it is on record: nobody else would ever end this job
                await self._insist(lambda: end(job))
        finally:
            del self._busy[repository_id]

    async def _sync(self, repository_id: str, job: Job | None) -> None:
        repository = await self._store.repositories.find(repository_id)
        if repository is None:
            return
        begun, outcome = self._counts.begin(), "failed"
        try:
            run_id, trigger = (None, Trigger.SCHEDULE) if job is None else (job.id, job.trigger)
            report = await self._syncer.sync(repository, progress=ignore, run_id=run_id, trigger=trigger)
            outcome = "changed" if report.added or report.updated or report.removed else "unchanged"
            if outcome == "changed":
                _log.info(
                    "%s: %d added, %d updated, %d removed (%s)",
                    repository.url,
                    len(report.added),
                    len(report.updated),
                    len(report.removed),
                    Trigger.FIRST if repository.last_synced_at is None else trigger,
                )
            for version in report.moved:
                _log.warning(
                    "%s: the tag of %s moved; it stays as it was, and `pricore package accept` takes the new one",
                    repository.url,
                    version,
                )
        except asyncio.CancelledError:
            outcome = "interrupted"
            raise
        except NotFoundError as error:
            outcome = "interrupted"
            _log.info("%s", error)  # removed on purpose while it was read
        except StoreError:
            raise
        except PricoreError as error:
            _log.warning("%s", error)  # the repository's record has it too
        except Exception:  # noqa: BLE001  # one repository must not end the syncing of all others
            _log.exception("syncing %s failed", repository.url)
        finally:
            self._counts.end(outcome, begun)

    async def _wait_for_store(self, error: Exception) -> None:
        """Let time pass where nothing can be read or put on record, which would come again at once; told once."""
        if not self._failing:
            known = isinstance(error, StoreError)
            text = str(error) if known else "the queue of syncs cannot be read or written"
            _log.error("%s; nothing is synced until that works again", text, exc_info=None if known else error)
        self._failing = True
        await asyncio.sleep(_POLL_SECONDS)

    async def _pause(self, *, full: bool) -> float:
        """Seconds until there may be something to do that nobody tells of."""
        due = None if full else await self._store.schedule.next_at(self._busy)
        return _POLL_SECONDS if due is None else min(_POLL_SECONDS, max(_LEAST_SECONDS, due - time.time()))
