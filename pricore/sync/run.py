"""One sync of one repository: what has moved is read, gets its checksums, and is published.

List and fetch (git.py, vcs/mirror); read each composer.json that moved (manifests); find what versions they are
(composer/discovery), and what else changes (plan); archives/checksums; publish in batches (tables/publishing).
What is in service stays there whatever fails: removals come last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from pricore.archives.checksums import Checksums
from pricore.auth.credentials import find_access
from pricore.composer import discovery
from pricore.composer.candidates import Candidate, NewVersion
from pricore.composer.discovery import CommitFile, Discovery
from pricore.composer.publication import Publication
from pricore.config import Config
from pricore.errors import ConflictError, GitUnavailableError, SyncError
from pricore.git import Git, Remote
from pricore.models import Repository, Step, Trigger
from pricore.remotes.access import Access
from pricore.store import Store
from pricore.sync.manifests import Manifests
from pricore.sync.plan import Places, Plan, PreviousState, has_unread, with_versions, without_foreign
from pricore.sync.progress import OnProgress
from pricore.sync.report import Report, nothing_found, summarize
from pricore.system.clock import now
from pricore.system.concurrency import both, from_thread
from pricore.system.threads import SYNCS
from pricore.tables.publishing import name_taken
from pricore.vcs.mirror import Mirror

RULES: Final = "2"
"""Moves when the rules of discovery do, so that every repository is read anew once."""

MOST_PLACES: Final = 200_000
"""Versions that the folders of one repository may make."""

_FIRST_BATCH: Final = 20
"""Versions of the first transaction of an import; each further one takes twice as many."""

_MOST_LOOKED_AT: Final = 50
"""Commits that are looked through for what archives leave out: the default branch, and some of what moved."""

_MOST_LOOKS: Final = 2
"""How often it is listed and fetched again where the two don't agree."""


class Run:
    """One sync of one repository; what it has learned so far."""

    def __init__(
        self,
        store: Store,
        git: Git,
        mirror: Mirror,
        repository: Repository,
        progress: OnProgress,
        config: Config,
        *,
        run_id: str,
        promised: bool,
        trigger: Trigger,
    ) -> None:
        # in the history: from when something new was found, or where it was promised to who asked
        self.id = run_id if promised else None
        self.digest: str | None = None  # of what is upstream, from when it was seen
        self.started_at = now()
        self._run_id = run_id
        # as the history tells it
        self.cause = Trigger.FIRST if repository.last_synced_at is None else trigger
        self._config = config
        self._trigger = trigger
        self._store = store
        self._git = git
        self._mirror = mirror
        self._repository = repository
        self._progress = progress
        self._failed: dict[str, str] = {}
        # refs of which no archive can be made, ever
        self._unfit: dict[str, str] = {}
        self._notes: list[str] = []
        self._places = Places({})
        # packages that were there when it began, or that it made
        self._there: frozenset[str] = frozenset()
        self._fetching_told = False
        # refs, and folders in them, that are read
        self._to_read = 0
        # versions that are in service, those of the batch that is at work, and all that there are
        self._batch = (0, 0, 0)
        # whether releases outlive their tags
        self._keep = (repository.vanished_versions or config.vanished_versions) == "keep"
        self._plan = Plan(repository, PreviousState(), keep=self._keep)

    async def run(self) -> Report:
        """Bring what is served to what upstream has; raises what `Syncer.sync` does."""
        repository = self._repository
        self._progress(Step.LISTING, 0, 0)
        access = await find_access(self._store, self._config, repository)
        mirrored = self._mirror.exists()
        announced = mirrored and self._trigger is Trigger.WEBHOOK
        async with self._fetching(access, now=announced) as fetch:
            # what there is to tell where nothing is new, while git asks
            remote, unchanged = await both(self._git.ls_remote(repository.url, access=access), self._unchanged())
            digest = self.digest = f"{RULES}:{remote.digest}"
            if digest == repository.refs_digest and mirrored:
                await self._store.repositories.record_unchanged(
                    repository.id, run_id=self.id, started_at=self.started_at, cause=self.cause
                )
                return unchanged
            if self._trigger is Trigger.SCHEDULE and digest == repository.failed_digest:
                await self._store.schedule.put_off(repository.id)
                return unchanged
            await SYNCS.run(remote.check, repository.url)
            # before the run is in the history: what nobody tells of was interrupted
            self._progress(Step.FETCHING, 0, 0)
            self._fetching_told = True
            # known before its row is there: stopped in between, it would be running for ever
            self.id = self._run_id
            await self._store.runs.begin(
                repository.id, run_id=self.id, started_at=self.started_at, cause=self.cause
            )
            await fetch()
        await self._keep_pinned()
        (remote, there), before = await both(
            self._settled(remote, access), PreviousState.read(self._store, repository.id)
        )
        self._progress(Step.READING, 0, 0)
        self._plan = Plan(repository, before, keep=self._keep)
        self._there = await SYNCS.for_all(len(before.served), before.packages)
        self._places = await self._find_places(there)
        refs = self._places.commits
        async with Checksums(self._mirror, before.made, seconds=self._config.git_timeout) as checksums:
            await checksums.begin(await SYNCS.for_all(len(refs), self._plan.commits_ahead, refs))
            report = await self._read_and_publish(refs, remote, checksums, everything=not mirrored)
        error = None
        if self._failed:
            error = f"{len(self._failed)} archives could not be made: {next(iter(self._failed.values()))}"
        await self._store.runs.finish(self.id, report.outcome(), error=error)
        return report

    def _received(self, done: int, total: int, received: int) -> None:
        """Tell how far the fetch is, which may have begun before it is the step that is told."""
        if self._fetching_told:
            self._progress(Step.FETCHING, done, total, received)

    @asynccontextmanager
    async def _fetching(self, access: Access, *, now: bool) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """What brings the mirror to what is upstream; begun `now`, and given up where it is never called."""

        def fetch() -> Coroutine[object, object, None]:
            return self._mirror.fetch(self._repository.url, access=access, on_received=self._received)

        if not now:
            yield fetch
            return
        task = asyncio.create_task(fetch())
        try:
            yield lambda: task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _settled(self, remote: Remote, access: Access) -> tuple[Remote, dict[str, str]]:
        """What the mirror has, and what is listed upstream: the same, but for what moves all the time.

        Git ends well where it was not given what was listed, and takes that for gone: nothing may be decided by
        it, and GitUnavailableError is raised.
        """
        url = self._repository.url
        there = await self._mirror.refs()
        wanted = await SYNCS.for_all(len(remote.refs), remote.fetched_refs)
        for _ in range(_MOST_LOOKS):
            if there == wanted:
                break
            # something was pushed between the two, most likely
            remote = await self._git.ls_remote(url, access=access)
            await SYNCS.run(remote.check, url)
            wanted = await SYNCS.for_all(len(remote.refs), remote.fetched_refs)
            if there != wanted:
                await self._mirror.fetch(url, access=access)
                there = await self._mirror.refs()
        self.digest = f"{RULES}:{remote.digest if there == wanted else 'moving'}"
        if lacking := await SYNCS.for_all(len(wanted), lambda: wanted.items() - there.items()):
            ref, commit = min(lacking)
            raise GitUnavailableError(
                f"cannot read {url}: it lists {ref.removeprefix('refs/')} at {commit[:12]} and does not give "
                "that: if it is a shallow clone, `git fetch --unshallow` in it makes it whole"
            )
        return remote, there

    async def _keep_pinned(self) -> None:
        """Hold the commits that projects pin branches to: none may be lost to a force-push."""
        if pinned := await self._store.pins.of_repository(self._repository.id):
            await self._mirror.keep(await self._mirror.has(pinned))

    async def _read_and_publish(
        self, refs: Mapping[str, str], remote: Remote, checksums: Checksums, *, everything: bool
    ) -> Report:
        """Read what has moved in the mirror, and publish it."""
        url, before = self._repository.url, self._plan.before
        changed, names, found = await self._discover(refs, remote, everything=everything)
        if not (found.candidates or before.served or before.deleted):
            raise nothing_found(url, found.left_out)

        last: list[NewVersion] = []
        async for batch, more in self._with_checksums(found.candidates, checksums):
            if more:
                change = await SYNCS.for_all(len(batch), with_versions, Publication(), batch)
                with checksums.resting():
                    await self._publish(change)
            else:
                last = batch
        without = self._failed | self._unfit
        if without and not before.served and len(without) == len(found.candidates):
            raise nothing_found(url, without)
        found = Discovery(found.candidates, found.left_out | self._unfit, found.respelled)
        # where an archive could not be made, or something not be read, the next sync has to look again
        digest = f"{RULES}:incomplete" if self._failed or has_unread(found) else self.digest
        # the names last: where a rename is cut off, the next sync has to see it again
        change = Publication(default_branch=remote.default_branch, default_names=names, digest=digest)
        change = await SYNCS.for_all(len(last), with_versions, change, last)
        many = len(refs) + len(before.served)
        change = await SYNCS.for_all(many, self._plan.last_publication, change, found, refs, changed)
        await self._publish(change)
        return await self._report(change, changed, candidates=found.candidates, respelled=found.respelled)

    async def _discover(
        self, refs: Mapping[str, str], remote: Remote, *, everything: bool
    ) -> tuple[dict[str, str], dict[str, str], Discovery]:
        """The places that were read, the default names by folder, and the versions that there is room for."""
        # what was read goes with this: of a hostile repository it is far more than there is room for
        changed, files, names = await self._read_changed(refs, remote, everything=everything)
        many = len(refs) + len(self._plan.before.served)
        rules = await SYNCS.for_all(many, self._plan.rules, refs, remote.default_branch, names)
        on_share = from_thread(lambda share: self._tell_read((2 + share) / 3))
        found = await SYNCS.run(discovery.discover, changed, files, rules, on_share=on_share)
        self._tell_read(1)
        found = await self._without_foreign_names(found)
        sizes = await self._store.packages.metadata_sizes(self._repository.id)

        def limit() -> Discovery:
            return discovery.within_limits(found, {key: sizes.get(key, 0) for key in rules.served})

        return changed, names, await SYNCS.run(limit)

    async def _unchanged(self) -> Report:
        """What there is to tell where nothing is new; of a scheduled sync, nobody asks more than that."""
        if self._trigger is Trigger.SCHEDULE:
            return Report(repository=self._repository.url, packages=[])
        return await self._report(Publication(), {})

    async def _read_changed(
        self, refs: Mapping[str, str], remote: Remote, *, everything: bool
    ) -> tuple[dict[str, str], dict[str, CommitFile], dict[str, str]]:
        """The places that have to be read, the composer.json of each, and the default names by folder.

        All of them, where a name in the default branch changed: it names every version of its folder. Never a ref
        that stands where it stood when its version was deleted.
        """
        plan, before = self._plan, self._plan.before
        manifests = Manifests(self._mirror, from_thread(lambda share: self._tell_read(share * 2 / 3)))
        many = len(refs) + len(before.refs)
        changed, in_default = await SYNCS.for_all(many, plan.to_read, refs, remote.default_branch)
        everything = everything or not self._repository.refs_digest.startswith(f"{RULES}:")
        # the default branch in any case: a rename that was cut off has to be seen again
        read = refs if everything else changed | in_default
        looked_at = await SYNCS.for_all(
            many, lambda: list(dict.fromkeys([*in_default.values(), *read.values()]))[:_MOST_LOOKED_AT]
        )
        files, pitfalls = await both(
            self._files(manifests, read, in_default), self._mirror.find_pitfalls(looked_at)
        )
        self._notes = sorted(map(str, pitfalls))
        names = await SYNCS.run(plan.default_names, in_default, files)
        if names != before.names and not everything:
            everything = True
            files = await self._files(manifests, refs, in_default)

        def choose() -> dict[str, str]:
            # in git's order
            wanted = refs if everything else {ref: commit for ref, commit in refs.items() if ref in changed}
            return before.without_deleted(wanted)

        return await SYNCS.for_all(many, choose), files, names

    async def _find_places(self, refs: Mapping[str, str]) -> Places:
        """What may be a package in what the mirror has."""
        patterns = self._repository.paths
        if not patterns:
            return Places(refs)
        folders = await self._mirror.find_folders(list(dict.fromkeys(refs.values())), patterns)
        count = await SYNCS.for_all(len(refs), lambda: sum(len(folders[at]) or 1 for at in refs.values()))
        if count > MOST_PLACES:
            raise SyncError(
                f"{' and '.join(patterns)} make {count:,} versions of {self._repository.url}, "
                f"and no more than {MOST_PLACES:,} are followed: say more exactly"
            )
        return await SYNCS.for_all(count, Places, refs, folders)

    async def _publish(self, change: Publication) -> None:
        change = msgspec.structs.replace(change, deleted=self._plan.before.deleted, there=self._there)
        await self._store.publications.publish(
            self._repository, change, on_share=lambda share: self._tell_batch((1 + share) / 2)
        )
        self._tell_batch(1)
        self._there |= {item.package.lower() for item in change.versions}

    async def _files(
        self, manifests: Manifests, refs: Mapping[str, str], in_default: Mapping[str, str]
    ) -> dict[str, CommitFile]:
        """The composer.json of each place by commit, or commit:folder; of the default branch before others."""
        self._to_read = len(refs)
        self._tell_read(0)
        wanted, first, empty = await SYNCS.for_all(len(refs), self._places.to_read, refs, in_default)
        return await manifests.read(wanted, first=first) | empty

    async def _without_foreign_names(self, found: Discovery) -> Discovery:
        """Leave out what another repository supplies. Raises ConflictError where nothing else is left."""
        many = len(found.candidates)
        names = await SYNCS.for_all(many, lambda: {candidate.package.lower() for candidate in found.candidates})
        owners = await self._store.packages.owners(self._repository.organization_id, names)
        taken = {
            name: name_taken(name, url) for name, (owner, url) in owners.items() if owner != self._repository.id
        }
        left = await SYNCS.for_all(many, without_foreign, found, taken) if taken else found
        if taken and not left.candidates:
            raise ConflictError(next(iter(taken.values())))
        return left

    def _tell_read(self, share: float) -> None:
        """Tell how much has been read: two thirds when its files are here, all when it is known what they make."""
        self._progress(Step.READING, int(share * self._to_read), self._to_read)

    def _tell_batch(self, share: float) -> None:
        """Tell how many versions are done: half of a batch when it has its checksums, all when it is published."""
        start, size, total = self._batch
        if total:
            self._progress(Step.CHECKSUMS, start + int(share * size), total)

    async def _with_checksums(
        self, candidates: Sequence[Candidate], checksums: Checksums
    ) -> AsyncIterator[tuple[list[NewVersion], bool]]:
        """The candidates with their checksums, newest first, in batches, and whether more come behind each.

        Those whose archive could not be made are noted in `_failed`, and tried again by the next sync; those of
        which there never will be one, in `_unfit`.
        """

        def in_turn() -> tuple[list[Candidate], dict[str, str]]:
            ordered = sorted(candidates, key=discovery.newest_first)
            return ordered, self._places.treeishes(ordered)

        ordered, treeishes = await SYNCS.for_all(len(candidates), in_turn)
        await checksums.begin(treeishes.values())
        start, size = 0, _FIRST_BATCH
        while start < len(ordered):
            part = ordered[start : start + size]
            self._batch = start, len(part), len(ordered)
            # before anybody is told of them: nothing that is served may be lost to a force-push
            kept = self._mirror.keep(candidate.reference for candidate in part)
            finished = checksums.finish(part, treeishes, on_share=lambda share: self._tell_batch(share / 2))
            (batch, failed, unfit), _ = await both(finished, kept)
            self._failed |= failed
            self._unfit |= unfit
            start, size = start + size, size * 2
            yield batch, start < len(ordered)

    async def _report(
        self,
        change: Publication,
        changed: Mapping[str, str],
        *,
        candidates: Sequence[Candidate] = (),
        respelled: Mapping[str, tuple[str, str]] = {},
    ) -> Report:
        packages, left_out = await self._store.repositories.made_of(self._repository.id)
        served = self._plan.before.served
        return await SYNCS.for_all(
            len(served) + len(candidates),
            summarize,
            self._repository.url,
            packages,
            served=served,
            change=change,
            candidates=candidates,
            respelled=respelled,
            read=changed,
            left_out=left_out | self._failed,
            notes=self._notes,
        )
