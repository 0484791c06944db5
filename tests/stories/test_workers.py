"""Several processes on one port serve one registry: what one of them is told, all of them know."""

import contextlib
import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Client, Composer, GitRepository, Pricore, any_composer

NAME = "acme/library"
CONNECTIONS = 32


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    upstream = make_repository("library")
    upstream.commit({"name": NAME}, files={"file.txt": "one"})
    upstream.tag("1.0.0")
    return upstream


@contextlib.contextmanager
def served(pricore: Pricore, upstream: GitRepository) -> Iterator[Any]:
    """A server of two processes that follows a repository."""
    pricore.run("repo", "add", "acme", upstream.url)
    with pricore.serving("serve", "--workers", "2") as server:
        yield server


def workers_of(server: Any) -> list[int]:
    """The processes that the one which was started watches."""
    children = Path(f"/proc/{server['pid']}/task/{server['pid']}/children")
    return [int(process) for process in children.read_text().split()]


def connections_of(process: int) -> int:
    """Established TCP connections that a process holds."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = {f"socket:[{row[9]}]" for row in rows if row[3] == "01"}
    return sum(str(file.readlink()) in established for file in Path(f"/proc/{process}/fd").iterdir())


@any_composer
def test_composer_installs_from_two_workers(pricore: Pricore, upstream: GitRepository, composer: Composer) -> None:
    """A push is served by both once the one that syncs has read it, whichever of them was told of it."""
    with served(pricore, upstream) as server:
        assert len(workers_of(server)) == 2
        registry = f"{server['url']}/org/acme"
        composer.write(require={NAME: "^1.0"}, registry=registry)
        composer.log_in(registry, pricore.token())
        composer.run("update")
        assert composer.installed(NAME, "file.txt") == "one"

        upstream.commit(files={"file.txt": "two"})
        upstream.tag("1.1.0")
        client = Client(
            server["url"], pricore.token("--scope", "repositories:write", "--scope", "repositories:read")
        )
        (repository,) = client.read("/api/organizations/acme/repositories")["data"]
        for _ in range(8):  # each a connection of its own: they come to both
            assert client.ask("POST", f"/api/organizations/acme/repositories/{repository['id']}/sync")[0] == 200
        reader = Client(server["url"], pricore.token())
        pricore.wait(lambda: "1.1.0" in reader.versions(NAME))
        composer.run("update")
        assert composer.installed(NAME, "file.txt") == "two"


def test_a_revoked_token_is_refused_by_all_workers_at_once(tmp_path: Path, upstream: GitRepository) -> None:
    """Under load on connections of both, no request that is sent after `token revoke` has ended gets an answer."""
    pricore = Pricore(tmp_path / "busy", rate_limits="off")
    pricore.found()
    with served(pricore, upstream) as server:
        made = pricore.json("token", "create", "acme", "leaked")
        host, port = server["listens"].split(":")
        revoked = threading.Event()
        late: list[int] = []
        before: list[int] = []
        connections = [http.client.HTTPConnection(host, int(port), timeout=30) for _ in range(CONNECTIONS)]

        def ask_until_refused(connection: http.client.HTTPConnection) -> None:
            """Ask again and again; what is begun after the revocation must be refused."""
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline:
                after = revoked.is_set()
                connection.request(
                    "GET", f"/org/acme/p2/{NAME}.json", headers={"Authorization": f"Bearer {made['token']}"}
                )
                with connection.getresponse() as response:
                    response.read()
                    (late if after else before).append(response.status)
                if after:
                    return

        threads = [threading.Thread(target=ask_until_refused, args=(item,)) for item in connections]
        try:
            for thread in threads:
                thread.start()
            pricore.wait(lambda: all(connections_of(worker) > 0 for worker in workers_of(server)))
            pricore.run("token", "revoke", "acme", made["id"], "--yes")
            revoked.set()
            for thread in threads:
                thread.join(timeout=60)
        finally:
            for connection in connections:
                connection.close()
        assert late == [401] * CONNECTIONS
        assert before.count(200) > CONNECTIONS


def test_a_worker_that_is_killed_is_replaced(pricore: Pricore, upstream: GitRepository) -> None:
    """The other one answers meanwhile; where it was the one that syncs, the queue goes on too."""
    with served(pricore, upstream) as server:
        client = Client(server["url"], pricore.token())
        for victim in workers_of(server):
            os.kill(victim, signal.SIGKILL)
            pricore.wait(lambda: victim not in (found := workers_of(server)) and len(found) == 2)  # noqa: B023
        upstream.tag("2.0.0")
        pricore.run("repo", "sync", "acme", "--all")
        pricore.wait(lambda: "2.0.0" in client.versions(NAME))


def test_workers_end_with_the_one_that_watches_them(pricore: Pricore, tmp_path: Path) -> None:
    """One that is killed leaves nothing behind that would answer, or keep the data folder."""
    process = pricore.start("serve", "--workers", "2", "--port", "0", "--json", log=tmp_path / "log")
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        workers = workers_of({"pid": process.pid})
        assert len(workers) == 2
        process.kill()
    pricore.wait(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    with pricore.serving():
        pass


def test_workers_that_cannot_begin_say_so_once(pricore: Pricore, tmp_path: Path) -> None:
    """Where another server has the data folder or the port, one line says it, and none of the workers stays."""
    with pricore.serving() as server:
        port = server["listens"].partition(":")[2]
        assert "another `pricore serve` serves" in pricore.fail("serve", "--workers", "2", "--port", "0")
        other = Pricore(tmp_path / "other")
        message = other.fail("serve", "--workers", "2", "--port", port)
        assert "something listens there already" in message
