"""Fixtures of the stories; what they give is in harness.py."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import Composer, DataFolder, GitRepository, Place, Pricore
from tests.swift import S3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest: otherwise the last process goes on for a minute when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def pricore(tmp_path: Path) -> Pricore:
    """The program, with an organization `acme`."""
    program = Pricore(tmp_path / "data")
    program.found()
    return program


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[[str], GitRepository]:
    """A maker of empty repositories by name."""
    return lambda name: GitRepository(tmp_path / "upstream" / name)


@pytest.fixture
def composer(tmp_path: Path) -> Composer:
    return Composer(tmp_path / "project")


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A real S3 server, for all tests of this process."""
    with S3(tmp_path_factory.mktemp("swift")).running() as server:
        yield server


@pytest.fixture
def s3(swift: S3) -> S3:
    """The server with an empty bucket."""
    swift.begin()
    return swift


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where archives are kept: the data folder in `data`, and then a bucket."""
    if request.param == "folder":
        return DataFolder(tmp_path / "data")
    bucket: S3 = request.getfixturevalue("s3")
    return bucket
