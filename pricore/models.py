"""The records that travel between the rooms: plain, frozen, without behaviour of their own.

Times are seconds since 1970, UTC. Ids are UUIDs as text. `None` in a field says "none", never "unknown".
"""

from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import TypedDict

import msgspec

SCOPES = (
    "packages:read",
    "packages:write",
    "repositories:read",
    "repositories:write",
    "tokens:read",
    "tokens:write",
    "organizations:read",
    "organizations:write",
)

LOCK_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?"


class Organization(msgspec.Struct, frozen=True):
    """Who owns repositories, packages and tokens; `slug` is its name in URLs.

    `sync_interval` is that of its repositories, seconds, 0 for none; None follows the instance.
    """

    id: str
    slug: str
    name: str
    description: str
    created_at: int
    sync_interval: int | None = None


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """A Git repository that is followed.

    `identifier` is `owner/name` where the provider knows such a thing, else the address. `paths` are patterns of
    folders that are packages of their own; none where the repository is one package. `refs_digest` is what the
    last complete sync saw upstream (empty: none was complete). `sync_status` is pending, ok or failed. `confined`
    is True where the address came over the API, so that it may not reach inside the network.

    `sync_interval` is its own, seconds between two looks at it, 0 for none; None follows its organization.
    `next_sync_at` is when it is looked at without being asked, None for never. `failures` are those since the last
    good sync, the first of them at `failing_since`; `failed_digest` is what was upstream when it failed for good.
    `credential_id` is the credential that it was given; None for its organization's for the host.

    `vanished_versions` says what becomes of released versions whose tag is gone, keep or remove; None follows the
    instance.
    """

    id: str
    organization_id: str
    provider: str
    identifier: str
    url: str
    confined: bool
    paths: tuple[str, ...]
    default_branch: str | None
    refs_digest: str
    sync_status: str
    sync_error: str | None
    last_synced_at: int | None
    sync_interval: int | None
    next_sync_at: int | None
    failures: int
    failing_since: int | None
    failed_digest: str | None
    vanished_versions: str | None
    created_at: int
    credential_id: str | None = None


class RepositoryChanges(TypedDict, total=False):
    """Fields of a repository that are set, beside its address; what is left out stays."""

    confined: bool
    paths: Sequence[str]
    sync_interval: int | None
    vanished_versions: str | None
    credential_id: str | None


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """What an organization logs in to a Git host with, without its secret.

    `kind` is https (a user and a token) or ssh (a key of which `public_key` is the public half). `host` is in
    lower case, with its port where that isn't the usual one. A `plain` one may also go over http://.
    """

    id: str
    organization_id: str
    name: str
    kind: str
    host: str
    username: str
    public_key: str | None
    plain: bool
    created_at: int


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """A credential with its secret: a token, or a private key in OpenSSH's form. It never shows that."""

    name: str
    kind: str
    host: str
    username: str
    plain: bool
    secret: str

    def __repr__(self) -> str:
        return f"Login({self.name!r}, {self.kind}, {self.host!r})"


class Ref(msgspec.Struct, frozen=True, gc=False):
    """What the last sync made of a tag or branch of a repository, or of a folder in it.

    `name` is the full ref name, with the folder as `ref:folder`; `commit` is the peeled commit. Where it became
    a version, `package` and `version` name it; where it did not, or no longer does, `reason` says why.
    `deleted_at` is when the version that `commit` made was deleted on purpose; the ref makes none until it moves.
    `accepted` is the commit to which a released version may move.
    """

    name: str
    commit: str
    package: str | None
    version: str | None
    reason: str | None
    deleted_at: int | None = None
    accepted: str | None = None


class LeftOut(msgspec.Struct, frozen=True):
    """A ref that makes no version now, and why."""

    ref: str
    reason: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a sync. Versions are written as vendor/name:version, newest first.

    `read` counts the refs that had moved since the last sync; `kept` are released versions whose tag is
    missing upstream, `moved` those whose tag leads elsewhere now and which stay what they are.
    `left_out` lists every ref that makes no version, this time or before. `notes` are about what is in the
    repository and not in its archives.
    """

    added: list[str] = []
    updated: list[str] = []
    removed: list[str] = []
    kept: list[str] = []
    moved: list[str] = []
    left_out: list[LeftOut] = []
    read: int = 0
    notes: list[str] = []


class Trigger(StrEnum):
    """Why there is a sync.

    Somebody asked, in this process or over the API; it was due; a webhook says that something is new; how the
    repository is followed was changed; or there was none before.
    """

    MANUAL = "cli"
    API = "api"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    CHANGE = "change"
    FIRST = "first"


class Step(StrEnum):
    """What a sync is doing, in that order; where another of its repository runs, it waits for that one first."""

    WAITING = "waiting"
    LISTING = "listing"
    FETCHING = "fetching"
    READING = "reading"
    CHECKSUMS = "checksums"


class Progress(msgspec.Struct, frozen=True):
    """How far a sync is: `done` of the `total` in its step; a total of 0 means that nobody knows.

    `received` are the bytes that a fetch has got so far.
    """

    run_id: str
    step: Step
    done: int
    total: int
    received: int = 0


class SyncRun(msgspec.Struct, frozen=True):
    """A sync in a repository's history, or one that was asked for and has not come to anything yet.

    `status` is queued, running, ok, unchanged (it found nothing new), failed or interrupted. `started_at` is None
    until somebody works at it, `progress` as long as nobody says what it is doing. `error` is why it failed.
    `cause` is what set it off, a Trigger, or None where that is not known.
    """

    id: str
    status: str
    error: str | None
    started_at: int | None
    finished_at: int | None
    outcome: Outcome
    cause: str | None = None
    progress: Progress | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A package as lists show it; `latest_version` is the highest stable one, else the newest of any kind.

    `replaced_by` is the name under which its repository goes on, for a package that was renamed upstream.
    `abandoned` is what its composer.json says of that: the package to use instead, empty where it names none.
    `repository_id` is None where its versions are uploaded.
    """

    id: str
    name: str
    description: str
    type: str
    latest_version: str | None
    replaced_by: str | None
    abandoned: str | None
    repository_id: str | None
    created_at: int

    @property
    def successor(self) -> str | bool | None:
        """The package to use instead of an abandoned one, True where nobody names one; None for any other."""
        return self.replaced_by or (True if self.abandoned == "" else self.abandoned)


class Version(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A version as it is served; `gone_at` is when its tag was first missing upstream.

    One that was uploaded has no `ref`, and the checksum of its content without times as `reference`.

    `moved_to` is the commit to which its tag has moved, which nobody accepted. Where somebody did so before,
    `first_reference` is the commit that it was released with. `published_at` is when it was first served at its
    commit, None where that is not known.
    """

    version: str
    normalized: str
    ref: str
    reference: str
    shasum: str
    released_at: int
    gone_at: int | None
    moved_to: str | None
    first_reference: str | None
    published_at: int | None

    @property
    def kind(self) -> str:
        """What it comes from: tag, branch or upload."""
        return "upload" if not self.ref else "tag" if self.ref.startswith("refs/tags/") else "branch"


class Count(msgspec.Struct, frozen=True):
    """How often something was installed, as clients report it, and how often its archive was sent."""

    installs: int
    archives: int


class Downloads(msgspec.Struct, frozen=True):
    """Downloads of a package: in `total` since ever, and of each version in each day of a period, in order."""

    total: Count
    days: Mapping[date, Mapping[str, Count]]


class Document(msgspec.Struct, frozen=True):
    """One half of a package's metadata, finished and compressed with zstd.

    Where a URL of this registry stands, `body` holds `metadata.BASE`: the public URL is put in when it is served.
    """

    body: bytes
    last_modified: int
    organization_id: str


class Dist(msgspec.Struct, frozen=True):
    """An archive that was advertised at some time: what it is made of, and its checksum and size.

    `treeish` is a commit, or a folder in one as commit:folder. Where `repository_id` is None it was uploaded, and
    `treeish` is its checksum.

    `fixed` is False where it was asked for as a branch, which is another archive tomorrow.
    """

    repository_id: str | None
    treeish: str
    shasum: str
    size: int
    fixed: bool = True


class Advertised(msgspec.Struct, frozen=True):
    """An archive that was advertised for a package of an organization (its slug).

    `version` is the one that is made of it now, else the beginning of its commit.
    """

    organization: str
    package: str
    version: str
    dist: Dist


class LockedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """A package in a composer.lock that comes from this registry.

    `organization` is the slug, `package` the name in lower case. `address` is what the URL of its archive has
    behind those: a version, or a branch and a commit (dev-main/<commit>). `shasum` is empty where the file has
    none. `pinned` is the commit that it says is installed, where the address has another one; else empty.
    """

    organization: str
    package: str
    version: str
    address: str
    shasum: str
    pinned: str = ""


class Finding(msgspec.Struct, frozen=True):
    """Whether a package in a lock file can be installed right now; `problem` says why not."""

    package: LockedPackage
    problem: str | None


class Lock(msgspec.Struct, frozen=True, kw_only=True):
    """A composer.lock that is in use somewhere, by the name that it was registered under, with what it names.

    `organization` is the slug.
    """

    id: str
    organization: str
    name: str
    created_at: int
    registered_at: int
    packages: tuple[LockedPackage, ...]


class Job(msgspec.Struct, frozen=True):
    """A sync that was asked for, and is begun."""

    id: str
    repository_id: str
    organization_id: str
    trigger: Trigger


class Due(msgspec.Struct, frozen=True):
    """A repository that is to be looked at without being asked, since `at`."""

    repository_id: str
    organization_id: str
    at: int
