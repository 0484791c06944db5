"""What stands in deploy/ does what it says: the unit is sound, and Composer installs through each proxy."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pricore.config import Config
from tests.harness import Composer, GitRepository, Pricore, need
from tests.proxies import DEPLOY, apache2, caddy, free_ports, fronted, haproxy, nginx, proxied


def test_the_unit_is_sound(tmp_path: Path) -> None:
    """systemd finds nothing wrong with it, and little that it could still reach."""
    need("systemd-analyze")
    unit = tmp_path / "pricore.service"
    unit.write_text((DEPLOY / "pricore.service").read_text().replace("/usr/local/bin/pricore", "/bin/true"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(unit)],
        capture_output=True,
        check=True,
    )


def test_the_unit_waits_for_what_it_starts_and_stops() -> None:
    """It is told when the server is ready, and has patience for requests that end and what comes after."""
    unit = dict(
        line.split("=", 1) for line in (DEPLOY / "pricore.service").read_text().splitlines() if "=" in line
    )
    assert unit["Type"] == "notify"
    assert unit["ExecReload"].split() == ["/bin/kill", "-HUP", "$MAINPID"]
    assert int(unit["TimeoutStopSec"]) >= Config(data=Path("data")).stop_timeout + 10


def test_the_container_is_asked_whether_it_is_well(pricore: Pricore) -> None:
    """It runs as a user of its own on one volume, and its check is a command that tells a server's health."""
    lines = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text()).splitlines()
    instructions = [line.partition(" ")[::2] for line in lines if line and not line.startswith("#")]
    environment = dict(word.split("=", 1) for name, rest in instructions if name == "ENV" for word in rest.split())
    (user,) = [rest for name, rest in instructions if name == "USER"]
    (volume,) = [rest for name, rest in instructions if name == "VOLUME"]
    (check,) = [rest for name, rest in instructions if name == "HEALTHCHECK"]
    assert (user, volume) == ("pricore", environment["PRICORE_DATA"])
    program, *arguments = json.loads(check.partition("CMD ")[2])
    assert program == "pricore"
    with pricore.serving() as server:
        port = server["listens"].rpartition(":")[2]
        inside = Pricore(pricore.data, host=environment["PRICORE_HOST"], port=port)
        assert inside.run(*arguments).stdout == "ready\n"
    inside.fail(*arguments)


def test_the_copy_is_of_the_units_database() -> None:
    """Litestream follows the file that the unit's server writes."""
    unit = (DEPLOY / "pricore.service").read_text()
    data = re.search(r"PRICORE_DATA=(\S+)", unit)
    assert data
    (copied,) = yaml.safe_load((DEPLOY / "litestream.yml").read_text())["dbs"]
    assert copied["path"] == str(Config(data=Path(data[1])).database)


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    repository = make_repository("library")
    repository.commit({"name": "acme/library"}, files={"a.txt": "a"})
    repository.tag("1.0.0")
    return repository


@pytest.mark.parametrize("command", [nginx, caddy, apache2, haproxy], ids=lambda command: command.__name__)
def test_composer_installs_through_a_proxy(
    command: Callable[..., list[str]],
    pricore: Pricore,
    upstream: GitRepository,
    tmp_path: Path,
    composer: Composer,
) -> None:
    """Over TLS, with the addresses that clients see; who invents headers is still counted by the own address."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token()
    with proxied(command, tmp_path / "proxy", pricore.data, failures_per_minute="5") as (front, behind):
        composer.write(
            require={"acme/library": "^1.0"},
            registry=f"{front.url}/org/acme",
            config={"cafile": str(front.certificate)},
        )
        composer.log_in(front.url, secret)
        composer.run("update")
        dist = composer.locked()["acme/library"]["dist"]
        assert dist["url"].startswith(f"{front.url}/org/acme/packages/")
        composer.forget()
        composer.run("install")
        assert composer.installed("acme/library", "a.txt") == "a"
        Pricore.wait(lambda: behind.json("package", "downloads", "acme", "acme/library")["total"] >= 2)

        bearer = {"Authorization": f"Bearer {secret}"}
        status, root, headers = front.ask("/org/acme/packages.json", **bearer, Accept_Encoding="gzip")
        assert (status, headers["Content-Encoding"], root[:2]) == (200, "gzip", b"\x1f\x8b")
        assert headers["Last-Modified"]
        assert [front.ask(path)[0] for path in ("/metrics", "/%6detrics", "//metrics")] == [404] * 3
        assert front.ask("/readyz")[0] == 200
        given = front.ask("/nothing", X_Request_Id="0123456789abcdef")[2]["X-Request-Id"]
        assert given != "0123456789abcdef", "an id is the proxy's own or ours, and never the client's"
        escaped = front.ask("/org/acme/packages/acme/library/1.0.0%2Fx%25.zip", **bearer)
        assert (escaped[0], b"message" in escaped[1]) == (404, True), "escaped slashes are passed on as they are"
        statuses = [
            front.ask("/api/token", Authorization="Bearer wrong", X_Forwarded_For=f"203.0.113.{number}")[0]
            for number in range(7)
        ]
        assert statuses == [401] * 5 + [429] * 2, "each said to be another client, and all were one"


@pytest.mark.parametrize("strips", [True, False], ids=["takes the path away", "leaves the path there"])
def test_a_registry_can_be_below_a_path(
    pricore: Pricore, upstream: GitRepository, tmp_path: Path, strips: bool
) -> None:
    """Whether the proxy takes the path away or not: metadata, archives, pages of lists, documents, the doctor."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token("--scope", "packages:read", "--scope", "repositories:read")
    (port,) = free_ports(1)
    url = f"https://localhost:{port}/php/composer"
    settings = {"public_url": url, "trusted_proxies": "127.0.0.1"}
    changes = {"location / {": "location /php/composer/ {"}
    if strips:
        changes["proxy_pass http://pricore;"] = "proxy_pass http://pricore/;"
    behind = Pricore(pricore.data, **settings)
    with behind.serving() as served:
        listens = int(served["listens"].rpartition(":")[2])
        with fronted(nginx, tmp_path / "proxy", port, listens, changes=changes) as front:
            project = Composer(tmp_path / "project")
            config = {"cafile": str(front.certificate)}
            project.write(require={"acme/library": "^1.0"}, registry=f"{url}/org/acme", config=config)
            project.log_in(url, secret)
            project.run("update")
            assert project.locked()["acme/library"]["dist"]["url"].startswith(f"{url}/org/acme/packages/")

            bearer = {"Authorization": f"Bearer {secret}"}
            _, _, headers = front.ask("/php/composer/api/organizations/acme/packages?per_page=1", **bearer)
            assert f'<{url}/api/organizations/acme/packages?per_page=1&page=1>; rel="first"' in headers["Link"]
            document = json.loads(front.ask("/php/composer/api/openapi.json")[1])
            assert document["servers"] == [{"url": url}]
            assert b'href="openapi.json"' in front.ask("/php/composer/api/docs")[1]
            assert f"{url}/org/acme".encode() in front.ask("/php/composer/org/acme", Accept="text/html")[1]
            status, body, _ = front.ask("/php/composer/org/acme/packages.json")
            assert (status, set(json.loads(body))) == (401, {"message", "warning"})
            doctor = Pricore(pricore.data, **settings, port=str(listens))
            doctor.environment["SSL_CERT_FILE"] = str(front.certificate)
            found = {item["name"]: item["status"] for item in doctor.json("doctor")}
            assert {found[name] for name in ("packages.json", "metadata", "archive")} == {"ok"}


def test_a_proxy_that_was_forgotten_in_the_settings_is_told_of_once(
    pricore: Pricore, upstream: GitRepository, tmp_path: Path
) -> None:
    """What the client gets leads to http://, and the log says what to set; strangers cannot fill it."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token()
    log = pricore.data.parent / f"{pricore.data.name}-serve.log"
    with proxied(nginx, tmp_path / "proxy", pricore.data, public_url="", trusted_proxies="") as (front, _):
        for _ in range(3):
            front.ask("/org/acme/packages.json", Authorization=f"Bearer {secret}")
        told = [line for line in log.read_text().splitlines() if "X-Forwarded-Proto" in line]
        assert len(told) == 1
        assert "trusted_proxies" in told[0]
