"""`pricore doctor` says of a registry that is well that it is, and of each thing that isn't what to do."""

import asyncio
import contextlib
import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from pricore.config import load_config
from pricore.engine.sqlite import newest_schema
from pricore.operations import doctor
from pricore.operations.doctor.results import Result, Status
from tests.harness import GitRepository, Pricore
from tests.proxies import caddy, free_ports, fronted, nginx, proxied

NAMES: Final = (
    *("git", "disk", "permissions", "database", "server", "settings", "key", "ssh", "times", "repositories"),
    *("tls", "packages.json", "metadata", "unchanged", "archive", "wrong token", "compression", "proxy", "clock"),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a registry with a package and a sealed secret."""
    folder = tmp_path_factory.mktemp("template")
    repository = GitRepository(folder / "library")
    repository.commit({"name": "acme/library"}, files={"a.txt": "a"})
    repository.tag("1.0.0")
    pricore = Pricore(folder / "data")
    pricore.found()
    pricore.run("repo", "add", "acme", repository.url)
    pricore.run("repo", "webhook", "acme", repository.url)
    return pricore.data


@pytest.fixture
def registry(template: Path, tmp_path: Path) -> Pricore:
    shutil.copytree(template, tmp_path / "data")
    return Pricore(tmp_path / "data")


def command(data: Path, *, environment: Mapping[str, str] | None = None, **settings: str) -> dict[str, Any]:
    """What the command says of each thing; it exits with 1 where something fails."""
    program = Pricore(data, **settings)
    program.environment |= environment or {}
    done = subprocess.run(
        program.command("doctor", "--json"),
        env=program.environment,
        cwd=data.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    found = {item["name"]: item for item in json.loads(done.stdout)}
    failed = [name for name, item in found.items() if item["status"] == "failure"]
    assert done.returncode == (1 if failed else 0), done.stderr
    assert ("checks failed" in done.stderr) == bool(failed)
    return found


def examine(data: Path, *, trusting: Path | None = None, **settings: str) -> dict[str, Any]:
    """The same without a process of its own; a certificate can be trusted."""
    config = load_config(environ={f"PRICORE_{name.upper()}": value for name, value in settings.items()})
    config = dataclasses.replace(config, data=data)

    async def work() -> list[Result]:
        return [result async for result in doctor.examine(config)]

    with pytest.MonkeyPatch.context() as patch:
        if trusting is not None:
            patch.setenv("SSL_CERT_FILE", str(trusting))
        results = asyncio.run(work())
    assert all(item.advice for item in results if item.status is Status.WARNING)
    return {item.name: msgspec.to_builtins(item) for item in results}


def said(found: dict[str, Any], name: str) -> str:
    """The line of one thing."""
    item = found[name]
    return f"{item['status']} {item['message']}; {item['advice']}"


def statuses(found: dict[str, Any], *, but: str = "") -> set[str]:
    return {item["status"] for name, item in found.items() if name != but}


def change(data: Path, statement: str) -> None:
    """Change the database behind everybody's back."""
    with contextlib.closing(sqlite3.connect(data / "pricore.sqlite3", isolation_level=None)) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_a_registry_that_is_well(proxy: Callable[..., list[str]], registry: Pricore, tmp_path: Path) -> None:
    """Behind a proxy as deploy/ has it, every line is ok, no token is left, and people read a line a thing."""
    with proxied(proxy, tmp_path / "proxy", registry.data) as (front, behind):
        environment = {"SSL_CERT_FILE": str(front.certificate)}
        settings = {"public_url": front.url, "trusted_proxies": "127.0.0.1", "port": str(front.upstream)}
        found = command(registry.data, environment=environment, **settings)
        assert statuses(found) == {"ok"}, found
        assert tuple(found) == NAMES
        assert "as 127.0.0.2" in said(found, "proxy")
        assert behind.json("token", "list", "acme") == []
        shown = Pricore(registry.data, **settings)
        shown.environment |= environment
        lines = shown.run("doctor").stdout.splitlines()
        assert [line.split(":")[0].split(maxsplit=1) for line in lines] == [["ok", name] for name in NAMES]


def location(lines: str) -> dict[str, str]:
    """The example with something else in its place for all requests."""
    request = "        proxy_set_header X-Request-Id $request_id;\n"
    return {request: f"{request}{lines}\n"}


FORWARDED: Final = "proxy_set_header X-Forwarded-For $remote_addr;"
CACHE: Final = "proxy_cache all; proxy_cache_valid 200 1m; proxy_ignore_headers Cache-Control Vary Expires;"
WRONG: Final[Mapping[str, tuple[dict[str, str], str, str]]] = {
    "a token that gets lost": (
        location('proxy_set_header Authorization "";'),
        "packages.json",
        "failure .*answers with 401: an access token is needed.*let the proxy pass the Authorization header on",
    ),
    "a page to log in": (
        {"proxy_pass http://pricore;": 'default_type text/html; return 200 "<html>Log in</html>";'},
        "packages.json",
        "failure .*packages.json answers with text/html instead of JSON; .*let these requests through",
    ),
    "a proxy that sends elsewhere": (
        {"proxy_pass http://pricore;": "return 301 https://elsewhere.example.com$request_uri;"},
        "packages.json",
        "failure .*answers with 301.*it sends to https://elsewhere.example.com/org/.*set public_url",
    ),
    "a proxy that looks elsewhere": (
        {"proxy_pass http://pricore;": "proxy_pass http://127.0.0.1:1;"},
        "packages.json",
        "failure .*answers with 502.*the proxy doesn't reach the server",
    ),
    "a proxy that doesn't say for whom": (
        {FORWARDED: 'proxy_set_header X-Forwarded-For "";'},
        "proxy",
        "failure the server sees 127.0.0.1 for every client.*set X-Forwarded-For to the client's address",
    ),
    "a proxy that lets clients say who they are": (
        {
            FORWARDED: "set $who $http_x_forwarded_for; if ($who = '') { set $who $remote_addr; } "
            "proxy_set_header X-Forwarded-For $who;"
        },
        "proxy",
        "failure the server believes any address that a client claims.*overwrite X-Forwarded-For",
    ),
    "a proxy that asks for everything anew": (
        location('proxy_set_header If-Modified-Since "";'),
        "unchanged",
        "warning .*200 instead of 304.*pass Last-Modified and If-Modified-Since on",
    ),
    "a proxy that undoes compression": (
        location('proxy_set_header Accept-Encoding "";'),
        "compression",
        "warning answers come uncompressed; let the proxy pass Accept-Encoding",
    ),
    "a proxy that changes archives": (
        {"    # internal only": '    location ~ \\.zip$ { return 200 "another one"; }\n    # internal only'},
        "archive",
        "failure .*has the checksum .*was advertised; something on the way changes it",
    ),
    "a proxy that has no archives": (
        {"    # internal only": "    location ~ \\.zip$ { return 404; }\n    # internal only"},
        "archive",
        "failure .*zip answers with 404, and not Pricore does; look at public_url",
    ),
    "a proxy that keeps answers for all": (
        location(CACHE) | {"upstream pricore {": "proxy_cache_path cache keys_zone=all:1m;\nupstream pricore {"},
        "wrong token",
        "failure .*answers with 200 to a token that does not exist; .*let it cache nothing",
    ),
}


def test_what_a_proxy_does_wrong_is_told(registry: Pricore, tmp_path: Path) -> None:
    """Each fault has its line and what to do; what has nothing to do with it is well."""
    (port,) = free_ports(1)
    settings = {"public_url": f"https://localhost:{port}", "trusted_proxies": "127.0.0.1"}
    with Pricore(registry.data, **settings).serving() as served:
        upstream = int(served["listens"].rpartition(":")[2])
        for number, (fault, (changes, name, line)) in enumerate(WRONG.items()):
            folder = tmp_path / f"proxy-{number}"
            changes = {
                before: after.replace("proxy_cache_path cache", f"proxy_cache_path {folder}/cache")
                for before, after in changes.items()
            }
            with fronted(nginx, folder, port, upstream, changes=changes) as front:
                found = examine(registry.data, trusting=front.certificate, port=str(upstream), **settings)
            assert re.match(line, said(found, name)), (fault, found)
            assert statuses(found, but=name) == {"ok"}, (fault, found)


def test_certificates(registry: Pricore, tmp_path: Path) -> None:
    """One that ends soon is told before it has; one that has ended, or that nobody vouches for, is refused."""
    (port,) = free_ports(1)
    settings = {"public_url": f"https://localhost:{port}", "trusted_proxies": "127.0.0.1"}
    with Pricore(registry.data, **settings).serving() as served:
        upstream = int(served["listens"].rpartition(":")[2])

        def tls(*, days: int, known: bool = True) -> str:
            with fronted(nginx, tmp_path / f"proxy-{days}", port, upstream, days=days) as front:
                trusting = front.certificate if known else None
                found = examine(registry.data, trusting=trusting, port=str(upstream), **settings)
                assert statuses(found, but="tls") == {"ok"}
                return said(found, "tls")

        assert tls(days=5) == "warning the certificate is good for 5 days; look at what renews it"
        assert "failure the certificate is refused: certificate has expired; renew it" in tls(days=-1)
        assert "failure the certificate is refused: self-signed certificate" in tls(days=30, known=False)


def test_a_clock_that_differs(registry: Pricore, tmp_path: Path) -> None:
    """Answers with another time than this machine's are a failure."""
    (port,) = free_ports(1)
    settings = {"public_url": f"https://localhost:{port}", "trusted_proxies": "127.0.0.1"}
    with Pricore(registry.data, **settings).serving() as served:
        upstream = int(served["listens"].rpartition(":")[2])
        request = "header_up X-Request-Id {http.request.uuid}"
        changes = {request: f'{request}\n\t\theader_down Date "Wed, 01 Jan 2020 00:00:00 GMT"'}
        with fronted(caddy, tmp_path / "proxy", port, upstream, changes=changes) as front:
            found = examine(registry.data, trusting=front.certificate, port=str(upstream), **settings)
    assert "failure answers are dated" in said(found, "clock")
    assert statuses(found, but="clock") == {"ok"}


def test_settings_that_do_not_fit(registry: Pricore, tmp_path: Path) -> None:
    """A proxy that is not trusted, a public URL that is another one's, and a port where nobody is."""
    with proxied(nginx, tmp_path / "proxy", registry.data, trusted_proxies="") as (front, _):
        trusting = front.certificate
        settings = {"public_url": front.url, "port": str(front.upstream)}
        found = examine(registry.data, trusting=trusting, **settings)
        assert "failure the server sees 127.0.0.1 for this client, which is 127.0.0.2" in said(found, "proxy")
        assert "set trusted_proxies to 127.0.0.1" in said(found, "proxy")

        found = examine(registry.data, trusting=trusting, port="1", public_url="https://localhost:1")
        assert f"failure public_url is {front.url} for the server, and https://localhost:1 here" in said(
            found, "settings"
        )
        assert "failure cannot connect to https://localhost:1" in said(found, "packages.json")
        assert "warning it runs, and does not listen at 127.0.0.1 port 1" in said(found, "server")

        wrong = {"public_url": f"{front.url}/packages", "port": str(front.upstream)}
        found = examine(registry.data, trusting=trusting, **wrong)
        assert "/packages/org/acme/packages.json answers with 404: there is nothing at this address" in said(
            found, "packages.json"
        )
        shutil.copytree(registry.data, tmp_path / "copied", ignore=shutil.ignore_patterns("serve.lock"))
        found = examine(tmp_path / "copied", trusting=trusting, **settings)
        assert "another data folder is served there" in said(found, "packages.json")
        assert "failure no `pricore serve` serves" in said(found, "server")


def test_a_server_that_does_not_run(registry: Pricore) -> None:
    """Its line says so, and all that needs none is looked at."""
    (port,) = free_ports(1)
    found = command(registry.data, port=str(port))
    assert f"failure no `pricore serve` serves {registry.data}; start it" in said(found, "server")
    assert "failure cannot connect to http://127.0.0.1" in said(found, "packages.json")
    assert {name for name, item in found.items() if item["status"] != "ok"} == {"server", "packages.json"}


def test_a_server_of_another_version(registry: Pricore, tmp_path: Path) -> None:
    """A program that was upgraded beside a server that was not restarted."""
    metadata = tmp_path / "newer" / "pricore-99.0.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text("Metadata-Version: 2.1\nName: pricore\nVersion: 99.0\n")
    with registry.serving() as served:
        port = served["listens"].rpartition(":")[2]
        found = command(registry.data, port=port, environment={"PYTHONPATH": str(metadata.parents[1])})
    assert "and this command 99.0; restart the server" in said(found, "server")
    assert statuses(found, but="server") == {"ok"}


def test_a_registry_that_anybody_on_the_way_can_read(registry: Pricore) -> None:
    """Without TLS, at an address that others reach."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent: it tells the own address
        own = probe.getsockname()[0]
    if own.startswith(("127.", "0.")):
        pytest.skip("this machine has no address but its own")
    (port,) = free_ports(1)
    settings = {"host": own, "public_url": f"http://{own}:{port}"}
    with Pricore(registry.data, **settings).serving() as served:
        port = int(served["listens"].rpartition(":")[2])
    settings = {"host": own, "public_url": f"http://{own}:{port}", "port": str(port)}
    program = Pricore(registry.data, **settings)
    process = program.start("serve", "--json", log=registry.data.parent / "log")
    try:
        assert process.stdout is not None
        process.stdout.readline()
        found = examine(registry.data, **settings)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert "is not encrypted; put a proxy with TLS in front: tokens can be read" in said(found, "tls")
    assert statuses(found, but="tls") == {"ok"}


def test_what_others_can_read(registry: Pricore) -> None:
    """The data folder and the key are for one user, and what is in the folder belongs to who has it."""
    key = registry.data / "key"
    registry.data.chmod(0o755)
    assert f"failure others can read {registry.data} (mode 755); chmod 700 {registry.data}" in said(
        examine(registry.data), "permissions"
    )
    registry.data.chmod(0o700)
    key.chmod(0o644)
    assert f"chmod 600 {key}" in said(examine(registry.data), "permissions")
    key.chmod(0o600)
    if os.geteuid() == 0:
        (mirror,) = (registry.data / "repositories").glob("*.git")
        os.chown(mirror, 12345, 12345)
        found = said(examine(registry.data), "permissions")
        assert f"failure {mirror} belongs to 12345, and the data folder to root; chown -R root" in found
        subprocess.run(["chown", "-R", "12345", str(registry.data)], check=True)
        assert "belongs to 12345, who could not read what root makes there" in registry.fail("doctor")


def test_keys_that_do_not_open(registry: Pricore) -> None:
    """Another key, none at all, and what is no key."""
    key = registry.data / "key"
    key.rename(registry.data / "right")
    assert "failure 1 of 1 secrets cannot be opened (webhook" in said(examine(registry.data), "key")
    assert "the key that seals secrets is missing; put" in said(examine(registry.data), "key")
    key.write_text("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n")
    key.chmod(0o600)
    assert "is not the one that sealed this secret; put that one back" in said(examine(registry.data), "key")
    key.write_text("not a key")
    assert "holds no key" in said(examine(registry.data), "key")


def test_databases_that_are_not_well(registry: Pricore, tmp_path: Path) -> None:
    """A damaged one, one of another schema, one from the future, and none."""
    path = registry.data / "pricore.sqlite3"
    good = path.read_bytes()
    change(registry.data, "UPDATE tokens SET created_at = created_at + 7200")
    change(registry.data, "UPDATE organizations SET created_at = unixepoch() + 7200")
    assert "failure the database has something of" in said(examine(registry.data), "times")
    path.write_bytes(good)
    for schema, advice in ((newest_schema() + 1, "upgrade this program"), (1, "restart the server")):
        change(registry.data, f"PRAGMA user_version = {schema}")
        found = examine(registry.data)
        assert said(found, "database") == (
            f"failure its schema is {schema}, and this program's {newest_schema()}; {advice}"
            + (", which migrates it" if schema == 1 else "")
        )
        assert set(found) == {"git", "disk", "permissions", "database", "server"}
        path.write_bytes(good)
    assert not list(registry.data.glob("*.schema-*"))
    path.write_bytes(good[:8192] + os.urandom(len(good) // 2) + good[8192 + len(good) // 2 :])
    assert "is damaged" in said(examine(registry.data), "database")
    path.write_bytes(b"Dear diary, " * 1000)
    assert "failure cannot read the database" in said(examine(registry.data), "database")
    assert "there is no registry in" in Pricore(tmp_path / "none").fail("doctor")
    assert not (tmp_path / "none").exists()


def test_programs_that_are_missing_or_old(registry: Pricore, tmp_path: Path) -> None:
    """An old git is a failure, and so is a missing ssh where a repository is read with it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    git = programs / "git"
    git.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo git version 2.20.1 || exec {shutil.which("git")} "$@"\n'
    )
    git.chmod(0o755)
    path = {"PATH": f"{programs}:{os.environ['PATH']}"}
    found = command(registry.data, environment=path)
    assert "failure git 2.37 or newer is needed, and this is 'git version 2.20.1'" in said(found, "git")
    assert "install git 2.37 or newer" in said(found, "git")
    git.write_text('#!/bin/sh\n[ "$1" = --version ] && echo git version 2.50.0 || echo 0000\n')
    assert "doesn't work" in said(command(registry.data, environment=path), "git")
    git.unlink()
    alone = {"PATH": str(programs)}
    found = command(registry.data, environment=alone)
    assert "failure git is not installed, or not on PATH" in said(found, "git")
    assert "warning ssh and ssh-keyscan is not installed" in said(found, "ssh")
    registry.run("repo", "add", "acme", "git@git.example.com:team/library.git", "--no-sync")
    found = command(registry.data, environment=alone)
    assert "failure ssh and ssh-keyscan is not installed" in said(found, "ssh")
    assert "library.git cannot be read; install OpenSSH's client" in said(found, "ssh")


def test_repositories_that_have_been_failing(
    registry: Pricore, make_repository: Callable[[str], GitRepository]
) -> None:
    """For a day: that is a warning, with the reason."""
    lost = make_repository("lost")
    lost.commit({"name": "acme/lost"})
    registry.run("repo", "add", "acme", lost.url)
    shutil.rmtree(lost.folder)
    registry.run("repo", "sync", "acme", lost.url, status=1)
    assert said(examine(registry.data), "repositories").startswith("ok none of 2")
    change(registry.data, "UPDATE repositories SET failing_since = failing_since - 90000 WHERE failures > 0")
    found = said(examine(registry.data), "repositories")
    assert found.startswith(f"warning {lost.url} (acme) since 20")
    assert "pricore repo show" in found


def test_a_disk_without_space(registry: Pricore, tmp_path: Path) -> None:
    """It is told, and what needs space is told too."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        shutil.copytree(registry.data, folder / "data")
        found = examine(folder / "data")
        assert "MB are free for" in said(found, "disk")
        assert said(found, "disk").startswith("failure")
        with (folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        (port,) = free_ports(1)
        with socket.create_server(("127.0.0.1", port)):
            found = examine(folder / "data", port=str(port))
        assert "failure 0 MB are free for" in said(found, "disk")
        assert found["database"]["status"] == "failure"
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_new_registry_has_little_to_look_at(pricore: Pricore) -> None:
    """Without a package there is nothing to download, which is no failure."""
    with pricore.serving() as served:
        found = examine(pricore.data, port=served["listens"].rpartition(":")[2])
    assert said(found, "packages.json").startswith("warning no package is served so far")
    assert statuses(found, but="packages.json") == {"ok"}


def tokens(data: Path) -> list[int | None]:
    """When each token expires."""
    with contextlib.closing(sqlite3.connect(data / "pricore.sqlite3")) as connection:
        return [expires_at for (expires_at,) in connection.execute("SELECT expires_at FROM tokens")]


def test_no_token_is_left_behind(registry: Pricore) -> None:
    """Neither by a doctor that is interrupted, nor for long by one that is killed."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        program = Pricore(registry.data, port=str(silent.getsockname()[1]))
        for number, left in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGKILL, 1)):
            process = program.start("doctor", log=registry.data.parent / "log")
            program.wait(lambda: len(tokens(registry.data)) == 1)
            process.send_signal(number)
            assert process.wait(timeout=20) != 0
            assert process.stdout is not None
            process.stdout.close()
            assert len(tokens(registry.data)) == left
    (expires_at,) = tokens(registry.data)
    assert expires_at is not None
    change(registry.data, "UPDATE tokens SET expires_at = unixepoch() - 1")
    with registry.serving() as served:
        assert statuses(examine(registry.data, port=served["listens"].rpartition(":")[2])) == {"ok"}
    assert tokens(registry.data) == []


def test_its_probe_is_no_download(registry: Pricore) -> None:
    """However often it looks: neither a download, nor a use that keeps an archive from being pruned."""
    with registry.serving() as served:
        for _ in range(2):
            assert "ok" in statuses(examine(registry.data, port=served["listens"].rpartition(":")[2]))
    with sqlite3.connect(registry.data / "pricore.sqlite3") as database:
        downloads = database.execute("SELECT count(*) FROM downloads").fetchone()
        uses = database.execute("SELECT count(*) FROM dist_uses").fetchone()
    database.close()
    assert (downloads, uses) == ((0,), (0,))
