"""Nothing is deleted that nobody said yes to."""

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from pricore.cli import app
from tests.harness import GitRepository, Pricore

DELETING = {
    "lock remove": (["lock", "remove", "acme", "production"], "removes the lock production"),
    "repo remove": (["repo", "remove", "acme", "library"], "deletes acme/library with all versions and archives"),
    "package delete": (["package", "delete", "acme", "library"], "deletes acme/library with its archives"),
    "credential remove": (["credential", "remove", "acme", "deploy"], "deletes the secret of deploy"),
    "token revoke": (["token", "revoke", "acme", "CI"], "revokes the token CI"),
    "org delete": (["org", "delete", "acme"], "deletes acme with everything in it"),
}


@pytest.fixture
def registry(tmp_path: Path) -> Pricore:
    """acme with one of everything that a command deletes."""
    pricore = Pricore(tmp_path / "data")
    pricore.found()
    upstream = GitRepository(tmp_path / "library")
    upstream.commit({"name": "acme/library"})
    pricore.run("repo", "add", "acme", upstream.url)
    pricore.run("credential", "add", "acme", "deploy", "--host", "git.example.com", "--ssh")
    pricore.run("token", "create", "acme", "CI")
    url = f"http://127.0.0.1:8000/org/acme/packages/acme/library/dev-main/{upstream.head()}.zip"
    dist = {"type": "zip", "url": url, "shasum": "0" * 40, "reference": upstream.head()}
    lock = tmp_path / "composer.lock"
    lock.write_text(json.dumps({"packages": [{"name": "acme/library", "version": "dev-main", "dist": dist}]}))
    pricore.run("lock", "register", str(lock), "--name", "production")
    return pricore


def everything(registry: Pricore) -> list[Any]:
    kinds = ("lock", "repo", "package", "credential", "token")
    return [registry.json(kind, "list", "acme") for kind in kinds]


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each command with its whole name."""
    for name, found in group.commands.items():
        if isinstance(found, TyperGroup):
            yield from commands(found, f"{path}{name} ")
        else:
            yield f"{path}{name}", found


def test_every_command_that_deletes_has_a_question_and_a_way_past_it() -> None:
    """Also one that comes to be: whatever is called so takes --yes."""
    found = {
        name: command
        for name, command in commands(typer.main.get_group(app))
        if name.split()[-1] in ("remove", "delete", "revoke")
    }
    assert found.keys() == DELETING.keys()
    assert all(any("--yes" in item.opts for item in command.params) for command in found.values())


def test_a_script_that_did_not_say_yes_deletes_nothing(registry: Pricore) -> None:
    """It gets one line, which says what would go and names --yes."""
    before = everything(registry)
    for arguments, said in DELETING.values():
        line = registry.fail(*arguments)
        assert said in line
        assert line.endswith(": add --yes")
    assert everything(registry) == before
    for arguments, _ in DELETING.values():
        if arguments[0] != "package":  # that went with its repository
            registry.run(*arguments, "--yes")
    assert registry.json("org", "list") == []


def test_a_person_is_asked(registry: Pricore) -> None:
    """What goes is shown before the question; a no leaves all as it was."""
    registry.run("lock", "remove", "acme", "production", "--yes")
    for answer, status in (("n", 1), ("y", 0)):
        terminal, end = pty.openpty()
        try:
            os.write(terminal, f"{answer}\n".encode())
            done = subprocess.run(
                registry.command("repo", "remove", "acme", "library"),
                env=registry.environment,
                stdin=end,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            os.close(end)
            os.close(terminal)
        assert "deletes acme/library with all versions and archives.\nGo on?" in done.stderr
        assert done.returncode == status
        assert len(registry.json("repo", "list", "acme")) == status
