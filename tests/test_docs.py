"""README and docs/ say what is so: all commands and settings that there are, and links that lead somewhere."""

import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from pricore.cli import app
from pricore.config import Config
from tests.documents import PAGES, ROOT, blocks

MADE = ROOT / "docs" / "commands.md"
FOR_DEVELOPERS = [ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"]
LINKING = [
    *PAGES,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]


def shown(page: Path) -> list[str]:
    """The lines of a page that somebody will paste into a shell to run pricore."""
    commands = [command.replace("\\\n", " ") for block in blocks(page) for command in block.commands]
    calls = [re.search(r"(?:^|\| |&& |; |=\S+ )(pricore (?:'[^']*'|[^'|>])*)", command) for command in commands]
    return [call[1] for call in calls if call]


COMMANDS = [(page, line) for page in PAGES for line in shown(page)]


def test_the_page_of_commands_is_what_the_program_says() -> None:
    """docs/commands.md has each command with its options; `make docs` makes it anew."""
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py"], capture_output=True, text=True, check=True, timeout=60
    )
    assert MADE.read_text() == made.stdout


@pytest.mark.parametrize(
    ("page", "line"), COMMANDS, ids=[f"{page.name}:{number}" for number, (page, _) in enumerate(COMMANDS)]
)
def test_what_is_shown_can_be_run(page: Path, line: str) -> None:
    """Each line with `pricore` in it names a command that there is, with options that it has."""
    words = shlex.split(line.partition(" | ")[0].partition(" && ")[0], comments=True)[1:]
    command: Any = typer.main.get_group(app)
    while isinstance(command, TyperGroup):
        assert words, f"{page.name}: {line} is not whole"
        assert words[0] in command.commands, f"{page.name}: {line}"
        command = command.commands[words.pop(0)]
    options = {name for item in command.params for name in (*item.opts, *item.secondary_opts)} | {"--help"}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, f"{page.name}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_shell_line_is_seen(page: Path) -> None:
    """Shell lines stand in blocks that the stories run, or that say why they don't and which test does instead."""
    text = page.read_text()
    kinds = {kind for kind in re.findall(r"^```(\w*)$", text, re.MULTILINE) if kind}
    assert kinds <= {"console", "sh", "yaml", "ini", "text", "json", "nginx", "mermaid"}
    assert not re.findall(r"^ {4}(?:pricore|curl|composer|git|sudo|pip|systemctl) ", text, re.MULTILINE)
    found = blocks(page)
    assert all(block.commands for block in found), "a block of console without a line that begins with $"
    assert text.count("<!-- not run: ") == sum(bool(block.reason) for block in found), "a mark without its block"
    for test in (name for block in found for name in re.findall(r"tests/\S+\.py", block.reason)):
        assert (ROOT / test).exists(), test


def test_every_setting_is_explained() -> None:
    """The table of settings has a line for each, and for nothing else."""
    rows = re.findall(
        r"^\| `(\w+)` \| `PRICORE_(\w+)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE
    )
    assert [(field.name, field.name.upper()) for field in fields(Config)] == rows


@pytest.mark.parametrize("page", FOR_DEVELOPERS, ids=lambda page: page.name)
def test_names_of_the_code_are_those_of_the_code(page: Path) -> None:
    """A page that explains the code names modules that there are, and `Class.method` as it is defined."""
    text = page.read_text()
    for path in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        assert (ROOT / path).exists() or (ROOT / "pricore" / path).exists(), f"{page.name}: {path}"
    modules = [file.read_text() for file in sorted((ROOT / "pricore").rglob("*.py"))]
    for kind, method in re.findall(r"`([A-Z]\w+)\.(\w+)`", text):
        defined = rf"^class {kind}\b.*?^ +(?:async )?def {method}\("
        assert any(re.search(defined, module, re.MULTILINE | re.DOTALL) for module in modules), f"{kind}.{method}"


@pytest.mark.parametrize("page", LINKING, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the project names one that is there, and a heading in it that it has."""
    for target, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)", page.read_text()):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {target}"
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
            assert heading[1:] in anchors, f"{page.name}: {target}{heading}"
