"""Fixtures that many rooms' tests share; what they give is in harness.py and registry.py."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests import composers
from tests.composers import Release, UnavailableError
from tests.harness import STRICT, Composer, DataFolder, GitRepository, Place, Pricore
from tests.registry import MakeRepository, Registry, open_registry
from tests.swift import S3

COMPOSER = "composer"
"""The property of a test that says which Composer it ran with."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which Composers were tried: where only one can be had, nothing else shows that."""
    tests = defaultdict(set)
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        for name, value in getattr(report, "user_properties", ()):
            if name == COMPOSER:
                tests[value].add(report.nodeid)
    for value, names in sorted(tests.items()):
        terminalreporter.write_line(f"Composer, {value} ({len(names)} tests)")


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
def make_repository(tmp_path: Path) -> MakeRepository:
    """A maker of empty repositories by name."""
    return lambda name: GitRepository(tmp_path / "upstream" / name)


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """acme on a new data folder, without a server."""
    async with open_registry(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def upstream(make_repository: MakeRepository) -> GitRepository:
    """acme/library with a tag 1.0.0 on the branch main."""
    repository = make_repository("library")
    repository.commit({"name": "acme/library"})
    repository.tag("1.0.0")
    return repository


@pytest.fixture(scope="session")
def releases() -> dict[str, Release | UnavailableError]:
    """The Composers of this machine, or why it hasn't one: the installed, and the newest that can be had."""
    found: dict[str, Release | UnavailableError] = {}
    for name, find in {"installed": composers.installed, "newest": composers.newest}.items():
        try:
            found[name] = find()
        except UnavailableError as error:
            found[name] = error
    if found["newest"] == found["installed"]:
        found["newest"] = UnavailableError("it is the installed one")
    return found


@pytest.fixture(params=["composer-installed", "composer-newest"])
def composer(
    request: pytest.FixtureRequest,
    releases: dict[str, Release | UnavailableError],
    record_property: Callable[[str, object], None],
    tmp_path: Path,
) -> Composer:
    """A project with the real client: once with each, or with one of them in what is marked `any_composer`."""
    name = request.param.removeprefix("composer-")
    if name == "any":
        name = "newest" if isinstance(releases["installed"], UnavailableError) else "installed"
    release = releases[name]
    if isinstance(release, UnavailableError):
        record_property(COMPOSER, f"{name}: not tried: {release}")
        (pytest.fail if STRICT and name == "installed" else pytest.skip)(str(release))
    record_property(COMPOSER, f"{name}: {release.version}")
    return Composer(tmp_path / "project", release=release)


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
