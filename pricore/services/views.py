"""Records as the outside sees them: the shapes of the API, which the CLI's --json prints too.

A view has the attributes of its record by their names; `rename` has the names outside where those are others.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, Self

import msgspec
from msgspec.structs import force_setattr

from pricore.config import VANISHED
from pricore.hosts.table import PROVIDERS
from pricore.models import LOCK_NAME, SCOPES, Count, Downloads, Finding, LeftOut, Step, SyncRun, Trigger


def _one_of(*values: str) -> msgspec.Meta:
    """What is one of these texts. For documentation: what comes in is checked by rules with better words."""
    return msgspec.Meta(extra_json_schema={"enum": list(values)})


Id = Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
Time = Annotated[datetime, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Day = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]
Scope = Annotated[str, _one_of(*SCOPES)]
ProviderName = Annotated[str, _one_of(*PROVIDERS)]
LockName = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": f"^{LOCK_NAME}$"})]
Vanished = Annotated[str, _one_of(*VANISHED)]
Interval = Annotated[int, msgspec.Meta(ge=0, le=31 * 24 * 3600)]
Name = Annotated[str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": 255})]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the outside sees of a record."""

    @classmethod
    def of(cls, record: object, **more: object) -> Self:
        """The view of a record; `more` are attributes that it doesn't have itself."""
        whole = _Extended(record, more) if more else record
        return msgspec.convert(whole, cls, strict=False, from_attributes=True)  # not strict: numbers are times


class _Extended:
    """A record with more attributes."""

    def __init__(self, record: object, more: Mapping[str, object]) -> None:
        self._record = record
        self._more = more

    def __getattr__(self, name: str) -> Any:
        return self._more[name] if name in self._more else getattr(self._record, name)


class OrganizationSummary(View, frozen=True, kw_only=True):
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
    sync_status: Annotated[str, _one_of("pending", "ok", "failed")]
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

    step: Annotated[str, _one_of(*Step)]
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


class RefView(View, frozen=True, kw_only=True, rename={"name": "ref", "reason": "left_out"}):
    """What became of a tag or branch; `left_out` is why it makes no version now."""

    name: str
    commit: str
    package: str | None
    version: str | None
    reason: str | None


class PackageSummary(View, frozen=True, kw_only=True, rename={"successor": "abandoned"}):
    """A package in a list; `abandoned` names the package to use instead, or is true where nobody names one."""

    id: Id
    name: str
    description: str
    type: str
    latest_version: str | None
    successor: str | bool | None
    created_at: Time


class VersionView(
    View, frozen=True, kw_only=True, rename={"normalized": "normalized_version", "gone_at": "gone_upstream_at"}
):
    """A version as it is served.

    `gone_upstream_at` is since when its tag is missing; `moved_to` is the commit to which its tag has moved, while
    it stays what it is. The `reference` of one that was uploaded stands for its content; that of any other is its
    commit.
    """

    version: str
    normalized: str
    kind: Annotated[str, _one_of("tag", "branch", "upload")]
    reference: str
    shasum: str
    released_at: Time
    gone_at: Time | None
    moved_to: str | None


class UploadView(VersionView, frozen=True, kw_only=True):
    """A version that was uploaded, or was there already with the same content, and the package that it is of."""

    package: str


class PackageView(PackageSummary, frozen=True, kw_only=True):
    """A package with where it comes from (null: it is uploaded) and its versions, newest first."""

    repository: RepositorySummary | None
    versions: list[VersionView]


class VersionDownloads(View, frozen=True, kw_only=True):
    """How often a version was installed in a period, and how often its archive was sent."""

    version: str
    downloads: int
    archives: int


class DayDownloads(View, frozen=True, kw_only=True):
    """How often a package was installed in a day (UTC), and how often its archives were sent.

    `versions` and `archive_versions` say of which versions; those without are left out.
    """

    date: Day
    downloads: int
    archives: int
    versions: dict[str, int]
    archive_versions: dict[str, int]


class DownloadsView(View, frozen=True, kw_only=True):
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


class CredentialView(View, frozen=True, kw_only=True, rename={"plain": "plain_http"}):
    """A credential without its secret; `plain_http` ones may also go over http://."""

    id: Id
    name: str
    kind: str
    host: str
    username: str | None
    public_key: str | None
    plain: bool
    created_at: Time

    def __post_init__(self) -> None:
        force_setattr(self, "username", self.username or None)


class LockedPackageView(View, frozen=True, kw_only=True, rename={"package": "name"}):
    """A package that a lock file names; `shasum` is that of its archive, null where there is none."""

    package: str
    version: str
    shasum: str | None

    def __post_init__(self) -> None:
        force_setattr(self, "shasum", self.shasum or None)


class LockView(View, frozen=True, kw_only=True):
    """A registered lock file, with the packages in it that come from its `organization` here."""

    organization: str
    name: str
    packages: list[LockedPackageView]
    created_at: Time
    registered_at: Time


class FindingView(View, frozen=True, kw_only=True, rename={"package": "name"}):
    """Whether a package in a lock file can be installed right now with its checksum, and if not, why."""

    organization: str
    package: str
    version: str
    installable: bool
    problem: str | None


class TokenView(View, frozen=True, kw_only=True):
    """An access token without its secret; `packages` are the only names that it may see, null means all."""

    id: Id
    name: str
    scopes: list[Scope]
    packages: list[str] | None
    last_used_at: Time | None
    expires_at: Time | None
    created_at: Time

    def __post_init__(self) -> None:
        if self.packages is not None:
            self.packages.sort()


class AllowanceView(View, frozen=True, kw_only=True, rename={"left": "remaining", "reset": "resets_at"}):
    """How often something may be done in this minute, how often still, and when the minute is over."""

    limit: int
    left: int
    reset: Time

    def __post_init__(self) -> None:
        force_setattr(self, "left", max(0, self.left))


class LimitsView(View, frozen=True, kw_only=True):
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


def sync_run(item: SyncRun) -> SyncRunView:
    return SyncRunView.of(item, **msgspec.structs.asdict(item.outcome))


def finding(item: Finding) -> FindingView:
    return FindingView.of(item.package, installable=item.problem is None, problem=item.problem)


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
