"""`pricore upgrade`: what comes with another version."""

from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.session import Session, command, print_fields, printable

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="upgrade", help="Other versions of Pricore.", no_args_is_help=True)


@command(app, "check")
def check(
    session: Session,
    since: Annotated[
        str | None, typer.Option("--since", metavar="VERSION", help="Where you come from; else what serves now.")
    ] = None,
) -> None:
    """Show what this version would do with the data folder, and change nothing.

    Run it with the new program before you restart the server.
    """
    from pricore.operations.upgrade import look_ahead

    found = session.run_without_store(lambda: look_ahead(session.config, since=since))

    def render(console: "Console") -> None:
        database = f"schema {found.schema}, as this version wants it"
        if found.migrations:
            database = (
                f"schema {found.schema}, which this version migrates to {found.newest_schema} when it opens it: "
                f"{', '.join(found.migrations)}"
            )
        fields = [
            ("version", found.version),
            ("installed", f"as {found.installed}"),
            ("to upgrade", found.upgrade),
            ("serves now", found.serves or "nothing that could be asked"),
            ("database", database),
        ]
        if found.migrations:
            needed, free = found.room / 1024**2, found.free / 1024**2
            fields.append(("room", f"{needed:.1f} MB, {free:.1f} MB are free"))
        print_fields(console, fields)
        for change in found.changes:
            console.print(f"\n{change.version}\n", markup=False)
            console.print("\n".join(map(printable, change.notes.splitlines())), markup=False, soft_wrap=True)

    session.show(found, render)
    if found.migrations and found.room > found.free:
        raise typer.Exit(1)
