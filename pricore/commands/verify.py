"""`pricore verify`."""

from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.session import Session, command, print_table
from pricore.errors import DistError

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.operations.verification import Verification
    from pricore.services.opening import Services

app = typer.Typer()


@command(app, "verify")
def verify(
    session: Session,
    make_all: Annotated[
        bool, typer.Option("--all", help="Also make and compare the archives that are not kept; takes long.")
    ] = False,
) -> None:
    """Compare every kept archive with its checksum, and make damaged and missing ones again.

    Missing are archives that clients asked for, or that a registered lock file names, and that are not kept. For
    all other versions, git must have the commit. Exits with 1 if something advertised cannot be served.
    """
    from pricore.operations.verification import verify as verify_archives  # loads what makes archives

    async def work(services: "Services") -> "Verification":
        with session.progress() as bar:
            return await verify_archives(services, make_all=make_all, progress=bar)

    done = session.run_with_services(work)

    def render(console: "Console") -> None:
        if done.faults:
            print_table(
                console,
                ("package", "version", "archive", "", "mended"),
                [
                    (
                        f"{item.organization}/{item.package}" if item.package else None,
                        item.version or None,
                        item.shasum,
                        item.problem,
                        "yes" if item.mended else "no",
                    )
                    for item in done.faults
                ],
            )
        text = (
            f"Archives that were advertised: {done.advertised}; kept files read: {done.kept}; made: {done.made}."
        )
        console.print(text, markup=False, soft_wrap=True)

    session.show(done, render)
    if lost := sum(not item.mended for item in done.faults):
        raise DistError(f"{lost} archives that were advertised cannot be served")
