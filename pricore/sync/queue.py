"""The workers that sync what was asked for, and what is due."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from pricore.errors import NotFoundError, PricoreError, StoreError
from pricore.models import Job, Step, Trigger
from pricore.store import Store
from pricore.sync.syncer import Syncer
from pricore.system.metrics import Metrics, Syncs
from pricore.tables.jobs import BY_HAND, BY_WEBHOOK

_log = logging.getLogger("pricore.jobs")

POLL_SECONDS: Final = 5.0
"""How long the queue waits at most for something that nobody told of."""

_NOTICE_SECONDS: Final = 0.05
"""How long a job of another process waits at most until it is seen."""

_LEAST_SECONDS: Final = 0.05
"""How often the schedule is asked at most."""

SLOW_SECONDS: Final = 30.0
"""A sync that hasn't read anything after so long waits for its host, and needs no worker for that."""

MOST_SLOW: Final = 8
"""Such syncs beside the workers; each further one takes a worker."""

_MOST_ASKED: Final = 3
"""Syncs that were asked for, one after the other, before one that is due gets a turn."""

_OUTSIDE: Final = (Step.WAITING, Step.LISTING, Step.FETCHING)
"""The steps in which a sync waits for others: another process, or its host."""


class _Work:
    """A sync at work for an organization."""

    def __init__(self, organization_id: str) -> None:
        self.organization_id = organization_id
        # since when it waits for others, None from when it reads what it got
        self._waits_since: float | None = time.monotonic()

    def tell(self, step: Step, *_: int) -> None:
        """Take its progress, of which the step is enough."""
        if step not in _OUTSIDE:
            self._waits_since = None

    def is_slow(self) -> bool:
        """Whether it has been waiting for so long that it needs no worker."""
        return self._waits_since is not None and time.monotonic() - self._waits_since >= SLOW_SECONDS


class Queue:
    """The queue of syncs, the schedule behind it and the workers that empty both, in the server.

    A repository is never at work twice, here because `busy` has it, in other processes because of its lock.
    `workers` is how many may be at work; it can be changed at any time. `counts` is where syncs are counted.

    The load of one organization is not the latency of another. Organizations take turns. A sync that waits for its
    host for long needs no worker, so that others begin; an organization with more of these than there are workers
    begins no more until one ends. Where there are several workers, and one organization has them all, one more is
    there for the others.
    """

    def __init__(self, store: Store, syncer: Syncer, *, workers: int, counts: Syncs | None = None) -> None:
        self.workers = workers
        self._store = store
        self._syncer = syncer
        self._counts = counts or Metrics().syncs
        self._wake = asyncio.Event()
        self._busy: dict[str, _Work] = {}
        # organizations that had their turn, the latest last
        self._served: list[str] = []
        # syncs that were asked for since the last one that was due
        self._asked = 0
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
            while task := await self._begin():
                tasks.add(task)
                task.add_done_callback(lambda _: self._wake.set())
            # not wait_for: in Python 3.11 it loses a cancellation that comes together with the event
            with suppress(TimeoutError):
                async with asyncio.timeout(await self._pause()):
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

    async def _begin(self) -> asyncio.Task[None] | None:
        """A worker for what comes first beside those at work, None where nothing is to be done or all are."""
        at_work, slow = self._at_work()
        held = self._held(slow)
        taken = self._taken(slow)
        if taken >= self.workers:
            if taken > self.workers or self.workers == 1 or len(at_work) != 1:
                return None
            held |= at_work.keys()  # one more, of another
        turns = {organization_id: turn for turn, organization_id in enumerate(self._served)}

        def rank(organization_id: str) -> tuple[int, int]:
            """Who comes first: those with the fewest at work, of these the one whose turn was longest ago."""
            return at_work[organization_id], turns.get(organization_id, -1)

        waiting = await self._store.jobs.first(self._busy)
        waiting = {organization_id: row for organization_id, row in waiting.items() if organization_id not in held}
        if not waiting or self._asked >= _MOST_ASKED:
            # an organization that has asked for something gets its turn by that
            passed_over = held | waiting.keys()
            due = await self._store.schedule.due(self._busy)
            if found := [item for item in due if item.organization_id not in passed_over]:
                first = min(found, key=lambda item: (*rank(item.organization_id), item.at))
                self._asked = 0
                return self._work_on(first.repository_id, first.organization_id, None)
        if waiting:
            organization_id = min(waiting, key=lambda item: (*rank(item), waiting[item]))
            if job := await self._store.jobs.take(waiting[organization_id][1]):
                self._asked += 1
                return self._work_on(job.repository_id, job.organization_id, job)
        return None

    def _at_work(self) -> tuple[Counter[str], Counter[str]]:
        """How many syncs each organization has that need a worker, and how many that wait for their hosts."""
        at_work, slow = Counter[str](), Counter[str]()
        for work in self._busy.values():
            (slow if work.is_slow() else at_work)[work.organization_id] += 1
        return at_work, slow

    def _taken(self, slow: Counter[str]) -> int:
        """How many workers are at work."""
        return len(self._busy) - min(slow.total(), MOST_SLOW)

    def _held(self, slow: Counter[str]) -> set[str]:
        """The organizations that begin nothing more: their hosts keep back as many syncs as they may."""
        return {organization_id for organization_id, count in slow.items() if count > self.workers}

    def _work_on(self, repository_id: str, organization_id: str, job: Job | None) -> asyncio.Task[None]:
        self._busy[repository_id] = work = _Work(organization_id)
        with suppress(ValueError):
            self._served.remove(organization_id)
        self._served.append(organization_id)
        return asyncio.create_task(self._do(repository_id, job, work))

    async def _do(self, repository_id: str, job: Job | None, work: _Work) -> None:
        end = self._store.jobs.finish
        try:
            try:
                await self._sync(repository_id, job, work)
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

    async def _sync(self, repository_id: str, job: Job | None, work: _Work) -> None:
        repository = await self._store.repositories.find(repository_id)
        if repository is None:
            return
        begun, outcome = self._counts.begin(), "failed"
        try:
            run_id, trigger = (None, Trigger.SCHEDULE) if job is None else (job.id, job.trigger)
            report = await self._syncer.sync(repository, progress=work.tell, run_id=run_id, trigger=trigger)
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
        await asyncio.sleep(POLL_SECONDS)

    async def _pause(self) -> float:
        """Seconds until there may be something to do that nobody tells of."""
        _, slow = self._at_work()
        if self._taken(slow) >= self.workers:
            return POLL_SECONDS
        due = await self._store.schedule.next_at(self._busy, held=self._held(slow))
        return POLL_SECONDS if due is None else min(POLL_SECONDS, max(_LEAST_SECONDS, due - time.time()))
