"""The shell lines that README and docs/ show: what a reader pastes, and what the tests run of it.

A block of `console` has commands behind "$ ", and below them what they print; a block of `sh` is a script. One
that no test can run has the reason before it, where readers do not see it: <!-- not run: needs a DNS name -->
"""

import re
import shlex
from pathlib import Path
from typing import Final

import msgspec

ROOT: Final = Path(__file__).parent.parent
PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK: Final = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n+)?^```(?P<kind>console|sh)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


class Block(msgspec.Struct, frozen=True):
    """A block of a page: its commands, each as a shell takes it, and why no test runs it, "" where one does."""

    page: str
    commands: tuple[str, ...]
    reason: str = ""

    @property
    def name(self) -> str:
        return f"{self.page}: {self.commands[0].splitlines()[0]}" if self.commands else self.page


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order."""
    return [
        Block(page.name, tuple(_commands(found["text"], found["kind"])), found["reason"] or "")
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


def script(page: str, word: str) -> str:
    """The one command of a page (`moving.md`) that begins with some words."""
    (path,) = (path for path in PAGES if path.name == page)
    (command,) = (line for block in blocks(path) for line in block.commands if line.startswith(word))
    return command


def _commands(text: str, kind: str) -> list[str]:
    """The commands of a block, without prompts and output; one goes on where a quote or a line is open."""
    if kind == "sh":
        return [text]
    commands: list[str] = []
    open_line = False
    for line in text.splitlines():
        if open_line:
            commands[-1] += f"\n{line}"
        elif line.startswith("$ "):
            commands.append(line[2:])
        else:
            continue
        open_line = _is_open(commands[-1])
    return commands


def _is_open(command: str) -> bool:
    try:
        shlex.split(command, comments=True)
    except ValueError:  # a quotation that isn't closed, or a backslash with nothing behind it
        return True
    return command.endswith("\\")
