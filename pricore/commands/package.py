"""`pricore package`: what is served."""

import sys
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pricore import management, views
from pricore.clock import now, rfc3339
from pricore.commands.session import Session, command, print_fields, print_table
from pricore.dists import Dists
from pricore.errors import InvalidError, NotFoundError
from pricore.models import Downloads, Organization, Package, Version
from pricore.store import Store

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="package", help="Packages that are served.", no_args_is_help=True)

_Org = Annotated[str, typer.Argument(metavar="ORG", help="The organization's slug.")]
_Name = Annotated[str, typer.Argument(metavar="VENDOR/NAME", help="The package's name.")]


@command(app, "list")
def show_all(session: Session, org: _Org) -> None:
    """List the packages of an organization."""

    async def work(store: Store) -> list[Package]:
        return await store.packages.of_organization((await store.organizations.get(org)).id)

    found = session.run(work)
    session.show(
        [views.package_summary(item) for item in found],
        lambda console: print_table(
            console,
            ("name", "latest", "type", "description"),
            [(item.name, item.latest_version, item.type, item.description) for item in found],
        ),
    )


@command(app, "show")
def show(
    session: Session,
    org: _Org,
    name: _Name,
) -> None:
    """Show a package and its versions."""

    async def work(store: Store) -> tuple[Package, list[Version]]:
        found = await store.packages.get(await store.organizations.get(org), name)
        return found, await store.packages.versions(found)

    found, versions = session.run(work)
    summary = msgspec.structs.asdict(views.package_summary(found))
    document = summary | {"versions": [views.version(item) for item in versions]}

    def render(console: "Console") -> None:
        print_fields(console, list(summary.items()))
        print_table(
            console,
            ("version", "commit", "released", ""),
            [
                (
                    item.version,
                    item.reference[:12],
                    rfc3339(item.released_at),
                    "" if item.gone_at is None else f"gone upstream since {rfc3339(item.gone_at)}",
                )
                for item in versions
            ],
        )

    session.show(document, render)


@command(app, "delete")
def delete(
    session: Session,
    org: _Org,
    name: _Name,
    version: Annotated[str | None, typer.Argument(help="The version; all of the package if not given.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a package or a version; it stays deleted until upstream has another commit for it."""

    async def find(store: Store) -> tuple[Organization, Package, Version | None]:
        organization = await store.organizations.get(org)
        package = await store.packages.get(organization, name)
        found = None if version is None else await store.packages.find_version(package, version)
        if version is not None and found is None:
            raise NotFoundError(
                f"{package.name} has no version {version}; "
                f"`pricore package show {org} {package.name}` shows those it has"
            )
        return organization, package, found

    organization, package, found = session.run(find)
    what = package.name if found is None else f"{package.name} {found.version}"
    if not yes and (session.json or not sys.stdin.isatty()):
        raise InvalidError(f"this deletes {what} with its archives: add --yes", field="yes")
    if not yes:
        typer.confirm(f"Delete {what} with its archives?", abort=True, err=True)

    async def work(store: Store) -> None:
        dists = Dists(session.config.dists)
        if found is None:
            await management.delete_package(store, dists, organization, package)
        else:
            await management.delete_version(store, dists, organization, package, found.version)

    session.run(work)
    session.show(
        {"deleted": package.name, "version": None if found is None else found.version},
        lambda console: console.print(f"Deleted {what}.", markup=False),
    )


@command(app, "downloads")
def downloads(
    session: Session,
    org: _Org,
    name: _Name,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="The first day; 30 days ago if not given.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="The last day; today if not given.")
    ] = None,
) -> None:
    """Show how often a package was installed, by day and by version."""
    since, to = management.parse_period(first, last, at=now())

    async def work(store: Store) -> Downloads:
        package = await store.packages.get(await store.organizations.get(org), name)
        return await store.usage.downloads(package, first=since, last=to)

    document = views.downloads(session.run(work))

    def render(console: "Console") -> None:
        print_fields(console, [("since ever", document.total), ("from", document.first), ("to", document.last)])
        print_table(
            console, ("version", "downloads"), [(item.version, item.downloads) for item in document.versions]
        )
        print_table(
            console,
            ("day", "downloads"),
            [(item.date, item.downloads) for item in document.days if item.downloads],
        )

    session.show(document, render)
