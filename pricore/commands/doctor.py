"""`pricore doctor`."""

from typing import TYPE_CHECKING, Final

import typer
from msgspec import to_builtins

from pricore.commands.session import Session, command, printable
from pricore.doctor import examine
from pricore.doctor.results import Result, Status
from pricore.errors import CheckError

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer()
_STYLES: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILURE: "bold red"}


@command(app, "doctor")
def doctor(session: Session) -> None:
    """Check that the registry is well: this machine, its data, its proxy, and what a Composer client gets.

    It makes itself a token for a moment. Exits with 1 where something fails; warnings are for when there is time.
    """

    async def work() -> list[Result]:
        return [result async for result in examine(session.config)]

    results = session.run_without_store(work)

    def render(console: "Console") -> None:
        from rich.text import Text

        for item in results:
            line = Text.assemble((f"{item.status:<8}", _STYLES[item.status]), f" {item.name}: ", item.message)
            if item.advice:
                line.append(f"; {item.advice}")
            line.plain = printable(line.plain)
            console.print(line, soft_wrap=True)

    session.show([to_builtins(item) for item in results], render)
    if failed := [item.name for item in results if item.status is Status.FAILURE]:
        raise CheckError(f"{len(failed)} of {len(results)} checks failed: {', '.join(failed)}")
