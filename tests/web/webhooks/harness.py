"""How each host delivers, as its documentation says: its headers, and how it proves that it knows the secret."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from pricore.auth.sealing import Sealer, WebhookSecrets
from tests.web.composer.harness import Reply, World
from tests.web.webhooks import payloads

QUEUED: Final = {"message": "Sync queued successfully"}
Prove = Callable[[str, bytes], Mapping[str, str]]


def hex_hmac(secret: str, body: bytes, *, digest: Any = hashlib.sha256) -> str:
    return hmac.new(secret.encode(), body, digest).hexdigest()


def standard(
    secret: str, body: bytes, *, identifier: str = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f"
) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.new(key, f"{identifier}.1790000000.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": identifier,
        "webhook-timestamp": "1790000000",
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """How a host delivers one push: to which route, with which headers and body.

    `prove` gives the headers that prove it, of which `header` is the one that counts. `over_body` is False
    where the proof is the secret itself.
    """

    route: str
    headers: Mapping[str, str]
    body: bytes
    header: str
    prove: Prove
    over_body: bool = True


_JSON: Final = {"Content-Type": "application/json"}
_GITEA_EVENTS: Final = {"X-GitHub-Event": "create", "X-Gogs-Event": "create", "X-Gitea-Event": "create"}
HOSTS: Final[Mapping[str, Host]] = {
    "github": Host(
        route="github",
        headers=_JSON
        | {"X-GitHub-Event": "push", "X-GitHub-Hook-ID": "1", "User-Agent": "GitHub-Hookshot/044aadd"},
        body=payloads.GITHUB,
        header="X-Hub-Signature-256",
        prove=lambda secret, body: {
            "X-Hub-Signature": f"sha1={hex_hmac(secret, body, digest=hashlib.sha1)}",
            "X-Hub-Signature-256": f"sha256={hex_hmac(secret, body)}",
        },
    ),
    "gitlab-token": Host(
        route="gitlab",
        headers=_JSON | {"X-Gitlab-Event": "Tag Push Hook", "X-Gitlab-Instance": "https://gitlab.example.com"},
        body=payloads.GITLAB,
        header="X-Gitlab-Token",
        prove=lambda secret, _: {"X-Gitlab-Token": secret},
        over_body=False,
    ),
    "gitlab-signed": Host(
        route="gitlab",
        headers=_JSON | {"X-Gitlab-Event": "Tag Push Hook", "X-Gitlab-Instance": "https://gitlab.example.com"},
        body=payloads.GITLAB,
        header="webhook-signature",
        prove=standard,
    ),
    "bitbucket-cloud": Host(
        route="bitbucket",
        headers=_JSON | {"X-Event-Key": "repo:push", "X-Hook-UUID": "1", "X-Attempt-Number": "1"},
        body=payloads.BITBUCKET_CLOUD,
        header="X-Hub-Signature",
        prove=lambda secret, body: {"X-Hub-Signature": f"sha256={hex_hmac(secret, body)}"},
    ),
    "bitbucket-data-center": Host(
        route="bitbucket",
        headers={"Content-Type": "application/json; charset=utf-8", "X-Event-Key": "repo:refs_changed"},
        body=payloads.BITBUCKET_DATA_CENTER,
        header="X-Hub-Signature",
        prove=lambda secret, body: {"X-Hub-Signature": f"sha256={hex_hmac(secret, body)}"},
    ),
    "gitea": Host(
        route="gitea",
        headers=_JSON | _GITEA_EVENTS,
        body=payloads.GITEA,
        header="X-Gitea-Signature",
        prove=lambda secret, body: {
            "X-Gitea-Signature": hex_hmac(secret, body),
            "X-Hub-Signature-256": f"sha256={hex_hmac(secret, body)}",
        },
    ),
    "forgejo": Host(
        route="gitea",
        headers=_JSON | _GITEA_EVENTS | {"X-Forgejo-Event": "create"},
        body=payloads.GITEA,
        header="X-Forgejo-Signature",
        prove=lambda secret, body: {
            "X-Forgejo-Signature": hex_hmac(secret, body),
            "X-Gitea-Signature": hex_hmac(secret, body),
        },
    ),
    "gogs": Host(
        route="gitea",
        headers=_JSON | {"X-Gogs-Event": "push", "X-Gogs-Delivery": "1"},
        body=payloads.GITEA,
        header="X-Gogs-Signature",
        prove=lambda secret, body: {"X-Gogs-Signature": hex_hmac(secret, body)},
    ),
    "git-bearer": Host(
        route="git",
        headers={},
        body=b"",
        header="Authorization",
        prove=lambda secret, _: {"Authorization": f"Bearer {secret}"},
        over_body=False,
    ),
    "git-header": Host(
        route="git",
        headers={},
        body=b"ref=refs/tags/1.1.0",
        header="X-Webhook-Secret",
        prove=lambda secret, _: {"X-Webhook-Secret": secret},
        over_body=False,
    ),
}


class Followed(msgspec.Struct, frozen=True):
    """A followed repository of a server's, and the secret of its webhooks."""

    world: World
    id: str
    secret: str

    async def send(self, route: str, headers: Mapping[str, str], body: Any) -> Reply:
        """The answer to a delivery as it is."""
        return await self.world.ask(
            f"{self.world.base}/webhooks/{route}/{self.id}", method="POST", headers=headers, body=body
        )

    async def deliver(self, host: Host, *, secret: str | None = None, **headers: str) -> Reply:
        """The answer to a host's push; `headers` (with _ for -) are put on top."""
        proof = host.prove(secret or self.secret, host.body)
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.send(host.route, {**host.headers, **proof} | changed, host.body)

    async def rotate(self) -> str:
        """The new secret, made by another process."""
        return await secrets_of(self.world).provide(self.id, rotate=True)


def secrets_of(world: World) -> WebhookSecrets:
    return WebhookSecrets(world.store, Sealer(world.config.key))
