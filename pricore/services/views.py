"""Records as the outside sees them: the shapes of the API, which the CLI's --json prints too."""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Annotated

import msgspec

from pricore.composer.discovery import TAGS
from pricore.config import VANISHED
from pricore.hosts.table import PROVIDERS
from pricore.models import (
    LOCK_NAME,
    SCOPES,
    Count,
    Credential,
    Downloads,
    Finding,
    LeftOut,
    Lock,
    Organization,
    Package,
    Progress,
    Ref,
    Repository,
    Step,
    SyncRun,
    Token,
    Trigger,
    Version,
)
from pricore.system.clock import rfc3339


def _one_of(*values: str) -> msgspec.Meta:
    """What is one of these texts. For documentation: what comes in is checked by rules with better words."""
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


Id = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Day = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
Scope = Annotated[str, _one_of(*SCOPES)]
ProviderName = Annotated[str, _one_of(*PROVIDERS)]
LockName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{LOCK_NAME}$"})]
Vanished = Annotated[str, _one_of(*VANISHED)]
Interval = Annotated[int, msgspec.Meta(ge=0, le=31 * 24 * 3600)]
Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 255})]


class OrganizationSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An organization in a list."""

    id: Id
    name: str
    slug: str
    created_at: Time


class OrganizationView(OrganizationSummary, frozen=True, kw_only=True):
    """An organization; `slug` is its name in URLs.

    `sync_interval` are the seconds between two looks at its repositories, 0 for none; null follows the instance.
    """

    description: str
    sync_interval: int | None


class RepositorySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A repository beside what comes from it; `repo_identifier` is owner/name where there is such a thing."""

    id: Id
    provider: ProviderName
    repo_identifier: str


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
    sync_status: Annotated[str, _one_of("pending", "ok", "failed")]
    sync_error: str | None
    last_synced_at: Time | None
    failures: int
    failing_since: Time | None
    next_sync_at: Time | None
    sync_interval: int | None
    vanished_versions: Vanished | None
    created_at: Time


class ProgressView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a sync is: `done` of the `total` in its step; a total of 0 means that nobody knows.

    It waits for another one of its repository, lists what is upstream, fetches it, reads each composer.json, and
    makes checksums of the archives.
    """

    step: Annotated[str, _one_of(*Step)]
    done: int
    total: int


class SyncRunView(msgspec.Struct, frozen=True, kw_only=True):
    """A sync; `status` is queued, running, ok, unchanged (nothing was new), failed or interrupted.

    `cause` is what set it off: somebody on the command line (cli) or over the API, the schedule, a webhook, a
    change of how the repository is followed, or that there was none before (first); null if that is not known.
    `started_at` is null until it is taken up, `progress` when it isn't running.
    `read` counts the refs that had moved; `kept` are released versions whose tag is missing upstream, `moved`
    those whose tag leads elsewhere now and which stay what they are. `left_out` is each ref that makes no version,
    and why. `notes` are about what is in the repository and not in its archives.
    """

    id: Id
    status: Annotated[str, _one_of("queued", "running", "ok", "unchanged", "failed", "interrupted")]
    error: str | None
    progress: ProgressView | None
    started_at: Time | None
    finished_at: Time | None
    cause: Annotated[str, _one_of(*Trigger)] | None
    read: int
    added: list[str]
    updated: list[str]
    removed: list[str]
    kept: list[str]
    moved: list[str]
    left_out: list[LeftOut]
    notes: list[str]


class RefView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a tag or branch; `left_out` is why it makes no version now."""

    ref: str
    commit: str
    package: str | None
    version: str | None
    left_out: str | None


class PackageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A package in a list; `abandoned` names the package to use instead, or is true where nobody names one."""

    id: Id
    name: str
    description: str
    type: str
    latest_version: str | None
    abandoned: str | bool | None
    created_at: Time


class VersionView(msgspec.Struct, frozen=True, kw_only=True):
    """A version as it is served.

    `gone_upstream_at` is since when its tag is missing; `moved_to` is the commit to which its tag has moved, while
    it stays what it is. The `reference` of one that was uploaded stands for its content; that of any other is its
    commit.
    """

    version: str
    normalized_version: str
    kind: Annotated[str, _one_of("tag", "branch", "upload")]
    reference: str
    shasum: str
    released_at: Time
    gone_upstream_at: Time | None
    moved_to: str | None


class UploadView(VersionView, frozen=True, kw_only=True):
    """A version that was uploaded, or was there already with the same content, and the package that it is of."""

    package: str


class PackageView(PackageSummary, frozen=True, kw_only=True):
    """A package with where it comes from (null: it is uploaded) and its versions, newest first."""

    repository: RepositorySummary | None
    versions: list[VersionView]


class VersionDownloads(msgspec.Struct, frozen=True, kw_only=True):
    """How often a version was installed in a period, and how often its archive was sent."""

    version: str
    downloads: int
    archives: int


class DayDownloads(msgspec.Struct, frozen=True, kw_only=True):
    """How often a package was installed in a day (UTC), and how often its archives were sent.

    `versions` and `archive_versions` say of which versions; those without are left out.
    """

    date: Day
    downloads: int
    archives: int
    versions: dict[str, int]
    archive_versions: dict[str, int]


class DownloadsView(msgspec.Struct, frozen=True, kw_only=True):
    """Installs that clients reported: `total` since ever; those from `from` to `to` by day, and by version.

    `total_archives`, and `archives` beside each `downloads`, count the archives that were sent: Composer installs
    from its cache without asking for one, and other programs ask for one without reporting an install.
    """

    total: int
    total_archives: int
    first: Day = msgspec.field(name="from")
    last: Day = msgspec.field(name="to")
    days: list[DayDownloads]
    versions: list[VersionDownloads]


class CredentialView(msgspec.Struct, frozen=True, kw_only=True):
    """A credential without its secret; `plain_http` ones may also go over http://."""

    id: Id
    name: str
    kind: str
    host: str
    username: str | None
    public_key: str | None
    plain_http: bool
    created_at: Time


class LockedPackageView(msgspec.Struct, frozen=True, kw_only=True):
    """A package that a lock file names; `shasum` is that of its archive, null where there is none."""

    name: str
    version: str
    shasum: str | None


class LockView(msgspec.Struct, frozen=True, kw_only=True):
    """A registered lock file, with the packages in it that come from its `organization` here."""

    organization: str
    name: str
    packages: list[LockedPackageView]
    created_at: Time
    registered_at: Time


class FindingView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a package in a lock file can be installed right now with its checksum, and if not, why."""

    organization: str
    name: str
    version: str
    installable: bool
    problem: str | None


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """An access token without its secret; `packages` are the only names that it may see, null means all."""

    id: Id
    name: str
    scopes: list[Scope]
    packages: list[str] | None
    last_used_at: Time | None
    expires_at: Time | None
    created_at: Time


class AllowanceView(msgspec.Struct, frozen=True, kw_only=True):
    """How often something may be done in this minute, how often still, and when the minute is over."""

    limit: int
    remaining: int
    resets_at: Time


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """The rate limits of a token from one address; null means that there is none.

    `requests` are all of its requests, `downloads_per_minute` those of archives of one package. `address` is where
    the request came from: of IPv6 the network, and behind a proxy that is trusted what that says.
    """

    address: str
    requests: AllowanceView | None
    downloads_per_minute: int | None


class OwnTokenView(TokenView, frozen=True, kw_only=True):
    """A token as it sees itself; `organization` is the slug of its own, null means all of them."""

    organization: str | None
    limits: LimitsView


class NewTokenView(TokenView, frozen=True, kw_only=True):
    """An access token with its secret, which is shown this once."""

    token: str


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)


def organization_summary(item: Organization) -> OrganizationSummary:
    return OrganizationSummary(id=item.id, name=item.name, slug=item.slug, created_at=rfc3339(item.created_at))


def organization(item: Organization) -> OrganizationView:
    return OrganizationView(
        id=item.id,
        name=item.name,
        slug=item.slug,
        description=item.description,
        sync_interval=item.sync_interval,
        created_at=rfc3339(item.created_at),
    )


def repository(item: Repository) -> RepositoryView:
    return RepositoryView(
        id=item.id,
        provider=item.provider,
        repo_identifier=item.identifier,
        url=item.url,
        paths=list(item.paths),
        default_branch=item.default_branch,
        sync_status=item.sync_status,
        sync_error=item.sync_error,
        last_synced_at=_time(item.last_synced_at),
        failures=item.failures,
        failing_since=_time(item.failing_since),
        next_sync_at=_time(item.next_sync_at),
        sync_interval=item.sync_interval,
        vanished_versions=item.vanished_versions,
        created_at=rfc3339(item.created_at),
    )


def progress(item: Progress) -> ProgressView:
    return ProgressView(step=item.step.value, done=item.done, total=item.total)


def sync_run(item: SyncRun) -> SyncRunView:
    return SyncRunView(
        id=item.id,
        status=item.status,
        error=item.error,
        progress=None if item.progress is None else progress(item.progress),
        started_at=_time(item.started_at),
        finished_at=_time(item.finished_at),
        cause=item.cause,
        read=item.outcome.read,
        added=item.outcome.added,
        updated=item.outcome.updated,
        removed=item.outcome.removed,
        kept=item.outcome.kept,
        moved=item.outcome.moved,
        left_out=item.outcome.left_out,
        notes=item.outcome.notes,
    )


def ref(item: Ref) -> RefView:
    return RefView(
        ref=item.name,
        commit=item.commit,
        package=item.package,
        version=item.version,
        left_out=item.reason,
    )


def package_summary(item: Package) -> PackageSummary:
    return PackageSummary(
        id=item.id,
        name=item.name,
        description=item.description,
        type=item.type,
        latest_version=item.latest_version,
        abandoned=item.successor,
        created_at=rfc3339(item.created_at),
    )


def package(item: Package, source: Repository | None, versions: list[Version]) -> PackageView:
    repository = None
    if source is not None:
        repository = RepositorySummary(id=source.id, provider=source.provider, repo_identifier=source.identifier)
    return PackageView(
        **msgspec.structs.asdict(package_summary(item)),
        repository=repository,
        versions=[version(found) for found in versions],
    )


def version(item: Version) -> VersionView:
    return VersionView(
        version=item.version,
        normalized_version=item.normalized,
        kind="upload" if not item.ref else "tag" if item.ref.startswith(TAGS) else "branch",
        reference=item.reference,
        shasum=item.shasum,
        released_at=rfc3339(item.released_at),
        gone_upstream_at=_time(item.gone_at),
        moved_to=item.moved_to,
    )


def upload(name: str, item: Version) -> UploadView:
    return UploadView(**msgspec.structs.asdict(version(item)), package=name)


def lock(item: Lock) -> LockView:
    return LockView(
        organization=item.organization,
        name=item.name,
        packages=[
            LockedPackageView(name=package.package, version=package.version, shasum=package.shasum or None)
            for package in item.packages
        ],
        created_at=rfc3339(item.created_at),
        registered_at=rfc3339(item.registered_at),
    )


def finding(item: Finding) -> FindingView:
    return FindingView(
        organization=item.package.organization,
        name=item.package.package,
        version=item.package.version,
        installable=item.problem is None,
        problem=item.problem,
    )


def downloads(item: Downloads) -> DownloadsView:
    installs, archives = Counter[str](), Counter[str]()
    days = [_day(day, counts) for day, counts in item.days.items()]
    for day in days:
        installs.update(day.versions)
        archives.update(day.archive_versions)
    versions = [*installs, *(name for name in archives if name not in installs)]
    return DownloadsView(
        total=item.total.installs,
        total_archives=item.total.archives,
        first=days[0].date,
        last=days[-1].date,
        days=days,
        versions=[
            VersionDownloads(version=name, downloads=installs[name], archives=archives[name])
            for name in sorted(versions, key=lambda name: (installs[name], archives[name]), reverse=True)
        ],
    )


def _day(day: date, counts: Mapping[str, Count]) -> DayDownloads:
    installs = {name: count.installs for name, count in counts.items() if count.installs}
    archives = {name: count.archives for name, count in counts.items() if count.archives}
    return DayDownloads(
        date=day.isoformat(),
        downloads=sum(installs.values()),
        archives=sum(archives.values()),
        versions=installs,
        archive_versions=archives,
    )


def credential(item: Credential) -> CredentialView:
    return CredentialView(
        id=item.id,
        name=item.name,
        kind=item.kind,
        host=item.host,
        username=item.username or None,
        public_key=item.public_key,
        plain_http=item.plain,
        created_at=rfc3339(item.created_at),
    )


def token(item: Token) -> TokenView:
    return TokenView(
        id=item.id,
        name=item.name,
        scopes=list(item.scopes),
        packages=None if item.packages is None else sorted(item.packages),
        last_used_at=_time(item.last_used_at),
        expires_at=_time(item.expires_at),
        created_at=rfc3339(item.created_at),
    )


def allowance(limit: int, remaining: int, *, reset: int) -> AllowanceView:
    return AllowanceView(limit=limit, remaining=remaining, resets_at=rfc3339(reset))


def own_token(item: Token, *, address: str, requests: AllowanceView | None, downloads: int | None) -> OwnTokenView:
    return OwnTokenView(
        **msgspec.structs.asdict(token(item)),
        organization=item.organization,
        limits=LimitsView(address=address, requests=requests, downloads_per_minute=downloads),
    )


def new_token(item: Token, secret: str) -> NewTokenView:
    return NewTokenView(**msgspec.structs.asdict(token(item)), token=secret)
