"""`pricore repo webhook`: what to paste at a Git host, so that a push is served at once."""

from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.finding import find_credential, find_organization, find_repository
from pricore.commands.repo import Host, Repo
from pricore.commands.session import Org, Session, command, print_fields
from pricore.hosts.provider import Hook
from pricore.hosts.table import NAMES, PROVIDERS, get_provider
from pricore.models import Repository
from pricore.services.webhooks import Registration, provide_webhook, register_webhook

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services

app = typer.Typer()


@command(app, "webhook")
def webhook(
    session: Session,
    org: Org,
    repo: Repo,
    provider: Annotated[str | None, typer.Option(help=f"{NAMES}; by default the repository's.")] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Make a new secret; the old one stops working.")
    ] = False,
    registers: Annotated[
        bool, typer.Option("--register", help="Register the webhook at the Git host, or update it there.")
    ] = False,
    host: Host = None,
    credential: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The credential to register with; by default the one for the host."),
    ] = None,
) -> None:
    """Show what to paste at the Git host to set up a webhook, or register it there.

    The secret is made the first time.
    """
    given = None if provider is None else get_provider(provider).name
    if not registers and (host is not None or credential is not None):
        raise typer.BadParameter("--host and --credential are for --register")

    async def show(services: "Services") -> tuple[Repository, Hook]:
        found = await find_repository(services.store, await find_organization(services.store, org), repo)
        return found, await provide_webhook(services, found, provider=given, rotate=rotate)

    async def register(services: "Services") -> tuple[Repository, Registration]:
        store = services.store
        organization = await find_organization(store, org)
        found = await find_repository(store, organization, repo)
        name = None if credential is None else (await find_credential(store, organization, credential)).name
        return found, await register_webhook(
            services, organization, found, provider=given, host=host, credential=name, rotate=rotate
        )

    if registers:
        found, registration = session.run_with_services(register)
        done = "created" if registration.created else "updated"
        session.show(
            {"url": registration.url, "provider": given or found.provider, "webhook": done},
            lambda console: console.print(f"The webhook of {found.url} is {done}.", markup=False, soft_wrap=True),
        )
        return
    found, hook = session.run_with_services(show)
    kind = given or found.provider

    def render(console: "Console") -> None:
        print_fields(console, [("URL", hook.url), ("secret", hook.secret)])
        console.print()
        steps = PROVIDERS[kind].webhook.steps.format(url=hook.url, secret=hook.secret)
        console.print(steps, markup=False, soft_wrap=True)

    session.show({"url": hook.url, "secret": hook.secret, "provider": kind}, render)
    if hook.url.startswith("http://"):
        typer.echo("Set public_url (PRICORE_PUBLIC_URL) to where the Git host reaches this registry.", err=True)
