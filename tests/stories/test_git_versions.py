"""The git that is on the machine is looked at before it is used: too old a one would not do what it is told."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import GitRepository, Pricore

OLD = "error: git 2.37 or newer is needed, and this is 'git version 2.30.2': install a newer one"
MISSING = "error: git is not installed, or not on PATH"


@pytest.fixture
def programs(pricore: Pricore, tmp_path: Path) -> Path:
    """The folder of programs that come before those of the machine."""
    programs = tmp_path / "programs"
    programs.mkdir()
    pricore.environment["PATH"] = f"{programs}:{pricore.environment['PATH']}"
    return programs


def put_git(programs: Path, version: str) -> None:
    """A git that says it is of some version, and is the machine's for the rest."""
    git = programs / "git"
    git.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo "git version {version}" || exec {shutil.which("git")} "$@"\n'
    )
    git.chmod(0o755)


def test_too_old_a_git_is_refused(
    pricore: Pricore, programs: Path, make_repository: Callable[[str], GitRepository]
) -> None:
    """By the server before it answers, and by commands before anything is asked of it."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    pricore.run("repo", "add", "acme", upstream.url)
    put_git(programs, "2.30.2")
    assert pricore.fail("serve", "--port", "0") == OLD
    assert pricore.fail("quickstart", "--port", "0") == OLD
    assert OLD.removeprefix("error: ") in pricore.run("repo", "sync", "acme", "--all", status=1).stderr
    # what needs no git goes on
    pricore.run("token", "create", "acme", "ci")
    put_git(programs, "2.37.0")
    pricore.run("repo", "sync", "acme", "--all")


def test_that_there_is_no_git_is_told(pricore: Pricore, programs: Path) -> None:
    pricore.environment["PATH"] = str(programs)
    assert pricore.fail("serve", "--port", "0") == MISSING
    assert pricore.fail("quickstart", "--port", "0") == MISSING
