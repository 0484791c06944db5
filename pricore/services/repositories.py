"""Repositories that are followed: how they are added, changed and synced, and what is told of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, UnsetType

from pricore.auth.credentials import check_use
from pricore.config import VANISHED
from pricore.errors import GitError, InvalidError, PricoreError
from pricore.hosts.addresses import Address, change_address, host_of
from pricore.models import Credential, LeftOut, Organization, Progress, Ref, Repository, Step, SyncRun, Trigger
from pricore.remotes.network_guard import find_outside
from pricore.services.paths import parse_paths
from pricore.services.views import Id, Interval, ProviderName, Time, Vanished, View, one_of
from pricore.sync import progress as progresses

if TYPE_CHECKING:
    from pricore.services.opening import Services
    from pricore.sync.progress import OnProgress
    from pricore.sync.report import Report

_LATEST = 20
"""Syncs among which there is one that read something, most of the time."""


class RepositorySummary(View, frozen=True, kw_only=True, rename={"identifier": "repo_identifier"}):
    """A repository beside what comes from it; `repo_identifier` is owner/name where there is such a thing."""

    id: Id
    provider: ProviderName
    identifier: str


class RepositoryView(RepositorySummary, frozen=True, kw_only=True):
    """A repository that is followed; `sync_status` is pending, ok or failed, `sync_error` says why it failed.

    `failing_since` is the first of the `failures` after the last good sync. `next_sync_at` is when it is looked at
    without being asked, null for never; `sync_interval` are the seconds between two looks where it has its own.
    `vanished_versions` says whether releases whose tag is gone are kept or removed; null follows the instance.
    `paths` are patterns of the folders that are packages of their own, none where the repository is one.
    """

    url: str
    paths: list[str]
    default_branch: str | None
    sync_status: Annotated[str, one_of("pending", "ok", "failed")]
    sync_error: str | None
    last_synced_at: Time | None
    failures: int
    failing_since: Time | None
    next_sync_at: Time | None
    sync_interval: int | None
    vanished_versions: Vanished | None
    created_at: Time


class ProgressView(View, frozen=True, kw_only=True):
    """How far a sync is: `done` of the `total` in its step; a total of 0 means that nobody knows.

    It waits for another one of its repository, lists what is upstream, fetches it, reads each composer.json, and
    makes checksums of the archives.
    """

    step: Annotated[str, one_of(*Step)]
    done: int
    total: int


class SyncRunView(View, frozen=True, kw_only=True):
    """A sync; `status` is queued, running, ok, unchanged (nothing was new), failed or interrupted.

    `cause` is what set it off: somebody on the command line (cli) or over the API, the schedule, a webhook, a
    change of how the repository is followed, or that there was none before (first); null if that is not known.
    `started_at` is null until it is taken up, `progress` when it isn't running.
    `read` counts the refs that had moved; `kept` are released versions whose tag is missing upstream, `moved`
    those whose tag leads elsewhere now and which stay what they are. `left_out` is each ref that makes no version,
    and why. `notes` are about what is in the repository and not in its archives.
    """

    id: Id
    status: Annotated[str, one_of("queued", "running", "ok", "unchanged", "failed", "interrupted")]
    error: str | None
    progress: ProgressView | None
    started_at: Time | None
    finished_at: Time | None
    cause: Annotated[str, one_of(*Trigger)] | None
    read: int
    added: list[str]
    updated: list[str]
    removed: list[str]
    kept: list[str]
    moved: list[str]
    left_out: list[LeftOut]
    notes: list[str]


class RefView(View, frozen=True, kw_only=True, rename={"name": "ref", "reason": "left_out"}):
    """What became of a tag or branch; `left_out` is why it makes no version now."""

    name: str
    commit: str
    package: str | None
    version: str | None
    reason: str | None


class RepositoryChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be changed of a repository; what is not given stays.

    `sync_interval` are the seconds between two looks at it, 0 for none; null follows its organization.
    `vanished_versions` says what becomes of releases whose tag is gone; null follows the instance. `paths` are the
    folders that are packages.
    """

    url: str | UnsetType = UNSET
    provider: ProviderName | UnsetType | None = UNSET
    sync_interval: Interval | UnsetType | None = UNSET
    vanished_versions: Vanished | UnsetType | None = UNSET
    paths: list[str] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.vanished_versions not in (UNSET, None, *VANISHED):
            raise InvalidError(f"choose one of {', '.join(VANISHED)}, or null", field="vanished_versions")


class RepositoryDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to tell of a repository: what it supplies and is read with, and what a sync of it does now.

    `notes` are those of the last good sync. A ref that is there no more is among the `refs` if it has a reason.
    """

    packages: list[str]
    credential: str | None
    refs: list[Ref]
    notes: list[str]
    progress: Progress | None


async def add_repository(
    services: "Services",
    organization: Organization,
    address: Address,
    *,
    paths: Sequence[str] = (),
    credential: Credential | None = None,
    confined: bool = False,
    queued: bool = False,
) -> Repository:
    """Follow a repository, which a sync reads later: the next one, or where it is `queued`, one that is asked for.

    `paths` are patterns of the folders that are packages, none where it is one itself. It is read with the
    credential, or for None with what the organization has for the host. A `confined` one, whose address came over
    the network, may not reach inside it. Raises InvalidError for a host on the inside then, and for a credential
    that isn't for the address, ConflictError where the organization follows it already.
    """
    if confined:
        await _check_outside(services, address)
    given = None if credential is None else check_use(credential, address.url).id
    return await services.store.repositories.add(
        organization, address, paths=paths, credential_id=given, confined=confined, queued=queued
    )


async def add_and_sync(
    services: "Services",
    organization: Organization,
    address: Address,
    *,
    paths: Sequence[str] = (),
    credential: Credential | None = None,
    backdated: bool = False,
    progress: "OnProgress",
) -> "Report":
    """Follow a repository and read it for the first time; where that fails, it is as if never added.

    Releases of a `backdated` one count as published when they were tagged. Raises what `add_repository` does, and
    whatever a sync does.
    """
    given = None if credential is None else check_use(credential, address.url).id
    report = await services.syncer.add(organization, address, paths=paths, credential_id=given, progress=progress)
    if backdated:
        added = await services.store.repositories.get(organization, address.url, url_key=address.key)
        await services.syncer.backdate(added)
    return report


async def change_repository(
    services: "Services",
    repository: Repository,
    change: RepositoryChange,
    *,
    credential: Credential | UnsetType | None = UNSET,
    confined: bool = False,
) -> Repository:
    """Follow a repository at another address, by other rules, or with another credential (None: the host's).

    What is served stays. A new address that is `confined` came over the network, as in `add_repository`; where
    only the provider is another, the operator's own address stays what it is. Raises InvalidError for what cannot
    be, ConflictError where the organization follows that address already, NotFoundError where it was removed.
    """
    changes = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    address, url = None, changes.pop("url", None)
    if url is not None or "provider" in changes:
        address = change_address(
            repository, url=url, provider=changes.pop("provider", UNSET), folders=not confined
        )
    if url is not None and address is not None:
        if confined:
            await _check_outside(services, address)
        changes["confined"] = confined
    if "paths" in changes:
        changes["paths"] = parse_paths(changes["paths"])
    if credential is not UNSET:
        place = repository.url if address is None else address.url
        changes["credential_id"] = None if credential is None else check_use(credential, place).id
    return await services.store.repositories.change(repository, address, **changes)


async def sync_repositories(
    services: "Services",
    repositories: Sequence[Repository],
    *,
    progress: "Callable[[int, Repository], OnProgress]",
) -> "tuple[list[Report], list[tuple[Repository, PricoreError]]]":
    """Sync repositories one after the other: what was found, and what failed, which stops no other.

    `progress` gives what is told of the sync of each, with its number from 1.
    """
    reports, failures = [], []
    for number, repository in enumerate(repositories, start=1):
        try:
            reports.append(await services.syncer.sync(repository, progress=progress(number, repository)))
        except PricoreError as error:
            failures.append((repository, error))
    return reports, failures


async def describe_repository(services: "Services", repository: Repository) -> RepositoryDetails:
    """What there is to tell of a repository. Raises GitError where it was given a credential of another host."""
    store = services.store
    refs = await store.repositories.refs(repository.id)
    chosen = await services.credentials.choose(repository)
    runs, _ = await store.runs.of_repository(repository.id, limit=_LATEST, offset=0)
    return RepositoryDetails(
        packages=await store.packages.names(repository.id),
        credential=None if chosen is None else chosen.name,
        # a mark of a deletion outlives its ref
        refs=[item for item in refs.values() if item.deleted_at is None or item.reason],
        notes=next((run.outcome.notes for run in runs if run.status == "ok"), []),
        progress=progresses.read(services.config.repositories, repository.id),
    )


async def list_runs(
    services: "Services", repository: Repository, *, limit: int, offset: int = 0
) -> tuple[list[SyncRun], int]:
    """A part of a repository's syncs, newest first, with what those that run are doing; and how many there are."""
    found, total = await services.store.runs.of_repository(repository.id, limit=limit, offset=offset)
    return [await follow_run(services, repository, item) for item in found], total


async def follow_run(services: "Services", repository: Repository, run: SyncRun) -> SyncRun:
    """A sync that was read before as it is now, with what it is doing."""
    return await progresses.follow(services.store, services.config.repositories, repository.id, run)


def parse_vanished(text: str) -> str | None:
    """What becomes of releases whose tag is gone; None for `default`. Raises InvalidError for anything else."""
    if text in VANISHED:
        return text
    if text == "default":
        return None
    raise InvalidError(
        f"{text[:40]!r} is no policy: choose one of {', '.join(VANISHED)}, or default", field="vanished_versions"
    )


async def _check_outside(services: "Services", address: Address) -> None:
    """Refuse with InvalidError a host on the inside, and one that isn't found."""
    try:
        await find_outside(host_of(address.url), allowed=services.config.internal_hosts)
    except GitError as error:
        raise InvalidError(str(error), field="url") from None


def view_sync_run(item: SyncRun) -> SyncRunView:
    return SyncRunView.of(item, **msgspec.structs.asdict(item.outcome))
