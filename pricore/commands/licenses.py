"""`pricore licenses`: what the program is made of."""

from typing import Annotated

import typer

from pricore.commands.session import Session, command, print_table, printable
from pricore.operations.licenses import parts

app = typer.Typer()


@command(app, "licenses")
def licenses(
    session: Session,
    *,
    text: Annotated[bool, typer.Option("--text", help="Print the licences whole.")] = False,
) -> None:
    """List the parts of the program and their licences."""
    found = parts()
    if text and not session.json:
        for part in found:
            lines = [f"{part.name} {part.version}: {part.license}", "", *part.text.splitlines(), ""]
            typer.echo("\n".join(map(printable, lines)))
        return
    session.show(
        found,
        lambda console: print_table(
            console, ("name", "version", "licence"), [(part.name, part.version, part.license) for part in found]
        ),
    )
