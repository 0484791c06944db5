"""`pricore repo webhook`: what to paste at a Git host, so that a push is served at once."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pricore.addresses import PROVIDERS
from pricore.commands.repo import Org, Repo, find_repository
from pricore.commands.session import Session, base_url, command, print_fields
from pricore.errors import InvalidError
from pricore.models import Repository
from pricore.sealing import Sealer, WebhookSecrets
from pricore.store import Store

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()

_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": (
        "At GitHub: Settings > Webhooks > Add webhook. Paste the URL as Payload URL and the secret as Secret.",
        "Content type: application/json. SSL verification: enabled.",
        "Individual events: Pushes, Branch or tag creation, Branch or tag deletion, Releases.",
    ),
    "gitlab": (
        "At GitLab: Settings > Webhooks > Add new webhook. Paste the URL, and the secret as Signing token,",
        "or as Secret token where there is no such field (one of the two is enough).",
        "Trigger: Push events, Tag push events, Releases events. SSL verification: enabled.",
        "A GitLab of your own reaches hosts inside its network once its administrator allows such requests.",
    ),
    "bitbucket": (
        "At Bitbucket: Repository settings > Webhooks > Add webhook. Paste the URL and the secret.",
        "Triggers: Repository push (Data Center: Repository: Push, for a mirror also Mirror synchronized).",
        "SSL verification: on. The content type is application/json by itself.",
    ),
    "gitea": (
        "At Gitea or Forgejo: Settings > Webhooks > Add webhook > Gitea (Forgejo). Paste the URL as Target URL",
        "and the secret as Secret. HTTP method: POST. POST content type: application/json.",
        "Trigger on custom events: Create, Delete, Push, Release.",
        "Hosts inside its network have to be in webhook.ALLOWED_HOST_LIST of its app.ini.",
    ),
    "git": (
        "Any host that can send a POST with a header; each one counts as a push. As a hook (hooks/post-receive):",
        "    curl --fail --silent --show-error --request POST --header 'X-Webhook-Secret: {secret}' {url}",
        "`Authorization: Bearer` with the secret is taken as well.",
    ),
}


@command(app, "webhook")
def webhook(
    session: Session,
    org: Org,
    repo: Repo,
    provider: Annotated[
        str | None, typer.Option(help="github, gitlab, bitbucket, gitea or git; the repository's if not given.")
    ] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="Make the secret anew; the old one ends.")] = False,
) -> None:
    """Show what to paste at the Git host, so that it says when something was pushed.

    The secret is made the first time.
    """
    if provider is not None and provider not in PROVIDERS:
        raise InvalidError(
            f"there is no provider {provider}; choose one of {', '.join(PROVIDERS)}", field="provider"
        )

    async def work(store: Store) -> tuple[Repository, str]:
        found = await find_repository(store, await store.organizations.get(org), repo)
        secrets = WebhookSecrets(store, Sealer(session.config.key))
        return found, await secrets.provide(found.id, rotate=rotate)

    found, secret = session.run(work)
    kind = provider or found.provider
    url = f"{base_url(session.config)}/webhooks/{kind}/{found.id}"

    def render(console: "Console") -> None:
        print_fields(console, [("URL", url), ("secret", secret)])
        console.print()
        for step in _STEPS[kind]:
            console.print(step.format(url=url, secret=secret), markup=False, soft_wrap=True)

    session.show({"url": url, "secret": secret, "provider": kind}, render)
    if not session.config.public_url:
        typer.echo("Set public_url (PRICORE_PUBLIC_URL) to where the Git host reaches this registry.", err=True)
