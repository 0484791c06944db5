"""What stands in deploy/ does what it says: the unit is sound, and Composer installs through each proxy."""

import contextlib
import json
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from typing import Final

import msgspec
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from pricore.config import Config
from tests.harness import Composer, GitRepository, Pricore, need

DEPLOY: Final = Path(__file__).parents[2] / "deploy"


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


class Front(msgspec.Struct, frozen=True):
    """A proxy with TLS, and what it is asked with."""

    url: str
    certificate: Path

    def ask(self, path: str, **headers: str) -> tuple[int, bytes, Message]:
        """The status, the body and the headers of what comes back."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        context = ssl.create_default_context(cafile=str(self.certificate))
        try:
            request = urllib.request.Request(self.url + path, headers=named)
            with urllib.request.urlopen(request, context=context, timeout=10) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(), error.headers


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]


def listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "private.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, private


def nginx(folder: Path, port: int, upstream: int, certificate: Path, private: Path) -> list[str]:
    """The command that runs nginx with the example, for localhost and on free ports."""
    site = (DEPLOY / "nginx.conf").read_text()
    for before, after in {
        "/etc/letsencrypt/live/packages.example.com/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/packages.example.com/privkey.pem": str(private),
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen 80;": f"listen 127.0.0.1:{free_ports(1)[0]};",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream};",
        "packages.example.com": "localhost",
    }.items():
        assert before in site
        site = site.replace(before, after)
    (folder / "pricore.conf").write_text(site)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"user root;\ndaemon off;\npid {folder}/pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}include {folder}/pricore.conf;\n}}\n"
    )
    command = ["nginx", "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], capture_output=True, check=True)
    return command


def caddy(folder: Path, port: int, upstream: int, certificate: Path, private: Path) -> list[str]:
    """The command that runs Caddy with the example, for localhost and on a free port."""
    site = (DEPLOY / "Caddyfile").read_text()
    for before, after in {
        "packages.example.com {": f"https://localhost:{port} {{\n\ttls {certificate} {private}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
    }.items():
        assert before in site
        site = site.replace(before, after)
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


@pytest.fixture
def upstream(make_repository: Callable[[str], GitRepository]) -> GitRepository:
    repository = make_repository("library")
    repository.commit({"name": "acme/library"}, files={"a.txt": "a"})
    repository.tag("1.0.0")
    return repository


@contextlib.contextmanager
def proxied(
    command: Callable[[Path, int, int, Path, Path], list[str]], folder: Path, data: Path
) -> Iterator[tuple[Front, Pricore]]:
    """A registry behind a proxy that is configured as the example says."""
    need(command.__name__)
    folder.mkdir()
    certificate, private = make_certificate(folder)
    (port,) = free_ports(1)
    url = f"https://localhost:{port}"
    pricore = Pricore(data, public_url=url, trusted_proxies="127.0.0.1", failures_per_minute="5")
    with pricore.serving() as served:
        upstream = int(served["listens"].rpartition(":")[2])
        arguments = command(folder, port, upstream, certificate, private)
        environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(arguments, env=environment, stderr=log) as process,
        ):
            try:
                pricore.wait(lambda: listens(port))
                yield Front(url, certificate), pricore
            finally:
                process.terminate()
                process.wait(timeout=20)


@pytest.mark.parametrize("command", [nginx, caddy], ids=["nginx", "caddy"])
def test_composer_installs_through_a_proxy(
    command: Callable[[Path, int, int, Path, Path], list[str]],
    pricore: Pricore,
    upstream: GitRepository,
    tmp_path: Path,
) -> None:
    """Over TLS, with the addresses that clients see; who invents headers is still counted by the own address."""
    pricore.run("repo", "add", "acme", upstream.url)
    secret = pricore.token()
    with proxied(command, tmp_path / "proxy", pricore.data) as (front, behind):
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
        assert [front.ask(path)[0] for path in ("/metrics", "/%6detrics", "//metrics")] == [404] * 3
        assert front.ask("/readyz")[0] == 200
        given = front.ask("/nothing", X_Request_Id="0123456789abcdef")[2]["X-Request-Id"]
        assert len(given) in (32, 36), "an id is the proxy's own, by which its log has the request too"
        statuses = [
            front.ask("/api/token", Authorization="Bearer wrong", X_Forwarded_For=f"203.0.113.{number}")[0]
            for number in range(7)
        ]
        assert statuses == [401] * 5 + [429] * 2, "each said to be another client, and all were one"
