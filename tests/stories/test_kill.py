"""Killed at any moment, a server comes back with everything that it ever acknowledged."""

import contextlib
import http.client
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from pricore.composer.versions import normalize
from tests.harness import Client, Pricore, Upstream
from tests.rules import token_name
from tests.soak import SEED, TIMES

_ROUNDS: Final = 20
"""Kills of one data folder; a soak has more of those, so that each stays small enough to be checked whole."""

_FOLLOWED: Final = ("acme/one", "acme/two")
_SECONDS: Final = 30
"""How long a sync that was acknowledged may take."""
_SCOPES: Final = (
    *("packages:read", "packages:write", "repositories:read", "repositories:write", "tokens:read", "tokens:write"),
)


class Promises:
    """What was acknowledged, and so has to hold after every restart."""

    def __init__(self) -> None:
        self.good: dict[str, str] = {}  # tokens by id
        self.revoked: set[str] = set()
        self.tags: dict[tuple[str, str], str] = {}  # (package, version) -> commit, served or queued to be
        self.served: dict[tuple[str, str], tuple[str, str]] = {}  # (package, version) -> commit and checksum
        self.deleted: set[tuple[str, str]] = set()
        self.repositories: dict[str, str] = {}  # package -> id
        self.removed: set[str] = set()

    def forget(self, package: str) -> None:
        """A repository is about to be removed: its versions may be there or not."""
        for known in (self.tags, self.served):
            for key in [key for key in known if key[0] == package]:
                del known[key]


class Server(Client):
    """A `pricore serve` that can be killed, and is asked."""

    def __init__(self, pricore: Pricore, log: Path, secret: str) -> None:
        self.process = pricore.start("serve", "--port", "0", "--json", log=log)
        assert self.process.stdout is not None
        text = ""
        while not text.endswith("}\n"):
            line = self.process.stdout.readline()
            assert line, f"it does not serve: {text}{log.read_text()}"
            text += line
        super().__init__(json.loads(text)["url"], secret)

    def kill(self, *, with_git: bool) -> None:
        """SIGKILL it, and each git that it runs too, or leave those to themselves."""
        children = _children(self.process.pid) if with_git else []
        for pid in (self.process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def _children(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *_children(child)]
    return found


class World:
    """A data folder whose server is killed again and again, while chance uses it."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self._folder = folder
        self._chance = chance
        self._log = folder / "serve.log"
        self._pricore = Pricore(folder / "data", rate_limits="off", inline_limit="0")
        self._pricore.found()
        scopes = [part for scope in _SCOPES for part in ("--scope", scope)]
        self._secret = self._pricore.token(*scopes)
        self._promises = Promises()
        self._upstreams: dict[str, Upstream] = {}
        self._added: list[str] = []
        self._seen: set[tuple[str, str]] = set()
        for package in _FOLLOWED:
            self._follow(package)

    def _follow(self, package: str) -> None:
        upstream = Upstream(self._folder / f"{package[5:]}.git", package, commits=150)
        upstream.release()
        self._pricore.run("repo", "add", "acme", str(upstream.folder), "--no-sync")
        self._remember(package, upstream)

    def _remember(self, package: str, upstream: Upstream) -> None:
        """Note a repository that was added, as it is on record."""
        (repository,) = (
            item for item in self._pricore.json("repo", "list", "acme") if item["url"] == str(upstream.folder)
        )
        self._promises.repositories[package] = repository["id"]
        self._upstreams[package] = upstream

    def live(self, rounds: int) -> None:
        """So many times: start, find everything that was acknowledged, use it, kill it."""
        for number in range(rounds + 1):
            server = Server(self._pricore, self._log, self._secret)
            try:
                self._check(server)
                if number < rounds:
                    self._use(server)
            finally:
                server.kill(with_git=self._chance.random() < 0.5)
        assert "Traceback" not in self._log.read_text(), self._log.read_text()

    def _use(self, server: Server) -> None:
        """Let several clients work at once for a moment; it is killed before they are done."""
        chance = self._chance
        clients: list[Callable[[random.Random], Iterator[None]]] = [
            lambda chance: self._push(server, chance),
        ]
        slow = chance.random() < 0.25
        if slow:
            clients.append(self._type)
        else:
            clients.append(lambda chance: self._change_tokens(server, chance))
        # never both: who reads what is being deleted is promised nothing
        if chance.random() < 0.3:
            clients.append(lambda chance: self._delete(server, chance))
        else:
            clients.append(lambda chance: self._watch(server, chance))
        errors: list[BaseException] = []
        stop = threading.Event()

        def work(client: Callable[[random.Random], Iterator[None]], chance: random.Random) -> None:
            try:
                for _ in client(chance):
                    if stop.is_set():
                        return
            except (OSError, http.client.HTTPException):
                pass  # it was killed
            except BaseException as error:  # noqa: BLE001  # told by the test's own thread
                errors.append(error)

        threads = [
            threading.Thread(target=work, args=(client, random.Random(chance.random()))) for client in clients
        ]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0, 1.2 if slow else 0.3))
        server.kill(with_git=chance.random() < 0.5)
        stop.set()
        for thread in threads:
            thread.join()
        assert not errors, errors

    def _push(self, server: Server, chance: random.Random) -> Iterator[None]:
        """Push tags to repositories and ask for a sync; what was answered with 200 has to be served one day."""
        for _ in range(3):
            package = chance.choice(_FOLLOWED)
            tags = [self._upstreams[package].release() for _ in range(chance.randint(1, 2))]
            path = f"/api/organizations/acme/repositories/{self._promises.repositories[package]}/sync"
            status, body = server.ask("POST", path)
            assert status == 200, body
            self._promises.tags |= {(package, tag): commit for tag, commit in tags}
            time.sleep(chance.uniform(0, 0.1))
            yield

    def _change_tokens(self, server: Server, chance: random.Random) -> Iterator[None]:
        """Create and revoke tokens; one whose answer got lost may be there or not."""
        path = "/api/organizations/acme/tokens"
        while True:
            if self._promises.good and chance.random() < 0.4:
                chosen = chance.choice([*self._promises.good])
                secret = self._promises.good.pop(chosen)
                status, body = server.ask("DELETE", f"{path}/{chosen}")
                assert status == 200, body
                self._promises.revoked.add(secret)
            else:
                status, body = server.ask("POST", path, {"name": token_name()})
                assert status == 201, body
                made = json.loads(body)["data"]
                self._promises.good[made["id"]] = made["token"]
            time.sleep(0.02)
            yield

    def _watch(self, server: Server, chance: random.Random) -> Iterator[None]:
        """Read metadata as clients do: a release that was seen once is promised to all who locked it."""
        while True:
            package = chance.choice(_FOLLOWED)
            for version, entry in server.versions(package).items():
                if not version.startswith("dev-"):
                    dist = entry["dist"]
                    self._promises.served.setdefault((package, version), (dist["reference"], dist["shasum"]))
            yield

    def _delete(self, server: Server, chance: random.Random) -> Iterator[None]:
        """Delete a version, or a repository that came by the command line."""
        if len(self._upstreams) > len(_FOLLOWED) and chance.random() < 0.6:
            package, _ = self._upstreams.popitem()
            self._promises.forget(package)
            path = f"/api/organizations/acme/repositories/{self._promises.repositories.pop(package)}"
            status, body = server.ask("DELETE", path)
            assert status == 200, body
            self._promises.removed.add(package)
            yield
        elif self._promises.served:
            package, version = chance.choice([*self._promises.served])
            for known in (self._promises.tags, self._promises.served):
                known.pop((package, version), None)
            path = f"/api/organizations/acme/packages/{package}/versions/{version}"
            status, body = server.ask("DELETE", path)
            assert status in (200, 404), body
            if status == 200:
                self._promises.deleted.add((package, version))
            yield

    def _type(self, chance: random.Random) -> Iterator[None]:
        """Run a command beside the server; it is killed too, unless it ends before that."""
        log = self._folder / "command.log"
        match chance.choice(["sync", "create", "revoke", "add"]):
            case "sync":
                package = chance.choice(_FOLLOWED)
                tag, commit = self._upstreams[package].release()
                if self._run(chance, "repo", "sync", "acme", self._promises.repositories[package], log=log):
                    self._promises.tags[package, tag] = commit
            case "create":
                if made := self._run(chance, "token", "create", "acme", token_name(), log=log):
                    self._promises.good[made["id"]] = made["token"]
            case "revoke" if self._promises.good:
                chosen, secret = self._promises.good.popitem()
                if self._run(chance, "token", "revoke", "acme", chosen, "--yes", log=log):
                    self._promises.revoked.add(secret)
            case "add":
                package = f"acme/extra-{len(self._added)}"
                upstream = Upstream(self._folder / f"{package[5:]}.git", package, commits=60)
                released = [upstream.release() for _ in range(30)]
                self._added.append(package)
                if self._run(chance, "repo", "add", "acme", str(upstream.folder), log=log):
                    self._remember(package, upstream)
                    self._promises.tags |= {(package, tag): commit for tag, commit in released}
        yield

    def _run(self, chance: random.Random, *arguments: str, log: Path) -> Any:
        """What a command printed that ended well; None for one that was killed at some moment."""
        process = self._pricore.start(*arguments, "--json", log=log)
        try:
            output, _ = process.communicate(timeout=chance.uniform(0.3, 2))
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), f"{arguments}: {log.read_text()}"
        return json.loads(output) if process.returncode == 0 else None

    def _check(self, server: Server) -> None:
        """Everything that was acknowledged is there, and what is advertised can be had."""
        promises = self._promises
        self._seen.clear()
        with contextlib.closing(sqlite3.connect(self._pricore.data / "pricore.sqlite3")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for secret in promises.good.values():
            assert server.ask("GET", "/api/token", secret=secret)[0] == 200, "a token that was shown is lost"
        for secret in promises.revoked:
            assert server.ask("GET", "/api/token", secret=secret)[0] == 401, "a token that was revoked works"
        for package, repository in promises.repositories.items():
            found = server.read(f"/api/organizations/acme/repositories/{repository}")["data"]
            assert found["url"] == str(self._upstreams[package].folder)
        self._wait_for_tags(server)
        names = server.read("/org/acme/packages.json").get("available-packages", [])
        assert not promises.removed & {*names}, "a repository that was removed is served"
        for package in names:
            for version, entry in server.versions(package).items():
                self._check_version(server, package, version, entry)
        missing = promises.served.keys() - self._seen
        assert not missing, f"served before, and not any more: {missing}"
        assert not promises.deleted & self._seen, "what was deleted is back"

    def _wait_for_tags(self, server: Server) -> None:
        """Every sync that was acknowledged is done one day."""
        deadline = time.monotonic() + _SECONDS
        while True:
            packages = {package for package, _ in self._promises.tags}
            found = {
                (package, version): entry["dist"]["reference"]
                for package in packages
                for version, entry in server.versions(package).items()
            }
            missing = {key: commit for key, commit in self._promises.tags.items() if found.get(key) != commit}
            if not missing:
                return
            assert time.monotonic() < deadline, f"queued, and never served: {missing}; {self._log.read_text()}"
            time.sleep(0.02)

    def _check_version(self, server: Server, package: str, version: str, entry: dict[str, Any]) -> None:
        key, dist = (package, version), entry["dist"]
        self._seen.add(key)
        assert entry["version_normalized"] == normalize(version)
        if version[0].isdigit() and package in self._upstreams:
            before = self._promises.served.setdefault(key, (dist["reference"], dist["shasum"]))
            assert before == (dist["reference"], dist["shasum"]), f"{key} is not what it was"
        server.download(entry)


@pytest.mark.long
@pytest.mark.parametrize("number", range(TIMES))
def test_what_was_acknowledged_survives_every_kill(tmp_path: Path, number: int) -> None:
    """Killed in the middle of syncs, pushes and changes of tokens, a server loses nothing that it promised."""
    chance = random.Random(f"{SEED}-{number}")
    try:
        World(tmp_path, chance).live(_ROUNDS)
    except BaseException as error:
        error.add_note(f"once more: PRICORE_SOAK_SEED={SEED} PRICORE_SOAK={TIMES}")
        raise
