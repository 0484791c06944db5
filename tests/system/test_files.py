"""Locks between processes, and files that are there whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pricore.system.files import LockedError, create_file, hold_lock, lock, write_file

_OTHER = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("locked")
"""


def _try_elsewhere(path: Path) -> str:
    done = subprocess.run([sys.executable, "-c", _OTHER, str(path)], capture_output=True, check=True, text=True)
    return done.stdout.strip()


async def test_a_lock_is_held_against_other_processes(tmp_path: Path) -> None:
    """As long as the block runs, nobody else has it."""
    path = tmp_path / "lock"
    async with hold_lock(path, seconds=0, pause=0.01):
        assert _try_elsewhere(path) == "locked"
    assert _try_elsewhere(path) == ""


async def test_a_lock_lasts_as_long_as_who_was_given_its_descriptor(tmp_path: Path) -> None:
    """A git that outlives this process still writes."""
    path = tmp_path / "lock"
    async with hold_lock(path, seconds=0, pause=0.01) as descriptor:
        child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor])  # noqa: ASYNC220
    assert _try_elsewhere(path) == "locked"
    child.communicate()
    assert _try_elsewhere(path) == ""


async def test_who_waits_too_long_for_a_lock_is_told(tmp_path: Path) -> None:
    """It is tried again and again, and said each time."""
    told: list[None] = []
    async with hold_lock(tmp_path, create=False, seconds=0, pause=0.01):
        with pytest.raises(LockedError):
            async with hold_lock(
                tmp_path, create=False, seconds=0.05, pause=0.01, on_wait=lambda: told.append(None)
            ):
                pass
    assert len(told) > 1


async def test_any_number_share_a_lock(tmp_path: Path) -> None:
    """Only who wants it alone has to wait for them."""
    async with (
        hold_lock(tmp_path, create=False, shared=True, seconds=0, pause=0.01),
        hold_lock(tmp_path, create=False, shared=True, seconds=0, pause=0.01),
    ):
        descriptor = os.open(tmp_path, os.O_RDONLY)
        try:
            assert not lock(descriptor)
        finally:
            os.close(descriptor)


async def test_a_folder_that_is_not_there_is_not_made_for_its_lock(tmp_path: Path) -> None:
    """Least of all as a file."""
    with pytest.raises(FileNotFoundError):
        async with hold_lock(tmp_path / "data", create=False, seconds=0, pause=0.01):
            pass
    assert not (tmp_path / "data").exists()


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """Nobody else can read it, and nothing is left beside it."""
    path = tmp_path / "known_hosts"
    path.write_text("before")
    write_file(path, b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_is_there_stays(tmp_path: Path) -> None:
    """Of two processes that make a key, the first one's counts."""
    path = tmp_path / "key"
    write_file(path, b"first", replace=False)
    write_file(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    assert [*tmp_path.iterdir()] == [path]


def test_a_new_file_is_no_other_one(tmp_path: Path) -> None:
    """What is there is never written over."""
    path = tmp_path / "backup"
    path.write_text("before")
    with pytest.raises(FileExistsError), create_file(path):
        pass
    assert path.read_text() == "before"
