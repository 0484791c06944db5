"""`pricore org`: organizations."""

from typing import Annotated

import msgspec
import typer

from pricore.auth import access_tokens
from pricore.commands.completing import offer
from pricore.commands.finding import find_organization
from pricore.commands.session import Session, SyncInterval, Yes, command, print_fields, print_table
from pricore.models import Organization
from pricore.services import views
from pricore.services.management import (
    check_description,
    check_slug,
    delete_organization,
    parse_interval,
    slug_of,
)
from pricore.services.opening import Services
from pricore.store import Store

app = typer.Typer(
    name="org", help="Organizations: who owns repositories, packages and tokens.", no_args_is_help=True
)

_Slug = Annotated[str, typer.Argument(help="Its name in URLs.", autocompletion=offer("organizations"))]


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name for people.")],
    slug: Annotated[str | None, typer.Option(help="Its name in URLs; made of the name if not given.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Create an organization."""
    name = access_tokens.check_name(name)
    slug = check_slug(slug) if slug is not None else slug_of(name)
    description = check_description(description)

    async def work(store: Store) -> Organization:
        return await store.organizations.create(slug, name, description=description)

    made = session.run(work, creates=True)
    session.show(
        views.OrganizationView.of(made),
        lambda console: console.print(f"Created the organization {made.slug}.", markup=False),
    )


@command(app, "list")
def show_all(session: Session) -> None:
    """List organizations."""

    async def work(store: Store) -> list[Organization]:
        return await store.organizations.all()

    found = session.run(work)
    session.show(
        [views.OrganizationView.of(item) for item in found],
        lambda console: print_table(
            console, ("slug", "name", "description"), [(item.slug, item.name, item.description) for item in found]
        ),
    )


@command(app, "show")
def show(
    session: Session,
    slug: _Slug,
) -> None:
    """Show an organization."""

    async def work(store: Store) -> tuple[Organization, int, int, int]:
        found = await find_organization(store, slug)
        return (
            found,
            len(await store.repositories.of_organization(found.id)),
            len(await store.packages.of_organization(found.id)),
            len(await store.tokens.of_organization(found.id)),
        )

    found, repositories, packages, tokens = session.run(work)
    counts = {"repositories": repositories, "packages": packages, "tokens": tokens}
    document = msgspec.to_builtins(views.OrganizationView.of(found)) | counts
    session.show(document, lambda console: print_fields(console, list(document.items())))


@command(app, "change")
def change(
    session: Session,
    slug: Annotated[
        str, typer.Argument(help="Its name in URLs, which stays.", autocompletion=offer("organizations"))
    ],
    name: Annotated[str | None, typer.Option(help="Its name for people.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    sync_interval: SyncInterval = None,
) -> None:
    """Change an organization: its name, what is said about it, how often its repositories are looked at."""
    if name is None and description is None and sync_interval is None:
        raise typer.BadParameter("give --name, --description or --sync-interval")
    interval = None if sync_interval is None else parse_interval(sync_interval)
    name = None if name is None else access_tokens.check_name(name)
    description = None if description is None else check_description(description)

    async def work(store: Store) -> Organization:
        found = await find_organization(store, slug)
        if sync_interval is not None:
            await store.schedule.set_interval(found.id, None, interval)
        return await store.organizations.change(found, name=name, description=description)

    changed = session.run(work)
    session.show(
        views.OrganizationView.of(changed),
        lambda console: console.print(f"Changed the organization {slug}.", markup=False),
    )


@command(app, "delete")
def delete(
    session: Session,
    slug: _Slug,
    yes: Yes = False,
) -> None:
    """Delete an organization with its repositories, packages and tokens."""

    async def find(store: Store) -> Organization:
        return await find_organization(store, slug)

    found = session.run(find)
    session.confirm(f"deletes {slug} with everything in it", yes=yes)

    async def work(services: Services) -> None:
        await delete_organization(services, found)

    session.run_with_services(work)
    session.show({"deleted": slug}, lambda console: console.print(f"Deleted {slug}.", markup=False))
