"""Git's processes end, one way or the other, and nobody waits for what they will not say."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
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


@pytest.fixture
def git(monkeypatch: pytest.MonkeyPatch) -> Iterator[Git]:
    """A git that goes through no proxy."""
    monkeypatch.setenv("no_proxy", "*")
    with Git(timeout=60) as runner:
        yield runner


class WebServer:
    """Notes what it is asked for, and answers with a redirect to another one or with nothing."""

    def __init__(self, port: int, *, location: str = "") -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.asked: list[str] = []
        self._location = location

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split()[1])
        status = f"302 Found\r\nLocation: {self._location}{head.split()[1]}" if self._location else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def running(self) -> Awaitable[asyncio.Server]:
        return asyncio.start_server(self.answer, "127.0.0.1", self.port)


@pytest.mark.parametrize("command", ["ls-remote", "fetch"])
async def test_a_confined_git_follows_no_redirect(
    git: Git, tmp_path: Path, unused_tcp_port_factory: Callable[[], int], command: str
) -> None:
    """A host that sends git on to another one is told of, and the other one gets no request."""
    inside = WebServer(unused_tcp_port_factory())
    outside = WebServer(unused_tcp_port_factory(), location=inside.url)
    read = Mirror(git, tmp_path / "mirror.git").fetch if command == "fetch" else git.ls_remote
    async with await inside.running(), await outside.running():
        with pytest.raises(GitError, match="it redirects to another address; give that one"):
            await read(f"{outside.url}/library", only=["127.0.0.1"])
        assert (len(outside.asked), inside.asked) == (1, [])
        with pytest.raises(GitError, match="there is no repository at that address"):
            await git.ls_remote(f"{outside.url}/library")
        assert len(inside.asked) == 1, "the operator's own repositories are found where they went"


async def test_a_confined_git_goes_where_it_was_looked_at(git: Git, unused_tcp_port: int) -> None:
    """The address that a name had when it was checked is the one that git connects to."""
    server = WebServer(unused_tcp_port)
    async with await server.running():
        with pytest.raises(GitError):
            await git.ls_remote(f"http://Name.example.com:{unused_tcp_port}/library", only=["127.0.0.1"])
        assert server.asked == ["/library/info/refs?service=git-upload-pack"]
