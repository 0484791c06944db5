"""GitHub: github.com and GitHub Enterprise."""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

import msgspec

from pricore.errors import NotFoundError, ProviderError
from pricore.hosts.provider import (
    Api,
    ComposerNames,
    Found,
    Hook,
    Instance,
    Pages,
    Provider,
    quote_owner,
    without_page,
)
from pricore.hosts.webhooks import Signature, Webhook
from pricore.models import Login

_HOME: Final = "github.com"


class _Repository(msgspec.Struct):
    full_name: str
    ssh_url: str
    archived: bool = False
    fork: bool = False
    size: int | None = None


class _User(msgspec.Struct):
    login: str
    type: str = "User"


class GitHubApi(Api):
    """The REST API of 2022-11-28."""

    @staticmethod
    def base(instance: Instance) -> str:
        """A host of its own at github.com, else a path."""
        return "https://api.github.com" if instance.host == _HOME else f"{instance.url}/api/v3"

    @staticmethod
    def headers(login: Login | None) -> dict[str, str]:
        """A bearer token, and the version of the API."""
        accepted = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
        return Api.headers(login) | accepted

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of an organization or a user, private ones of others included that the token may see."""
        # affiliation: what the user owns, not all that the user works on; the other lists ignore it
        path = f"{await self._path(owner)}?per_page=100&affiliation=owner"
        async for page in self._client.pages(path, list[_Repository]):
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
        name = quote_owner(owner)
        found = await self._client.get(f"/users/{name}", _User)
        if found.type == "Organization":
            return f"/orgs/{name}/repos"
        # a user's list leaves the private ones out, but for the one that is for that user alone
        return "/user/repos" if await self._is_own(found) else f"/users/{name}/repos"

    async def _is_own(self, user: _User) -> bool:
        if self._client.login is None:
            return False
        try:
            return (await self._client.get("/user", _User)).login == user.login
        except (ProviderError, NotFoundError):
            return False  # a token of an app is no user's

    async def register(self, name: str, hook: Hook) -> bool:
        """Tell of pushes, and of branches and tags that come and go."""
        config = {"url": hook.url, "content_type": "json", "secret": hook.secret, "insecure_ssl": "0"}
        body = {"name": "web", "active": True, "events": ["push", "create", "delete"], "config": config}
        return await self._client.put_hook(f"/repos/{quote(name)}/hooks", hook, body, change="PATCH")


_STEPS: Final = """\
At GitHub: Settings > Webhooks > Add webhook. Paste the URL as Payload URL and the secret as Secret.
Content type: application/json. SSL verification: enabled.
Individual events: Pushes, Branch or tag creation, Branch or tag deletion, Releases."""

GITHUB: Final = Provider(
    name="github",
    title="GitHub",
    home=_HOME,
    repository_path=without_page,
    deploy_keys="Settings > Deploy keys",
    pages=Pages(tag="/tree/{name}", branch="/tree/{name}", issues="/issues"),
    api=GitHubApi,
    webhook=Webhook(
        signatures=(Signature(header="X-Hub-Signature-256", prefix="sha256="),),
        event_headers=("X-GitHub-Event",),
        syncs=frozenset({"push", "create", "delete", "release"}),
        pings=frozenset({"ping"}),
        steps=_STEPS,
    ),
    composer=ComposerNames(types=("github",), domains="github-domains", tokens={"github-oauth": None}),
)
