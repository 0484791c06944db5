"""Proxies with TLS in front of a registry, configured as deploy/ says, or otherwise."""

import contextlib
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.message import Message
from pathlib import Path
from types import MappingProxyType
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.harness import Pricore, need

DEPLOY: Final = Path(__file__).parents[1] / "deploy"


class Front(msgspec.Struct, frozen=True):
    """A proxy with TLS, what it is asked with, and the port of the registry behind it."""

    url: str
    certificate: Path
    upstream: int

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


def make_certificate(folder: Path, *, days: int = 90) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority, good for so many days, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + timedelta(days=days))
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


Changes = Mapping[str, str]
"""What is another text in the configuration than in deploy/."""


def nginx(folder: Path, port: int, upstream: int, certificate: Path, private: Path, changes: Changes) -> list[str]:
    """The command that runs nginx with the example, for localhost and on free ports."""
    site = (DEPLOY / "nginx.conf").read_text()
    for before, after in {
        "/etc/letsencrypt/live/packages.example.com/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/packages.example.com/privkey.pem": str(private),
        "listen 443 ": f"listen 127.0.0.1:{port} ",
        "listen 80;": f"listen 127.0.0.1:{free_ports(1)[0]};",
        "server 127.0.0.1:8000;": f"server 127.0.0.1:{upstream};",
        "packages.example.com": "localhost",
        **changes,
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


def caddy(folder: Path, port: int, upstream: int, certificate: Path, private: Path, changes: Changes) -> list[str]:
    """The command that runs Caddy with the example, for localhost and on a free port."""
    site = (DEPLOY / "Caddyfile").read_text()
    for before, after in {
        "packages.example.com {": f"https://localhost:{port} {{\n\ttls {certificate} {private}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
        **changes,
    }.items():
        assert before in site
        site = site.replace(before, after)
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]


def apache2(
    folder: Path, port: int, upstream: int, certificate: Path, private: Path, changes: Changes
) -> list[str]:
    """The command that runs Apache with the example, for localhost and on free ports."""
    plain = free_ports(1)[0]
    site = (DEPLOY / "apache.conf").read_text()
    for before, after in {
        "/etc/letsencrypt/live/packages.example.com/fullchain.pem": str(certificate),
        "/etc/letsencrypt/live/packages.example.com/privkey.pem": str(private),
        "*:443": f"127.0.0.1:{port}",
        "*:80": f"127.0.0.1:{plain}",
        "http://127.0.0.1:8000/": f"http://127.0.0.1:{upstream}/",
        "packages.example.com": "localhost",
        **changes,
    }.items():
        assert before in site
        site = site.replace(before, after)
    (folder / "root").mkdir()
    # those that the example's first lines enable, and what Debian's Apache has from the start
    names = ("mpm_event", "authz_core", "setenvif", "env", "ssl", "proxy", "proxy_http", "headers", "alias")
    modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in names)
    (folder / "apache2.conf").write_text(
        f"{modules}ServerName localhost\nDocumentRoot {folder}/root\nPidFile {folder}/pid\n"
        f"DefaultRuntimeDir {folder}\nErrorLog {folder}/error.log\nUser nobody\nGroup nogroup\n"
        f"Listen 127.0.0.1:{port}\nListen 127.0.0.1:{plain}\n{site}"
    )
    return ["apache2", "-f", str(folder / "apache2.conf"), "-DFOREGROUND"]


def haproxy(
    folder: Path, port: int, upstream: int, certificate: Path, private: Path, changes: Changes
) -> list[str]:
    """The command that runs HAProxy with the example, for localhost and on free ports."""
    both = folder / "both.pem"
    both.write_bytes(certificate.read_bytes() + private.read_bytes())
    site = (DEPLOY / "haproxy.cfg").read_text()
    for before, after in {
        "crt /etc/haproxy/packages.example.com.pem": f"crt {both}",
        "bind :443": f"bind 127.0.0.1:{port}",
        "bind :80": f"bind 127.0.0.1:{free_ports(1)[0]}",
        "127.0.0.1:8000": f"127.0.0.1:{upstream}",
        **changes,
    }.items():
        assert before in site
        site = site.replace(before, after)
    (folder / "haproxy.cfg").write_text(site)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


Command = Callable[[Path, int, int, Path, Path, Changes], list[str]]


@contextlib.contextmanager
def proxied(command: Command, folder: Path, data: Path, **settings: str) -> Iterator[tuple[Front, Pricore]]:
    """A registry behind a proxy that is configured as the example says."""
    (port,) = free_ports(1)
    settings = {"public_url": f"https://localhost:{port}", "trusted_proxies": "127.0.0.1"} | settings
    pricore = Pricore(data, **settings)
    with pricore.serving() as served:
        upstream = int(served["listens"].rpartition(":")[2])
        with fronted(command, folder, port, upstream) as front:
            yield front, pricore


@contextlib.contextmanager
def fronted(
    command: Command,
    folder: Path,
    port: int,
    upstream: int,
    *,
    changes: Changes = MappingProxyType({}),
    days: int = 90,
) -> Iterator[Front]:
    """A proxy in front of the port of a registry."""
    need(command.__name__)
    folder.mkdir()
    certificate, private = make_certificate(folder, days=days)
    arguments = command(folder, port, upstream, certificate, private, changes)
    environment = {"HOME": str(folder), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(arguments, env=environment, stderr=log) as process,
    ):
        try:
            Pricore.wait(lambda: listens(port))
            yield Front(f"https://localhost:{port}", certificate, upstream)
        finally:
            process.terminate()
            process.wait(timeout=20)
