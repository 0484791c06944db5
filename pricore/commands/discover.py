"""`pricore repo discover`: what somebody has at a Git host, listed and followed in one go."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.finding import find_credential, find_organization
from pricore.commands.repo import Host
from pricore.commands.session import Org, Session, command, print_table, warn
from pricore.hosts.addresses import parse_instance
from pricore.hosts.table import NAMES_WITH_API
from pricore.services import discovery
from pricore.services.discovery import Discovered, Filter

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services

app = typer.Typer()


@command(app, "discover")
def discover(
    session: Session,
    org: Org,
    provider: Annotated[str, typer.Argument(metavar="PROVIDER", help=f"{NAMES_WITH_API}.")],
    owner: Annotated[
        str, typer.Argument(metavar="OWNER", help="A user, organization, group or workspace at the host.")
    ],
    host: Host = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Only names that match, such as lib-* or group/lib-*; can be repeated."
        ),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Follow the new ones.")] = False,
    forks: Annotated[bool, typer.Option("--forks", help="Include forks.")] = False,
    archived: Annotated[bool, typer.Option("--archived", help="Include archived repositories.")] = False,
    ssh: Annotated[bool, typer.Option("--ssh", help="Use ssh instead of https.")] = False,
    webhooks: Annotated[
        bool, typer.Option("--webhooks", help="Register a webhook for every repository that is followed then.")
    ] = False,
    credential: Annotated[
        str | None, typer.Option(metavar="NAME", help="The credential to use; by default the one for the host.")
    ] = None,
) -> None:
    """List the repositories of an owner at a Git host; with --add, follow those that are not followed yet.

    Run again, it adds what is new since then. Repositories without a composer.json are skipped.
    """
    instance = parse_instance(provider, host)
    wanted = Filter(patterns=match or (), forks=forks, archived=archived, ssh=ssh)

    async def work(services: "Services") -> list[Discovered]:
        organization = await find_organization(services.store, org)
        given = None if credential is None else await find_credential(services.store, organization, credential)
        with session.progress() as bar:
            return await discovery.discover(
                services,
                organization,
                instance,
                owner,
                wanted,
                credential=given,
                add=add,
                webhooks=webhooks,
                bar=bar,
            )

    found = session.run_with_services(work)
    session.show(
        {
            "provider": instance.provider,
            "host": instance.host,
            "owner": owner,
            "repositories": [item.document() for item in found],
        },
        lambda console: _print(console, found, org),
    )
    failed = [item for item in found if item.error is not None]
    for item in failed:
        warn(f"error: {item.name}: {item.error}")
    if failed:
        raise typer.Exit(1)


def _print(console: "Console", found: Sequence[Discovered], org: str) -> None:
    rows = [
        (item.name, item.status, ", ".join(item.packages[:3]) + (", ..." if len(item.packages) > 3 else ""))
        for item in found
    ]
    hooks = [item.webhook for item in found if item.webhook]
    if not found:
        console.print("Nothing there matches.")
        return
    print_table(console, ("repository", "status", "packages"), rows)
    if hooks:
        console.print(f"Webhooks: {hooks.count('created')} created, {hooks.count('updated')} updated.")
    new = sum(1 for item in found if item.status == "new")
    if new:
        console.print(f"{new} of {len(found)} new to {org}; --add follows them.", markup=False)
