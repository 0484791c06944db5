"""What a sync is doing is told while it goes on, whichever process syncs, and to as many as there is room for."""

import contextlib
import fcntl
import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pricore.models import Step
from tests.harness import GitRepository, Pricore

READ = ("--scope", "repositories:read")
WRITE = ("--scope", "repositories:write")
ORDER = [step.value for step in Step]


def release_many(repository: GitRepository, count: int) -> None:
    """Give a repository that many releases, 1.0.1 and so on, on the branch main.

    Each has a link, and so its archive is left to git, which takes its time.
    """
    composer = json.dumps({"name": f"acme/{repository.folder.name}"})
    commits = [
        f"commit refs/heads/main\nmark :{number}\n"
        f"committer Ada <ada@example.com> {1_700_000_000 + number} +0000\ndata 6\nchange\n"
        f"M 644 inline composer.json\ndata {len(composer)}\n{composer}\n"
        f"M 120000 inline link\ndata 10\nnumber.txt\n"
        f"M 644 inline number.txt\ndata {len(str(number))}\n{number}\n"
        f"reset refs/tags/1.0.{number}\nfrom :{number}\n\n"
        for number in range(1, count + 1)
    ]
    repository.git("fast-import", "--quiet", stdin="".join(commits).encode())


class Api:
    """The API of a server that runs, as one token sees it."""

    def __init__(self, url: str, secret: str) -> None:
        self._place = urlsplit(url)
        self._headers = {"Authorization": f"Bearer {secret}"}

    def open(
        self, path: str, *, method: str = "GET"
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """A connection on which an answer has begun."""
        assert self._place.hostname is not None
        connection = http.client.HTTPConnection(self._place.hostname, self._place.port, timeout=30)
        connection.request(method, f"/api/organizations/acme/repositories{path}", headers=self._headers)
        return connection, connection.getresponse()

    def ask(self, path: str, *, method: str = "GET") -> Any:
        connection, response = self.open(path, method=method)
        with contextlib.closing(connection):
            assert response.status == 200, response.read()
            return json.load(response)

    def newest(self, repository: str) -> dict[str, Any]:
        """The newest sync of a repository."""
        found: dict[str, Any] = self.ask(f"/{repository}/sync-runs?per_page=1")["data"][0]
        return found

    def follow(self, repository: str, run: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of a sync, by name and document, until the server ends the stream."""
        connection, response = self.open(f"/{repository}/sync-runs/{run}/events")
        with contextlib.closing(connection):
            assert response.status == 200, response.read()
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["X-Accel-Buffering"] == "no"
            name, deadline = "", time.monotonic() + 30
            for line in response:
                assert time.monotonic() < deadline, "the stream goes on"
                field, _, value = line.decode().rstrip("\n").partition(": ")
                if field == "event":
                    name = value
                elif field == "data":
                    yield name, json.loads(value)["data"]


@contextlib.contextmanager
def held(pricore: Pricore, repository: str) -> Iterator[None]:
    """Hold a repository, as another process that syncs it would."""
    folder = pricore.data / "repositories"
    folder.mkdir(exist_ok=True)
    with (folder / f"{repository}.lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def add(pricore: Pricore, upstream: GitRepository) -> str:
    """Follow a repository without reading it; gives its id."""
    pricore.run("repo", "add", "acme", upstream.url, "--no-sync")
    found: list[dict[str, str]] = pricore.json("repo", "list", "acme")
    return next(item["id"] for item in found if item["url"] == upstream.url)


def steps(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The steps that some documents tell of, each once where several in a row are alike."""
    found: list[str] = []
    for document in documents:
        if document["progress"] is not None and found[-1:] != [document["progress"]["step"]]:
            found.append(document["progress"]["step"])
    return found


@pytest.fixture
def blocked(
    tmp_path: Path, make_repository: Callable[[str], GitRepository]
) -> Iterator[tuple[Pricore, dict[str, Any], str, str]]:
    """A server with a sync that waits for another process: the program, what it serves, repository and run."""
    pricore = Pricore(tmp_path / "data")
    pricore.found()
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    repository = add(pricore, upstream)
    secret = pricore.token(*READ, *WRITE)
    with pricore.serving() as serving, held(pricore, repository):
        api = Api(serving["url"], secret)
        api.ask(f"/{repository}/sync", method="POST")
        yield pricore, serving, repository, api.newest(repository)["id"]


def test_a_first_sync_is_followed_from_the_queue_to_its_end(
    tmp_path: Path, make_repository: Callable[[str], GitRepository]
) -> None:
    """Queued, waiting, each step in its order with growing numbers, and in the end what came of it."""
    pricore = Pricore(tmp_path / "data", sync_workers="1")
    pricore.found()
    small, large = make_repository("small"), make_repository("large")
    small.commit({"name": "acme/small"})
    release_many(large, 300)
    first, second = add(pricore, small), add(pricore, large)
    secret = pricore.token(*READ, *WRITE)
    with pricore.serving() as serving, contextlib.ExitStack() as hold:
        hold.enter_context(held(pricore, second))
        api = Api(serving["url"], secret)
        with held(pricore, first):
            api.ask(f"/{first}/sync", method="POST")
            pricore.wait(lambda: steps([api.newest(first)]) == ["waiting"])
            api.ask(f"/{second}/sync", method="POST")
            queued = api.newest(second)
            assert (queued["status"], queued["started_at"], queued["progress"]) == ("queued", None, None)
            events = api.follow(second, queued["id"])
            seen = [next(events)]
            assert seen == [("progress", queued)]
        seen.append(next(events))  # the worker has it now
        assert seen[1][1]["progress"] == {"step": "waiting", "done": 0, "total": 0}
        hold.close()
        seen += list(events)

        names, documents = [name for name, _ in seen], [document for _, document in seen]
        found = steps(documents)
        assert names == ["progress"] * (len(names) - 1) + ["end"]
        assert {document["id"] for document in documents} == {queued["id"]}
        assert found == [step for step in ORDER if step in found]
        assert {"waiting", "checksums"} <= set(found)
        counted = [
            item["progress"] for item in documents if item["progress"] and item["progress"]["step"] == "checksums"
        ]
        assert {item["total"] for item in counted} == {301}
        done = [item["done"] for item in counted]
        assert len(set(done)) > 1
        assert done == sorted(done)
        end = documents[-1]
        assert (end["status"], end["progress"], len(end["added"])) == ("ok", None, 301)
        assert end == api.ask(f"/{second}/sync-runs/{queued['id']}")["data"]
        assert list(api.follow(second, queued["id"])) == [("end", end)]


def test_the_sync_of_another_process_is_seen(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """The server tells of a sync of the command line; one that is killed is interrupted at once."""
    upstream = make_repository("library")
    release_many(upstream, 400)
    repository = add(pricore, upstream)
    secret = pricore.token(*READ)

    def at_work() -> bool:
        runs = api.ask(f"/{repository}/sync-runs")["data"]
        return bool(runs) and runs[0]["status"] == "running" and steps(runs[:1]) == ["checksums"]

    with pricore.serving() as serving:
        api = Api(serving["url"], secret)
        with pricore.background("repo", "sync", "acme") as process:
            pricore.wait(at_work)
            events = api.follow(repository, api.newest(repository)["id"])
            name, document = next(events)
            assert (name, document["status"]) == ("progress", "running")
            process.kill()
            process.wait()
            began = time.monotonic()
            name, document = list(events)[-1]
        assert time.monotonic() - began < 2
        assert (name, document["status"], document["progress"]) == ("end", "interrupted", None)
        assert pricore.json("repo", "show", "acme", upstream.url)["progress"] is None

        with pricore.background("repo", "sync", "acme") as process:
            pricore.wait(at_work)
            shown = pricore.json("repo", "show", "acme", upstream.url)["progress"]
            seen = list(api.follow(repository, api.newest(repository)["id"]))
            process.wait()
    assert shown is None or shown["step"] == "checksums"
    assert [name for name, _ in seen][-1] == "end"
    assert (seen[-1][1]["status"], steps([seen[0][1]])) == ("ok", ["checksums"])


def test_the_end_of_the_server_ends_streams(blocked: tuple[Pricore, dict[str, Any], str, str]) -> None:
    """SIGTERM does not wait for those who follow a sync: their streams end without an `end`."""
    pricore, serving, repository, run = blocked
    events = [Api(serving["url"], pricore.token(*READ)).follow(repository, run) for _ in range(3)]
    assert [steps([next(stream)[1]]) for stream in events] == [["waiting"]] * 3
    began = time.monotonic()
    os.kill(serving["pid"], signal.SIGTERM)

    assert [list(stream) for stream in events] == [[], [], []]
    pricore.wait(lambda: Path(f"/proc/{serving['pid']}/stat").read_text().split(") ")[1][0] == "Z")
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("what", ["token", "expiry", "repository"])
def test_a_stream_ends_with_what_it_stands_on(
    blocked: tuple[Pricore, dict[str, Any], str, str], what: str
) -> None:
    """A token that is revoked or expires, and a repository that is removed, end a stream within a second or so."""
    pricore, serving, repository, run = blocked
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    made = pricore.json("token", "create", "acme", "reader", *READ, *(["--expires", soon] * (what == "expiry")))
    events = Api(serving["url"], made["token"]).follow(repository, run)
    assert steps([next(events)[1]]) == ["waiting"]
    if what == "token":
        pricore.run("token", "revoke", "acme", made["id"], "--yes")
    elif what == "repository":
        pricore.run("repo", "remove", "acme", repository, "--yes")
    began = time.monotonic()

    assert list(events) == []
    assert time.monotonic() - began < (4 if what == "expiry" else 1.5)


def test_streams_are_limited(blocked: tuple[Pricore, dict[str, Any], str, str]) -> None:
    """A token has ten; one more is told when to come again, others get theirs, and who leaves makes room."""
    pricore, serving, repository, run = blocked
    api, other = (Api(serving["url"], pricore.token(*READ)) for _ in range(2))
    path = f"/{repository}/sync-runs/{run}/events"
    with contextlib.ExitStack() as stack:

        def begin(reader: Api) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
            connection, response = reader.open(path)
            stack.callback(connection.close)
            return connection, response

        streams = [begin(api) for _ in range(10)]
        assert [response.status for _, response in streams] == [200] * 10
        _, refused = begin(api)
        assert (refused.status, refused.headers["Content-Type"]) == (429, "application/json")
        assert int(refused.headers["Retry-After"]) > 0
        assert set(json.load(refused)) == {"message"}
        assert begin(other)[1].status == 200
        streams[0][0].close()
        pricore.wait(lambda: begin(api)[1].status == 200, seconds=3)
        assert begin(api)[1].status == 429
