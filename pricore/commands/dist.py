"""`pricore dist`: the archives that are kept."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pricore.commands.session import Session, command, print_table, warn
from pricore.errors import ConfigError, DistError, InvalidError
from pricore.services.quantities import parse_age, parse_size

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.operations.retention import Pruning
    from pricore.operations.storage_move import Moved
    from pricore.services.opening import Services

app = typer.Typer(name="dist", help="Kept archives.", no_args_is_help=True)


class Place(StrEnum):
    """Where archives can be kept."""

    BUCKET = "bucket"
    FOLDER = "folder"


@command(app, "prune")
def prune(
    session: Session,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The size that may stay: 500M, 5G; by default dist_limit.")
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Unused for this time: 90d, 8w; by default dist_days.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
) -> None:
    """Delete archives that nobody asks for. They are made again when needed.

    First those go that no version names, and those unused for the given time. Then the longest unused go until
    the rest fits the size. Archives in a registered lock file stay, and those that git could not make again.
    """
    from pricore.operations import retention  # loads what reads archives

    most, unused = retention.limits(session.config)
    if max_size is not None:
        most = parse_size(max_size, field="max_size")
    if older_than is not None:
        unused = parse_age(older_than, field="older_than")
    if most is None and unused is None:
        raise InvalidError(
            "say what may stay: --max-size, --older-than, or the settings dist_limit and dist_days",
            field="max_size",
        )

    async def work(services: "Services") -> "Pruning":
        return await retention.prune(services, most=most, unused=unused, dry_run=dry_run)

    done = session.run_with_services(work)

    def render(console: "Console") -> None:
        if dry_run:
            rows = [(item.shasum, _size(item.size), item.reason, item.storage) for item in done.pruned]
            print_table(console, ("archive", "size", "why", "where"), rows)
        verb = "Would delete" if dry_run else "Deleted"
        freed = _size(sum(item.size for item in done.pruned))
        stays = f"{_size(done.left)} stay, {_size(done.protected)} of them for good"
        console.print(f"{verb} {len(done.pruned)} files, {freed}; {stays}.", markup=False, soft_wrap=True)

    session.show(done, render)


@command(app, "move")
def move(
    session: Session,
    to: Annotated[Place, typer.Option("--to", help="The bucket in dist_storage, or the data folder.")],
) -> None:
    """Move all kept archives from the data folder to the bucket, or back, while they are served.

    An archive is deleted in the old place after it was read back from the new one. If it is interrupted, run it
    again: it continues. A server with the bucket as dist_storage serves archives from both places. So set it
    before you move to the bucket, and unset it after you moved to the folder.
    """
    from pricore.operations import storage_move  # loads what reads archives

    async def work(services: "Services") -> "Moved":
        dists = services.dists
        if dists.bucket is None:
            raise ConfigError("dist_storage names no bucket: set it to one such as s3://bucket/prefix")
        ends = (dists.folder, dists.bucket) if to is Place.BUCKET else (dists.bucket, dists.folder)
        with session.progress() as bar:
            return await storage_move.move(dists, *ends, progress=bar)

    done = session.run_with_services(work)

    def render(console: "Console") -> None:
        where = session.config.dist_storage if to is Place.BUCKET else str(session.config.dists)
        console.print(f"Moved {done.moved} files to {where}.", markup=False, soft_wrap=True)
        for reason in done.failed.values():
            warn(f"warning: {reason}")

    session.show(done, render)
    if done.failed:
        raise DistError(f"{len(done.failed)} files stayed where they are: `pricore verify` mends them")


def _size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / 1024**2:,.1f} MB"
