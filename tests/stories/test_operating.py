"""Who looks after a server sees whether it is well, what it does, and what happened; and no secret anywhere."""

import base64
import contextlib
import http.client
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.githost import GitHost
from tests.harness import Client, GitRepository, Pricore

NAME = "acme/library"
P2 = "/org/{organization}/p2/{vendor}/{package}.json"
ARCHIVE = "/org/{organization}/packages/{vendor}/{package}/{version}.zip"
SECRET = "host-secret-4711"


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    upstream = make_repository("library")
    upstream.commit({"name": NAME}, files={"a.txt": "a" * 5000})
    upstream.tag("1.0.0")
    return upstream


def ask(server: Any, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    """An answer without a token, on a connection of its own."""
    connection = http.client.HTTPConnection(server["listens"], timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read(), response.headers


def measured(server: Any) -> dict[tuple[str, ...], float]:
    """What /metrics says: the value of each name with its labels' values."""
    status, body, headers = ask(server, "/metrics")
    assert status == 200, body
    assert headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def log(pricore: Pricore) -> str:
    return (pricore.data.parent / f"{pricore.data.name}-serve.log").read_text()


def test_a_server_says_that_it_is_there_and_ready(pricore: Pricore) -> None:
    """To everybody, and to `pricore healthcheck`, which fails in one line where nothing answers."""
    with pricore.serving() as server:
        for path, status in (("/healthz", "ok"), ("/readyz", "ready")):
            answered, body, headers = ask(server, path)
            assert (answered, json.loads(body)) == (200, {"status": status})
            assert headers["Cache-Control"] == "no-store"
        port = server["listens"].rpartition(":")[2]
        assert pricore.run("healthcheck", "--port", port).stdout == "ready\n"
        assert Pricore(pricore.data, port=port, host="0.0.0.0").json("healthcheck") == {"status": "ready"}
    assert f"nothing answers at 127.0.0.1:{port}: Connection refused" in pricore.fail(
        "healthcheck", "--port", port
    )


def test_a_health_check_loads_nothing_heavy(pricore: Pricore) -> None:
    """It runs every few seconds in a container: neither the server nor the database's driver are for it."""
    code = (
        "import sys; import pricore.commands.healthcheck; "
        "print([name for name in ('aiohttp', 'aiosqlite', 'yaml', 'rich', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_prometheus_reads_what_was_done(tmp_path: Path, upstream: GitRepository, workers: str) -> None:
    """Requests by route, syncs, archives, the queue, the database and the process; of all workers together."""
    pricore = Pricore(tmp_path / "data", workers=workers)
    pricore.found()
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token("--scope", "packages:read", "--scope", "repositories:write")
    (repository,) = pricore.json("repo", "list", "acme")
    with pricore.serving() as server:
        client = Client(server["url"], secret)
        for _ in range(5):
            client.versions(NAME)
        assert client.ask("GET", "/org/acme/p2/acme/nothing.json")[0] == 404
        assert client.ask("GET", "/some/where")[0] == 404
        entry = client.versions(NAME)["1.0.0"]
        for _ in range(3):
            client.download(entry)
        client.ask("POST", f"/api/organizations/acme/repositories/{repository['id']}/sync")
        Pricore.wait(lambda: measured(server)["pricore_syncs_total", "unchanged"] == 1)

        found = measured(server)
        assert found["pricore_requests_total", "GET", P2, "2xx"] == 12
        assert found["pricore_requests_total", "GET", P2, "4xx"] == 1
        assert found["pricore_requests_total", "*", "other", "4xx"] == 1
        assert found["pricore_request_seconds_count", "GET", P2] == 13
        assert found["pricore_request_seconds_bucket", "+Inf", "GET", P2] == 13
        assert 3 * 5000 < found["pricore_sent_bytes_total", "GET", ARCHIVE] < 3 * 12000
        assert 1 <= found["pricore_archives_made_total",] <= int(workers)
        assert found["pricore_syncs_running",] == 0
        assert found["pricore_queue_jobs",] == 0
        assert found["pricore_repositories", "ok"] == 1
        assert found["pricore_database_bytes",] > 4096
        assert found["process_resident_memory_bytes",] > 1e6
        body = ask(server, "/metrics")[1].decode()
        assert "acme" not in body
        assert "pri_" not in body


def test_metrics_are_for_this_machine_and_instance_tokens(pricore: Pricore) -> None:
    """Whoever comes through a proxy needs a token that is of no organization."""
    own = pricore.token()
    whole = pricore.json("token", "create", "prometheus", "--instance")["token"]
    with pricore.serving() as server:
        assert ask(server, "/metrics")[0] == 200
        for header in ("X_Forwarded_For", "Forwarded", "Via"):
            through = {header: "203.0.113.9"}
            assert ask(server, "/metrics", **through)[0] == 401
            assert ask(server, "/metrics", **through, Authorization=f"Bearer {own}")[0] == 403
            assert ask(server, "/metrics", **through, Authorization=f"Bearer {whole}")[0] == 200


def test_the_queue_is_seen(tmp_path: Path, upstream: GitRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sync at work and another that waits behind it, and since when."""
    monkeypatch.setenv("no_proxy", "*")
    pricore = Pricore(tmp_path / "data", internal_hosts="127.0.0.1", sync_workers="1")
    pricore.found()
    host = GitHost(tmp_path / "upstream")
    host.gate = threading.Event()
    with host.running():
        pricore.run("repo", "add", "acme", host.url("library"), "--no-sync")
        pricore.run("repo", "add", "acme", upstream.url, "--no-sync")
        secret = pricore.token("--scope", "repositories:write")
        repositories = {item["url"]: item["id"] for item in pricore.json("repo", "list", "acme")}
        with pricore.serving() as server:
            client = Client(server["url"], secret)
            for url in (host.url("library"), upstream.url):
                client.ask("POST", f"/api/organizations/acme/repositories/{repositories[url]}/sync")
                assert host.waiting.wait(20)
            Pricore.wait(lambda: measured(server)["pricore_queue_oldest_seconds",] >= 1)
            found = measured(server)
            assert (found["pricore_syncs_running",], found["pricore_queue_jobs",]) == (1, 1)
            host.gate.set()
            Pricore.wait(lambda: measured(server)["pricore_queue_jobs",] == 0)


def test_each_error_has_an_id(tmp_path: Path) -> None:
    """A trusted proxy's, where it is one; else it is made here, and nobody else can choose it."""
    pricore = Pricore(tmp_path / "data", trusted_proxies="127.0.0.1", access_log="on")
    with pricore.serving() as server:
        assert ask(server, "/nothing", X_Request_Id="0123456789abcdef")[2]["X-Request-Id"] == "0123456789abcdef"
        made = {
            ask(server, "/nothing", X_Request_Id=given)[2]["X-Request-Id"] for given in ("short", "a b" * 9, "")
        }
        assert len(made) == 3
        assert all(re.fullmatch("[0-9a-f]{16}", item) for item in made)
        assert ask(server, "/healthz")[2]["X-Request-Id"] is None
        Pricore.wait(lambda: all(f"[request {item}]" in log(pricore) for item in ("0123456789abcdef", *made)))
    pricore = Pricore(tmp_path / "open")
    with pricore.serving() as server:
        assert ask(server, "/nothing", X_Request_Id="0123456789abcdef")[2]["X-Request-Id"] != "0123456789abcdef"
        assert log(pricore) == "", "without an access log, requests leave no line"


@pytest.fixture
def host(tmp_path: Path, make_repository: Callable[[str], GitRepository]) -> Iterator[GitHost]:
    """A host with a repository that only SECRET opens."""
    make_repository("private").commit({"name": NAME})
    with GitHost(tmp_path / "upstream", {SECRET: "private/"}).running() as running:
        yield running


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_is_in_the_log(
    tmp_path: Path, host: GitHost, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at the lowest level, and not where clients put theirs in the wrong place."""
    monkeypatch.setenv("no_proxy", "*")
    pricore = Pricore(
        tmp_path / "data", internal_hosts="127.0.0.1", log_level="debug", log_format=form, access_log="on"
    )
    pricore.found()
    pricore.run("credential", "add", "acme", "deploy", "--host", host.host, "--plain-http", stdin=SECRET)
    pricore.run("repo", "add", "acme", host.url("private"))
    (repository,) = pricore.json("repo", "list", "acme")
    webhook = pricore.json("repo", "webhook", "acme", repository["id"], "--provider", "gitlab")["secret"]
    secret = pricore.token(
        "--scope", "repositories:write", "--scope", "repositories:read", "--scope", "packages:read"
    )
    basic = base64.b64encode(f"token:{secret}".encode()).decode()
    with pricore.serving() as server:
        client = Client(server["url"], secret)
        client.versions(NAME)
        assert client.ask("GET", f"/org/acme/packages.json?token={secret}")[0] == 200
        assert client.ask("GET", f"/org/acme/{secret}")[0] == 404
        assert ask(server, "/org/acme/packages.json", Authorization=f"Basic {basic}")[0] == 200
        hook = f"/webhooks/gitlab/{repository['id']}"
        assert client.ask("POST", hook, {}, X_Gitlab_Token=webhook, X_Gitlab_Event="Push Hook")[0] == 200
        assert client.ask("POST", hook, {}, X_Gitlab_Token=webhook + "x", X_Gitlab_Event="Push Hook")[0] == 401
        adding = {"url": f"http://ada:{SECRET}@{host.host}/nothing.git"}
        client.ask("POST", "/api/organizations/acme/repositories", adding)
        pricore.run("credential", "change", "acme", "deploy", stdin="wrong-" + SECRET)
        client.ask("POST", f"/api/organizations/acme/repositories/{repository['id']}/sync")
        Pricore.wait(lambda: "pricore.git" in log(pricore))
    text = log(pricore)
    for hidden in (secret, secret[4:], webhook, SECRET, basic):
        assert hidden not in text
    assert sum("/org/acme/packages.json" in line for line in text.splitlines()) == 2
    assert "/org/acme/***" in text
    for line in text.splitlines():
        if form == "json":
            document = json.loads(line)
            assert {"time", "level", "logger", "message"} <= set(document)
            if document["logger"] == "pricore.access":
                assert {"method", "path", "status", "seconds", "bytes", "client", "token", "request"} <= set(
                    document
                )
        else:
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ pricore[.\w]*: ", line), line


def test_a_sync_that_only_removes_says_what(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """The branch that is gone, and the release that is kept though its tag is gone: once, and in the history."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"})
    upstream.tag("1.0.0")
    upstream.git("branch", "old")
    pricore.run("repo", "add", "acme", upstream.url)
    upstream.git("branch", "-D", "old")
    said = pricore.run("repo", "sync", "acme").stdout
    assert said == f"{upstream.url}: acme/library\n  1 removed: dev-old\n"
    upstream.git("tag", "-d", "1.0.0")
    said = pricore.run("repo", "sync", "acme").stdout
    assert said == f"{upstream.url}: acme/library\n  1 kept, though their tags are gone upstream: 1.0.0\n"
    assert pricore.run("repo", "sync", "acme").stdout == f"{upstream.url}: nothing new\n"

    assert "dev-old" in pricore.run("repo", "history", "acme", upstream.url).stdout
    runs = pricore.json("repo", "history", "acme", upstream.url)
    assert [(run["status"], run["removed"], run["kept"]) for run in runs] == [
        ("unchanged", [], []),
        ("ok", [], ["acme/library:1.0.0"]),
        ("ok", ["acme/library:dev-old"], []),
        ("ok", [], []),
    ]


def test_a_repository_with_large_files_elsewhere_says_so(
    pricore: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """When it is added, and whenever it is shown."""
    upstream = make_repository("library")
    upstream.commit({"name": "acme/library"}, files={".gitattributes": "*.png filter=lfs\n"})
    note = "note: files in Git LFS are small pointers in the archives that clients install"
    assert note in pricore.run("repo", "add", "acme", upstream.url).stdout
    pricore.run("repo", "sync", "acme")
    assert note in pricore.run("repo", "show", "acme", upstream.url).stdout
    assert len(pricore.json("repo", "show", "acme", upstream.url)["notes"]) == 1
