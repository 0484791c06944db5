"""Tests lie in folders that are named like the rooms that they are about."""

from collections.abc import Mapping
from typing import Final

from tests.house.sources import ROOT, parsed

OTHERS: Final[Mapping[str, str]] = {
    "delivery": "the single file and the packages, where people install them",
    "house": "how the house is built",
    "stories": "end to end, through all rooms",
    "stories/oracle": "what Satis makes of the same repositories",
    "sync/hostile": "a room's tests of what wants to harm it",
}
"""Folders that aren't about one room, and why."""

FILES: Final = {"test_bench", "test_composers", "test_docs", "test_makefile"}
"""Tests of what isn't in pricore/: the benchmark, the Composers that are tried, the pages and the Makefile."""


def test_folders_are_named_like_rooms() -> None:
    """Whoever changes a room knows where its tests are."""
    folders = {path.rpartition("/")[0] for path in parsed("tests")} - {""}
    strangers = {
        folder
        for folder in folders
        if not (ROOT / "pricore" / folder).is_dir() and not (ROOT / "pricore" / f"{folder}.py").is_file()
    }
    assert strangers == {*OTHERS}


def test_files_beside_the_folders_are_about_one_module() -> None:
    """A module that is no folder has its tests in a file of its name."""
    files = {path.removesuffix(".py") for path in parsed("tests") if path.startswith("test_")}
    modules = {f"test_{path.removesuffix('.py')}" for path in parsed("pricore") if "/" not in path}
    assert files - modules == FILES
