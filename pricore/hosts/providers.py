"""Git hosts' own APIs: which repositories somebody has there, and webhooks for them.

GitHub and GitHub Enterprise, GitLab, Bitbucket Cloud, Gitea and Forgejo. A token goes to the host that it is for
and nowhere else: no redirect is followed, and no link to another host.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import msgspec
from aiohttp import ClientTimeout, encode_basic_auth, hdrs

from pricore.errors import InvalidError, NotFoundError, ProviderError
from pricore.hosts.addresses import HOSTS, Instance
from pricore.models import Login
from pricore.system.clock import rfc3339

T = TypeVar("T")

_TIMEOUT: Final = ClientTimeout(total=60, sock_connect=15)
_MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_PAGES: Final = 500
_LONGEST_WAIT: Final = 60
"""Seconds for which a rate limit is waited out; a longer one is told."""
_MOST_PAUSE: Final = 366 * 24 * 3600
"""Seconds that are believed."""
_TRIES: Final = 5


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


class Provider(Protocol):
    """What is asked of a Git host. All of it raises ProviderError, and NotFoundError for what isn't there."""

    def repositories(self, owner: str) -> AsyncIterator[Found]:
        """All repositories of a user, an organization, a group (with those below it) or a workspace."""
        ...

    async def register(self, name: str, hook: Hook) -> bool:
        """Bring the webhook of that URL at owner/name to what it is to be; whether there was none before."""
        ...


@asynccontextmanager
async def connect(instance: Instance, login: Login | None, *, proxy: str = "") -> AsyncIterator[Provider]:
    """A provider, to be asked with a login if there is one, and by a proxy, else by the environment's.

    Raises InvalidError for one without an API.
    """
    base = _base(instance)
    # a context of now: aiohttp's own is from before it was known whom to trust
    connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
    proxy = proxy or _environments_proxy(base) or ""
    # trust_env: for who has no login, ~/.netrc; with one, aiohttp would refuse to have two
    async with aiohttp.ClientSession(connector=connector, trust_env=login is None, proxy=proxy or None) as session:
        yield PROVIDERS[instance.provider](Client(session, base, instance.host, login))


def _environments_proxy(url: str) -> str | None:
    """The proxy that the environment has for a URL, by which git goes as well."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _base(instance: Instance) -> str:
    """The URL of a provider's API."""
    kind = instance.provider
    if kind not in PROVIDERS:
        raise InvalidError(f"{kind} has no API to ask; choose one of {', '.join(PROVIDERS)}", field="provider")
    if instance.host != HOSTS[kind]:
        if kind == "bitbucket":
            raise InvalidError("of Bitbucket only bitbucket.org can be asked, not Data Center", field="host")
        return f"{instance.url}{_PATHS[kind]}"
    return _APIS.get(kind) or f"{instance.url}{_PATHS[kind]}"


class Client:
    """Requests to one API, no faster than it allows; `host` is what errors call it."""

    def __init__(self, session: aiohttp.ClientSession, base: str, host: str, login: Login | None) -> None:
        self.login = login
        self.host = host
        self._session = session
        self._base = base
        self._not_before = 0.0

    async def get(self, path: str, kind: type[T], headers: Mapping[str, str]) -> T:
        """The JSON at a path below the API."""
        content, _ = await self._ask("GET", f"{self._base}{path}", headers)
        return self._decode(content, kind)

    async def send(self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any]) -> None:
        """Create or change something."""
        await self._ask(method, f"{self._base}{path}", headers, body)

    async def pages(self, path: str, kind: type[T], headers: Mapping[str, str]) -> AsyncIterator[T]:
        """The pages of a list from a path on, as the host links them: in a header, or as `next` in the page."""
        url, seen = f"{self._base}{path}", set[str]()
        while url:
            if len(seen) >= _MOST_PAGES or url in seen:
                raise ProviderError(f"the list of {self.host} doesn't end: {len(seen)} pages were read")
            seen.add(url)
            content, link = await self._ask("GET", url, headers)
            page = self._decode(content, kind)
            yield page
            after = link or getattr(page, "next", None) or ""
            url = urljoin(url, after) if after else ""
            if url and urlsplit(url)[:2] != urlsplit(self._base)[:2]:
                raise ProviderError(
                    f"{self.host} sends to {url[:200]} for the next page: that is no part of its API here"
                )

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None
    ) -> tuple[bytes, str | None]:
        """The body of a good answer, and the next page that its header links."""
        for attempt in range(_TRIES):
            await self._wait()
            try:
                async with self._session.request(
                    method,
                    url,
                    headers={hdrs.USER_AGENT: "Pricore", **headers},
                    json=body,
                    allow_redirects=False,
                    timeout=_TIMEOUT,
                ) as answer:
                    if (pause := _pause(answer)) is not None:
                        self._not_before = time.time() + pause
                    if _is_limited(answer):
                        self._not_before = max(self._not_before, time.time() + 2**attempt)
                        continue
                    content = await self._read(answer)
                    self._check(answer, url)
                    return content, str(answer.links["next"]["url"]) if "next" in answer.links else None
            except (aiohttp.ClientError, ValueError) as error:  # ValueError: a link that is none
                raise ProviderError(f"cannot reach {self.host}: {error or type(error).__name__}") from None
            except TimeoutError:
                raise ProviderError(f"{self.host} did not answer within {_TIMEOUT.total:g} seconds") from None
        raise ProviderError(f"{self.host} takes no more requests, though it said that it would: try again later")

    async def _wait(self) -> None:
        """Wait until the host takes requests again. Raises ProviderError where that is too long."""
        pause = self._not_before - time.time()
        if pause > _LONGEST_WAIT:
            until = rfc3339(int(self._not_before))
            raise ProviderError(f"{self.host} takes no more requests until {until}: try again then")
        if pause > 0:
            await asyncio.sleep(pause)

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        content = bytearray()
        async for piece in answer.content.iter_chunked(64 * 1024):
            content += piece
            if len(content) > _MOST_BYTES:
                raise ProviderError(f"{self.host} answers with more than {_MOST_BYTES // 1024**2} MB")
        return bytes(content)

    def _check(self, answer: aiohttp.ClientResponse, url: str) -> None:
        """Raise what an answer means that is none."""
        status, shown = answer.status, f"{answer.method} {urlsplit(url).path}"
        if status in (200, 201, 204):
            return
        whom = "who has no credential" if self.login is None else f"the credential {self.login.name}"
        if status == 404:
            raise NotFoundError(f"{self.host} has nothing at {shown}, or doesn't show it to {whom}")
        if status in (401, 403):
            advice = "`pricore credential add` keeps one" if self.login is None else "may its token do that?"
            raise ProviderError(f"{self.host} refuses {shown} to {whom}: {advice}")
        if 300 <= status < 400:
            raise ProviderError(f"{self.host} redirects {shown}: was it renamed, or is the API on another host?")
        raise ProviderError(f"{self.host} answers {shown} with {status}")

    def _decode(self, content: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise ProviderError(
                f"{self.host} answers with something else than such a host does: is it one?"
            ) from None


def _is_limited(answer: aiohttp.ClientResponse) -> bool:
    """Whether a request was refused for coming too early, and for nothing else."""
    return answer.status == 429 or (answer.status in (403, 503) and _pause(answer) is not None)


def _pause(answer: aiohttp.ClientResponse) -> float | None:
    """Seconds until the host takes another request, None where it does now."""
    headers = answer.headers
    if (after := headers.get(hdrs.RETRY_AFTER, "")).isdecimal():
        return min(float(after), _MOST_PAUSE)
    for prefix in ("X-RateLimit-", "RateLimit-"):
        reset = headers.get(prefix + "Reset", "")
        if headers.get(prefix + "Remaining") == "0" and reset.isdecimal():
            return max(1, min(float(reset) - time.time(), _MOST_PAUSE))
    return None


def _quote(owner: str) -> str:
    """An owner as one part of a path. Raises InvalidError for what can be none, and would mean another path."""
    if owner.strip("./") == "" or not owner.isprintable() or len(owner) > 1000:
        raise InvalidError(f"{owner[:80]!r} is no owner of repositories", field="owner")
    return quote(owner, safe="")


def _bearer(login: Login | None) -> dict[str, str]:
    return {} if login is None else {"Authorization": f"Bearer {login.secret}"}


class _HookItem(msgspec.Struct):
    """A webhook in a list: its URL is at the top, or in its config."""

    id: int | None = None
    uuid: str | None = None
    url: str | None = None
    config: dict[str, Any] = {}


async def _put_hook(
    client: Client,
    path: str,
    headers: Mapping[str, str],
    hook: Hook,
    body: Mapping[str, Any],
    *,
    paging: str = "per_page=100",
    change: str,
) -> bool:
    """Make the webhook of a URL, or change the one that is there, by the method `change`."""
    async for page in client.pages(f"{path}?{paging}", list[_HookItem], headers):
        for item in page:
            if hook.url in (item.url, item.config.get("url")):
                await client.send(change, f"{path}/{item.id}", headers, body)
                return False
    await client.send("POST", path, headers, body)
    return True


class _GitHubRepository(msgspec.Struct):
    full_name: str
    ssh_url: str
    archived: bool = False
    fork: bool = False
    size: int | None = None


class _User(msgspec.Struct):
    login: str
    type: str = "User"


class GitHub:
    """github.com and GitHub Enterprise."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._headers = _bearer(client.login) | {
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of an organization or a user, private ones of others included that the token may see."""
        # affiliation: of one's own, not of all that one has to do with; the other lists take no notice of it
        path = f"{await self._path(owner)}?per_page=100&affiliation=owner"
        async for page in self._client.pages(path, list[_GitHubRepository], self._headers):
            for item in page:
                yield Found(
                    name=item.full_name,
                    ssh_url=item.ssh_url,
                    archived=item.archived,
                    fork=item.fork,
                    empty=item.size == 0,
                )

    async def _path(self, owner: str) -> str:
        """Where the repositories of an owner are listed."""
        name = _quote(owner)
        found = await self._client.get(f"/users/{name}", _User, self._headers)
        if found.type == "Organization":
            return f"/orgs/{name}/repos"
        # what is said of a user leaves the private ones out, unless it is said to that user
        return "/user/repos" if await self._is_own(found) else f"/users/{name}/repos"

    async def _is_own(self, user: _User) -> bool:
        if self._client.login is None:
            return False
        try:
            return (await self._client.get("/user", _User, self._headers)).login == user.login
        except (ProviderError, NotFoundError):
            return False  # a token of an app is no user's

    async def register(self, name: str, hook: Hook) -> bool:
        """Tell of pushes, and of branches and tags that come and go."""
        config = {"url": hook.url, "content_type": "json", "secret": hook.secret, "insecure_ssl": "0"}
        body = {"name": "web", "active": True, "events": ["push", "create", "delete"], "config": config}
        path = f"/repos/{quote(name)}/hooks"
        return await _put_hook(self._client, path, self._headers, hook, body, change="PATCH")


class _GitLabProject(msgspec.Struct):
    path_with_namespace: str
    ssh_url_to_repo: str
    archived: bool = False
    empty_repo: bool = False
    forked_from_project: Any = None


class GitLab:
    """gitlab.com and GitLabs of one's own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._headers = _bearer(client.login)

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of a group and the groups below it, or of a user."""
        name, order = _quote(owner), "per_page=100&order_by=id&sort=asc"
        paths = [f"/groups/{name}/projects?include_subgroups=true&{order}", f"/users/{name}/projects?{order}"]
        async for page in _first(self._client, paths, list[_GitLabProject], self._headers):
            for item in page:
                yield Found(
                    name=item.path_with_namespace,
                    ssh_url=item.ssh_url_to_repo,
                    archived=item.archived,
                    fork=item.forked_from_project is not None,
                    empty=item.empty_repo,
                )

    async def register(self, name: str, hook: Hook) -> bool:
        """Tell of pushes and of tags."""
        body = {
            "url": hook.url,
            "token": hook.secret,
            "push_events": True,
            "tag_push_events": True,
            "enable_ssl_verification": True,
        }
        path = f"/projects/{quote(name, safe='')}/hooks"
        return await _put_hook(self._client, path, self._headers, hook, body, change="PUT")


class _Link(msgspec.Struct):
    href: str
    name: str = ""


class _Links(msgspec.Struct):
    clone: list[_Link] = []


class _BitbucketRepository(msgspec.Struct):
    full_name: str
    links: _Links
    scm: str = "git"
    parent: Any = None
    mainbranch: Any = None


class _BitbucketPage(msgspec.Struct):
    values: list[_BitbucketRepository]
    next: str | None = None


class _BitbucketHooks(msgspec.Struct):
    values: list[_HookItem]
    next: str | None = None


class Bitbucket:
    """bitbucket.org."""

    def __init__(self, client: Client) -> None:
        self._client = client
        login = client.login
        if login is None or login.username == "x-token-auth":  # a token of a repository, a project or a workspace
            self._headers = _bearer(login)
        else:
            self._headers = {"Authorization": encode_basic_auth(login.username, login.secret)}

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of a workspace."""
        path = f"/repositories/{_quote(owner)}?pagelen=100"
        async for page in self._client.pages(path, _BitbucketPage, self._headers):
            for item in page.values:
                urls = {link.name: link.href for link in item.links.clone}
                if item.scm == "git":
                    yield Found(
                        name=item.full_name,
                        ssh_url=urls.get("ssh", ""),
                        fork=item.parent is not None,
                        empty=item.mainbranch is None,
                    )

    async def register(self, name: str, hook: Hook) -> bool:
        """Tell of pushes."""
        path = f"/repositories/{quote(name)}/hooks"
        body = {
            "description": "Pricore",
            "url": hook.url,
            "active": True,
            "secret": hook.secret,
            "events": ["repo:push"],
        }
        async for page in self._client.pages(f"{path}?pagelen=100", _BitbucketHooks, self._headers):
            for item in page.values:
                if item.url == hook.url:
                    await self._client.send(
                        "PUT", f"{path}/{quote(item.uuid or '', safe='')}", self._headers, body
                    )
                    return False
        await self._client.send("POST", path, self._headers, body)
        return True


class _GiteaRepository(msgspec.Struct):
    full_name: str
    ssh_url: str
    archived: bool = False
    fork: bool = False
    empty: bool = False


class Gitea:
    """Gitea and Forgejo, such as codeberg.org."""

    def __init__(self, client: Client) -> None:
        self._client = client
        login = client.login
        self._headers = {} if login is None else {"Authorization": f"token {login.secret}"}

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of an organization or a user."""
        name = _quote(owner)
        paths = [f"/orgs/{name}/repos?limit=50", f"/users/{name}/repos?limit=50"]
        async for page in _first(self._client, paths, list[_GiteaRepository], self._headers):
            for item in page:
                yield Found(
                    name=item.full_name,
                    ssh_url=item.ssh_url,
                    archived=item.archived,
                    fork=item.fork,
                    empty=item.empty,
                )

    async def register(self, name: str, hook: Hook) -> bool:
        """Tell of pushes, and of branches and tags that come and go."""
        config = {"url": hook.url, "content_type": "json", "secret": hook.secret}
        body = {"type": "gitea", "active": True, "events": ["push", "create", "delete"], "config": config}
        path = f"/repos/{quote(name)}/hooks"
        return await _put_hook(self._client, path, self._headers, hook, body, paging="limit=50", change="PATCH")


async def _first(client: Client, paths: list[str], kind: type[T], headers: Mapping[str, str]) -> AsyncIterator[T]:
    """The pages at the first of some paths that is there."""
    for path in paths:
        begun = False
        try:
            async for page in client.pages(path, kind, headers):
                begun = True
                yield page
        except NotFoundError:
            if begun or path == paths[-1]:
                raise
        else:
            return


PROVIDERS: Final[Mapping[str, Callable[[Client], Provider]]] = {
    "github": GitHub,
    "gitlab": GitLab,
    "bitbucket": Bitbucket,
    "gitea": Gitea,
}
_PATHS: Final[Mapping[str, str]] = {"github": "/api/v3", "gitlab": "/api/v4", "gitea": "/api/v1"}
_APIS: Final[Mapping[str, str]] = {
    "github": "https://api.github.com",
    "bitbucket": "https://api.bitbucket.org/2.0",
}
