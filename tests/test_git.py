"""Git's processes end, one way or the other, and nobody waits for what they will not say."""

import asyncio
import contextlib
import getpass
import os
import shlex
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import pytest

from pricore.errors import GitError, GitUnavailableError
from pricore.git import Git
from pricore.models import Login
from pricore.remotes import ssh_agent
from pricore.remotes.access import Access
from pricore.vcs.mirror import Mirror
from tests.githost import GitHost
from tests.harness import GitRepository, need
from tests.proxies import make_certificate


async def test_a_git_that_ends_early_is_an_error(tmp_path: Path) -> None:
    """Where git dies before it has answered, whoever asked for files is told, and does not wait for ever."""
    with Git(timeout=60) as git:
        async with asyncio.timeout(10):
            with pytest.raises(GitError, match=r"^cannot read "):
                await Mirror(git, tmp_path / "none").find_files(["a" * 40], "composer.json")


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
        self.heads: list[str] = []
        self._location = location

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.asked.append(head.split()[1])
        self.heads.append(head)
        status = f"302 Found\r\nLocation: {self._location}{head.split()[1]}" if self._location else "404 Not Found"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    def running(self, *, tls: ssl.SSLContext | None = None) -> Awaitable[asyncio.Server]:
        return asyncio.start_server(self.answer, "127.0.0.1", self.port, ssl=tls)


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
            await read(f"{outside.url}/library", access=Access(only=["127.0.0.1"]))
        assert (len(outside.asked), inside.asked) == (1, [])
        with pytest.raises(GitError, match="there is no repository at that address"):
            await git.ls_remote(f"{outside.url}/library")
        assert len(inside.asked) == 1, "the operator's own repositories are found where they went"


async def test_a_confined_git_goes_where_it_was_looked_at(git: Git, unused_tcp_port: int) -> None:
    """The address that a name had when it was checked is the one that git connects to."""
    server = WebServer(unused_tcp_port)
    async with await server.running():
        with pytest.raises(GitError):
            await git.ls_remote(
                f"http://Name.example.com:{unused_tcp_port}/library", access=Access(only=["127.0.0.1"])
            )
        assert server.asked == ["/library/info/refs?service=git-upload-pack"]


@pytest.mark.parametrize("only", [[], ["127.0.0.1"]])
async def test_a_confined_git_has_no_login_out_of_netrc(
    git: Git, tmp_path: Path, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, only: list[str]
) -> None:
    """What the user keeps in ~/.netrc for a host is the operator's: an address from the API doesn't get it."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password netrc-secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with GitHost(upstream.folder.parent, {"netrc-secret": f"{upstream.folder.name}/"}).running() as host:
        with pytest.raises(GitError, match="it asks for a user and password; `pricore credential add` keeps"):
            await git.ls_remote(host.url(upstream.folder.name), access=Access(only=only))
        assert host.secrets() == set()
        await git.ls_remote(host.url(upstream.folder.name))
        assert host.secrets() == {"ada:netrc-secret"}


async def test_a_redirect_leads_from_https_to_https_alone(
    git: Git, tmp_path: Path, unused_tcp_port_factory: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ~/.netrc has for a host is not sent in the open because another host, or the host itself, says so."""
    certificate, private = make_certificate(tmp_path)
    monkeypatch.setenv("GIT_SSL_CAINFO", str(certificate))
    (tmp_path / ".netrc").write_text("machine localhost login ada password netrc-secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, private)
    port = unused_tcp_port_factory()
    in_the_open = WebServer(unused_tcp_port_factory())
    first = WebServer(port, location=f"http://localhost:{in_the_open.port}")
    async with await in_the_open.running(), await first.running(tls=tls):
        with pytest.raises(GitError, match="it redirects to plain http, which is not followed"):
            await git.ls_remote(f"https://localhost:{port}/library")
    assert (len(first.asked), in_the_open.asked) == (1, [])


async def test_a_confined_git_goes_through_no_proxy_but_the_configured_one(
    git: Git, unused_tcp_port_factory: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy looks names up itself, so that a checked address counts for nothing: it has to be set on purpose."""
    server, proxy = (WebServer(unused_tcp_port_factory()) for _ in range(2))
    url = f"http://name.example.com:{server.port}/library"
    monkeypatch.setenv("no_proxy", "")
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    seen = []
    async with await server.running(), await proxy.running():
        for access in (
            Access(only=["127.0.0.1"]),
            Access(),
            Access(only=["127.0.0.1"], proxy=proxy.url),
            Access(proxy=proxy.url),
        ):
            with pytest.raises(GitError, match="there is no repository"):
                await git.ls_remote(url, access=access)
            seen.append((len(server.asked), len(proxy.asked)))
    assert seen == [(1, 0), (1, 1), (1, 2), (1, 3)]

    with pytest.raises(GitUnavailableError, match=r"the proxy in the environment is not .* git_proxy sets one"):
        await git.ls_remote(url, access=Access(only=["127.0.0.1"]))


class SshServer:
    """A real sshd on 127.0.0.1 for this user, and the configuration of the ssh that git finds on PATH."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self.known_hosts = folder / "known_hosts"
        self._config = folder / "config"
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True
            )
        self.host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        self.program = shutil.which("ssh")
        ssh = folder / "bin" / "ssh"
        ssh.parent.mkdir()
        ssh.write_text(f'#!/bin/sh\nexec {self.program} -F {shlex.quote(str(self._config))} "$@"\n')
        ssh.chmod(0o755)
        self.configure("")

    def configure(self, *lines: str) -> None:
        """Let the user's configuration of ssh begin with these lines."""
        own = (f"IdentityFile {self.folder / 'user'}", f"UserKnownHostsFile {self.known_hosts}")
        self._config.write_text("\n".join((*lines, "IdentitiesOnly yes", f"User {getpass.getuser()}", *own, "")))

    def access(self, only: Sequence[str], *, host: str = "name.example.com") -> Access:
        """How a repository from the API is read with a credential that the server takes."""
        key = (self.folder / "user").read_text()
        login = Login(name="deploy", kind="ssh", host=host, username="", plain=False, secret=key)
        return Access(only=only, login=login, known_hosts=self.known_hosts)

    async def run(self) -> asyncio.subprocess.Process:
        server = self.folder / "sshd_config"
        server.write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.folder / 'host'}\n"
            f"AuthorizedKeysFile {self.folder / 'user.pub'}\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        process = await asyncio.create_subprocess_exec(
            _SSHD, "-D", "-e", "-f", str(server), stderr=subprocess.DEVNULL
        )
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.close()
                return process
            await asyncio.sleep(0.05)
        raise AssertionError("sshd does not listen")


_SSHD = "/usr/sbin/sshd"


@pytest.fixture
async def sshd(tmp_path: Path, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SshServer]:
    need(_SSHD, "ssh", "ssh-keygen")
    folder = tmp_path / "ssh"
    folder.mkdir()
    if os.geteuid() == 0:  # what its service would do
        await asyncio.to_thread(Path("/run/sshd").mkdir, exist_ok=True)
    server = SshServer(folder, unused_tcp_port)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    process = await server.run()
    try:
        yield server
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepository:
    repository = GitRepository(tmp_path / "upstream")
    repository.commit({"name": "acme/library"})
    return repository


@pytest.mark.parametrize("command", ["ls-remote", "fetch"])
async def test_a_confined_ssh_goes_where_it_was_looked_at(
    git: Git, sshd: SshServer, upstream: GitRepository, tmp_path: Path, command: str
) -> None:
    """ssh connects to the address that was checked, and knows the host's key by its name and port as ever."""
    url = f"ssh://Name.example.com:{sshd.port}{upstream.folder}/.git"
    read = Mirror(git, tmp_path / "mirror.git").fetch if command == "fetch" else git.ls_remote
    with pytest.raises(GitUnavailableError, match="cannot reach"):
        await read(url)  # nobody knows that name
    host = f"name.example.com:{sshd.port}"
    await read(url, access=sshd.access(["127.0.0.1", "192.0.2.1"], host=host))
    (line,) = sshd.known_hosts.read_text().splitlines()
    assert line == f"[name.example.com]:{sshd.port} {sshd.host_key}"

    other = (sshd.folder / "user.pub").read_text().split()[:2]
    sshd.known_hosts.write_text(f"[name.example.com]:{sshd.port} {' '.join(other)}\n")
    with pytest.raises(GitError, match="its SSH host key is not the one in known_hosts"):
        await read(url, access=sshd.access(["127.0.0.1"], host=host))


async def test_a_short_address_of_ssh_is_confined_too(git: Git, sshd: SshServer, upstream: GitRepository) -> None:
    """user@host:path goes to the address that was checked; the key is known by the name alone."""
    ssh = sshd.folder / "bin" / "ssh"
    ssh.write_text(ssh.read_text().replace('"$@"', f'-p {sshd.port} "$@"'))
    await git.ls_remote(
        f"{getpass.getuser()}@name.example.com:{upstream.folder}/.git", access=sshd.access(["127.0.0.1"])
    )
    assert sshd.known_hosts.read_text().startswith("name.example.com ")


@pytest.mark.parametrize(
    "line",
    [
        "HostName 192.0.2.1",
        "HostKeyAlias elsewhere",
        "ProxyCommand touch {trace}",
        "ProxyJump 192.0.2.1",
        "ControlPath {trace}\nControlMaster auto\nControlPersist 1",
    ],
)
async def test_the_configuration_of_ssh_leads_nowhere_else(
    git: Git, sshd: SshServer, upstream: GitRepository, tmp_path: Path, line: str
) -> None:
    """Neither another address, nor a jump, nor an open connection of the user's takes the checked one's place."""
    trace = tmp_path / "trace"
    sshd.configure(*line.format(trace=trace).splitlines())
    remote = await git.ls_remote(
        f"ssh://name.example.com:{sshd.port}{upstream.folder}",
        access=sshd.access(["127.0.0.1"], host=f"name.example.com:{sshd.port}"),
    )
    assert set(remote.refs) == {"refs/heads/main"}
    assert sshd.known_hosts.read_text().startswith(f"[name.example.com]:{sshd.port} ")
    assert not trace.exists()


async def test_a_host_that_is_allowed_by_name_is_not_pinned(
    git: Git, sshd: SshServer, upstream: GitRepository
) -> None:
    """Without addresses the name leads where it does, and the user's configuration of ssh doesn't say where."""
    sshd.configure("HostName 192.0.2.1")
    host = f"localhost:{sshd.port}"
    await git.ls_remote(f"ssh://{host}{upstream.folder}", access=sshd.access([], host=host))


@pytest.mark.parametrize("only", [[], ["127.0.0.1"]])
@pytest.mark.parametrize("kept", ["file", "agent"])
async def test_a_confined_ssh_has_none_of_the_users_keys(
    git: Git, sshd: SshServer, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch, kept: str, only: list[str]
) -> None:
    """Those in files and in an agent are the operator's: an address from the API is not read with them."""
    url = f"ssh://localhost:{sshd.port}{upstream.folder}"
    async with ssh_agent.serving((sshd.folder / "user").read_text()) as folder:
        if kept == "agent":
            monkeypatch.setenv("SSH_AUTH_SOCK", str(folder / ssh_agent.SOCKET))
            (sshd.folder / "config").write_text(f"UserKnownHostsFile {sshd.known_hosts}\n")
        access = Access(only=only, known_hosts=sshd.known_hosts)
        with pytest.raises(GitError, match="it asks for a key; `pricore credential add --ssh` makes one"):
            await git.ls_remote(url, access=access)
        await git.ls_remote(url)


async def test_a_confined_git_speaks_no_open_protocol(git: Git) -> None:
    """A git:// address that came over the API before it was refused there is not followed any more."""
    empty: list[str] = []
    for only in (empty, ["127.0.0.1"]):
        with pytest.raises(GitError, match=r"^cannot read git://127\.0\.0\.1:1/x: .* give https or ssh$"):
            await git.ls_remote("git://127.0.0.1:1/x", access=Access(only=only))


async def test_a_trickle_is_no_answer(git: Git, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that lists its refs ever so slowly has a limit of its own, however long a fetch may take."""
    monkeypatch.setattr("pricore.git.LISTING_SECONDS", 1)

    ended = asyncio.Event()

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nX-More: ")
            for _ in range(100):
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.1)
        writer.close()
        ended.set()

    url = f"http://127.0.0.1:{unused_tcp_port}/library"
    async with await asyncio.start_server(trickle, "127.0.0.1", unused_tcp_port):
        with pytest.raises(GitUnavailableError) as caught:
            await git.ls_remote(url)
        await ended.wait()
    assert str(caught.value) == f"git ls-remote of {url} took longer than 1 seconds"


def take_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def block(path: Path) -> None:
    shutil.rmtree(path)
    path.touch()


def break_off(path: Path) -> None:
    shutil.rmtree(path / "refs")


def lose_objects(path: Path) -> None:
    shutil.rmtree(path / "objects")
    (path / "objects").mkdir()


def scribble(path: Path) -> None:
    (path / "packed-refs").write_text("no list of refs\n")


@pytest.mark.parametrize("harm", [take_folder, block, break_off, lose_objects, scribble])
async def test_an_error_of_a_mirror_does_not_tell_where_it_is(
    git: Git,
    upstream: GitRepository,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    harm: Callable[[Path], None],
) -> None:
    """One line says what is wrong with the mirror of which repository; the log alone has git's text with paths."""
    caplog.set_level("INFO", logger="pricore.git")
    mirror = Mirror(git, tmp_path / "data" / "repositories" / "id.git", url="https://git.example.com/a")
    mirror.path.parent.mkdir(parents=True)
    await mirror.fetch(upstream.url)
    harm(mirror.path)

    async def use() -> None:
        if harm in (take_folder, block):
            await mirror.fetch(upstream.url)
        await mirror.refs()
        await mirror.archive(upstream.head(), IO.read)

    with pytest.raises(GitError) as caught:
        await use()
    message = str(caught.value)
    assert "the mirror of https://git.example.com/a" in message
    assert message.isprintable()
    assert str(tmp_path / "data") not in message
    (entry,) = caplog.records
    assert str(mirror.path) in entry.getMessage()
    assert len(entry.getMessage().splitlines()) == 1


async def test_a_slow_mirror_is_called_so(upstream: GitRepository, tmp_path: Path) -> None:
    """What takes too long, or gives too much, is named by its repository too."""
    path = tmp_path / "data" / "repositories" / "id.git"
    path.parent.mkdir(parents=True)
    with Git(timeout=60) as git:
        await Mirror(git, path).fetch(upstream.url)
    with Git(timeout=0.2) as git:
        mirror = Mirror(git, path, url="https://git.example.com/a")
        with pytest.raises(GitUnavailableError) as caught:
            await mirror.archive(upstream.head(), lambda _: time.sleep(0.5))
    expected = "git archive of the mirror of https://git.example.com/a took longer than 0.2 seconds"
    assert str(caught.value) == f"{expected}; git_timeout allows more"


async def test_a_git_that_hangs_is_stopped(unused_tcp_port: int) -> None:
    """A host that accepts and says nothing costs its timeout, and no process stays behind."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", unused_tcp_port)
    async with server:
        with Git(timeout=1) as git:
            with pytest.raises(GitUnavailableError, match="took longer than 1 seconds"):
                await git.ls_remote(f"git://127.0.0.1:{unused_tcp_port}/x")
            task = asyncio.create_task(git.ls_remote(f"git://127.0.0.1:{unused_tcp_port}/y"))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert not [line for line in _command_lines() if f"127.0.0.1:{unused_tcp_port}" in line]


_ASK: Final = """
import asyncio, os, pathlib, time
from pricore.git import Git

def look(output):
    found = pathlib.Path(f"/proc/{os.getpid()}/task").glob("*/children")
    (git,) = [int(number) for path in found for number in path.read_text().split()]
    at = pathlib.Path(f"/proc/{git}")
    for _ in range(500):  # it is held as soon as it has begun
        share = (at / "autogroup").read_text().split()[-1:] if (at / "autogroup").exists() else ["5"]
        if os.getpriority(os.PRIO_PROCESS, git) == 5 and (share == ["5"] or not os.isatty(0)):
            break
        time.sleep(0.01)
    terminal = (at / "stat").read_text().rpartition(")")[2].split()[4]
    print("nice", os.getpriority(os.PRIO_PROCESS, git), "share", *share, "terminal", terminal)

async def main():
    with Git(timeout=60) as git:
        await git.read(["-c", "alias.wait=!sleep 2", "wait"], look)

asyncio.run(main())
"""


def test_git_gives_way_to_who_started_it() -> None:
    """What somebody waits for goes before a fetch."""
    assert "nice 5" in _look_at_git([sys.executable, "-c", _ASK])


def test_git_gives_way_on_a_terminal_too() -> None:
    """There it has a session of its own, lest its helpers ask there, and that session the smaller share."""
    command = shlex.join([sys.executable, "-c", _ASK])
    found = _look_at_git(["script", "--quiet", "--return", "--command", command, "/dev/null"])
    assert "nice 5 share 5 terminal 0" in found


def _look_at_git(command: Sequence[str]) -> str:
    """What a process of its own, without a terminal or with its own one, tells of the git that it has started."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, start_new_session=True)
    return done.stdout


def _command_lines() -> list[str]:
    """The command line of every process there is."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            lines.append(path.read_text(errors="replace"))
    return lines
