"""`pricore config`: the settings in force, and what is wrong with them."""

from dataclasses import fields
from typing import TYPE_CHECKING

import typer

from pricore.commands.session import Session, command, print_table, printable
from pricore.config import Config, find_unknown, is_secret
from pricore.errors import ConfigError
from pricore.system.certificates import read_certificates

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(name="config", help="The settings and where they come from.", no_args_is_help=True)


@command(app, "show")
def show(session: Session) -> None:
    """Show each setting, its value, and where the value comes from: file, variable, flag, or default.

    A secret is shown as `***`.
    """
    origins = session.settings.origins
    values = {item.name: _shown(session.config, item.name) for item in fields(Config)}

    def render(console: "Console") -> None:
        rows = [(name, _text(value), origins[name]) for name, value in values.items()]
        print_table(console, ["setting", "value", "from"], rows)

    session.show(
        {name: {"value": value, "from": origins[name]} for name, value in values.items()},
        render,
    )


@command(app, "check")
def check(session: Session) -> None:
    """Check the settings file and the environment: a line for each mistake, and exit 1 if there are any."""
    mistakes = [*session.settings.mistakes, *find_unknown()]
    if not session.settings.mistakes and session.config.ca_file is not None:
        try:
            read_certificates(session.config.ca_file)
        except ConfigError as error:
            mistakes.append(str(error))

    def render(console: "Console") -> None:
        for mistake in mistakes or ["The settings can be used."]:
            console.print(printable(mistake), markup=False, soft_wrap=True)

    session.show({"mistakes": mistakes}, render)
    if mistakes:
        raise typer.Exit(1)


def _shown(config: Config, name: str) -> object:
    """A setting as JSON has it."""
    value = getattr(config, name)
    if is_secret(name):
        return "***" if value else ""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return value if isinstance(value, bool | int | None) else str(value)


def _text(value: object) -> str | None:
    """A setting as it is written in a file; None for one without a value."""
    match value:
        case bool():
            return "on" if value else "off"
        case list():
            return ", ".join(value) or None
        case None | "":
            return None
        case _:
            return str(value)
