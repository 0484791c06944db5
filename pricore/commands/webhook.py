"""`pricore repo webhook`: what to paste at a Git host, so that a push is served at once."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pricore.auth.credentials import Credentials
from pricore.auth.sealing import Sealer, WebhookSecrets
from pricore.commands.finding import find_credential, find_organization, find_repository
from pricore.commands.repo import Host, Org, Repo
from pricore.commands.session import Session, command, print_fields
from pricore.config import Config
from pricore.errors import InvalidError
from pricore.hosts.addresses import host_of, login_place, parse_address, parse_instance
from pricore.hosts.provider import Api, Hook, Instance
from pricore.hosts.table import NAMES, PROVIDERS, get_provider
from pricore.models import Repository
from pricore.store import Store
from pricore.system.lease import holder, listening_url

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()


@command(app, "webhook")
def webhook(
    session: Session,
    org: Org,
    repo: Repo,
    provider: Annotated[str | None, typer.Option(help=f"{NAMES}; the repository's if not given.")] = None,
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
    from pricore.hosts.client import connect  # loads aiohttp

    given = None if provider is None else get_provider(provider).name
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
            name = instance.name_of(parse_address(found.url, instance.provider).identifier)
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
        steps = PROVIDERS[kind].webhook.steps.format(url=url, secret=secret)
        console.print(steps, markup=False, soft_wrap=True)

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
    asked: Api,
    name: str,
    repository: Repository,
    instance: Instance,
    secrets: WebhookSecrets,
    public_url: str,
) -> bool:
    """Register the webhook of a repository, owner/name there; whether it had none before.

    Raises what the provider does, and SealError.
    """
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
