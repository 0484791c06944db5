"""`pricore org`: organizations."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from msgspec import UNSET

from pricore.commands.completing import offer
from pricore.commands.finding import find_organization
from pricore.commands.session import Session, SyncInterval, Yes, command, print_fields, print_table
from pricore.models import Organization
from pricore.services import organizations
from pricore.services.quantities import parse_interval
from pricore.store import Store

if TYPE_CHECKING:
    from pricore.services.opening import Services

app = typer.Typer(
    name="org", help="Organizations, which own repositories, packages and tokens.", no_args_is_help=True
)

_Slug = Annotated[str, typer.Argument(help="Its name in URLs.", autocompletion=offer("organizations"))]


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its display name.")],
    slug: Annotated[str | None, typer.Option(help="Its name in URLs; by default made from the name.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Create an organization."""

    async def work(store: Store) -> Organization:
        return await organizations.create_organization(store, name, slug=slug, description=description)

    made = session.run(work, creates=True)
    session.show(
        organizations.OrganizationView.of(made),
        lambda console: console.print(f"Created the organization {made.slug}.", markup=False),
    )


@command(app, "list")
def show_all(session: Session) -> None:
    """List organizations."""

    async def work(store: Store) -> list[Organization]:
        return await store.organizations.all()

    found = session.run(work)
    session.show(
        [organizations.OrganizationView.of(item) for item in found],
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
    document = msgspec.to_builtins(organizations.OrganizationView.of(found)) | counts
    session.show(document, lambda console: print_fields(console, list(document.items())))


@command(app, "change")
def change(
    session: Session,
    slug: Annotated[
        str, typer.Argument(help="Its name in URLs; this does not change.", autocompletion=offer("organizations"))
    ],
    name: Annotated[str | None, typer.Option(help="Its display name.")] = None,
    description: Annotated[str | None, typer.Option(help="What it is for.")] = None,
    sync_interval: SyncInterval = None,
) -> None:
    """Change an organization: its name, its description, how often its repositories are polled."""
    if name is None and description is None and sync_interval is None:
        raise typer.BadParameter("give --name, --description or --sync-interval")
    interval = UNSET if sync_interval is None else parse_interval(sync_interval)

    async def work(store: Store) -> Organization:
        return await organizations.change_organization(
            store,
            await find_organization(store, slug),
            name=UNSET if name is None else name,
            description=UNSET if description is None else description,
            sync_interval=interval,
        )

    changed = session.run(work)
    session.show(
        organizations.OrganizationView.of(changed),
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

    async def work(services: "Services") -> None:
        await organizations.delete_organization(services, found)

    session.run_with_services(work)
    session.show({"deleted": slug}, lambda console: console.print(f"Deleted {slug}.", markup=False))
