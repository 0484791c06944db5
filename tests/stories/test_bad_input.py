"""Mistakes an operator makes: each is told in one line, exits 1, and leaves everything as it was."""

import base64
import json
import os
import socket
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness import GitRepository, Pricore


class World:
    """A registry with one repository, and the repositories that cannot be added to it."""

    def __init__(self, folder: Path) -> None:
        self.pricore = Pricore(folder / "data")
        self.pricore.found()
        self.first = self._repository(folder / "first", '{"name": "acme/library"}')
        self.pricore.run("repo", "add", "acme", self.first.url)
        self.same_name = self._repository(folder / "second", '{"name": "acme/library"}')
        self.no_composer = self._repository(folder / "nothing", None)
        self.empty = GitRepository(folder / "empty")
        self.folder = folder

    @staticmethod
    def _repository(folder: Path, composer: str | None) -> GitRepository:
        repository = GitRepository(folder)
        repository.commit(composer)
        return repository

    def state(self) -> tuple[list[str], set[Path]]:
        """Everything in the database but the counts of its changes, and every file but the database's own."""
        with sqlite3.connect(":memory:") as database:
            with sqlite3.connect(self.pricore.data / "pricore.sqlite3") as stored:
                stored.backup(database)
            stored.close()
            database.execute("UPDATE organizations SET revision = 0")
            content = [line for line in database.iterdump() if not line.startswith('INSERT INTO "revisions"')]
        database.close()
        files = {path for path in self.pricore.data.rglob("*") if "sqlite3" not in path.name}
        return content, files


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("bad-input"))


@pytest.fixture
def unchanged(world: World) -> Iterator[World]:
    before = world.state()
    yield world
    assert world.state() == before


CASES: dict[str, tuple[Callable[[World], list[str]], str]] = {
    "not a Git URL": (lambda world: ["repo", "add", "acme", "just some words"], "is no Git address"),
    "a shorthand without provider": (lambda world: ["repo", "add", "acme", "team/name"], "add --provider github"),
    "a URL with a password": (
        lambda world: ["repo", "add", "acme", "https://me:secret@git.example.com/x.git"],
        "holds a user or password",
    ),
    "a transport that runs commands": (
        lambda world: ["repo", "add", "acme", "ext::sh -c touch% /tmp/x"],
        "is no Git address",
    ),
    "an option as an address": (
        lambda world: ["repo", "add", "acme", "--", "--upload-pack=touch /tmp/x"],
        "is no Git address",
    ),
    "a host that does not exist": (
        lambda world: ["repo", "add", "acme", "https://no-such-host.invalid/x.git"],
        "cannot reach https://no-such-host.invalid/x.git",
    ),
    "a host that refuses": (
        lambda world: ["repo", "add", "acme", "git://127.0.0.1:1/x.git"],
        "cannot reach git://127.0.0.1:1/x.git",
    ),
    "a folder that is not there": (
        lambda world: ["repo", "add", "acme", "/no/such/folder"],
        "there is no Git repository at that address",
    ),
    "an empty repository": (lambda world: ["repo", "add", "acme", world.empty.url], "is empty: push a branch"),
    "no composer.json": (
        lambda world: ["repo", "add", "acme", world.no_composer.url],
        "has a composer.json: add one with a name",
    ),
    "a name that is taken": (
        lambda world: ["repo", "add", "acme", world.same_name.url],
        "acme/library comes from {first} already",
    ),
    "a repository twice": (
        lambda world: ["repo", "add", "acme", world.first.url + "/.git"],
        "`pricore repo sync` reads it again",
    ),
    "an unknown organization": (
        lambda world: ["repo", "add", "nowhere", world.first.url],
        "`pricore org list` shows those there are",
    ),
    "an organization twice": (lambda world: ["org", "create", "acme"], "choose another slug"),
    "a name of which no slug can be made": (lambda world: ["org", "create", "!!!"], "give a slug (--slug)"),
    "a malformed slug": (lambda world: ["org", "create", "x", "--slug", "a/b"], "is not a slug"),
    "an unknown repository": (lambda world: ["repo", "sync", "acme", "nothing"], "`pricore repo list acme`"),
    "an unknown package": (lambda world: ["package", "show", "acme", "a/b"], "`pricore package list acme`"),
    "an unknown token": (lambda world: ["token", "revoke", "acme", "x"], "`pricore token list acme`"),
    "an unknown scope": (
        lambda world: ["token", "create", "acme", "x", "--scope", "everything"],
        "choose from packages:read",
    ),
    "a token for a package that is not there": (
        lambda world: ["token", "create", "acme", "x", "--package", "a/b"],
        "acme has no package a/b",
    ),
    "an expiry that is past": (
        lambda world: ["token", "create", "acme", "x", "--expires", "2020-01-01"],
        "is in the past",
    ),
    "an expiry that is no date": (
        lambda world: ["token", "create", "acme", "x", "--expires", "soon"],
        "neither a date such as 2027-01-01 nor a span such as 90d",
    ),
    "a credential for a URL": (
        lambda world: ["credential", "add", "acme", "x", "--host", "https://git.example.com"],
        "is no host such as git.example.com",
    ),
    "a credential for a name beyond ASCII": (
        lambda world: ["credential", "add", "acme", "x", "--host", "gît.example.com", "--ssh"],
        "beyond ASCII as xn--",
    ),
    "a credential without a token": (
        lambda world: ["credential", "add", "acme", "x", "--host", "git.example.com", "--token-file", "/dev/null"],
        "the token must be one line",
    ),
    "a file with no token": (
        lambda world: ["credential", "add", "acme", "x", "--host", "git.example.com", "--token-file", "/no/file"],
        "cannot read the token from /no/file: No such file",
    ),
    "a user with a line break": (
        lambda world: [
            *("credential", "add", "acme", "x", "--host", "git.example.com"),
            *("--username", "a\nhost=evil.example", "--token-file", world.first.url + "/composer.json"),
        ],
        "the user must have",
    ),
    "a malformed name of a credential": (
        lambda world: ["credential", "add", "acme", "none", "--host", "git.example.com", "--ssh"],
        "is no name of a credential",
    ),
    "an unknown credential": (
        lambda world: ["repo", "add", "acme", "https://git.example.com/x", "--credential", "nothing"],
        "`pricore credential list acme`",
    ),
    "an SSH host that is not there": (
        lambda world: ["credential", "trust", "127.0.0.1:1", "--yes"],
        "no SSH server there shows a key",
    ),
    "a configuration that is not there": (
        lambda world: ["org", "list", "--config", "/no/such/file.yaml"],
        "cannot read the configuration /no/such/file.yaml",
    ),
    "a folder that cannot be made": (
        lambda world: ["org", "list", "--data", "/proc/pricore"],
        "with --data or PRICORE_DATA",
    ),
    "a file where the data folder should be": (
        lambda world: ["org", "list", "--data", world.first.url + "/composer.json"],
        "with --data or PRICORE_DATA",
    ),
    "a port that is none": (lambda world: ["serve", "--port", "99999"], "a whole number from 0 to 65535"),
    "an address of another machine": (
        lambda world: ["serve", "--host", "192.0.2.1"],
        "that is no address of this machine",
    ),
    "a public URL that is none": (lambda world: ["serve", "--public-url", "packages"], "must be a URL such as"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_in_one_line(unchanged: World, name: str) -> None:
    """What is wrong and what to do, on standard error; exit status 1; nothing moved."""
    arguments, message = CASES[name]
    line = unchanged.pricore.fail(*arguments(unchanged))
    assert message.format(first=unchanged.first.url) in line
    assert "secret" not in line


def test_a_port_in_use_is_told_before_anything_is_made(unchanged: World, tmp_path: Path) -> None:
    """`serve` and `quickstart` name the port and leave even a new data folder alone."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert "something listens there already" in unchanged.pricore.fail("serve", "--port", port)
        new = Pricore(tmp_path / "new")
        assert "something listens there already" in new.fail("quickstart", "--port", port)
        assert not new.data.exists()


def test_a_second_server_of_a_folder_says_so(world: World) -> None:
    """Two servers would take each other's jobs: the second names the folder and exits, the first goes on."""
    with world.pricore.serving() as first:
        for _ in range(2):
            message = world.pricore.fail("serve", "--port", "0")
            assert f"serves {world.pricore.data} already" in message
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{first['url']}/org/acme/packages.json", timeout=10)
    with world.pricore.serving():
        pass


def test_a_data_folder_without_write_permission(tmp_path: Path) -> None:
    """A folder that this user may not write is named, with what to do."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o500)
    # modes don't hold root back, the immutable flag does
    as_root = os.geteuid() == 0
    if as_root and subprocess.run(["chattr", "+i", folder], capture_output=True, check=False).returncode:
        pytest.skip("this file system keeps root from nothing")
    try:
        line = Pricore(folder).fail("org", "create", "acme")
        assert f"cannot use the data folder {folder}" in line
        assert "with --data or PRICORE_DATA" in line
        assert list(folder.iterdir()) == []
    finally:
        if as_root:
            subprocess.run(["chattr", "-i", folder], check=True)


def test_a_malformed_token_is_refused(world: World) -> None:
    """Whatever stands in the header, the answer is 401 in a sentence."""
    with world.pricore.serving() as server:
        for secret in ("", "pri_", "pri_" + "0" * 38, "x" * 4_000, "päßwörd", "pri_\x00", "' OR 1=1 --"):
            credentials = base64.b64encode(f"token:{secret}".encode()).decode()
            request = urllib.request.Request(
                f"{server['url']}/org/acme/packages.json", headers={"Authorization": f"Basic {credentials}"}
            )
            with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request):
                pass
            with caught.value as answer:
                assert answer.code == 401
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
                assert "access token" in json.loads(answer.read())["message"]


def test_wrong_usage_exits_with_2(world: World) -> None:
    """A command that is not written right is told apart from one that failed."""
    for arguments in (["bogus"], ["org", "create"], ["repo", "add", "acme"], ["org", "list", "--bogus"]):
        assert world.pricore.run(*arguments, status=2).stdout == ""
