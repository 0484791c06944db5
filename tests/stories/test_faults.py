"""Git hosts that fail: what was served is served on, `repo show` says what is wrong, and all heals by itself."""

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from tests.harness import Client, Composer, GitRepository, Pricore, any_composer

_INTERVAL: Final = 3600


class Host:
    """A `git daemon` with one repository; it keeps its port, whatever becomes of it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.work = GitRepository(folder / "work")
        self.bare = folder / "served.git"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"git://127.0.0.1:{self._port}/served.git"
        self._open = contextlib.ExitStack()
        self.work.commit({"name": name}, files={"a.txt": "one"})
        self.work.tag("1.0.0")
        self.push()
        self.serve()

    def push(self, *arguments: str) -> None:
        """Make the repository, where it is not there, and bring all of the work into it."""
        if not self.bare.exists():
            self.work.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
            (self.bare / "git-daemon-export-ok").touch()
        self.work.git("push", "--quiet", *arguments, str(self.bare), "refs/heads/*:refs/heads/*", "refs/tags/*")

    def serve(self) -> None:
        daemon = subprocess.Popen(
            [
                *("git", "daemon", "--listen=127.0.0.1", f"--port={self._port}", "--reuseaddr"),
                *("--informative-errors", f"--base-path={self.bare.parent}"),
            ],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._open.callback(daemon.wait)
        self._open.callback(os.killpg, daemon.pid, signal.SIGTERM)
        Pricore.wait(self._answers)

    def stop(self) -> None:
        self._open.close()

    def say_nothing(self) -> None:
        """Take connections, and nothing else."""
        self.stop()
        self._open.enter_context(socket.create_server(("127.0.0.1", self._port)))

    def refuse(self) -> None:
        (self.bare / "git-daemon-export-ok").unlink()

    def lose_refs(self) -> None:
        shutil.rmtree(self.bare)
        self.work.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        (self.bare / "git-daemon-export-ok").touch()

    def damage(self) -> None:
        """Lose the objects, so that refs can be listed and nothing fetched."""
        for path in (self.bare / "objects").glob("??"):
            shutil.rmtree(path)

    def heal(self) -> None:
        self.stop()
        shutil.rmtree(self.bare)
        self.push()
        self.serve()

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
            return True
        return False


class World:
    """A registry that serves, and follows a repository that is always well, too."""

    def __init__(self, pricore: Pricore, bystander: str, url: str) -> None:
        self.pricore = pricore
        self._bystander = bystander
        self.url = url
        scopes = ("packages:read", "repositories:write")
        self.secret = pricore.token(*(part for scope in scopes for part in ("--scope", scope)))
        self.client = Client(url, self.secret)

    def show(self, host: Host) -> Any:
        return self.pricore.json("repo", "show", "acme", host.url)

    def sync(self, host: Host) -> Any:
        """Let the server read a repository, and give the record of it afterwards."""
        self._ask_for_sync(host.url)
        self.pricore.wait(lambda: self._rows("SELECT count(*) FROM jobs") == [(0,)])
        return self.show(host)

    def let_time_pass(self, host: Host) -> None:
        """Let what is due one day be due now; what somebody asks for somewhere else lets it be seen at once."""
        self._rows("UPDATE repositories SET next_sync_at = unixepoch() WHERE url = ?", host.url)
        self._ask_for_sync(self._bystander)

    def served(self, name: str) -> Any:
        """All that there is of a package, whose archives can be had, each with its checksum."""
        packages = self.client.read("/org/acme/packages.json")
        assert name in packages["available-packages"]
        versions = self.client.versions(name)
        for entry in versions.values():
            self.client.download(entry)
        return versions

    def _ask_for_sync(self, url: str) -> None:
        ((repository,),) = self._rows("SELECT id FROM repositories WHERE url = ?", url)
        status, body = self.client.ask("POST", f"/api/organizations/acme/repositories/{repository}/sync")
        assert status == 200, body

    def _rows(self, sql: str, *parameters: object) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self.pricore.data / "pricore.sqlite3")) as connection, connection:
            return connection.execute(sql, parameters).fetchall()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("faults")
    pricore = Pricore(
        folder / "data", git_timeout="6", sync_interval=str(_INTERVAL), inline_limit="0", rate_limits="off"
    )
    pricore.found()
    bystander = GitRepository(folder / "bystander")
    bystander.commit({"name": "acme/bystander"})
    pricore.run("repo", "add", "acme", bystander.url)
    with pricore.serving() as server:
        yield World(pricore, bystander.url, server["url"])


@pytest.fixture
def follow(world: World, tmp_path: Path) -> Iterator[Callable[[str], Host]]:
    """A maker of hosts with a package that the registry follows, and serves."""
    with contextlib.ExitStack() as opened:

        def make(name: str) -> Host:
            host = Host(tmp_path / name, name)
            opened.callback(host.stop)
            world.pricore.run("repo", "add", "acme", host.url)
            opened.callback(world.pricore.run, "repo", "remove", "acme", host.url, "--yes")
            assert world.served(name).keys() == {"1.0.0", "dev-main"}
            return host

        yield make


FAULTS: Final[dict[str, tuple[Callable[[Host], None], str, bool]]] = {
    "down": (Host.stop, "Connection refused", True),
    "silent": (
        Host.say_nothing,
        "git ls-remote of {url} took longer than 6 seconds; git_timeout allows more",
        True,
    ),
    "closed": (Host.refuse, "git ls-remote of {url} failed: remote error: repository not exported", False),
    "empty": (Host.lose_refs, "{url} is empty: push a branch with a composer.json to it first", False),
    "damaged": (Host.damage, "git fetch of {url} failed: remote error: upload-pack: not our ref", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_that_fails_takes_nothing_away(world: World, follow: Callable[[str], Host], fault: str) -> None:
    """Its packages are served on; what is wrong, since when, and when it is tried again is on record; it heals."""
    break_it, reason, soon = FAULTS[fault]
    name = f"acme/{fault}"
    host = follow(name)
    before = world.served(name)
    host.work.commit(files={"a.txt": "two"})
    host.work.tag("1.1.0")
    if break_it == Host.damage:
        host.push()
    began = int(time.time())
    break_it(host)
    shown = world.sync(host)
    assert shown["sync_status"] == "failed"
    assert reason.format(url=host.url) in shown["sync_error"]
    assert "\n" not in shown["sync_error"]
    assert shown["failures"] == 1
    assert began <= _seconds(shown["failing_since"]) <= time.time()
    wait = _seconds(shown["next_sync_at"]) - time.time()
    assert (15 < wait <= 33) if soon else (0.8 * _INTERVAL < wait <= 1.1 * _INTERVAL)
    text = world.pricore.run("repo", "show", "acme", host.url).stdout
    assert all(shown[field] in text for field in ("sync_error", "failing_since", "next_sync_at"))
    assert world.served(name) == before

    host.heal()
    world.let_time_pass(host)
    world.pricore.wait(lambda: "1.1.0" in world.client.versions(name))
    assert world.served(name)["1.0.0"] == before["1.0.0"]
    shown = world.show(host)
    assert (shown["sync_status"], shown["sync_error"]) == ("ok", None)
    assert (shown["failures"], shown["failing_since"]) == (0, None)


def test_a_broken_composer_json_stays_out(world: World, follow: Callable[[str], Host]) -> None:
    """The branch is served at its last good commit, and `repo show` says of which ref what is wrong."""
    host = follow("acme/broken")
    before = world.served("acme/broken")
    broken = host.work.commit('{"name": "acme/broken",')
    host.work.tag("1.1.0")
    host.push()
    shown = world.sync(host)
    assert shown["sync_status"] == "ok"
    reasons = {item["ref"]: item["left_out"] for item in shown["refs"] if item["commit"] == broken}
    assert reasons.keys() == {"refs/heads/main", "refs/tags/1.1.0"}
    assert all("not valid JSON" in reason for reason in reasons.values())
    assert world.served("acme/broken") == before


@any_composer
def test_a_repository_that_is_another_by_now(
    world: World, follow: Callable[[str], Host], composer: Composer, tmp_path: Path
) -> None:
    """With another package and history at its address, lock files install, and the old name points to the new."""
    host = follow("acme/old")
    before = world.served("acme/old")
    registry = f"{world.url}/org/acme"
    composer.write(require={"acme/old": "^1.0 || dev-main"}, registry=registry)
    composer.log_in(registry, world.secret)
    composer.run("update", "--prefer-dist")

    other = Host(tmp_path / "other", "acme/new")
    other.work.tag("2.0.0")
    other.push()
    other.stop()
    shutil.rmtree(host.bare)
    other.bare.rename(host.bare)
    assert world.sync(host)["sync_status"] == "ok"
    served = world.served("acme/old")
    abandoned = {entry.pop("abandoned") for entry in served.values()}
    assert (served, abandoned) == (before, {"acme/new"})
    assert world.served("acme/new").keys() == {"1.0.0", "2.0.0", "dev-main"}
    composer.forget()
    composer.run("install", "--prefer-dist")
    assert composer.installed("acme/old", "a.txt") == "one"


def test_an_unrelated_history_moves_no_release(world: World, follow: Callable[[str], Host]) -> None:
    """Made anew under the same name, a repository's branches follow; its releases stay, and it is said why."""
    host = follow("acme/anew")
    before = world.served("acme/anew")
    shutil.rmtree(host.work.folder / ".git")
    shutil.rmtree(host.bare)
    host.work.git("init", "--quiet", "--initial-branch=main")
    commit = host.work.commit(files={"a.txt": "from the beginning"})
    host.work.tag("1.0.0")
    host.push()
    shown = world.sync(host)
    (reason,) = (item["left_out"] for item in shown["refs"] if item["left_out"])
    assert "a released version does not change" in reason
    served = world.served("acme/anew")
    assert served["1.0.0"] == before["1.0.0"]
    assert served["dev-main"]["dist"]["reference"] == commit
    world.client.download(before["dev-main"])


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()
