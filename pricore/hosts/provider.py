"""What Pricore knows of a kind of Git host, a provider; each has a file of its own beside this one."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from pricore.errors import InvalidError
from pricore.hosts.webhooks import Webhook
from pricore.models import Login

if TYPE_CHECKING:
    from pricore.hosts.client import Client  # loads aiohttp

_PAGES: Final = frozenset(
    (
        *("tree", "blob", "commit", "commits", "branch", "branches", "tags", "releases", "src", "raw", "issues"),
        *("pull", "pulls", "pull-requests", "actions", "wiki", "settings", "network", "graphs", "compare"),
        *("projects", "packages", "downloads"),
    )
)
"""What stands behind owner/name in the pages of a repository on GitHub, Bitbucket, Gitea and Forgejo."""


class Instance(msgspec.Struct, frozen=True):
    """A provider at a host, with its port where that isn't the usual one; a `plain` one is spoken to over http://.

    `path` is below which one there it is, with a slash in front, or empty.
    """

    provider: str
    host: str
    plain: bool = False
    path: str = ""

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end."""
        return f"{'http' if self.plain else 'https'}://{self.host}{self.path}"

    def name_of(self, identifier: str) -> str:
        """The owner/name there of a repository of this provider's, whose address has that identifier."""
        return identifier.removeprefix(f"{self.path.removeprefix('/')}/")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A repository at a provider: `name` is owner/name there, `ssh_url` is where it is cloned from by ssh."""

    name: str
    ssh_url: str
    archived: bool = False
    fork: bool = False
    empty: bool = False


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it is to be: where it goes, and what it is signed with."""

    url: str
    secret: str


class Api(ABC):
    """What is asked of a Git host. All of it raises ProviderError, and NotFoundError for what isn't there."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    @staticmethod
    @abstractmethod
    def base(instance: Instance) -> str:
        """The URL of the API of an instance. Raises InvalidError where that has none."""

    @staticmethod
    def headers(login: Login | None) -> dict[str, str]:
        """The headers of each request, with a login if there is one."""
        return {} if login is None else {"Authorization": f"Bearer {login.secret}"}

    @abstractmethod
    def repositories(self, owner: str) -> AsyncIterator[Found]:
        """All repositories of a user, an organization, a group (with those below it) or a workspace."""

    @abstractmethod
    async def register(self, name: str, hook: Hook) -> bool:
        """Bring the webhook of that URL at owner/name to what it is to be; whether there was none before."""


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """What stands behind a repository's page for those of a tag, a branch and the issues, None without these.

    `{name}` is that of the tag or branch, `{commit}` its commit. They are those that Composer's own drivers add.
    """

    tag: str
    branch: str
    issues: str | None = None


class ComposerNames(msgspec.Struct, frozen=True, kw_only=True):
    """What Composer calls it: types of repositories, the setting with its hosts, and kinds of tokens in auth.json.

    A token goes with the user that is given; None where any will do.
    """

    types: tuple[str, ...] = ()
    domains: str | None = None
    tokens: Mapping[str, str | None] = {}


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of Git host.

    `name` is what programs call it, `title` what people do, `aliases` are other names in commands and URLs. `home`
    is where it is if nothing else is said; None where that has to be said. One that may be `below_path` can be
    installed below a path of a host; there, owner/name begins behind it. `repository_path` gives the path of a
    repository for a host and the path of one of its pages, as copied from a browser; it raises InvalidError where
    only that host could tell. `username` goes with a token where none is given: GitHub asks for x-access-token
    with tokens of apps, and most others take any. `deploy_keys` says where people paste a public key, `pages` and
    `api` what it has of these; None where that is unknown.
    """

    name: str
    title: str
    aliases: tuple[str, ...] = ()
    home: str | None = None
    below_path: bool = False
    repository_path: Callable[[str, str], str]
    username: str = "x-access-token"
    deploy_keys: str | None = None
    pages: Pages | None = None
    api: type[Api] | None = None
    webhook: Webhook
    composer: ComposerNames = ComposerNames()


def without_page(host: str, path: str) -> str:
    """The path of a repository in that of one of its pages, where each is owner/name and nothing deeper."""
    _, *parts = path.rstrip("/").split("/")
    return "/".join(("", *parts[:2])) if len(parts) > 2 and parts[2] in _PAGES else path


def quote_owner(owner: str) -> str:
    """An owner as one part of a path. Raises InvalidError for what can be none, and would mean another path."""
    if owner.strip("./") == "" or not owner.isprintable() or len(owner) > 1000:
        raise InvalidError(f"{owner[:80]!r} is no owner of repositories", field="owner")
    return quote(owner, safe="")
