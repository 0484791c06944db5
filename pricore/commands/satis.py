"""`pricore import`: the same repositories as another registry has."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.session import Session, command, print_table, warn
from pricore.errors import InvalidError
from pricore.operations import satis
from pricore.operations.satis import ImportResult, plan_import
from pricore.operations.satis_file import read_satis
from pricore.services.slugs import check_slug, slug_of

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services

app = typer.Typer()


@command(app, "import")
def import_satis(
    session: Session,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A satis.json, or a list of addresses; - is standard input.")
    ],
    org: Annotated[
        str | None,
        typer.Option(metavar="SLUG", help="The organization; by default made from the name in the file."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done.")] = False,
) -> None:
    """Follow the repositories of a satis.json or a list. The organization is created if it does not exist.

    Tokens in the file, and in the auth.json beside it, become credentials. Run again, it adds what is new.
    """
    found = read_satis(file)
    if org is None and not found.name:
        raise InvalidError(f"{file} doesn't name an organization: say which with --org", field="org")
    slug = check_slug(org) if org is not None else slug_of(found.name.partition("/")[0])

    async def work(services: "Services") -> ImportResult:
        with session.progress() as bar:
            return await satis.import_satis(services, found, slug, dry_run=dry_run, bar=bar)

    if dry_run and not session.config.database.exists():
        done = plan_import(found)  # nothing is made for a look
    else:
        done = session.run_with_services(work, creates=True)
    session.show(
        {
            "organization": slug,
            "repositories": [
                {
                    "url": item.repository.url,
                    "status": item.status,
                    "packages": list(item.packages),
                    "reason": item.reason,
                }
                for item in done.repositories
            ],
            "credentials": list(done.hosts),
        },
        lambda console: _print(console, slug, done, restricted=found.restricted),
    )
    failed = [item for item in done.repositories if item.status == "failed"]
    for item in failed:
        warn(f"error: {item.reason or ''}")
    if failed:
        raise typer.Exit(1)


def _print(console: "Console", slug: str, done: ImportResult, *, restricted: bool) -> None:
    print_table(
        console,
        ("repository", "status", "packages"),
        [
            (
                item.repository.url,
                item.status,
                ", ".join(item.packages) or (item.reason if item.status == "passed over" else None),
            )
            for item in done.repositories
        ],
    )
    if done.hosts:
        console.print(f"Credentials made for {', '.join(done.hosts)}.", markup=False)
    if restricted:
        console.print(
            "This Satis chooses among packages or versions (require); Pricore serves all of what it follows.",
            markup=False,
        )
    new = sum(1 for item in done.repositories if item.status == "new")
    if new:
        console.print(f"{new} repositories would be followed in {slug}.", markup=False)
