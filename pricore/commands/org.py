"""`pricore org`: organizations."""

import re
import sys
from typing import Annotated

import msgspec
import typer

from pricore import auth, views
from pricore.commands.session import Session, command, print_fields, print_table
from pricore.errors import InvalidError
from pricore.models import Organization
from pricore.store import Store

app = typer.Typer(
    name="org", help="Organizations: who owns repositories, packages and tokens.", no_args_is_help=True
)


def slug_of(name: str) -> str:
    """A slug for a name: lower case, with dashes. Raises InvalidError where nothing is left."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64].strip("-")
    if not slug:
        raise InvalidError(f"{name!r} has no letters or digits of which to make a slug: give --slug", field="slug")
    return slug


def check_slug(slug: str) -> str:
    """Refuse with InvalidError what cannot stand in a URL as it is."""
    if not re.fullmatch(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?", slug):
        raise InvalidError(
            f"{slug[:80]!r} is not a slug: up to 64 lower-case letters, digits and dashes between them",
            field="slug",
        )
    return slug


@command(app, "create")
def create(
    session: Session,
    name: Annotated[str, typer.Argument(help="Its name for people.")],
    slug: Annotated[str | None, typer.Option(help="Its name in URLs; made of the name if not given.")] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
) -> None:
    """Create an organization."""
    name = auth.check_name(name)
    slug = check_slug(slug) if slug is not None else slug_of(name)

    async def work(store: Store) -> Organization:
        return await store.organizations.create(slug, name, description=description)

    made = session.run(work)
    session.show(
        views.organization(made),
        lambda console: console.print(f"Created the organization {made.slug}.", markup=False),
    )


@command(app, "list")
def show_all(session: Session) -> None:
    """List organizations."""

    async def work(store: Store) -> list[Organization]:
        return await store.organizations.all()

    found = session.run(work)
    session.show(
        [views.organization(item) for item in found],
        lambda console: print_table(
            console, ("slug", "name", "description"), [(item.slug, item.name, item.description) for item in found]
        ),
    )


@command(app, "show")
def show(session: Session, slug: Annotated[str, typer.Argument(help="Its name in URLs.")]) -> None:
    """Show an organization."""

    async def work(store: Store) -> tuple[Organization, int, int, int]:
        found = await store.organizations.get(slug)
        return (
            found,
            len(await store.repositories.of_organization(found.id)),
            len(await store.packages.of_organization(found.id)),
            len(await store.tokens.of_organization(found.id)),
        )

    found, repositories, packages, tokens = session.run(work)
    counts = {"repositories": repositories, "packages": packages, "tokens": tokens}
    document = msgspec.structs.asdict(views.organization(found)) | counts
    session.show(document, lambda console: print_fields(console, list(document.items())))


@command(app, "delete")
def delete(
    session: Session,
    slug: Annotated[str, typer.Argument(help="Its name in URLs.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete an organization with its repositories, packages and tokens."""

    async def find(store: Store) -> Organization:
        return await store.organizations.get(slug)

    found = session.run(find)
    if not yes and (session.json or not sys.stdin.isatty()):
        raise InvalidError(f"this deletes {slug} with everything in it: add --yes", field="yes")
    if not yes:
        typer.confirm(f"Delete {slug} with everything in it?", abort=True, err=True)

    async def work(store: Store) -> None:
        from pricore.git import Git
        from pricore.sync import Syncer

        with Git(timeout=session.config.git_timeout) as git:
            syncer = Syncer(store, git, session.config)
            for repository in await store.repositories.of_organization(found.id):
                await syncer.remove(repository)
        await store.organizations.delete(found.id)

    session.run(work)
    session.show({"deleted": slug}, lambda console: console.print(f"Deleted {slug}.", markup=False))
