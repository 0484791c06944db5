"""What all commands have in common: the options on each of them, the open store, and how results are shown."""

import asyncio
import functools
import gc
import inspect
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, cast

import msgspec
import typer

from pricore.commands.completing import offer
from pricore.commands.typed import Command
from pricore.config import Config, load_config, read_settings
from pricore.errors import InvalidError
from pricore.models import Step
from pricore.system.logs import escape_unprintable

if TYPE_CHECKING:
    from rich.console import Console

    from pricore.services.opening import Services
    from pricore.store import Store
    from pricore.sync.progress import OnProgress

T = TypeVar("T")
Org = Annotated[
    str,
    typer.Argument(metavar="ORG", help="The organization's slug.", autocompletion=offer("organizations")),
]
"""The argument of what belongs to an organization."""

SyncInterval = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="How often to poll: 10m, 2h, off, or default."),
]
"""The option of what has an interval."""

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
"""The option of what deletes something."""

STEPS: Final[Mapping[Step, str]] = {
    Step.WAITING: "Waiting for another sync",
    Step.LISTING: "Asking what is new",
    Step.FETCHING: "Fetching",
    Step.READING: "Reading composer.json",
    Step.CHECKSUMS: "Making checksums",
}
"""Each step in words."""


_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WHOLE: Final = re.compile(r"-|never|[0-9a-f-]{7,64}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z")
"""What stays in one line of a table on a terminal: ids and times, which are copied from there."""

Bar = Callable[[str, int, int], None]
"""Shows what is going on, how much of it is done, and how much there is (0: nobody knows)."""


def _common(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    data: Annotated[str | None, typer.Option(metavar="FOLDER", help="Data folder (PRICORE_DATA).")] = None,
    config: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings (PRICORE_CONFIG).")] = None,
) -> None:
    """The options that every command takes; only the signature is used."""


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command of `app`: its first parameter is the Session, made of the common options."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        common = list(inspect.signature(_common, eval_str=True).parameters.values())
        _, *own = inspect.signature(function, eval_str=True).parameters.values()

        def run(*, as_json: bool, data: str | None, config: Path | None, **arguments: Any) -> None:
            function(Session(as_json=as_json, file=config, flags={"data": data}), **arguments)

        functools.update_wrapper(run, function)
        del run.__wrapped__  # type: ignore[attr-defined]  # Typer would look at the function behind
        parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in (*own, *common)]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {item.name: item.annotation for item in parameters}
        app.command(name, cls=Command)(run)
        return function

    return register


class Session:
    """One run of one command: its settings, and whether a program or a person reads the result."""

    def __init__(self, *, as_json: bool, file: Path | None, flags: dict[str, object]) -> None:
        self.json = as_json
        self._file = file
        self._flags = flags
        self.settings = read_settings(file=file, flags=flags)

    @property
    def config(self) -> Config:
        """The settings in force. Raises ConfigError where something is wrong with them."""
        return self.settings.usable()

    def reread(self) -> Config:
        """The settings as they are by now. Raises ConfigError."""
        return load_config(file=self._file, flags=self._flags)

    def with_flags(self, **flags: object) -> "Session":
        """The same with settings from flags of the command's own; None counts as not given."""
        return Session(as_json=self.json, file=self._file, flags=self._flags | flags)

    def run(self, work: "Callable[[Store], Awaitable[T]]", *, creates: bool = False) -> T:
        """What `work` makes of the open store.

        One that isn't there is made only by a command that `creates` it: a forgotten PRICORE_DATA would make
        another registry, and tell that everything is gone. Raises StoreError.
        """
        from pricore.engine.sqlite import check_there
        from pricore.store import Store
        from pricore.system.certificates import trust

        if not creates:
            check_there(self.config.database)

        async def with_store() -> T:
            async with Store(self.config.database, sync_interval=self.config.sync_interval) as store:
                trust(self.config)
                return await work(store)

        return self.run_without_store(with_store)

    def run_with_services(self, work: "Callable[[Services], Awaitable[T]]", *, creates: bool = False) -> T:
        """What `work` makes of all that works on the data folder; the rest is as for `run`."""
        from pricore.git import Git
        from pricore.services.opening import Services

        async def with_services(store: "Store") -> T:
            with Git(timeout=self.config.git_timeout) as git:
                return await work(Services(self.config, store, git))

        return self.run(with_services, creates=creates)

    def run_without_store(self, work: "Callable[[], Awaitable[T]]") -> T:
        """What `work` gives, which opens the store itself, or does without."""

        async def until_told() -> T:
            # the end comes as a cancellation, so that no git is left behind
            task = asyncio.current_task()
            assert task is not None  # noqa: S101  # asyncio.run runs one
            for number in (signal.SIGTERM, signal.SIGHUP):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            return await work()

        gc.freeze()  # what is loaded stays: at the end, looking it through would take a fifth of most commands
        gc.enable()
        return asyncio.run(until_told())

    def confirm(self, does: str, *, yes: bool) -> None:
        """Ask before something is deleted, unless `yes`; `does` says what, as "this ..." goes on.

        Raises InvalidError where nobody can be asked.
        """
        if yes:
            return
        if self.json or not sys.stdin.isatty():
            raise InvalidError(f"this {does}: add --yes", field="yes")
        typer.echo(printable(f"This {does}."), err=True)
        typer.confirm("Go on?", abort=True, err=True)

    def show(self, document: object, render: "Callable[[Console], None]") -> None:
        """Print the JSON document, or let `render` print it for people."""
        if self.json:
            content = msgspec.json.format(msgspec.json.encode(document), indent=2).decode()
            _Lines().print(escape_unprintable(content) if sys.stdout.isatty() else content)
        elif sys.stdout.isatty():
            render(_terminal())
        else:
            render(cast("Console", _Lines()))

    @contextmanager
    def progress(self) -> Iterator[Bar]:
        """A bar on the terminal for work that takes a while; nothing where no person looks."""
        if self.json or not sys.stderr.isatty():
            yield lambda text, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None, count="")

            def show(text: str, done: int, total: int) -> None:
                count = f"{done}/{total} ({100 * done // total}%)" if total else ""
                bar.update(task, description=text, completed=done, total=total or None, count=count)

            yield show


def steps_of(bar: Bar, *, about: str = "") -> "OnProgress":
    """Shows the steps of a sync on a bar, and what it is `about` where there are several."""

    def show(step: Step, done: int, total: int, received: int = 0, /) -> None:
        bar(about + describe(step, received), done, total)

    return show


def describe(step: Step, received: int) -> str:
    """A step in words, such as "Fetching, 1.2 MB"."""
    return STEPS[step] + (f", {received / 1024**2:,.1f} MB" if received else "")


def _terminal() -> "Console":
    """The terminal for people, on which no text can have it do anything."""
    from rich.console import Console

    class Terminal(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(_lines(item) if isinstance(item, str) else item for item in objects), **options)

    return Terminal(highlight=False)


def _lines(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))


def warn(text: str) -> None:
    """Say something beside the result, on standard error."""
    typer.echo(printable(text), err=True)


class _Lines:
    """Prints what goes into a pipe as it is: as much of a Console as commands use.

    Rich takes a sixth of a command's time to load, and would cut such lines to 80 columns.
    """

    is_terminal = False

    def print(self, text: str = "", **_: object) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def print_table(console: "Console", columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table of text; None is shown as a dash.

    On a terminal ids are in short, and neither they nor times are broken; what goes into a pipe is whole.
    """
    shown = [["-" if cell is None else printable(str(cell)) for cell in row] for row in rows]
    if not console.is_terminal:
        widths = [max(map(len, cells)) for cells in zip(columns, *shown, strict=True)]
        for row in [columns, *shown]:
            padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            console.print("  ".join(padded).rstrip(), markup=False, soft_wrap=True)
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    cells = [_shorten(column) for column in zip(*shown, strict=True)] or [[] for _ in columns]
    whole = [bool(column) and all(_WHOLE.fullmatch(cell) for cell in column) for column in cells]
    for title, is_whole in zip(columns, whole, strict=True):
        table.add_column(title, overflow="fold", no_wrap=is_whole)
    for row in zip(*cells, strict=True):
        # Text: what comes from repositories must not be read as markup
        table.add_row(*map(Text, row))
    console.print(table)


def _shorten(column: Sequence[str]) -> list[str]:
    """A column of ids as the beginnings that mean one alone, which every command takes; others as they are."""
    if not all(map(_ID.fullmatch, column)):
        return [*column]
    short = shorten(column)
    return [short[cell] for cell in column]


def shorten(ids: Iterable[str]) -> dict[str, str]:
    """The beginning of each id that means it alone among them, eight characters and more."""
    ids, size = {*ids}, 8
    while len({item[:size] for item in ids}) < len(ids):
        size += 1
    return {item: item[:size] for item in ids}


def print_fields(console: "Console", fields: Sequence[tuple[str, object]]) -> None:
    """One record, a line a field."""
    width = max(len(name) for name, _ in fields) + 2
    for name, value in fields:
        shown = "-" if value is None else printable(str(value))
        console.print(f"{name + ':':<{width}}{shown}", markup=False, soft_wrap=True)


def printable(text: str) -> str:
    """A text without control characters: what comes from repositories must not steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
