"""Limits of a server that runs: a flood from everywhere, and Composer over its limit."""

import resource
import socket
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pricore.auth.access_tokens import create_secret
from tests.harness import Composer, GitRepository, Pricore
from tests.soak import TIMES

FLOOD = 40_000 * TIMES
"""Twice as many addresses as a limit counts at a time, or as many times more as a soak has."""

MANY = 21_000
"""More than a limit counts at a time."""

MOST_GROWTH = 64 * 1024 * 1024


def requests(path: str, credentials: Iterable[str]) -> Iterator[bytes]:
    """A request for each credential, each from an address of its own."""
    for number, secret in enumerate(credentials):
        yield (
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n"
            f"X-Forwarded-For: {IPv4Address(0x0B000000 + number)}\r\n\r\n"
        ).encode()


def flood(url: str, sent: Iterator[bytes]) -> dict[bytes, int]:
    """Send requests over one connection, a hundred at a time; gives how many had each status."""
    parts = urlsplit(url)
    statuses: dict[bytes, int] = {}
    with socket.create_connection((parts.hostname, parts.port), timeout=30) as connection:
        while batch := [request for _, request in zip(range(100), sent, strict=False)]:
            connection.sendall(b"".join(batch))
            received, expected = b"", len(batch)
            while received.count(b"HTTP/1.1 ") < expected or not complete(received):
                received += connection.recv(1 << 20)
            for answer in received.split(b"HTTP/1.1 ")[1:]:
                statuses[answer[:3]] = statuses.get(answer[:3], 0) + 1
    return statuses


def complete(received: bytes) -> bool:
    """Whether the last answer has all of its body."""
    head, _, body = received.rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    return len(body) == int(length.split(b":")[1])


def memory(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")))


def fetch(url: str, secret: str) -> int:
    """The status of an answer that has to be good."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=10) as response:
        status: int = response.status
        return status


@pytest.mark.long
def test_a_flood_leaves_memory_bounded_and_good_tokens_served(tmp_path: Path) -> None:
    """Tens of thousands of addresses with a wrong token each, and many with one good token, lock nobody out."""
    pricore = Pricore(tmp_path / "data", trusted_proxies="127.0.0.1")
    pricore.found()
    secret = pricore.token()
    with pricore.serving() as serving:
        base, pid = serving["url"], serving["pid"]
        root = "/org/acme/packages.json"
        assert fetch(base + root, secret) == 200
        before = memory(pid)
        # half of them are such as could be tokens, so that the database is asked
        wrong = (create_secret() if number % 2 else f"pri_{number}" for number in range(FLOOD))
        assert flood(base, requests(root, wrong)) == {b"401": FLOOD}
        assert fetch(base + root, secret) == 200
        assert flood(base, requests(root, [secret] * MANY)) == {b"200": MANY}
        assert memory(pid) - before < MOST_GROWTH


def test_wrong_tokens_of_one_address_are_refused_and_its_good_one_is_not(tmp_path: Path) -> None:
    """Of one address 60 wrong tokens a minute are told so, the others get 429, and its good one is served."""
    pricore = Pricore(tmp_path / "data")
    pricore.found()
    secret = pricore.token()
    with pricore.serving() as serving:
        root = "/org/acme/packages.json"
        wrong = (create_secret() for _ in range(1000))
        assert flood(serving["url"], requests(root, wrong)) == {b"401": 60, b"429": 940}
        assert fetch(serving["url"] + root, secret) == 200


def test_composer_over_the_limit_is_slower_and_gets_everything(
    tmp_path: Path, make_repository: Callable[[str], GitRepository], composer: Composer
) -> None:
    """Where the minute's requests are used up, an update takes its time and installs all packages."""
    pricore = Pricore(tmp_path / "data", requests_per_minute="120", inline_limit="0")
    pricore.found()
    names = ["one", "two", "three"]
    for name in names:
        repository = make_repository(name)
        repository.commit({"name": f"acme/{name}"})
        repository.tag("1.0.0")
        pricore.run("repo", "add", "acme", repository.url)
    secret = pricore.token()
    with pricore.serving() as serving:
        url = f"{serving['url']}/org/acme"
        composer.write(require={f"acme/{name}": "^1.0" for name in names}, registry=url)
        composer.log_in(url, secret)
        composer.run("update", "--no-install")
        composer.forget()
        for _ in range(120):
            fetch(f"{url}/packages.json", secret)
        began = time.monotonic()
        composer.run("update", "--no-install")
        assert time.monotonic() - began > 4 * 0.5, "packages.json and three documents, half a second each"
        assert set(composer.locked()) == {f"acme/{name}" for name in names}


def test_a_crowd_is_answered_where_the_shell_allows_few_open_files(pricore: Pricore) -> None:
    """Each connection is an open file: the server lets itself have as many as it may, not those it begins with."""
    secret = pricore.json("token", "create", "acme", "ci")["token"]
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, before[1]))
        serving = stack.enter_context(pricore.serving())
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        parts = urlsplit(serving["url"])
        crowd = [
            stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=30))
            for _ in range(300)
        ]
        request = f"GET /org/acme/list.json HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
        for connection in crowd:
            connection.sendall(request.encode())
        assert {b"HTTP/1.1 200"} == {connection.recv(1 << 16)[:12] for connection in crowd}
