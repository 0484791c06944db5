"""Fixtures of the stories; what they give is in harness.py."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Composer, GitRepository, Pricore


@pytest.fixture
def pricore(tmp_path: Path) -> Pricore:
    """The program, with an organization `acme`."""
    program = Pricore(tmp_path / "data")
    program.run("org", "create", "acme")
    return program


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[[str], GitRepository]:
    """A maker of empty repositories by name."""
    return lambda name: GitRepository(tmp_path / "upstream" / name)


@pytest.fixture
def composer(tmp_path: Path) -> Composer:
    return Composer(tmp_path / "project")
