"""`pricore completion`."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer()


class _Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command("completion")
def completion(shell: Annotated[_Shell, typer.Argument(help="The shell.")]) -> None:
    """Print the completion script for a shell.

    For bash: `eval "$(pricore completion bash)"` in ~/.bashrc.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    script = get_completion_script(prog_name="pricore", complete_var="_PRICORE_COMPLETE", shell=shell.value)
    sys.stdout.write(script + "\n")
