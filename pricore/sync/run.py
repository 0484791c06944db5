"""One sync of one repository: what has moved is read, gets its checksums, and is published.

What is in service stays there whatever fails: removals come last.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from pricore.archives.checksums import Checksums
from pricore.auth.credentials import find_access
from pricore.composer import discovery
from pricore.composer.discovery import (
    BRANCHES,
    NOT_READ,
    TAGS,
    CommitFile,
    Discovery,
    Rules,
    place,
    split_place,
)
from pricore.config import Config
from pricore.errors import (
    ArchiveError,
    ConflictError,
    GitError,
    GitUnavailableError,
    NoPackageError,
    SyncError,
)
from pricore.git import Git, Remote
from pricore.hosts.addresses import is_local
from pricore.models import (
    Candidate,
    LeftOut,
    NewVersion,
    Outcome,
    Ref,
    Repository,
    Step,
    Trigger,
)
from pricore.remotes.access import Access
from pricore.store import Store
from pricore.sync.manifests import Manifests
from pricore.sync.previous_state import Past
from pricore.sync.progress import OnProgress
from pricore.system.clock import now
from pricore.system.concurrency import OnShare, both
from pricore.system.threads import SYNCS
from pricore.tables.publishing import Publication, name_taken
from pricore.vcs.mirror import Mirror

_RULES: Final = "2"
"""Moves when the rules of discovery do, so that every repository is read anew once."""

_AT_A_TIME: Final = 50
"""Archives that are taken up without giving others a turn."""

_FIRST_BATCH: Final = 20
"""Versions of the first transaction of an import; each further one takes twice as many."""

_MOST_AHEAD: Final = 4
"""Archives that are begun before it is known what they are for; after a push there are one or two to make."""

_MOST_LOOKED_AT: Final = 50
"""Commits that are looked through for what archives leave out: the default branch, and some of what moved."""
_MOST_LOOKS: Final = 2
"""How often it is listed and fetched again where the two don't agree."""

_NO_NAME: Final = re.compile(r"/\.|\.\.|//|@\{|[\0-\x20~^:?*\[\x7f]|\.lock(?:/|$)|[./]$")
"""What no name of a ref has."""

_MOST_PLACES: Final = 200_000
"""Versions that the folders of one repository may make."""


class Report(Outcome, frozen=True, kw_only=True):
    """What a sync of a repository (its address) did, and the packages that it supplies now."""

    repository: str
    packages: list[str]


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
        self._past = Past()
        self._failed: dict[str, str] = {}
        # refs of which no archive can be made, ever
        self._unfit: dict[str, str] = {}
        self._notes: list[str] = []
        # where folders are packages: their trees by commit:folder, and the commits whose root is none
        self._trees: dict[str, str] = {}
        self._empty: set[str] = set()
        # packages that were there when it began, or that it made
        self._there: frozenset[str] = frozenset()
        self._fetching_told = False
        # refs, and folders in them, that are read
        self._to_read = 0
        # versions that are in service, those of the batch that is at work, and all that there are
        self._batch = (0, 0, 0)
        # whether releases outlive their tags
        self._keep = (repository.vanished_versions or config.vanished_versions) == "keep"

    async def run(self) -> Report:
        repository = self._repository
        self._progress(Step.LISTING, 0, 0)
        access = await find_access(self._store, self._config, repository)
        mirrored = self._mirror.exists()
        announced = mirrored and self._trigger is Trigger.WEBHOOK
        async with self._fetching(access, now=announced) as fetched:
            # what there is to tell where nothing is new, while git asks
            remote, unchanged = await both(self._git.ls_remote(repository.url, access=access), self._unchanged())
            digest = self.digest = f"{_RULES}:{remote.digest}"
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
            await fetched()
        await self._keep_pinned()
        (remote, there), past = await both(self._fetched(remote, access), Past.read(self._store, repository.id))
        self._progress(Step.READING, 0, 0)
        self._past, self._there = past, await SYNCS.for_all(len(past.served), past.packages)
        refs = await self._places(there)
        async with Checksums(self._mirror, past.made, seconds=self._config.git_timeout) as checksums:
            await checksums.begin(await SYNCS.for_all(len(refs), self._ahead, refs))
            report = await self._bring_in(refs, remote, checksums, everything=not mirrored)
        error = None
        if self._failed:
            error = f"{len(self._failed)} archives could not be made: {next(iter(self._failed.values()))}"
        await self._store.runs.finish(self.id, _outcome(report), error=error)
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

    async def _fetched(self, remote: Remote, access: Access) -> tuple[Remote, dict[str, str]]:
        """What the mirror has, and what is listed upstream: the same, but for what moves all the time.

        Git ends well where it was not given what was listed, and takes that for gone: nothing may be decided by
        it, and GitUnavailableError is raised.
        """
        url = self._repository.url
        there = await self._mirror.refs()
        wanted = await SYNCS.for_all(len(remote.refs), _usual, remote.refs)
        for _ in range(_MOST_LOOKS):
            if there == wanted:
                break
            # something was pushed between the two, most likely
            remote = await self._git.ls_remote(url, access=access)
            await SYNCS.run(remote.check, url)
            wanted = await SYNCS.for_all(len(remote.refs), _usual, remote.refs)
            if there != wanted:
                await self._mirror.fetch(url, access=access)
                there = await self._mirror.refs()
        self.digest = f"{_RULES}:{remote.digest if there == wanted else 'moving'}"
        if ref := await SYNCS.for_all(len(wanted), _first_lacking, wanted, there):
            raise GitUnavailableError(
                f"cannot read {url}: it lists {ref.removeprefix('refs/')} at {wanted[ref][:12]} and does not give "
                "that: if it is a shallow clone, `git fetch --unshallow` in it makes it whole"
            )
        return remote, there

    async def _keep_pinned(self) -> None:
        """Hold the commits that projects pin branches to: none may be lost to a force-push."""
        if pinned := await self._store.pins.of_repository(self._repository.id):
            await self._mirror.keep(await self._mirror.has(pinned))

    async def _bring_in(
        self, refs: Mapping[str, str], remote: Remote, checksums: Checksums, *, everything: bool
    ) -> Report:
        """Read what has moved in the mirror, and publish it."""
        repository = self._repository
        changed, names, found = await self._discover(refs, remote, everything=everything)
        if not (found.candidates or self._past.served or self._past.deleted):
            raise _nothing_found(repository.url, found.left_out)

        last: list[NewVersion] = []
        async for batch, more in self._with_checksums(found.candidates, checksums):
            if more:
                await self._publish(_with_versions(Publication(), batch))
            else:
                last = batch
        without = self._failed | self._unfit
        if without and not self._past.served and len(without) == len(found.candidates):
            raise _nothing_found(repository.url, without)
        found = Discovery(found.candidates, found.left_out | self._unfit, found.respelled)
        # the names last: where a rename is cut off, the next sync has to see it again
        change = Publication(default_branch=remote.default_branch, default_names=names)
        many = len(refs) + len(self._past.served)
        change = await SYNCS.for_all(many, self._last, _with_versions(change, last), found, refs, changed)
        await self._publish(change)
        return await self._report(change, changed, candidates=found.candidates, respelled=found.respelled)

    async def _discover(
        self, refs: Mapping[str, str], remote: Remote, *, everything: bool
    ) -> tuple[dict[str, str], dict[str, str], Discovery]:
        """The places that were read, the default names by folder, and the versions that there is room for."""
        # what was read goes with this: of a hostile repository it is far more than there is room for
        changed, files, names = await self._read_changed(refs, remote, everything=everything)
        many = len(refs) + len(self._past.served)
        rules = await SYNCS.for_all(many, self._rules, refs, remote.default_branch, names)
        on_share = self._in_thread(lambda share: self._tell_read((2 + share) / 3))
        found = await SYNCS.run(discovery.discover, changed, files, rules, on_share=on_share)
        self._tell_read(1)
        found = await self._without_foreign_names(found)
        sizes = await self._store.packages.metadata_sizes(self._repository.id)

        def limit() -> Discovery:
            return discovery.within_limits(found, {key: sizes.get(key, 0) for key in rules.served})

        return changed, names, await SYNCS.run(limit)

    def _rules(self, refs: Mapping[str, str], default_branch: str | None, names: Mapping[str, str]) -> Rules:
        """By what versions are found in refs."""
        url = self._repository.url
        # a branch that is gone claims its version no longer; a release does, where it is kept
        served = {
            key: version
            for key, version in self._past.served.items()
            if version.ref in refs or (self._keep and version.ref.startswith(TAGS))
        }
        return Rules(
            default_branch=default_branch,
            default_names=names,
            paths=self._repository.paths,
            source_url=None if is_local(url) else url,
            provider=self._repository.provider,
            accepted={ref.name: ref.accepted for ref in self._past.refs.values() if ref.accepted},
            gone={version.ref for version in served.values()} - refs.keys(),
            served=served,
        )

    async def _unchanged(self) -> Report:
        """What there is to tell where nothing is new; of a scheduled sync, nobody asks more than that."""
        if self._trigger is Trigger.SCHEDULE:
            return Report(repository=self._repository.url, packages=[])
        return await self._report(Publication(), {})

    def _ahead(self, refs: Mapping[str, str]) -> list[str]:
        """The commits of which there will most likely be archives, if they are few: begun while git reads them.

        Where there are more, they are made in another order.
        """
        moved = set(self._past.moved(refs).values())
        return [] if self._repository.paths or len(moved) > _MOST_AHEAD else sorted(moved)

    async def _read_changed(
        self, refs: Mapping[str, str], remote: Remote, *, everything: bool
    ) -> tuple[dict[str, str], dict[str, CommitFile], dict[str, str]]:
        """The places that have to be read, the composer.json of each, and the default names by folder.

        All of them, where a name in the default branch changed: it names every version of its folder. What was
        left out is read again where a ref went away: it may have been left out because of that one. Never a ref
        that stands where it stood when its version was deleted.
        """
        manifests = Manifests(self._mirror, self._in_thread(lambda share: self._tell_read(share * 2 / 3)))
        many = len(refs) + len(self._past.refs)
        changed, named = await SYNCS.for_all(many, self._moved, refs, remote.default_branch)
        everything = everything or not self._repository.refs_digest.startswith(f"{_RULES}:")
        # the default branch in any case: a rename that was cut off has to be seen again
        read = refs if everything else changed | named
        looked_at = await SYNCS.for_all(
            many, lambda: list(dict.fromkeys([*named.values(), *read.values()]))[:_MOST_LOOKED_AT]
        )
        files, pitfalls = await both(self._files(manifests, read, named), self._mirror.find_pitfalls(looked_at))
        self._notes = sorted(map(str, pitfalls))
        names = await SYNCS.run(self._names, named, files)
        if names != self._past.names and not everything:
            everything = True
            files = await self._files(manifests, refs, named)

        def choose() -> dict[str, str]:
            return self._past.without_deleted(refs if everything else _in_order(changed, refs))

        return await SYNCS.for_all(many, choose), files, names

    def _moved(self, refs: Mapping[str, str], default_branch: str | None) -> tuple[dict[str, str], dict[str, str]]:
        """The places that have to be read if not all, and those in the default branch."""
        past = self._past
        changed = past.moved(refs) | past.unread(refs)
        if past.vanished(refs, keep=self._keep) or any(
            ref not in refs and ref not in past.deleted for ref in past.refs
        ):
            changed |= {ref: refs[ref] for ref, known in past.refs.items() if known.reason and ref in refs}
        default = f"{BRANCHES}{default_branch or ''}"
        named = {ref: commit for ref, commit in refs.items() if split_place(ref)[0] == default}
        if default_branch != self._repository.default_branch:
            # the mark of the default branch goes from one to the other
            before = f"{BRANCHES}{self._repository.default_branch or ''}"
            changed |= named | {ref: commit for ref, commit in refs.items() if split_place(ref)[0] == before}
        return changed, named

    def _names(self, named: Mapping[str, str], files: Mapping[str, CommitFile]) -> dict[str, str]:
        """The default names by folder; a composer.json that broke doesn't take it away from what is served."""
        names = dict(self._past.names)
        for ref, commit in named.items():
            if name := discovery.default_name(files[_treeish(ref, commit)]):
                names[split_place(ref)[1]] = name
        return names

    async def _places(self, refs: Mapping[str, str]) -> dict[str, str]:
        """The refs themselves, or where folders are packages, these in each; a ref with none stays alone."""
        patterns = self._repository.paths
        if not patterns:
            return dict(refs)
        folders = await self._mirror.find_folders(list(dict.fromkeys(refs.values())), patterns)
        count = await SYNCS.for_all(len(refs), lambda: sum(len(folders[at]) or 1 for at in refs.values()))
        if count > _MOST_PLACES:
            raise SyncError(
                f"{' and '.join(patterns)} make {count:,} versions of {self._repository.url}, "
                f"and no more than {_MOST_PLACES:,} are followed: say more exactly"
            )

        def find() -> dict[str, str]:
            places: dict[str, str] = {}
            for ref, commit in refs.items():
                places |= {place(ref, path): commit for path in folders[commit]} or {ref: commit}
                if "" not in folders[commit]:
                    self._empty.add(commit)
                self._trees |= {place(commit, path): tree for path, tree in folders[commit].items() if path}
            return places

        return await SYNCS.for_all(count, find)

    async def _publish(self, change: Publication) -> None:
        change = msgspec.structs.replace(change, deleted=self._past.deleted, there=self._there)
        await self._store.packages.publish(
            self._repository, change, on_share=lambda share: self._tell_batch((1 + share) / 2)
        )
        self._tell_batch(1)
        self._there |= {item.package.lower() for item in change.versions}

    async def _files(
        self, manifests: Manifests, refs: Mapping[str, str], default: Mapping[str, str]
    ) -> dict[str, CommitFile]:
        """The composer.json of each place by commit, or commit:folder; of the `default` branch before others."""
        self._to_read = len(refs)
        self._tell_read(0)

        def find() -> tuple[list[str], set[str], dict[str, CommitFile]]:
            wanted = dict.fromkeys(_treeish(ref, commit) for ref, commit in refs.items())
            # nobody asked for what is in its root
            empty = {at: CommitFile(True, 0) for at in wanted if at in self._empty}
            first = {_treeish(ref, commit) for ref, commit in default.items()}
            return [at for at in wanted if at not in empty], first, empty

        wanted, first, empty = await SYNCS.for_all(len(refs), find)
        return await manifests.read(wanted, first=first) | empty

    async def _without_foreign_names(self, found: Discovery) -> Discovery:
        """Leave out what another repository supplies. Raises ConflictError where nothing else is left."""
        many = len(found.candidates)
        names = await SYNCS.for_all(many, lambda: {candidate.package.lower() for candidate in found.candidates})
        owners = await self._store.packages.owners(self._repository.organization_id, names)
        taken = {
            name: name_taken(name, url) for name, (owner, url) in owners.items() if owner != self._repository.id
        }
        if not taken:
            return found

        def leave_out() -> Discovery:
            own = [candidate for candidate in found.candidates if candidate.package.lower() not in taken]
            refused = {
                candidate.ref: taken[candidate.package.lower()]
                for candidate in found.candidates
                if candidate.package.lower() in taken
            }
            return Discovery(own, found.left_out | refused, found.respelled)

        left = await SYNCS.for_all(many, leave_out)
        if not left.candidates:
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

    def _in_thread(self, tell: OnShare) -> OnShare:
        """The same for who is in another thread."""
        loop = asyncio.get_running_loop()

        def pass_on(share: float) -> None:
            loop.call_soon_threadsafe(tell, share)

        return pass_on

    async def _with_checksums(
        self, candidates: Sequence[Candidate], checksums: Checksums
    ) -> AsyncIterator[tuple[list[NewVersion], bool]]:
        """The candidates with their checksums, newest first, in batches, and whether more come behind each.

        Those whose archive could not be made are noted in `_failed`, and tried again by the next sync; those of
        which there never will be one, in `_unfit`.
        """
        ordered, treeishes = await SYNCS.for_all(len(candidates), self._in_turn, candidates)
        await checksums.begin(treeishes.values())
        start, size = 0, _FIRST_BATCH
        while start < len(ordered):
            part = ordered[start : start + size]
            self._batch = start, len(part), len(ordered)
            # before anybody is told of them: nothing that is served may be lost to a force-push
            kept = self._mirror.keep(candidate.reference for candidate in part)
            finished = self._finished(part, treeishes, checksums)
            batch, _ = await both(finished, kept)
            start, size = start + size, size * 2
            yield batch, start < len(ordered)

    async def _finished(
        self,
        candidates: Sequence[Candidate],
        treeishes: Mapping[str, str],
        checksums: Checksums,
    ) -> list[NewVersion]:
        """Those of the candidates of which there is an archive, when each has one or never will."""
        found = []
        for number, candidate in enumerate(candidates):
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)  # those that are finished are not waited for
            self._tell_batch(number / len(candidates) / 2)
            treeish = treeishes[candidate.ref]
            try:
                shasum, bytes_ = await checksums.of(treeish)
            except ArchiveError as error:
                self._unfit[candidate.ref] = str(error)
            except GitError as error:
                self._failed[candidate.ref] = str(error)
            else:
                fields = msgspec.structs.asdict(candidate)
                folder = None if treeish == candidate.reference else treeish
                found.append(NewVersion(**fields, shasum=shasum, size=bytes_, treeish=folder))
        self._tell_batch(1 / 2)
        return found

    def _in_turn(self, candidates: Iterable[Candidate]) -> tuple[list[Candidate], dict[str, str]]:
        """The candidates in the order in which they are published, and their `_treeishes`."""
        ordered = sorted(candidates, key=discovery.newest_first)
        return ordered, self._treeishes(ordered)

    def _treeishes(self, candidates: Iterable[Candidate]) -> dict[str, str]:
        """What the archive of each candidate is made of, by its ref: of folders that are alike, the first one."""
        first: dict[str, str] = {}
        made: dict[str, str] = {}
        for candidate in candidates:
            at = _treeish(candidate.ref, candidate.reference)
            made[candidate.ref] = first.setdefault(self._trees.get(at, at), at)
        return made

    def _last(
        self,
        change: Publication,
        found: Discovery,
        refs: Mapping[str, str],
        changed: Mapping[str, str],
    ) -> Publication:
        """The transaction that ends the sync: on top of its versions what was left out, went, and was seen."""
        supplied = {(candidate.package.lower(), candidate.version) for candidate in found.candidates}
        vanished = [key for key in self._past.vanished(refs, keep=self._keep) if key not in supplied]
        removed = [] if self._keep else vanished
        for ref in self._past.refs.values():
            version = self._past.served.get(((ref.package or "").lower(), ref.version or ""))
            if ref.name in refs or ref.name.startswith(TAGS) or version is None or version.ref != ref.name:
                continue
            key = (ref.package or "").lower(), version.version
            if key not in supplied:
                removed.append(key)
        unread = any(reason.startswith(NOT_READ) for reason in found.left_out.values())
        left_out = [
            self._past.left_out(ref, changed[ref], reason, means=found.respelled.get(ref))
            for ref, reason in found.left_out.items()
        ]
        return msgspec.structs.replace(
            change,
            removed=removed,
            gone=vanished if self._keep else [],
            refs=[*change.refs, *left_out],
            forgotten=[ref for ref in self._past.refs if ref not in refs],
            back=[ref for ref in self._past.deleted if ref in refs and self._past.refs[ref].reason is None],
            # where an archive could not be made, or something not be read, the next sync has to look again
            digest=f"{_RULES}:incomplete" if self._failed or unread else self.digest,
        )

    async def _report(
        self,
        change: Publication,
        changed: Mapping[str, str],
        *,
        candidates: Sequence[Candidate] = (),
        respelled: Mapping[str, tuple[str, str]] = {},
    ) -> Report:
        packages, left_out = await self._store.repositories.made_of(self._repository.id)
        many = len(self._past.served) + len(candidates)
        return await SYNCS.for_all(
            many, self._summary, change, changed, candidates, respelled, packages, left_out | self._failed
        )

    def _summary(
        self,
        change: Publication,
        changed: Mapping[str, str],
        candidates: Sequence[Candidate],
        respelled: Mapping[str, tuple[str, str]],
        packages: list[str],
        left_out: Mapping[str, str],
    ) -> Report:
        added, updated = [], []
        tags: dict[tuple[str, str], list[str]] = {}
        for ref, (package, shown) in respelled.items():
            tags.setdefault((package.lower(), shown), []).append(ref)
        for candidate in sorted(candidates, key=lambda item: item.released_at, reverse=True):
            before = self._past.served.get((candidate.package.lower(), candidate.version))
            if candidate.ref in left_out:
                continue
            if before is None:
                added.append(f"{candidate.package}:{candidate.version}")
            elif before.reference != candidate.reference:
                updated.append(f"{candidate.package}:{candidate.version}")
        return Report(
            repository=self._repository.url,
            packages=packages,
            added=added,
            updated=updated,
            removed=[f"{package}:{version}" for package, version in change.removed],
            kept=[f"{package}:{version}" for package, version in change.gone],
            moved=[
                f"{package}:{version.version}"
                for (package, _), version in self._past.served.items()
                for ref in (version.ref, *tags.get((package, version.version), ()))
                if ref.startswith(TAGS)
                and ref in left_out
                and changed.get(ref, version.reference) not in (version.reference, version.moved_to)
            ],
            left_out=[LeftOut(ref, reason) for ref, reason in sorted(left_out.items())],
            read=len(changed),
            notes=self._notes,
        )


def _usual(refs: Mapping[str, str]) -> dict[str, str]:
    """Those of some refs that git fetches: it passes over what cannot be the name of one."""
    return {ref: commit for ref, commit in refs.items() if not _NO_NAME.search(ref)}


def _first_lacking(wanted: Mapping[str, str], there: Mapping[str, str]) -> str | None:
    """The first ref that is not where it should be."""
    return next((ref for ref, commit in wanted.items() if there.get(ref) != commit), None)


def _treeish(ref: str, commit: str) -> str:
    """The commit itself, or the folder of the ref in it."""
    return place(commit, split_place(ref)[1])


def _outcome(report: Report) -> Outcome:
    return Outcome(**{name: getattr(report, name) for name in Outcome.__struct_fields__})


def _with_versions(change: Publication, versions: Sequence[NewVersion]) -> Publication:
    refs = [Ref(item.ref, item.reference, item.package, item.version, None) for item in versions]
    return msgspec.structs.replace(change, versions=versions, refs=refs)


def _in_order(changed: Mapping[str, str], refs: Mapping[str, str]) -> dict[str, str]:
    return {ref: commit for ref, commit in refs.items() if ref in changed}


def _nothing_found(url: str, left_out: Mapping[str, str]) -> SyncError:
    reasons = set(left_out.values())
    if reasons <= {"no composer.json"}:
        return NoPackageError(f"no branch or tag of {url} has a composer.json: add one with a name, and push it")
    ref = next((name for name in left_out if name.startswith(BRANCHES)), next(iter(left_out)))
    return SyncError(f"no version can be made of {url}; {ref.removeprefix('refs/')}: {left_out[ref]}")
