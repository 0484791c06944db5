"""`pricore repo webhook`: what to paste at a Git host, so that a push is served at once."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from pricore.auth.credentials import Credentials
from pricore.auth.sealing import Sealer, WebhookSecrets
from pricore.commands.finding import find_credential, find_organization, find_repository
from pricore.commands.repo import Host, Org, Repo
from pricore.commands.session import Session, command, print_fields
from pricore.config import Config
from pricore.errors import InvalidError
from pricore.hosts.addresses import (
    Instance,
    host_of,
    login_place,
    parse_address,
    parse_instance,
    parse_provider,
)
from pricore.models import Repository
from pricore.store import Store
from pricore.system.lease import holder, listening_url

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.hosts.providers import Provider

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
        "    curl -f --silent --show-error --max-time 10 -X POST --header 'X-Webhook-Secret: {secret}' {url}",
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
    registers: Annotated[
        bool, typer.Option("--register", help="Register it at the Git host, or bring it up to date there.")
    ] = False,
    host: Host = None,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="Register it with this one; the host's if not given.")
    ] = None,
) -> None:
    """Show what to paste at the Git host, so that it says when something was pushed; or register it there.

    The secret is made the first time.
    """
    from pricore.hosts.providers import connect  # loads aiohttp

    given = None if provider is None else parse_provider(provider)
    if registers:
        check_public(session.config)
    elif host is not None or credential is not None:
        raise typer.BadParameter("--host and --credential are for --register")

    async def work(store: Store) -> tuple[Repository, str, bool | None, str]:
        base = await find_base(store, session.config)
        organization = await find_organization(store, org)
        found = await find_repository(store, organization, repo)
        sealer = Sealer(session.config.key)
        secrets = WebhookSecrets(store, sealer)
        secret = await secrets.provide(found.id, rotate=rotate)
        if not registers:
            return found, secret, None, base
        instance = _instance_of(found, given or found.provider, host)
        given_name = None if credential is None else (await find_credential(store, organization, credential)).name
        login = await Credentials(store, sealer).for_api(organization, instance, given_name)
        async with connect(instance, login, proxy=session.config.git_proxy) as asked:
            name = instance.name_of(parse_address(found.url, instance.provider))
            created = await register(asked, name, found, instance, secrets, session.config.public_url)
        return found, secret, created, base

    found, secret, created, base = session.run(work)
    kind = given or found.provider
    url = _url(base, kind, found)
    if created is not None:
        done = "created" if created else "updated"
        session.show(
            {"url": url, "provider": kind, "webhook": done},
            lambda console: console.print(f"The webhook of {found.url} is {done}.", markup=False, soft_wrap=True),
        )
        return

    def render(console: "Console") -> None:
        print_fields(console, [("URL", url), ("secret", secret)])
        console.print()
        for step in _STEPS[kind]:
            console.print(step.format(url=url, secret=secret), markup=False, soft_wrap=True)

    session.show({"url": url, "secret": secret, "provider": kind}, render)
    if base.startswith("http://"):
        typer.echo("Set public_url (PRICORE_PUBLIC_URL) to where the Git host reaches this registry.", err=True)


async def find_base(store: Store, config: Config) -> str:
    """Where clients reach the registry: as configured here or for the server, else where that listens."""
    if url := config.public_url or await store.health.public_url():
        return url
    return await asyncio.to_thread(holder, config.data) or listening_url(config)


def check_public(config: Config) -> None:
    """Refuse with InvalidError to register webhooks where nobody knows where this registry is reached."""
    if not config.public_url:
        raise InvalidError(
            "set public_url (PRICORE_PUBLIC_URL) to where the Git host reaches this registry", field="public_url"
        )


async def register(
    asked: "Provider",
    name: str,
    repository: Repository,
    instance: Instance,
    secrets: WebhookSecrets,
    public_url: str,
) -> bool:
    """Register the webhook of a repository, owner/name there; whether it had none before.

    Raises what the provider does, and SealError.
    """
    from pricore.hosts.providers import Hook

    secret = await secrets.provide(repository.id)
    return await asked.register(name, Hook(url=_url(public_url, instance.provider, repository), secret=secret))


def _url(base: str, provider: str, repository: Repository) -> str:
    return f"{base}/webhooks/{provider}/{repository.id}"


def _instance_of(repository: Repository, provider: str, host: str | None) -> Instance:
    """Where a repository is, unless the host is said."""
    if host is None:
        place = login_place(repository.url)
        if place is None:
            raise InvalidError(f"{repository.url} is at no Git host with an API", field="provider")
        # the port of ssh is none of the API's
        host = host_of(repository.url) if place[0] == "ssh" else f"{place[0]}://{place[1]}"
    return parse_instance(provider, host)
