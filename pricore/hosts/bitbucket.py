"""Bitbucket: bitbucket.org, and the webhooks of Data Center."""

import base64
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import msgspec

from pricore.errors import InvalidError
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

_HOME: Final = "bitbucket.org"
_USERNAME: Final = "x-token-auth"
"""The user of tokens of a repository, a project or a workspace."""


class _Link(msgspec.Struct):
    href: str
    name: str = ""


class _Links(msgspec.Struct):
    clone: list[_Link] = []


class _Repository(msgspec.Struct):
    full_name: str
    links: _Links
    scm: str = "git"
    parent: Any = None
    mainbranch: Any = None


class _Page(msgspec.Struct):
    values: list[_Repository]
    next: str | None = None


class _Hook(msgspec.Struct):
    uuid: str | None = None
    url: str | None = None


class _Hooks(msgspec.Struct):
    values: list[_Hook]
    next: str | None = None


class BitbucketApi(Api):
    """The REST API of Bitbucket Cloud, version 2.0."""

    @staticmethod
    def base(instance: Instance) -> str:
        """At bitbucket.org alone."""
        if instance.host != _HOME:
            raise InvalidError(f"of Bitbucket only {_HOME} can be asked, not Data Center", field="host")
        return "https://api.bitbucket.org/2.0"

    @staticmethod
    def headers(login: Login | None) -> dict[str, str]:
        """A bearer token, or Basic with the token of a user."""
        if login is None or login.username == _USERNAME:
            return Api.headers(login)
        encoded = base64.b64encode(f"{login.username}:{login.secret}".encode()).decode()
        return {"Authorization": f"Basic {encoded}"}

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of a workspace."""
        path = f"/repositories/{quote_owner(owner)}?pagelen=100"
        async for page in self._client.pages(path, _Page):
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
        async for page in self._client.pages(f"{path}?pagelen=100", _Hooks):
            for item in page.values:
                if item.url == hook.url:
                    await self._client.send("PUT", f"{path}/{quote(item.uuid or '', safe='')}", body)
                    return False
        await self._client.send("POST", path, body)
        return True


_STEPS: Final = """\
At Bitbucket: Repository settings > Webhooks > Add webhook. Paste the URL and the secret.
Triggers: Repository push (Data Center: Repository: Push, for a mirror also Mirror synchronized).
SSL verification: on. The content type is application/json by itself."""

BITBUCKET: Final = Provider(
    name="bitbucket",
    title="Bitbucket",
    home=_HOME,
    repository_path=without_page,
    username=_USERNAME,
    deploy_keys="Repository settings > Access keys",
    # its repositories have no issues, unless somebody switches them on
    pages=Pages(tag="/src/{commit}/?at={name}", branch="/src/{commit}/?at={name}"),
    api=BitbucketApi,
    webhook=Webhook(
        signatures=(Signature(header="X-Hub-Signature", prefix="sha256="),),
        event_headers=("X-Event-Key",),
        # Cloud; Data Center; Data Center where the repository is read from one of its mirrors
        syncs=frozenset({"repo:push", "repo:refs_changed", "mirror:repo_synchronized"}),
        pings=frozenset({"diagnostics:ping"}),
        # "Test connection" of Data Center knows the address only, not the secret
        unsigned=frozenset({"diagnostics:ping"}),
        steps=_STEPS,
    ),
    composer=ComposerNames(types=("bitbucket", "git-bitbucket")),
)
