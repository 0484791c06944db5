"""Private repositories are read with what their organization has for the host, and nobody else gets to see it."""

import base64
import contextlib
import getpass
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.githost import GitHost
from tests.harness import Client, GitRepository, Pricore, need

TOKEN = "tok-3n1gm4-of-acme"
OTHER_TOKEN = "tok-s0mething-else"


@pytest.fixture
def pricore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pricore:
    """The program, with an organization `acme`, and no proxy in between."""
    monkeypatch.setenv("no_proxy", "*")
    program = Pricore(tmp_path / "data")
    program.found()
    return program


@pytest.fixture
def host(tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> Iterator[GitHost]:
    """A host with acme/library at `private`, for TOKEN, and acme/other at `other`, for OTHER_TOKEN."""
    for name, package in (("private", "acme/library"), ("other", "acme/other")):
        upstream = make_repository(name)
        upstream.commit({"name": package})
        upstream.tag("1.0.0")
    with GitHost(tmp_path / "upstream", {TOKEN: "private/", OTHER_TOKEN: "other/"}).running() as running:
        yield running


def add(pricore: Pricore, name: str, host: str, token: str = TOKEN, *options: str, org: str = "acme") -> Any:
    """Keep a token that is read from standard input, as a script does."""
    return pricore.json(
        "credential", "add", org, name, "--host", host, "--plain-http", *options, stdin=f"{token}\n"
    )


def everything(pricore: Pricore) -> bytes:
    """The bytes of all files in and beside the data folder, mirrors, log and database included."""
    others = {"upstream", "sshd"}
    paths = [path for path in pricore.data.parent.rglob("*") if path.is_file() and not others & {*path.parts}]
    return b"".join(path.read_bytes() for path in paths)


def forms(secret: str) -> list[bytes]:
    """A secret as it is, and as it would travel."""
    return [secret.encode(), base64.b64encode(f"x-access-token:{secret}".encode())]


def test_a_private_repository_is_read_with_the_token_of_its_host(pricore: Pricore, host: GitHost) -> None:
    """Without a credential the error names the command that keeps one; with it the repository is served."""
    url = host.url("private")
    assert "`pricore credential add` keeps them" in pricore.fail("repo", "add", "acme", url)

    made = add(pricore, "deploy", host.host)
    assert (made["name"], made["kind"], made["host"]) == ("deploy", "https", host.host)
    report = pricore.json("repo", "add", "acme", url)

    assert report["packages"] == ["acme/library"]
    assert host.secrets() == {f"x-access-token:{TOKEN}"}
    assert pricore.json("repo", "show", "acme", url)["credential"] == "deploy"
    assert pricore.json("credential", "test", "acme", "deploy")["refs"] == 2


def test_a_wrong_token_is_told_by_its_credential(pricore: Pricore, host: GitHost) -> None:
    """The error names the credential; a new token goes into its place, and what was served always was."""
    url = host.url("private")
    add(pricore, "deploy", host.host, "wrong-token-1")
    line = pricore.fail("repo", "add", "acme", url)
    assert line == f"error: cannot read {url}: it refuses the user or token of the credential deploy"
    assert pricore.fail("credential", "test", "acme", "deploy", url) == line

    pricore.json("credential", "change", "acme", "deploy", stdin=TOKEN)
    pricore.run("repo", "add", "acme", url)
    pricore.json("credential", "change", "acme", "deploy", stdin="wrong-token-2")
    failed = pricore.run("repo", "sync", "acme", status=1)
    assert "it refuses the user or token of the credential deploy" in failed.stderr
    assert [item["name"] for item in pricore.json("package", "list", "acme")] == ["acme/library"]
    assert "wrong-token" not in failed.stderr + line


def test_a_token_goes_to_its_own_host_alone(pricore: Pricore, host: GitHost, tmp_path: Path) -> None:
    """Another port is another host, and so is where a redirect leads: neither gets anything."""
    with GitHost(tmp_path / "upstream", {"nobody's": "private/"}).running() as elsewhere:
        add(pricore, "deploy", host.host)
        assert "asks for a user and password" in pricore.fail("repo", "add", "acme", elsewhere.url("private"))
        line = pricore.fail("credential", "test", "acme", "deploy", elsewhere.url("private"))
        assert f"is for http:// and https:// at {host.host} alone" in line
        assert elsewhere.secrets() == set()

        host.location = f"http://{elsewhere.host}"
        line = pricore.fail("repo", "add", "acme", host.url("private"))
        assert "the credential deploy" in line
        host.readers.clear()
        line = pricore.fail("repo", "add", "acme", host.url("private"))
        assert "it sends to another host, which doesn't get the credential deploy" in line
        assert len(elsewhere.seen) == 2
        assert elsewhere.secrets() == set()
        assert host.secrets() == {f"x-access-token:{TOKEN}"}


def test_a_token_goes_over_http_only_where_that_was_said(pricore: Pricore, host: GitHost) -> None:
    """A credential is for https; one that may go in the open has to be added as such."""
    pricore.json("credential", "add", "acme", "deploy", "--host", host.host, stdin=TOKEN)
    url = host.url("private")

    assert "asks for a user and password" in pricore.fail("repo", "add", "acme", url)
    assert "--plain-http" in pricore.fail("repo", "add", "acme", url, "--credential", "deploy")
    assert host.secrets() == set()


def test_two_organizations_have_their_own_token_for_a_host(pricore: Pricore, host: GitHost) -> None:
    """Each reads with its own, and cannot read what the other can; ~/.netrc doesn't come in between."""
    (pricore.data.parent / ".netrc").write_text("machine 127.0.0.1 login ada password netrc-secret\n")
    pricore.run("org", "create", "other")
    add(pricore, "deploy", host.host)
    add(pricore, "deploy", host.host, OTHER_TOKEN, "--username", "bot", org="other")

    pricore.run("repo", "add", "acme", host.url("private"))
    assert host.secrets() == {f"x-access-token:{TOKEN}"}
    pricore.run("repo", "add", "other", host.url("other"))
    assert host.secrets() == {f"bot:{OTHER_TOKEN}"}
    assert "it refuses the user or token" in pricore.fail("repo", "add", "acme", host.url("other"))

    pricore.run("credential", "remove", "other", "deploy", "--yes")
    assert "it asks for a user and password" in pricore.run("repo", "sync", "other", status=1).stderr
    assert host.secrets() == {"ada:netrc-secret", f"x-access-token:{TOKEN}"}


def test_a_repository_is_given_a_credential_of_its_own(pricore: Pricore, host: GitHost) -> None:
    """Of two for a host the first is its; a repository can be given the other one, which is then not removed."""
    url = host.url("other")
    add(pricore, "first", host.host)
    add(pricore, "second", host.host, OTHER_TOKEN)
    assert "the credential first" in pricore.fail("repo", "add", "acme", url)
    pricore.run("repo", "add", "acme", url, "--credential", "second")
    assert pricore.json("repo", "show", "acme", url)["credential"] == "second"
    assert f"{url} was given second" in pricore.fail("credential", "remove", "acme", "second", "--yes")

    pricore.run("repo", "change", "acme", url, "--credential", "none")
    assert pricore.json("repo", "show", "acme", url)["credential"] == "first"
    pricore.run("repo", "change", "acme", url, "--credential", "second")
    with GitHost(host.root).running() as elsewhere:
        pricore.run("repo", "change", "acme", url, "--url", elsewhere.url("other"))
        pricore.run("repo", "sync", "acme")
        assert elsewhere.secrets() == set()
    pricore.run("credential", "remove", "acme", "second", "--yes")
    assert [item["name"] for item in pricore.json("credential", "list", "acme")] == ["first"]


def test_a_token_is_seen_nowhere(pricore: Pricore, host: GitHost) -> None:
    """What is followed over the API is read with it, and neither files, answers nor processes show it."""
    pricore = Pricore(pricore.data, internal_hosts="127.0.0.1")
    url = host.url("private")
    shown = pricore.run(
        "credential", "add", "acme", "deploy", "--host", host.host, "--plain-http", stdin=TOKEN
    ).stdout
    secret = pricore.token("--scope", "repositories:write", "--scope", "repositories:read")
    host.gate = threading.Event()
    with pricore.serving() as server:

        def ask(body: bytes | None = None) -> str:
            request = urllib.request.Request(
                f"{server['url']}/api/organizations/acme/repositories",
                data=body,
                headers={"Authorization": f"Bearer {secret}"},
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                return str(answer.read().decode())

        shown += ask(json.dumps({"url": url}).encode())
        assert host.waiting.wait(20)
        seen, names = processes(server["pid"])
        host.gate.set()
        wait_for(lambda: '"sync_status":"ok"' in ask())
        shown += ask() + pricore.run("repo", "show", "acme", url).stdout
        for what in (("list", "acme"), ("show", "acme", "deploy"), ("list", "acme", "--json")):
            shown += pricore.run("credential", *what).stdout
    assert any(b"git-remote-http" in name for name in names)
    for form in forms(TOKEN):
        assert form not in seen
        assert form not in everything(pricore)
        assert form.decode() not in shown
    with contextlib.closing(sqlite3.connect(pricore.data / "pricore.sqlite3")) as database:
        assert [row[0] for row in database.execute("SELECT name FROM credentials")] == ["deploy"]


def processes(pid: int) -> tuple[bytes, list[bytes]]:
    """The arguments and variables of all processes here, and the arguments of those below a server."""
    everywhere, parents, arguments = b"", {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            number = int(folder.name)
            arguments[number] = (folder / "cmdline").read_bytes()
            if number != os.getpid():  # the test's own
                everywhere += arguments[number] + (folder / "environ").read_bytes()
            parents[number] = int(re.sub(r".*\) \S ", "", (folder / "stat").read_text()).split()[0])

    def descends(number: int) -> bool:
        return number == pid or (number in parents and descends(parents[number]))

    return everywhere, [arguments[number] for number in parents if descends(number)]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lost_key_stops_syncs_and_nothing_else(pricore: Pricore, host: GitHost) -> None:
    """Without the key that seals secrets a sync fails in one line, and what is served stays, until it is back."""
    add(pricore, "deploy", host.host)
    pricore.run("repo", "add", "acme", host.url("private"))
    key = pricore.data / "key"
    kept = key.read_bytes()
    key.unlink()

    failed = pricore.run("repo", "sync", "acme", status=1)
    assert "the credential deploy cannot be opened: put the key that seals secrets back" in failed.stderr
    assert str(pricore.data) not in failed.stderr
    assert len(failed.stderr.splitlines()) == 1
    assert [item["name"] for item in pricore.json("package", "list", "acme")] == ["acme/library"]
    key.write_bytes(kept)
    pricore.run("repo", "sync", "acme")


SSHD = "/usr/sbin/sshd"


class SshHost:
    """A real sshd on 127.0.0.1 for this user."""

    def __init__(self, folder: Path) -> None:
        need(SSHD, "ssh", "ssh-keygen", "ssh-keyscan")
        folder.mkdir()
        if os.geteuid() == 0:  # what its service would do
            Path("/run/sshd").mkdir(exist_ok=True)
        self.authorized = folder / "authorized_keys"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"

    def url(self, upstream: GitRepository) -> str:
        return f"ssh://{getpass.getuser()}@{self.host}{upstream.folder}/.git"

    def let_user_in(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the user a key of its own that opens the host, and a configuration of ssh that names it."""
        key, config, program = folder / "user", folder / "config", folder / "bin" / "ssh"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self.authorized.write_text(key.with_suffix(".pub").read_text())
        config.write_text(f"IdentityFile {key}\n")
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def start(self, *, kind: str = "ed25519") -> None:
        """Begin to serve, or go on, with a new host key."""
        self.stop()
        key = self._folder / f"host-{time.monotonic_ns()}"
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
        config = self._folder / "sshd_config"
        config.write_text(
            f"ListenAddress {self.host}\nHostKey {key}\nAuthorizedKeysFile {self.authorized}\nPidFile none\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
        )
        self._process = subprocess.Popen([SSHD, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
        wait_for(self._listens)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


@pytest.fixture
def ssh_host(tmp_path: Path) -> Iterator[SshHost]:
    host = SshHost(tmp_path / "sshd")
    host.start()
    yield host
    host.stop()


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    repository = make_repository("library")
    repository.commit({"name": "acme/library"})
    return repository


def test_a_key_that_was_made_here_opens_its_host(
    pricore: Pricore,
    ssh_host: SshHost,
    upstream: GitRepository,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`add --ssh` prints what to paste: it is read with that then, and with no key of the user's before."""
    ssh_host.let_user_in(tmp_path, monkeypatch)
    pricore = Pricore(pricore.data)
    url = ssh_host.url(upstream)
    done = pricore.run("credential", "add", "acme", "deploy", "--host", ssh_host.host, "--ssh")
    assert f"Paste this at {ssh_host.host}" in done.stderr
    line = f"error: cannot read {url}: it refuses the key of the credential deploy; is its public half there?"
    assert pricore.fail("repo", "add", "acme", url) == line

    with ssh_host.authorized.open("a") as keys:
        keys.write(done.stdout)
    pricore.run("repo", "add", "acme", url, "--no-sync")
    pricore.run("repo", "change", "acme", url, "--provider", "git", "--credential", "deploy")
    with pricore.serving():  # on the loop that the server runs on
        wait_for(lambda: pricore.json("repo", "show", "acme", url)["sync_status"] == "ok")
    assert pricore.json("credential", "test", "acme", "deploy")["url"] == url
    assert pricore.run("credential", "show", "acme", "deploy").stdout == done.stdout
    assert done.stdout.startswith("ssh-ed25519 ")
    assert done.stdout.endswith(" pricore-acme-deploy\n")
    assert (pricore.data / "known_hosts").read_text().startswith(f"[127.0.0.1]:{ssh_host.port} ssh-ed25519 ")


def test_a_changed_host_key_is_refused_until_it_is_trusted(
    pricore: Pricore, ssh_host: SshHost, upstream: GitRepository
) -> None:
    """Neither another key nor one of another kind is taken before `trust` says so; what is served stays."""
    url = ssh_host.url(upstream)
    made = pricore.json("credential", "add", "acme", "deploy", "--host", ssh_host.host, "--ssh")
    ssh_host.authorized.write_text(made["public_key"])
    pricore.run("repo", "add", "acme", url)
    with pricore.serving() as server:
        client = Client(server["url"], pricore.token())
        before = client.versions("acme/library")
        for kind in ("ed25519", "ecdsa"):
            ssh_host.start(kind=kind)
            failed = pricore.run("repo", "sync", "acme", status=1).stderr
            assert "its SSH host key is not the one in known_hosts" in failed
            assert "`pricore credential trust` takes it" in failed
            assert len(failed.splitlines()) == 1
        assert client.versions("acme/library") == before
        assert [client.download(entry) for entry in before.values()]

    (key,) = pricore.json("credential", "trust", ssh_host.host, "--yes")["keys"]
    assert key["kind"].startswith("ecdsa-")
    assert key["fingerprint"].startswith("SHA256:")
    pricore.run("repo", "sync", "acme")


def test_a_key_is_on_no_disk_even_after_a_kill(
    pricore: Pricore, ssh_host: SshHost, upstream: GitRepository, tmp_path: Path
) -> None:
    """While ssh uses a key, and when everything is killed meanwhile, it is in no file, argument or variable."""
    made = pricore.json("credential", "add", "acme", "deploy", "--host", ssh_host.host, "--ssh")
    marker = tmp_path / "begun"
    ssh_host.authorized.write_text(f'command="touch {marker}; sleep 3" {made["public_key"]}\n')
    pricore.run("repo", "add", "acme", ssh_host.url(upstream), "--no-sync")
    with pricore.background("repo", "sync", "acme", TMPDIR=str(pricore.data.parent)) as process:
        wait_for(marker.exists)
        seen, names = processes(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert any(name.startswith(b"ssh\0") for name in names)
    assert [path.name for path in pricore.data.parent.glob("pricore-*/*.pub")] == ["key.pub"]
    for content in (seen, everything(pricore)):
        assert b"PRIVATE KEY" not in content
        assert b"openssh-key-v1" not in content
        assert base64.b64encode(b"openssh-key-v1") not in content
