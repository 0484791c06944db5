"""`pricore backup` and `pricore restore`."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING, Annotated, Final

import typer

from pricore.auth.sealing import check_passphrase
from pricore.commands.session import Session, command, printable, warn
from pricore.engine.sqlite import check_there
from pricore.errors import BackupError, InvalidError

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.operations.backup import Backup, Restored
    from pricore.services.opening import Services

app = typer.Typer()

PassphraseFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Read the passphrase of the key from a file. By default it is asked for."),
]
_MOST_PASSPHRASE: Final = 4096


@command(app, "backup")
def make(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write; - is standard output.")],
    with_key: Annotated[
        bool, typer.Option("--with-key", help="Include the key for the secrets, encrypted with a passphrase.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    with_repositories: Annotated[
        bool,
        typer.Option(
            "--with-repositories", help="Include the mirrors, which may have commits that upstream no longer has."
        ),
    ] = False,
    with_dists: Annotated[
        bool,
        typer.Option("--with-dists", help="Include kept archives. Otherwise they are made again when needed."),
    ] = False,
) -> None:
    """Back up the registry into one file, while it serves.

    It contains everything that was answered before: the database, uploads and known SSH hosts.
    """
    from pricore.operations.backup import Choice, write  # loads git and what is behind it

    if passphrase_file is not None and not with_key:
        raise typer.BadParameter("--passphrase-file goes with --with-key")
    if str(file) == "-" and (session.json or sys.stdout.isatty()):
        raise typer.BadParameter("the backup goes to standard output: send that to a file, without --json")
    check_there(session.config.database)
    passphrase = check_passphrase(_read_passphrase(passphrase_file, confirm=True)) if with_key else None
    choice = Choice(passphrase=passphrase, repositories=with_repositories, dists=with_dists)

    async def work(services: "Services") -> "Backup":
        with _opened(file) as (target, scratch), session.progress() as bar:
            return await write(target, scratch, services, choice, progress=bar)

    made = session.run_with_services(work)

    def render(console: "Console") -> None:
        for line in _said(made, file, with_key=with_key):
            console.print(line, markup=False, soft_wrap=True)

    if str(file) == "-":
        for line in _said(made, file, with_key=with_key):
            warn(line)
    else:
        session.show({"file": str(file), **_fields(made)}, render)
    if made.left_out:
        raise BackupError(
            f"{len(made.left_out)} mirrors are not in {file}, the rest is: mend them and back up again, because "
            "commits that upstream no longer has are nowhere else"
        )


@contextmanager
def _opened(file: Path) -> Iterator[tuple[IO[bytes], Path]]:
    if str(file) == "-":
        with TemporaryDirectory(prefix="pricore-") as scratch:
            yield sys.stdout.buffer, Path(scratch)
            sys.stdout.buffer.flush()
    else:
        from pricore.operations.backup import destination

        with destination(file) as opened:
            yield opened


def _fields(made: "Backup | Restored") -> dict[str, object]:
    return {name: getattr(made, name) for name in made.__struct_fields__}


def _said(made: "Backup", file: Path, *, with_key: bool) -> Iterator[str]:
    where = "standard output" if str(file) == "-" else str(file)
    yield (
        f"Backed up to {where}: the database (schema {made.schema}), {made.repositories} mirrors and "
        f"{made.dists} archives, {made.size / 1024**2:.1f} MB before packing."
    )
    if made.key:
        yield "The key is in it, encrypted with the passphrase: without that nobody can read it, not even you."
    elif with_key:
        yield "There is no key: no secret was stored so far."
    else:
        yield "The key that opens secrets is not in it: keep a copy elsewhere (--with-key includes it)."
    for url, reason in made.left_out.items():
        yield f"Left out: the mirror of {printable(url)}: {printable(reason)}"


@command(app, "restore")
def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup; - is standard input.")],
    passphrase_file: PassphraseFile = None,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Do not restore the key in the backup.")
    ] = False,
) -> None:
    """Restore a backup into an empty data folder: everything or nothing.

    Everything is checked before any of it is put in place.
    """
    from pricore.git import Git
    from pricore.operations.backup import restore as restore_backup

    if passphrase_file is not None and without_key:
        raise typer.BadParameter("--passphrase-file opens the key, --without-key leaves it alone")
    config = session.config

    def ask() -> str:
        return _read_passphrase(passphrase_file, confirm=False)

    async def work() -> "Restored":
        with Git(timeout=config.git_timeout) as git, _source(file) as source, session.progress() as bar:
            show: Callable[[str], None] = lambda text: bar(text, 0, 0)  # noqa: E731
            return await restore_backup(
                source, git, config, passphrase=None if without_key else ask, progress=show
            )

    done = session.run_without_store(work)
    key = {
        "restored": f"The key was restored to {config.key}.",
        "there": f"The key in {config.key} is kept.",
        "missing": f"The backup has no key: put yours at {config.key}, or secrets cannot be opened.",
    }[done.key]

    def render(console: "Console") -> None:
        restored = (
            f"Restored {config.data} as it was at {done.created_at}: the database (schema {done.schema}), "
            f"{done.repositories} mirrors and {done.dists} archives."
        )
        lines = [restored, key]
        if done.queued:
            lines.append(f"Repositories that are synced again once it serves: {done.queued}.")
        lines.append("Tokens that were revoked and versions that were deleted since then are back: do that again.")
        for line in lines:
            console.print(line, markup=False, soft_wrap=True)

    session.show({"data": str(config.data), **_fields(done)}, render)


@contextmanager
def _source(file: Path) -> Iterator[IO[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise BackupError(f"cannot read {file}: {error.strerror or error}") from None
    with opened:
        yield opened


def _read_passphrase(file: Path | None, *, confirm: bool) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise InvalidError(
                "nobody is there to be asked for the passphrase: give --passphrase-file", field="key"
            )
        asked: str = typer.prompt("Passphrase of the key", hide_input=True, confirmation_prompt=confirm, err=True)
        return asked
    try:
        with file.open("rb") as opened:
            content = opened.read(_MOST_PASSPHRASE + 1)
        passphrase = content.decode().strip("\r\n")
    except OSError as error:
        raise InvalidError(f"cannot read {file}: {error.strerror}", field="passphrase") from None
    except UnicodeDecodeError:
        raise InvalidError(f"{file} holds no text", field="passphrase") from None
    if not passphrase or len(content) > _MOST_PASSPHRASE:
        raise InvalidError(f"{file} holds no passphrase, which is one line of text", field="passphrase")
    return passphrase
