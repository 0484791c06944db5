"""Gitea and Forgejo, such as codeberg.org; Gogs, from which both come, goes by the same rules."""

from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import quote

import msgspec

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


class _Repository(msgspec.Struct):
    full_name: str
    ssh_url: str
    archived: bool = False
    fork: bool = False
    empty: bool = False


class GiteaApi(Api):
    """The REST API, version 1."""

    @staticmethod
    def base(instance: Instance) -> str:
        """The same path everywhere."""
        return f"{instance.url}/api/v1"

    @staticmethod
    def headers(login: Login | None) -> dict[str, str]:
        """A token, by a scheme of its own."""
        return {} if login is None else {"Authorization": f"token {login.secret}"}

    async def repositories(self, owner: str) -> AsyncIterator[Found]:
        """Those of an organization or a user."""
        name = quote_owner(owner)
        paths = [f"/orgs/{name}/repos?limit=50", f"/users/{name}/repos?limit=50"]
        async for page in self._client.pages_of_first(paths, list[_Repository]):
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
        return await self._client.put_hook(path, hook, body, paging="limit=50", change="PATCH")


_STEPS: Final = """\
At Gitea or Forgejo: Settings > Webhooks > Add webhook > Gitea (Forgejo). Paste the URL as Target URL
and the secret as Secret. HTTP method: POST. POST content type: application/json.
Trigger on custom events: Create, Delete, Push, Release.
Hosts inside its network have to be in webhook.ALLOWED_HOST_LIST of its app.ini."""

GITEA: Final = Provider(
    name="gitea",
    title="Gitea",
    aliases=("forgejo", "gogs"),
    home="codeberg.org",
    below_path=True,
    repository_path=without_page,
    deploy_keys="Settings > Deploy keys",
    pages=Pages(tag="/tag/{name}", branch="/branch/{name}", issues="/issues"),
    api=GiteaApi,
    webhook=Webhook(
        signatures=(
            Signature(header="X-Forgejo-Signature"),
            Signature(header="X-Gitea-Signature"),
            Signature(header="X-Gogs-Signature"),
        ),
        event_headers=("X-Forgejo-Event", "X-Gitea-Event", "X-Gogs-Event"),
        syncs=frozenset({"push", "create", "delete", "release"}),
        steps=_STEPS,
    ),
    composer=ComposerNames(types=("forgejo",), domains="forgejo-domains"),
)
