"""The syncer: which repository is read when, by whom, and what is left of it afterwards.

A sync is a `Run`; no repository has two at a time, in whichever processes.
"""

import asyncio
import logging
import re
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pricore.archives.dists import Dists
from pricore.archives.sources import Sources
from pricore.config import Config
from pricore.errors import (
    GitError,
    GitUnavailableError,
    NotFoundError,
    PricoreError,
    StoreError,
    SyncError,
    explain,
)
from pricore.git import Git
from pricore.hosts.addresses import Address
from pricore.models import Organization, Repository, Step, Trigger
from pricore.store import Store
from pricore.sync.progress import OnProgress, forget, ignore, publish
from pricore.sync.report import Report
from pricore.sync.run import Run
from pricore.system.clock import now
from pricore.system.files import LockedError, hold_lock
from pricore.system.threads import SYNCS
from pricore.vcs.mirror import Mirror

_log = logging.getLogger("pricore.sync")

_QUIET_SECONDS: Final = 0.1
"""How long a repository is listed before that is told, where nobody has asked: most syncs find nothing new."""

_LOCK_SECONDS: Final = 0.05
"""How often it is tried to get a repository that another process has."""

_REMOVAL_SECONDS: Final = 1.0
"""How long a removal waits at most for a sync that was stopped."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Syncer:
    """Syncs repositories of one data folder, one run a repository at a time across all processes."""

    def __init__(self, store: Store, git: Git, sources: Sources, dists: Dists, config: Config) -> None:
        self._store = store
        self._git = git
        self._sources = sources
        self._dists = dists
        self._config = config
        self._running: dict[str, set[asyncio.Task[Report]]] = {}

    def use(self, config: Config) -> None:
        """Follow other settings in all that begins from now on."""
        self._config = config

    async def add(
        self,
        organization: Organization,
        address: Address,
        *,
        paths: Sequence[str] = (),
        credential_id: str | None = None,
        progress: OnProgress,
    ) -> Report:
        """Follow a repository and read it for the first time; where that fails, it is as if never added.

        `paths` are patterns of the folders that are packages, none where it is one itself.

        Raises ConflictError where it is followed already, else whatever `sync` does.
        """
        repository = await self._store.repositories.add(
            organization, address, paths=paths, credential_id=credential_id
        )
        try:
            return await self.sync(repository, progress=progress)
        except BaseException:
            # a first batch that was published has been served: then it stays, and the next sync goes on
            if not await self._store.packages.names(repository.id):
                await asyncio.shield(self.remove(repository))
            raise

    async def backdate(self, repository: Repository) -> int:
        """Let releases count as published when they were tagged, if that is earlier; gives how many.

        Raises GitError where its mirror cannot be read.
        """
        mirror = self._sources.mirror(repository.id, url=repository.url)
        tagged = await mirror.tagged() if mirror.exists() else {}
        return await self._store.rebuilding.backdate(repository, tagged)

    async def remove(self, repository: Repository) -> None:
        """Stop following a repository: its packages, mirror and kept archives go.

        It is gone at once, though a sync may be at it: one of this process is stopped, and one of another takes
        the mirror along when it notices.
        """
        unused = await self._store.repositories.remove(repository)
        for task in self._running.get(repository.id, ()):
            task.cancel()
        await self._dists.remove(unused)
        try:
            async with self._lock(repository.id, seconds=_REMOVAL_SECONDS):
                await self._discard(repository.id)
        except LockedError:
            _log.info("%s was removed while it is being read; its mirror goes when that ends", repository.url)

    async def sweep(self) -> None:
        """Remove mirrors of repositories that are no more: who should have done it was killed."""
        # the files first: a repository is in the database before it has any
        left = {
            path.stem
            for kind in ("*.git", "*.lock", "*.progress*")
            for path in self._config.repositories.glob(kind)
        }
        known = await self._store.repositories.ids()
        if not known:
            return  # a database that was lost or put aside: mirrors hold commits that may be nowhere else
        for repository_id in left - known:
            if _ID.fullmatch(repository_id):
                with suppress(LockedError):
                    async with self._lock(repository_id, seconds=0):
                        await self._discard(repository_id)

    async def sync(
        self,
        repository: Repository,
        *,
        progress: OnProgress,
        run_id: str | None = None,
        trigger: Trigger = Trigger.MANUAL,
    ) -> Report:
        """Bring what is served to what the repository has.

        In the history it has the `run_id` if that is given. A scheduled one, for which nobody asked, doesn't try
        again what failed for good and is still the same; where nothing is new, its report has no more than that.
        One that a webhook has announced fetches while it asks what is new.

        Raises GitError where it cannot be read, SyncError or ConflictError where nothing in it can be
        published; the failure is on record then, and what was served before still is. Raises StoreError where
        nothing could be recorded, NotFoundError where it was removed in the meantime.
        """
        # a task of its own, so that a removal can stop it without its caller
        task = asyncio.create_task(self._sync(repository, progress, run_id=run_id, trigger=trigger))
        running = self._running.setdefault(repository.id, set())
        running.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if caller is not None and caller.cancelling():
                raise
            raise _removed(repository) from None
        finally:
            running.discard(task)
            if not running:
                self._running.pop(repository.id, None)

    async def _sync(
        self, repository: Repository, progress: OnProgress, *, run_id: str | None, trigger: Trigger
    ) -> Report:
        seconds = self._config.git_timeout
        try:
            async with self._lock(repository.id, seconds=seconds, progress=progress) as hold:
                # as it is now: another process may have synced or removed it while this one waited
                found = await self._store.repositories.find(repository.id)
                if found is None:
                    await self._discard(repository.id)
                    raise _removed(repository)
                own_id = run_id or str(uuid4())
                with (
                    publish(self._config.repositories, found.id, own_id) as tell,
                    _after(_QUIET_SECONDS, tell, Step.LISTING, 0, 0) as listing,
                ):

                    def on_progress(step: Step, done: int, total: int, received: int = 0, /) -> None:
                        if step is not Step.LISTING or run_id is not None:
                            listing.cancel()
                            tell(step, done, total, received)
                        progress(step, done, total, received)

                    mirror = self._sources.mirror(found.id, url=found.url, hold=hold)
                    run = Run(
                        self._store,
                        self._git,
                        mirror,
                        found,
                        on_progress,
                        self._config,
                        run_id=own_id,
                        promised=run_id is not None,
                        trigger=trigger,
                    )
                    try:
                        report = await self._work(run, found)
                    except PricoreError:
                        await _maintain(mirror, found.url)  # what cannot be published was fetched too
                        raise
                    if report.read:
                        await _maintain(mirror, found.url)
                    return report
        except LockedError:
            raise SyncError(f"another process has been syncing {repository.url} for too long") from None
        except PermissionError as error:
            # of this repository alone: its lock or its mirror was made by another user
            reason = f"cannot sync {repository.url}: {explain(error, within=self._config.data)}"
            await self._store.repositories.record_failure(repository.id, reason, started_at=now(), retry=True)
            raise SyncError(reason) from error
        except OSError as error:
            raise StoreError(f"cannot sync {repository.url}: {error.strerror or error}") from error

    async def _work(self, run: Run, repository: Repository) -> Report:
        """What a run reports; what stops it is on record."""
        try:
            return await run.run()
        except asyncio.CancelledError:
            try:
                await asyncio.shield(self._record(run, repository))
            except Exception:  # noqa: BLE001  # what stops it has to know that it has stopped
                _log.exception("cannot record that the sync of %s was stopped", repository.url)
            raise
        except Exception as error:
            await self._record(run, repository, error)
            if isinstance(error, StoreError | OSError):
                raise SyncError(_reason(error, self._config.data)) from error
            raise

    async def _record(self, run: Run, repository: Repository, error: Exception | None = None) -> None:
        """Keep what a sync failed with, None if it was stopped; where its repository was removed, tidy up.

        Raises NotFoundError for a failure that comes of the removal.
        """
        if await self._store.repositories.find(repository.id) is None:
            await self._discard(repository.id)
            if error is not None:
                raise _removed(repository) from error
        elif error is not None:
            await self._store.repositories.record_failure(
                repository.id,
                _reason(error, self._config.data),
                started_at=run.started_at,
                run_id=run.id,
                digest=run.digest,
                refs_digest=repository.refs_digest,
                cause=run.cause,
                retry=isinstance(error, GitUnavailableError | StoreError) or not isinstance(error, PricoreError),
            )
        elif run.id is not None:
            await self._store.runs.interrupt(run.id)

    async def _discard(self, repository_id: str) -> None:
        """Delete what is kept of a repository that is no more, for who holds its lock."""
        await SYNCS.run(shutil.rmtree, self._sources.mirror(repository_id).path, ignore_errors=True)
        forget(self._config.repositories, repository_id)
        self._lock_file(repository_id).unlink(missing_ok=True)

    def _lock_file(self, repository_id: str) -> Path:
        return self._config.repositories / f"{repository_id}.lock"

    @asynccontextmanager
    async def _lock(
        self, repository_id: str, *, seconds: float, progress: OnProgress = ignore
    ) -> AsyncIterator[int]:
        """Hold a repository against every other process, by a lock on the descriptor that this gives.

        The kernel lets go when this process has died and every git that was given the descriptor has ended.
        Raises LockedError where nobody lets go in time.
        """
        self._config.repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with hold_lock(
            self._lock_file(repository_id),
            seconds=seconds,
            pause=_LOCK_SECONDS,
            on_wait=lambda: progress(Step.WAITING, 0, 0),
        ) as descriptor:
            yield descriptor


@contextmanager
def _after(seconds: float, call: OnProgress, *given: Any) -> Iterator[asyncio.TimerHandle]:
    """Call something in some seconds, if this lasts so long and nobody cancels it."""
    later = asyncio.get_running_loop().call_later(seconds, call, *given)
    try:
        yield later
    finally:
        later.cancel()


async def _maintain(mirror: Mirror, url: str) -> None:
    """Keep a mirror quick, when all that was read is served; where that fails it is slower, and no more."""
    try:
        await mirror.maintain()
    except (GitError, OSError) as error:
        reason = explain(error, within=mirror.path.parent.parent) if isinstance(error, OSError) else error
        _log.warning("the mirror of %s cannot be put in order: %s", url, reason)


def _reason(error: Exception, data: Path) -> str:
    """Why a sync failed, for who may see the repository: no folders of the server."""
    match error:
        case StoreError(__cause__=Exception() as cause):
            return f"the database cannot be written: {cause}"
        case PricoreError():
            return str(error)
        case OSError():
            return f"this server failed: {explain(error, within=data)}"
        case _:
            return "something unexpected went wrong; the server's log says what"


def _removed(repository: Repository) -> NotFoundError:
    return NotFoundError(f"the repository {repository.url} was removed")
