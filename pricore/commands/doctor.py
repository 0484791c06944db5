"""`pricore doctor`."""

from typing import TYPE_CHECKING

import typer

from pricore.commands.session import Session, command, printable
from pricore.errors import CheckError

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.operations.doctor.results import Result

app = typer.Typer()


@command(app, "doctor")
def doctor(session: Session) -> None:
    """Check the machine, the data, the proxy, and what a Composer client gets.

    It uses a temporary token. Exits with 1 if a check fails; warnings can wait.
    """

    from pricore.operations.doctor import examine  # loads what asks over HTTP
    from pricore.operations.doctor.results import Status

    styles = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILURE: "bold red"}

    async def work() -> "list[Result]":
        return [result async for result in examine(session.config)]

    results = session.run_without_store(work)

    def render(console: "Console") -> None:
        for item in results:
            message = printable(f"{item.name}: {item.message}{'; ' if item.advice else ''}{item.advice}")
            if console.is_terminal:
                from rich.text import Text

                line = Text.assemble((f"{item.status:<8}", styles[item.status]), f" {message}")
                console.print(line, soft_wrap=True)
            else:
                console.print(f"{item.status:<8} {message}")

    session.show(results, render)
    if failed := [item.name for item in results if item.status is Status.FAILURE]:
        raise CheckError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")
