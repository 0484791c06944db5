"""The `pricore` program: its command groups, and the one place where errors become exit codes."""

import asyncio
import os
import signal
import sys
import traceback
from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any, Final, NoReturn

import typer

from pricore.commands.typed import Group
from pricore.errors import PricoreError

_MODULES: Final[Mapping[str, str]] = {
    "serve": "serve",
    "quickstart": "serve",
    "import": "satis",
    "org": "org",
    "repo": "repo",
    "repo discover": "discover",
    "repo webhook": "webhook",
    "credential": "credential",
    "token": "token",
    "package": "package",
    "lock": "lock",
    "backup": "backup",
    "restore": "backup",
    "doctor": "doctor",
    "config": "config",
    "healthcheck": "healthcheck",
    "completion": "completion",
    "upgrade": "upgrade",
    "licenses": "licenses",
    "dist": "dist",
    "verify": "verify",
}
"""Where in `commands/` each group is, and each command that is outside of its module's group, as --help has them.

All of them together take longer to load than most commands run: each is loaded when somebody looks at it.
"""


class _Commands(UserDict[str, Any]):
    """The commands that are typed behind `path`, which ends with a blank: those given, and those of modules."""

    def __init__(self, path: str, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self._path = path
        for words, module in _MODULES.items():
            name = words.removeprefix(path)
            if words.startswith(path) and " " not in name:
                self.data[name] = module

    def __getitem__(self, name: str) -> Any:
        found = self.data[name]
        if isinstance(found, str):
            found = self.data[name] = self._load(name, found)
        return found

    def _load(self, name: str, module: str) -> Any:
        loaded: typer.Typer = import_module(f"pricore.commands.{module}").app
        loaded.info.cls = Group
        group = typer.main.get_group(loaded)
        if group.name != name:
            return group.commands[name]
        group.commands = _Commands(f"{self._path}{name} ", group.commands)
        return group


class _Program(Group):
    """The outermost group: `pricore` itself."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = _Commands("", {})


app = typer.Typer(
    name="pricore",
    cls=_Program,
    help="A private Composer registry: it follows Git repositories and serves them to composer.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # loads what reads e-mail: a tenth of what most commands take

        print(f"pricore {version('pricore')}")  # noqa: T201  # the interface
        raise typer.Exit


@app.callback()
def _pricore(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the program: exit 0 done, 1 failed, 2 wrong usage. No traceback reaches whoever typed the command."""
    try:
        try:
            _run()
        finally:
            # it ends in any case: whoever presses Ctrl-C now gets no traceback of what Python takes down
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    except KeyboardInterrupt:
        # pressed a moment before that
        _exit(130)
    except SystemExit as end:
        _exit(end.code)


def _exit(status: str | int | None) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "obstore" in sys.modules and isinstance(status, int):
        # its threads outlive its last answer, and abort the process if they meet Python being torn down:
        # https://github.com/PyO3/pyo3-async-runtimes/issues/40
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _run() -> None:
    try:
        try:
            app(prog_name="pricore")  # however it was started
        finally:
            sys.stdout.flush()
    except PricoreError as error:
        _fail(str(error))
    except asyncio.CancelledError:
        _fail("stopped", status=143)
    except KeyboardInterrupt:
        sys.exit(130)  # without a word, as where Typer sees it: whoever pressed Ctrl-C knows
    except BrokenPipeError:
        # who read the output has closed it: `pricore ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  # the last resort
        if os.environ.get("PRICORE_DEBUG"):
            traceback.print_exc()
        _fail(f"unexpected {type(error).__name__}: {error} (PRICORE_DEBUG=1 shows where)")


def _fail(message: str, *, status: int = 1) -> NoReturn:
    shown = "".join(character if character.isprintable() else "?" for character in " ".join(message.split()))
    print(f"error: {shown}", file=sys.stderr)  # noqa: T201  # the interface
    sys.exit(status)
