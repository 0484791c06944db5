"""`pricore package`: what is served."""

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from pricore import views
from pricore.clock import rfc3339
from pricore.commands.session import Session, command, print_fields, print_table
from pricore.models import Package, Version
from pricore.store import Store

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="package", help="Packages that are served.", no_args_is_help=True)

_Org = Annotated[str, typer.Argument(metavar="ORG", help="The organization's slug.")]


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
    name: Annotated[str, typer.Argument(metavar="VENDOR/NAME", help="The package's name.")],
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
