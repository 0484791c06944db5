"""Writes docs/commands.md: every command with its arguments and options, from the program itself."""

import sys
from collections.abc import Iterator
from typing import Final

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from pricore.cli import app

_HEAD: Final = """\
# Commands

Every command of `pricore`, as `--help` prints it. `make docs` writes this page. Do not edit it by hand.

Each command takes `--data FOLDER` (`PRICORE_DATA`), `--config FILE` (`PRICORE_CONFIG`), and `--json` to print one
JSON document. The result goes to standard output, errors to standard error. A command that fails prints one line
and exits with 1. A command that was called in a wrong way prints its usage and exits with 2. Commands work while
the server runs, and without it.
"""
_COMMON: Final = {"as_json", "data", "config"}


def pages() -> Iterator[str]:
    """The text, section by section."""
    yield _HEAD
    commands = [*_commands(typer.main.get_group(app), "pricore")]
    yield "| command | what it does |\n| --- | --- |\n" + "".join(
        f"| [`{path}`](#{path.replace(' ', '-')}) | {_first(command)} |\n" for path, command in commands
    )
    for path, command in commands:
        yield _section(path, command)


def _commands(group: TyperGroup, path: str) -> Iterator[tuple[str, TyperCommand]]:
    """The full name of each command, and the command."""
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _commands(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            yield f"{path} {name}", command


def _first(command: TyperCommand) -> str:
    return (command.help or "").strip().split("\n\n")[0].replace("\n", " ")


def _section(path: str, command: TyperCommand) -> str:
    arguments = [item for item in command.params if isinstance(item, TyperArgument)]
    options = [item for item in command.params if isinstance(item, TyperOption) and item.name not in _COMMON]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *(_argument(item) for item in arguments)])
    lines = [f"## {path}", "", f"```\n{usage}\n```", "", (command.help or "").strip(), ""]
    rows = [(f"`{_argument(item)}`", item.help or "") for item in arguments]
    rows += [(_option(item), _option_help(item)) for item in options]
    if rows:
        lines += ["| | |", "| --- | --- |", *(f"| {left} | {right} |" for left, right in rows), ""]
    return "\n".join(lines)


def _argument(item: TyperArgument) -> str:
    name = item.metavar or (item.name or "").upper()
    if name.startswith("["):  # it says itself that it may be left out, and how often it can be there
        return name
    name = f"{name}..." if item.nargs == -1 and " " not in name else name
    return name if item.required else f"[{name}]"


def _option(item: TyperOption) -> str:
    names = ", ".join(f"`{name}`" for name in (*item.opts, *item.secondary_opts))
    if item.is_flag:
        return names
    return f"{names} `{item.metavar or (item.name or '').upper()}`"


def _option_help(item: TyperOption) -> str:
    text = item.help or ""
    if item.is_flag or item.default in (None, "", ()) or not item.show_default:
        return text
    return f"{text} Default: {item.default}."


def main() -> None:
    """Print the page."""
    sys.stdout.write("\n".join(pages()))


if __name__ == "__main__":
    main()
