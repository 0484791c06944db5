"""A server is stopped, told to read its settings anew, and started by a service manager: nobody loses anything."""

import contextlib
import hashlib
import http.client
import os
import random
import signal
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.githost import GitHost
from tests.harness import Client, GitRepository, Pricore

NAME = "acme/library"
LARGE = 12 * 1024 * 1024
"""Bytes of an archive, more than any buffer between here and there holds."""


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    upstream = make_repository("library")
    upstream.write({"noise": random.Random(1).randbytes(LARGE)})
    upstream.commit({"name": NAME})
    upstream.tag("1.0.0")
    return upstream


class Download:
    """A client that has read the head of an archive's answer, and nothing more yet."""

    def __init__(self, address: tuple[str, int], entry: dict[str, Any], secret: str) -> None:
        self.checksum: str = entry["dist"]["shasum"]
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(30)
        self._socket.connect(address)
        path = entry["dist"]["url"].split("/", 3)[3]
        host = f"{address[0]}:{address[1]}"
        head = f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n\r\n"
        self._socket.sendall(head.encode())
        self._response = http.client.HTTPResponse(self._socket)
        self._response.begin()
        assert self._response.status == 200

    def finish(self) -> str:
        """The checksum of the whole archive."""
        digest = hashlib.sha1()
        while piece := self._response.read(1024 * 1024):
            digest.update(piece)
        return digest.hexdigest()

    def close(self) -> None:
        self._response.close()
        self._socket.close()


@contextlib.contextmanager
def downloading(pricore: Pricore, upstream: GitRepository) -> Iterator[tuple[Any, Download]]:
    """A server in the middle of a download."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token()
    with pricore.serving() as server:
        entry = Client(server["url"], secret).versions(NAME)["1.0.0"]
        host, _, port = server["listens"].rpartition(":")
        download = Download((host, int(port)), entry, secret)
        with contextlib.closing(download):
            yield server, download


def log(pricore: Pricore) -> str:
    return (pricore.data.parent / f"{pricore.data.name}-serve.log").read_text()


def is_there(server: Any) -> bool:
    """Whether the process is there and has not ended."""
    try:
        state = Path(f"/proc/{server['pid']}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def is_refused(server: Any) -> bool:
    host, _, port = server["listens"].rpartition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) != 0


def stop(server: Any) -> None:
    os.kill(server["pid"], signal.SIGTERM)


def test_a_download_ends_after_sigterm(pricore: Pricore, upstream: GitRepository) -> None:
    """While it goes on, new connections are refused; then the server is gone."""
    with downloading(pricore, upstream) as (server, download):
        stop(server)
        Pricore.wait(lambda: is_refused(server))
        assert is_there(server)
        assert download.finish() == download.checksum
        Pricore.wait(lambda: not is_there(server))


def test_a_client_that_does_not_read_holds_nobody_up(tmp_path: Path, upstream: GitRepository) -> None:
    """Once the time for requests is over the server ends all the same, and well."""
    pricore = Pricore(tmp_path / "data", stop_timeout="1")
    pricore.found()
    with downloading(pricore, upstream) as (server, _):
        stop(server)
        Pricore.wait(lambda: not is_there(server))


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(tmp_path: Path, upstream: GitRepository, second: signal.Signals) -> None:
    """Who doesn't want to wait for downloads says so once more."""
    pricore = Pricore(tmp_path / "data", stop_timeout="600")
    pricore.found()
    with downloading(pricore, upstream) as (server, _):
        stop(server)
        Pricore.wait(lambda: is_refused(server))
        assert is_there(server)
        os.kill(server["pid"], second)
        Pricore.wait(lambda: not is_there(server))


def test_a_sync_that_is_cut_off_is_done_after_the_restart(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM puts it back into the queue, where it waits until the server is there again."""
    monkeypatch.setenv("no_proxy", "*")
    pricore = Pricore(tmp_path / "data", internal_hosts="127.0.0.1")
    pricore.found()
    make_repository("library").commit({"name": NAME})
    host = GitHost(tmp_path / "upstream")
    host.gate = threading.Event()
    with host.running():
        pricore.run("repo", "add", "acme", host.url("library"), "--no-sync")
        (repository,) = pricore.json("repo", "list", "acme")
        secret = pricore.token("--scope", "repositories:write")
        with pricore.serving() as server:
            path = f"/api/organizations/acme/repositories/{repository['id']}/sync"
            assert Client(server["url"], secret).ask("POST", path)[0] == 200
            assert host.waiting.wait(20)
            stop(server)
            Pricore.wait(lambda: not is_there(server))
        host.gate.set()
        with contextlib.closing(sqlite3.connect(pricore.data / "pricore.sqlite3")) as database:
            assert database.execute("SELECT started_at FROM jobs").fetchall() == [(None,)]
        with pricore.serving() as server:
            client = Client(server["url"], pricore.token())
            Pricore.wait(lambda: "dev-main" in client.versions(NAME))


class Connection:
    """One connection to a server, which is kept."""

    def __init__(self, server: Any, secret: str) -> None:
        self._connection = http.client.HTTPConnection(server["listens"], timeout=30)
        self._headers = {"Authorization": f"Bearer {secret}"}

    def ask(self, path: str) -> tuple[int, Any, bytes]:
        self._connection.request("GET", path, headers=self._headers)
        with self._connection.getresponse() as response:
            return response.status, response.headers, response.read()

    @property
    def socket(self) -> Any:
        return self._connection.sock

    def close(self) -> None:
        self._connection.close()


def test_sighup_takes_over_new_settings(tmp_path: Path, upstream: GitRepository) -> None:
    """On connections that are open, beside a download that goes on; what needs a restart is named, and left."""
    file = tmp_path / "pricore.yaml"
    file.write_text("requests_per_minute: 500\ninline_limit: 0\n")
    pricore = Pricore(tmp_path / "data", config=str(file))
    pricore.found()
    with contextlib.ExitStack() as stack:
        server, download = stack.enter_context(downloading(pricore, upstream))
        connection = stack.enter_context(contextlib.closing(Connection(server, pricore.token())))
        status, headers, root = connection.ask("/org/acme/packages.json")
        assert (status, headers["X-RateLimit-Limit"]) == (200, "500")
        assert b"https://packages.example.com" not in root
        used = connection.socket

        file.write_text(
            "requests_per_minute: 700\ninline_limit: 0\npublic_url: https://packages.example.com\nworkers: 4\n"
            "log_format: json\naccess_log: on\n"
        )
        os.kill(server["pid"], signal.SIGHUP)
        Pricore.wait(lambda: "settings were reloaded" in log(pricore))
        status, headers, root = connection.ask("/org/acme/packages.json")
        assert (status, headers["X-RateLimit-Limit"]) == (200, "700")
        assert b"https://packages.example.com/org/acme/p2" in root
        assert connection.socket is used
        assert '"message":"workers stays as it was: to change it needs a restart"' in log(pricore)
        Pricore.wait(lambda: '"path":"/org/acme/packages.json","status":200' in log(pricore))
        assert download.finish() == download.checksum

        upstream.tag("1.1.0")
        pricore.run("repo", "sync", "acme", "--all")
        Pricore.wait(lambda: b"1.1.0" in connection.ask(f"/org/acme/p2/{NAME}.json")[2])


@pytest.mark.parametrize("text", ["requests_per_minute: many\n", "a: [", None], ids=["value", "yaml", "gone"])
def test_settings_that_cannot_be_used_change_nothing(tmp_path: Path, text: str | None) -> None:
    """SIGHUP with a mistake in the file is one line in the log, and everything goes on as it was."""
    file = tmp_path / "pricore.yaml"
    file.write_text("requests_per_minute: 500\n")
    pricore = Pricore(tmp_path / "data", config=str(file))
    pricore.found()
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(pricore.serving())
        connection = stack.enter_context(contextlib.closing(Connection(server, pricore.token())))
        assert connection.ask("/org/acme/packages.json")[1]["X-RateLimit-Limit"] == "500"
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        os.kill(server["pid"], signal.SIGHUP)
        Pricore.wait(lambda: "the settings stay as they were" in log(pricore))
        (line,) = log(pricore).splitlines()
        assert str(file) in line
        assert connection.ask("/org/acme/packages.json")[1]["X-RateLimit-Limit"] == "500"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_service_manager_is_told(tmp_path: Path, workers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY once clients get answers, RELOADING and READY around new settings, STOPPING at the end."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        pricore = Pricore(tmp_path / "data", workers=workers)
        with pricore.serving() as server:
            assert manager.recv(1024) == b"READY=1"
            assert not is_refused(server)
            os.kill(server["pid"], signal.SIGHUP)
            first, second = manager.recv(1024).split(b"\n")
            assert first == b"RELOADING=1"
            assert second.removeprefix(b"MONOTONIC_USEC=").isdigit()
            assert manager.recv(1024) == b"READY=1"
            stop(server)
            assert manager.recv(1024) == b"STOPPING=1"
            Pricore.wait(lambda: not is_there(server))
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(1024)


def test_ctrl_c_is_one_signal_to_all_workers(tmp_path: Path, upstream: GitRepository) -> None:
    """A terminal sends SIGINT to each process; a download still ends."""
    pricore = Pricore(tmp_path / "data", workers="2", stop_timeout="600")
    pricore.found()
    with downloading(pricore, upstream) as (server, download):
        children = Path(f"/proc/{server['pid']}/task/{server['pid']}/children").read_text().split()
        for process in (*children, server["pid"]):
            os.kill(int(process), signal.SIGINT)
        Pricore.wait(lambda: is_refused(server))
        assert download.finish() == download.checksum
        Pricore.wait(lambda: not is_there(server))


def test_ctrl_c_at_the_very_end_says_nothing(pricore: Pricore, tmp_path: Path) -> None:
    """A command that has printed all that it has to is done: nothing of what Python takes down then is shown."""
    for number in range(20):
        log = tmp_path / f"log-{number}"
        process = pricore.start("org", "list", log=log)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode in (0, 130)
        assert log.read_text() == ""
