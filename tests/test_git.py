"""Git's processes end, one way or the other, and nobody waits for what they will not say."""

import asyncio
import threading
from pathlib import Path
from typing import IO

import pytest

from pricore.errors import GitError
from pricore.git import Git, Mirror


async def test_a_git_that_ends_early_is_an_error(tmp_path: Path) -> None:
    """Where git dies before it has answered, whoever asked for files is told, and does not wait for ever."""
    with Git(timeout=60) as git:
        async with asyncio.timeout(10):
            with pytest.raises(GitError, match=r"^cannot read "):
                await Mirror(git, tmp_path / "none").read_files(["a" * 40], "composer.json", limit=100)


async def test_a_cancellation_is_told_though_git_has_just_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that is cancelled as its git ends is cancelled: the server that stops waits for it."""

    def reaped(*_: object) -> None:
        raise ProcessLookupError

    started, ended = threading.Event(), threading.Event()

    def consume(output: IO[bytes]) -> None:
        output.read()
        started.set()
        ended.wait(timeout=10)

    with Git(timeout=60) as git:
        task = asyncio.create_task(git.read(["--version"], consume))
        await asyncio.to_thread(started.wait, 10)
        # what the kernel says for a moment, between git's end and the note that it ended
        monkeypatch.setattr("subprocess.Popen.poll", lambda _: None)
        monkeypatch.setattr("os.killpg", reaped)
        task.cancel()
        asyncio.get_running_loop().call_later(0.05, ended.set)

        with pytest.raises(asyncio.CancelledError):
            await task
