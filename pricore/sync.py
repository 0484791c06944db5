"""The syncer: from a Git repository to published versions.

What is in service stays there whatever fails. A sync looks at the remote first, reads only refs that moved,
makes every checksum before the version it belongs to is published, and removes last.
"""

import asyncio
import fcntl
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from pricore import discovery, dists, metadata
from pricore.addresses import Address, host_of, is_local
from pricore.clock import now
from pricore.config import Config
from pricore.discovery import BRANCHES, TAGS, Discovery, Rules
from pricore.errors import (
    ConflictError,
    GitError,
    GitUnavailableError,
    NotFoundError,
    PricoreError,
    SyncError,
)
from pricore.git import Git, Mirror, Remote
from pricore.inside import find_outside
from pricore.models import (
    Candidate,
    CommitFile,
    LeftOut,
    NewVersion,
    Organization,
    Outcome,
    Ref,
    Repository,
    Version,
)
from pricore.store import Store
from pricore.tables.publishing import Publication, name_taken

_log = logging.getLogger("pricore.sync")

_RULES: Final = "1"
"""Moves when the rules of discovery do, so that every repository is read anew once."""

_FIRST_BATCH: Final = 20
"""Versions of the first transaction of an import; each further one takes twice as many."""

_REMOVAL_SECONDS: Final = 1.0
"""How long a removal waits at most for a sync that was stopped."""

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Progress = Callable[[str, int, int], None]
"""Told what is going on, how much of it is done, and how much there is (0: nobody knows)."""


class Report(Outcome, frozen=True, kw_only=True):
    """What a sync of a repository (its address) did, and the packages that it supplies now."""

    repository: str
    packages: list[str]


class Syncer:
    """Syncs repositories of one data folder, one run a repository at a time across all processes."""

    def __init__(self, store: Store, git: Git, config: Config) -> None:
        self._store = store
        self._git = git
        self._config = config
        self._running: dict[str, set[asyncio.Task[Report]]] = {}

    def mirror(self, repository_id: str, *, url: str = "", hold: int | None = None) -> Mirror:
        """The mirror of a repository; errors name its `url`, `hold` is its lock's descriptor, for who writes."""
        return Mirror(self._git, self._config.repositories / f"{repository_id}.git", url=url, hold=hold)

    async def add(self, organization: Organization, address: Address, *, progress: Progress) -> Report:
        """Follow a repository and read it for the first time; where that fails, it is as if never added.

        Raises ConflictError where it is followed already, else whatever `sync` does.
        """
        repository = await self._store.repositories.add(organization, address)
        try:
            return await self.sync(repository, progress=progress)
        except BaseException:
            # a first batch that was published has been served: then it stays, and the next sync goes on
            if not await self._store.packages.names(repository.id):
                await asyncio.shield(self.remove(repository))
            raise

    async def remove(self, repository: Repository) -> None:
        """Stop following a repository: its packages, mirror and kept archives go.

        It is gone at once, though a sync may be at it: one of this process is stopped, and one of another takes
        the mirror along when it notices.
        """
        unused = await self._store.repositories.remove(repository)
        for task in self._running.get(repository.id, ()):
            task.cancel()
        await dists.Dists(self._config.dists).remove(unused)
        try:
            async with self._lock(repository.id, seconds=_REMOVAL_SECONDS):
                await self._discard(repository.id)
        except _BusyError:
            _log.info("%s was removed while it is being read; its mirror goes when that ends", repository.url)

    async def sweep(self) -> None:
        """Remove mirrors of repositories that are no more: who should have done it was killed."""
        # the files first: a repository is in the database before it has any
        left = {path.stem for kind in ("*.git", "*.lock") for path in self._config.repositories.glob(kind)}
        known = await self._store.repositories.ids()
        if not known:
            return  # a database that was lost or put aside: mirrors hold commits that may be nowhere else
        for repository_id in left - known:
            if _ID.fullmatch(repository_id):
                with suppress(_BusyError):
                    async with self._lock(repository_id, seconds=0):
                        await self._discard(repository_id)

    async def sync(self, repository: Repository, *, progress: Progress, scheduled: bool = False) -> Report:
        """Bring what is served to what the repository has.

        A `scheduled` one, for which nobody asked, doesn't try again what failed for good and is still the same.

        Raises GitError where it cannot be read, SyncError or ConflictError where nothing in it can be
        published; the failure is on record then, and what was served before still is. Raises NotFoundError where
        it was removed in the meantime.
        """
        # a task of its own, so that a removal can stop it without its caller
        task = asyncio.create_task(self._sync(repository, progress, scheduled=scheduled))
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

    async def _sync(self, repository: Repository, progress: Progress, *, scheduled: bool) -> Report:
        seconds = self._config.git_timeout
        try:
            async with self._lock(repository.id, seconds=seconds, progress=progress) as hold:
                # as it is now: another process may have synced or removed it while this one waited
                found = await self._store.repositories.find(repository.id)
                if found is None:
                    await self._discard(repository.id)
                    raise _removed(repository)
                mirror = self.mirror(found.id, url=found.url, hold=hold)
                run = _Run(self._store, self._git, mirror, found, progress, self._config, scheduled=scheduled)
                try:
                    return await run.run()
                except asyncio.CancelledError:
                    try:
                        await asyncio.shield(self._record(run, found))
                    except Exception:  # noqa: BLE001  # what stops it has to know that it has stopped
                        _log.exception("cannot record that the sync of %s was stopped", found.url)
                    raise
                except Exception as error:
                    await self._record(run, found, error)
                    raise
        except _BusyError:
            raise SyncError(f"another process has been syncing {repository.url} for too long") from None

    async def _record(self, run: "_Run", repository: Repository, error: Exception | None = None) -> None:
        """Keep what a sync failed with, None if it was stopped; where its repository was removed, tidy up.

        Raises NotFoundError for a failure that comes of the removal.
        """
        if await self._store.repositories.find(repository.id) is None:
            await self._discard(repository.id)
            if error is not None:
                raise _removed(repository) from error
        elif error is not None:
            expected = isinstance(error, PricoreError)
            await self._store.repositories.record_failure(
                repository.id,
                str(error) if expected else "something unexpected went wrong; the server's log says what",
                started_at=run.started_at,
                run_id=run.id,
                digest=run.digest,
                refs_digest=repository.refs_digest,
                retry=isinstance(error, GitUnavailableError) or not expected,
            )
        elif run.id is not None:
            await self._store.runs.interrupt(run.id)

    async def _discard(self, repository_id: str) -> None:
        """Delete what is kept of a repository that is no more, for who holds its lock."""
        await asyncio.to_thread(shutil.rmtree, self.mirror(repository_id).path, ignore_errors=True)
        self._lock_file(repository_id).unlink(missing_ok=True)

    def _lock_file(self, repository_id: str) -> Path:
        return self._config.repositories / f"{repository_id}.lock"

    @asynccontextmanager
    async def _lock(
        self, repository_id: str, *, seconds: float, progress: Progress | None = None
    ) -> AsyncIterator[int]:
        """Hold a repository against every other process, by a lock on the descriptor that this gives.

        The kernel lets go when this process has died and every git that was given the descriptor has ended.
        Raises _BusyError where nobody lets go in time.
        """
        self._config.repositories.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self._lock_file(repository_id), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = asyncio.get_running_loop().time() + seconds
            while not _try_lock(descriptor):
                if asyncio.get_running_loop().time() >= deadline:
                    raise _BusyError
                if progress is not None:
                    progress("Waiting for another sync", 0, 0)
                await asyncio.sleep(0.05)
            yield descriptor
        finally:
            os.close(descriptor)


class _BusyError(Exception):
    """Somebody else holds a repository, and goes on to."""


def _removed(repository: Repository) -> NotFoundError:
    return NotFoundError(f"the repository {repository.url} was removed")


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class _Run:
    """One sync of one repository; what it has learned so far."""

    def __init__(
        self,
        store: Store,
        git: Git,
        mirror: Mirror,
        repository: Repository,
        progress: Progress,
        config: Config,
        *,
        scheduled: bool,
    ) -> None:
        self.id: str | None = None  # in the history, from when something new was found
        self.digest: str | None = None  # of what is upstream, from when it was seen
        self.started_at = now()
        self._config = config
        self._scheduled = scheduled
        self._store = store
        self._git = git
        self._mirror = mirror
        self._repository = repository
        self._progress = progress
        self._known: Mapping[str, Ref] = {}
        self._served: Mapping[tuple[str, str], Version] = {}
        self._failed: dict[str, str] = {}
        # refs whose version was deleted on purpose
        self._deleted: frozenset[str] = frozenset()
        # packages that were there when it began, or that it made
        self._there: frozenset[str] = frozenset()

    async def run(self) -> Report:
        repository = self._repository
        self._progress("Asking what is new", 0, 0)
        only = await self._where()
        remote = await self._git.ls_remote(repository.url, only=only)
        digest = self.digest = f"{_RULES}:{remote.digest}"
        if digest == repository.refs_digest and self._mirror.exists():
            await self._store.repositories.record_unchanged(repository.id, started_at=self.started_at)
            return await self._report(Publication(), read=0)
        if self._scheduled and digest == repository.failed_digest:
            await self._store.schedule.put_off(repository.id)
            return await self._report(Publication(), read=0)
        self.id = await self._store.runs.begin(repository.id, started_at=self.started_at)
        if not remote.refs:
            raise SyncError(f"{repository.url} is empty: push a branch with a composer.json to it first")

        self._progress("Fetching", 0, 0)
        mirrored = self._mirror.exists()
        await self._mirror.fetch(repository.url, only=only)
        refs = await self._mirror.refs()
        # in this order: what is deleted in between must not look as if it had never been there
        self._served = await self._store.packages.of_repository(repository.id)
        self._known = await self._store.repositories.refs(repository.id)
        self._deleted = frozenset(ref.name for ref in self._known.values() if ref.deleted_at is not None)
        self._there = frozenset(package for package, _ in self._served)
        changed, files, name = await self._read_changed(refs, remote, everything=not mirrored)
        rules = Rules(
            default_branch=remote.default_branch,
            default_name=name,
            source_url=None if is_local(repository.url) else repository.url,
            # a branch that is gone claims its version no longer; a released one does
            served={
                key: version
                for key, version in self._served.items()
                if version.ref in refs or version.ref.startswith(TAGS)
            },
        )
        found = await asyncio.to_thread(discovery.discover, changed, files, rules)
        found = await self._without_foreign_names(found)
        if not (found.candidates or self._served or self._deleted):
            raise SyncError(_nothing_found(repository.url, found.left_out))

        last: list[NewVersion] = []
        async for batch, more in self._with_checksums(found.candidates):
            if more:
                await self._publish(_with_versions(Publication(), batch))
            else:
                last = batch
        if self._failed and not self._served and len(self._failed) == len(found.candidates):
            raise SyncError(f"no archive can be made of {repository.url}: {next(iter(self._failed.values()))}")
        # the names last: where a rename is cut off, the next sync has to see it again
        change = Publication(default_branch=remote.default_branch, default_name=name)
        change = self._last(_with_versions(change, last), found, refs, changed, digest)
        await self._publish(change)
        report = await self._report(change, read=len(changed), candidates=found.candidates)
        error = None
        if self._failed:
            error = f"{len(self._failed)} archives could not be made: {next(iter(self._failed.values()))}"
        await self._store.runs.finish(self.id, _outcome(report), error=error)
        return report

    async def _where(self) -> Sequence[str] | None:
        """The addresses at which a confined repository may be read; None for one of the operator's, anywhere.

        Asked each time: what the host's name leads to may have changed since the repository was added.
        """
        if not self._repository.confined:
            return None
        return await find_outside(host_of(self._repository.url), allowed=self._config.internal_hosts)

    async def _read_changed(
        self, refs: Mapping[str, str], remote: Remote, *, everything: bool
    ) -> tuple[dict[str, str], dict[str, CommitFile], str | None]:
        """The refs that have to be read, the composer.json of each of their commits, and the default name.

        All refs, where the name in the default branch changed: it names every version. What was left out is
        read again where a ref went away: it may have been left out because of that one. Never a ref that stands
        where it stood when its version was deleted.
        """
        repository = self._repository
        changed = {
            ref: commit
            for ref, commit in refs.items()
            if ref not in self._known or self._known[ref].commit != commit
        }
        if any(ref not in refs and ref not in self._deleted for ref in self._known):
            changed |= {ref: refs[ref] for ref, known in self._known.items() if known.reason and ref in refs}
        default = f"{BRANCHES}{remote.default_branch or ''}"
        if remote.default_branch != repository.default_branch:
            # the mark of the default branch goes from one to the other
            marked = (default, f"{BRANCHES}{repository.default_branch or ''}")
            changed |= {ref: refs[ref] for ref in marked if ref in refs}
        everything = everything or not repository.refs_digest.startswith(f"{_RULES}:")
        # the default branch in any case: a rename that was cut off has to be seen again
        named = {default: refs[default]} if default in refs else {}
        files = await self._files(refs if everything else changed | named)
        # a composer.json that broke doesn't take the name away from what is served
        name = discovery.default_name(files.get(refs.get(default, ""))) or repository.default_name
        if name != repository.default_name and not everything:
            everything = True
            files = await self._files(refs)
        return self._without_deleted(refs if everything else _in_order(changed, refs)), files, name

    def _without_deleted(self, refs: Mapping[str, str]) -> dict[str, str]:
        return {
            ref: commit
            for ref, commit in refs.items()
            if ref not in self._deleted or self._known[ref].commit != commit
        }

    async def _publish(self, change: Publication) -> None:
        change = msgspec.structs.replace(change, deleted=self._deleted, there=self._there)
        await self._store.packages.publish(self._repository, change)
        self._there |= {item.package.lower() for item in change.versions}

    async def _files(self, refs: Mapping[str, str]) -> dict[str, CommitFile]:
        self._progress("Reading composer.json", 0, len(refs))
        commits = list(dict.fromkeys(refs.values()))
        return await self._mirror.read_files(commits, "composer.json", limit=metadata.MAX_COMPOSER_JSON)

    async def _without_foreign_names(self, found: Discovery) -> Discovery:
        """Leave out what another repository supplies. Raises ConflictError where nothing else is left."""
        names = {candidate.package.lower() for candidate in found.candidates}
        owners = await self._store.packages.owners(self._repository.organization_id, names)
        taken = {
            name: name_taken(name, url) for name, (owner, url) in owners.items() if owner != self._repository.id
        }
        if not taken:
            return found
        own = [candidate for candidate in found.candidates if candidate.package.lower() not in taken]
        if not own:
            raise ConflictError(next(iter(taken.values())))
        refused = {
            candidate.ref: taken[candidate.package.lower()]
            for candidate in found.candidates
            if candidate.package.lower() in taken
        }
        return Discovery(own, found.left_out | refused)

    async def _with_checksums(
        self, candidates: Sequence[Candidate]
    ) -> AsyncIterator[tuple[list[NewVersion], bool]]:
        """The candidates with their checksums, newest first, in batches, and whether more come behind each.

        Those whose archive cannot be made are noted in `_failed`, and tried again by the next sync.
        """
        ordered = sorted(candidates, key=lambda item: (item.default_branch, item.released_at), reverse=True)
        checksums = _Checksums(self._mirror, await self._store.packages.checksums(self._repository.id))
        start, size, done = 0, _FIRST_BATCH, 0
        async with checksums.of(candidate.reference for candidate in ordered) as made:
            while start < len(ordered):
                batch = []
                for candidate in ordered[start : start + size]:
                    self._progress("Making checksums", done, len(ordered))
                    done += 1
                    try:
                        shasum, bytes_ = await made[candidate.reference]
                    except GitError as error:
                        self._failed[candidate.ref] = str(error)
                    else:
                        fields = msgspec.structs.asdict(candidate)
                        batch.append(NewVersion(**fields, shasum=shasum, size=bytes_))
                # before anybody is told of them: nothing that is served may be lost to a force-push
                await self._mirror.keep(version.reference for version in batch)
                start, size = start + size, size * 2
                yield batch, start < len(ordered)

    def _last(
        self,
        change: Publication,
        found: Discovery,
        refs: Mapping[str, str],
        changed: Mapping[str, str],
        digest: str,
    ) -> Publication:
        """The transaction that ends the sync: on top of its versions what was left out, went, and was seen."""
        supplied = {(candidate.package.lower(), candidate.version) for candidate in found.candidates}
        removed: list[tuple[str, str]] = []
        gone: list[tuple[str, str]] = []
        for ref in self._known.values():
            version = self._served.get(((ref.package or "").lower(), ref.version or ""))
            if ref.name in refs or version is None or version.ref != ref.name:
                continue
            key = (ref.package or "").lower(), version.version
            if key not in supplied:
                (gone if ref.name.startswith(TAGS) else removed).append(key)
        left_out = [self._left_out(ref, changed[ref], reason) for ref, reason in found.left_out.items()]
        return msgspec.structs.replace(
            change,
            removed=removed,
            gone=gone,
            refs=[*change.refs, *left_out],
            forgotten=[ref for ref in self._known if ref not in refs],
            # where an archive could not be made, the next sync has to look again
            digest=f"{_RULES}:incomplete" if self._failed else digest,
        )

    def _left_out(self, ref: str, commit: str, reason: str) -> Ref:
        """What to remember of a ref that makes no version now; what it made before goes on being served."""
        before = self._known.get(ref)
        return Ref(ref, commit, before.package if before else None, before.version if before else None, reason)

    async def _report(self, change: Publication, *, read: int, candidates: Sequence[Candidate] = ()) -> Report:
        left_out = await self._store.repositories.left_out(self._repository.id) | self._failed
        added, updated = [], []
        for candidate in sorted(candidates, key=lambda item: item.released_at, reverse=True):
            before = self._served.get((candidate.package.lower(), candidate.version))
            if candidate.ref in left_out:
                continue
            if before is None:
                added.append(f"{candidate.package}:{candidate.version}")
            elif before.reference != candidate.reference:
                updated.append(f"{candidate.package}:{candidate.version}")
        return Report(
            repository=self._repository.url,
            packages=await self._store.packages.names(self._repository.id),
            added=added,
            updated=updated,
            removed=[f"{package}:{version}" for package, version in change.removed],
            kept=[f"{package}:{version}" for package, version in change.gone],
            left_out=[LeftOut(ref, reason) for ref, reason in sorted(left_out.items())],
            read=read,
        )


def _outcome(report: Report) -> Outcome:
    return Outcome(**{name: getattr(report, name) for name in Outcome.__struct_fields__})


class _Checksums:
    """Makes the checksums of commits on all cores; those that are known already are taken over."""

    def __init__(self, mirror: Mirror, known: Mapping[str, tuple[str, int]]) -> None:
        self._mirror = mirror
        self._known = known

    @asynccontextmanager
    async def of(self, commits: Iterable[str]) -> AsyncIterator[Mapping[str, asyncio.Future[tuple[str, int]]]]:
        """A future of (sha1, bytes) for each commit, made in the order given."""
        loop = asyncio.get_running_loop()
        futures = {commit: loop.create_future() for commit in commits}
        waiting = iter(futures.items())
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(_cores())]
        try:
            yield futures
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            for future in futures.values():
                if not future.cancel():
                    future.exception()  # seen, even where nobody waited for it

    async def _work(self, waiting: Iterator[tuple[str, asyncio.Future[tuple[str, int]]]]) -> None:
        for commit, future in waiting:
            try:
                made = self._known.get(commit)
                if made is None:
                    made = await self._mirror.archive(commit, dists.checksum)
            except Exception as error:  # noqa: BLE001  # whoever waits for the future gets it
                future.set_exception(error)
            else:
                future.set_result(made)


def _cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_versions(change: Publication, versions: Sequence[NewVersion]) -> Publication:
    refs = [Ref(item.ref, item.reference, item.package, item.version, None) for item in versions]
    return msgspec.structs.replace(change, versions=versions, refs=refs)


def _in_order(changed: Mapping[str, str], refs: Mapping[str, str]) -> dict[str, str]:
    return {ref: commit for ref, commit in refs.items() if ref in changed}


def _nothing_found(url: str, left_out: Mapping[str, str]) -> str:
    reasons = set(left_out.values())
    if reasons <= {"no composer.json"}:
        return f"no branch or tag of {url} has a composer.json: add one with a name, and push it"
    ref = next((name for name in left_out if name.startswith(BRANCHES)), next(iter(left_out)))
    return f"no version can be made of {url}; {ref.removeprefix('refs/')}: {left_out[ref]}"
