"""GitLab: gitlab.com and installations of others."""

from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import quote

import msgspec

from pricore.hosts.provider import Api, ComposerNames, Found, Hook, Instance, Pages, Provider, quote_owner
from pricore.hosts.webhooks import SecretHeader, Signature, Webhook


class _Project(msgspec.Struct):
    path_with_namespace: str
    ssh_url_to_repo: str
    archived: bool = False
    empty_repo: bool = False
    forked_from_project: Any = None


class GitLabApi(Api):
    """The REST API, version 4."""

    @staticmethod
    def base(instance: Instance) -> str:
        """The same path everywhere."""
        return f"{instance.url}/api/v4"

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of a group and the groups below it, or of a user."""
        name, order = quote_owner(owner), "per_page=100&order_by=id&sort=asc"
        paths = [f"/groups/{name}/projects?include_subgroups=true&{order}", f"/users/{name}/projects?{order}"]
        async for page in self._client.pages_of_first(paths, list[_Project]):
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
        return await self._client.put_hook(f"/projects/{quote(name, safe='')}/hooks", hook, body, change="PUT")


def repository_path(host: str, path: str) -> str:
    """The path of a repository in that of one of its pages: no group or project is named `-`."""
    return path.partition("/-/")[0]


_STEPS: Final = """\
At GitLab: Settings > Webhooks > Add new webhook. Paste the URL, and the secret as Signing token,
or as Secret token where there is no such field (one of the two is enough).
Trigger: Push events, Tag push events, Releases events. SSL verification: enabled.
A GitLab of your own reaches hosts inside its network once its administrator allows such requests."""

GITLAB: Final = Provider(
    name="gitlab",
    title="GitLab",
    home="gitlab.com",
    below_path=True,
    repository_path=repository_path,
    deploy_keys="Settings > Repository > Deploy keys",
    pages=Pages(tag="/-/tree/{name}", branch="/-/tree/{name}", issues="/-/issues"),
    api=GitLabApi,
    webhook=Webhook(
        signatures=(Signature(header="webhook-signature", prefix="v1,", standard=True),),
        secrets=(SecretHeader(header="X-Gitlab-Token"),),
        event_headers=("X-Gitlab-Event",),
        syncs=frozenset({"Push Hook", "Tag Push Hook", "Release Hook"}),
        steps=_STEPS,
    ),
    composer=ComposerNames(
        types=("gitlab",),
        domains="gitlab-domains",
        tokens={"gitlab-token": "oauth2", "gitlab-oauth": "oauth2"},
    ),
)
