"""What stands in deploy/ does what it says: the unit is sound, and Composer installs through each proxy."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import Composer, GitRepository, Pricore, need
from tests.proxies import DEPLOY, caddy, nginx, proxied


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


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    repository = make_repository("library")
    repository.commit({"name": "acme/library"}, files={"a.txt": "a"})
    repository.tag("1.0.0")
    return repository


@pytest.mark.parametrize("command", [nginx, caddy], ids=["nginx", "caddy"])
def test_composer_installs_through_a_proxy(
    command: Callable[..., list[str]],
    pricore: Pricore,
    upstream: GitRepository,
    tmp_path: Path,
) -> None:
    """Over TLS, with the addresses that clients see; who invents headers is still counted by the own address."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token()
    with proxied(command, tmp_path / "proxy", pricore.data, failures_per_minute="5") as (front, behind):
        project = Composer(tmp_path / "project")
        project.write(
            require={"acme/library": "^1.0"},
            registry=f"{front.url}/org/acme",
            config={"cafile": str(front.certificate)},
        )
        project.log_in(front.url, secret)
        project.run("update")
        dist = project.locked()["acme/library"]["dist"]
        assert dist["url"].startswith(f"{front.url}/org/acme/packages/")
        project.forget()
        project.run("install")
        assert project.installed("acme/library", "a.txt") == "a"
        Pricore.wait(lambda: behind.json("package", "downloads", "acme", "acme/library")["total"] >= 2)

        bearer = {"Authorization": f"Bearer {secret}"}
        status, root, headers = front.ask("/org/acme/packages.json", **bearer, Accept_Encoding="gzip")
        assert (status, headers["Content-Encoding"], root[:2]) == (200, "gzip", b"\x1f\x8b")
        assert headers["Last-Modified"]
        assert front.ask("/metrics")[0] == 404
        statuses = [
            front.ask("/api/token", Authorization="Bearer wrong", X_Forwarded_For=f"203.0.113.{number}")[0]
            for number in range(7)
        ]
        assert statuses == [401] * 5 + [429] * 2, "each said to be another client, and all were one"
