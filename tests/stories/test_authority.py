"""A company's own authority: with one setting all that speaks TLS trusts it, beside those of the system."""

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.githost import GitHost
from tests.harness import GitRepository, Pricore


def make_authority(folder: Path) -> tuple[Path, Path, Path]:
    """The certificate of an authority, one that it signed for localhost, and the key of that."""
    now = datetime.now(UTC)

    def sign(subject: str, key: Any, issuer: str, by: Any, *extensions: x509.ExtensionType) -> bytes:
        made = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]),
            key.public_key(),
            x509.random_serial_number(),
            now - timedelta(days=1),
            now + timedelta(days=30),
        )
        for item in extensions:
            made = made.add_extension(item, critical=False)
        return made.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    top, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority, certificate, private = (folder / f"{name}.pem" for name in ("authority", "certificate", "private"))
    authority.write_bytes(sign("Acme CA", top, "Acme CA", top, x509.BasicConstraints(ca=True, path_length=0)))
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    certificate.write_bytes(sign("localhost", own, "Acme CA", top, names))
    private.write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return authority, certificate, private


class World:
    """A Git host with a certificate that no system knows, and a registry."""

    def __init__(self, folder: Path, certificate: Path, host: GitHost) -> None:
        self.folder = folder
        self.certificate = certificate
        self.host = host.host.replace("127.0.0.1", "localhost")
        self.url = f"https://{self.host}/library/.git"

    def registry(self, **settings: str) -> Pricore:
        pricore = Pricore(self.folder / "data", **settings)
        pricore.found()
        # this machine may have authorities of its own
        for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"):
            pricore.environment.pop(name, None)
        return pricore


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    upstream = GitRepository(tmp_path / "upstream" / "library")
    upstream.commit({"name": "acme/library"})
    authority, certificate, private = make_authority(tmp_path)
    host = GitHost(tmp_path / "upstream")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, private)
    host.server.socket = context.wrap_socket(host.server.socket, server_side=True)
    with host.running():
        yield World(tmp_path, authority, host)


def test_an_unknown_authority_is_refused_with_the_setting(world: World) -> None:
    """Who has none named is told which setting names it."""
    line = world.registry().fail("repo", "add", "acme", world.url)
    assert "its authority is not trusted: ca_file" in line


def test_one_setting_is_enough_for_all(world: World) -> None:
    """For git, for the APIs of Git hosts, and for buckets; what the system trusts is trusted on."""
    pricore = world.registry(ca_file=str(world.certificate))
    assert pricore.json("repo", "add", "acme", world.url)["packages"] == ["acme/library"]
    # it is no Gitea, and answers that: nothing was refused on the way
    line = pricore.fail("repo", "discover", "acme", "gitea", "team", "--host", world.host).lower()
    assert "certificate" not in line
    assert "ssl" not in line
    system = ssl.create_default_context()
    both = ssl.create_default_context(cafile=str(pricore.data / "authorities.pem"))
    assert both.cert_store_stats()["x509_ca"] > system.cert_store_stats()["x509_ca"]
    with pricore.serving():
        assert pricore.json("repo", "sync", "acme")["failed"] == []


def test_a_bucket_with_such_a_certificate_is_reached(world: World) -> None:
    """What answers there is no bucket, and says so: over TLS."""
    settings = {"dist_storage": "s3://bucket", "s3_endpoint": f"https://{world.host}"}
    keys = {"s3_access_key": "a", "s3_secret_key": "b"}
    without = world.registry(**settings, **keys).fail("dist", "move", "--to", "folder")
    settings["ca_file"] = str(world.certificate)
    trusting = world.registry(**settings, **keys).fail("dist", "move", "--to", "folder")
    assert "error sending request" in without
    assert "error sending request" not in trusting


def test_openssl_s_own_variable_is_enough_for_git_too(world: World) -> None:
    """Git itself takes no notice of SSL_CERT_FILE."""
    pricore = world.registry()
    pricore.environment["SSL_CERT_FILE"] = str(world.certificate)
    assert pricore.json("repo", "add", "acme", world.url)["packages"] == ["acme/library"]


@pytest.mark.parametrize("content", [None, "", "no certificate", json.dumps({})])
def test_a_file_that_is_none_is_refused(world: World, content: str | None) -> None:
    """In one line with the setting, before anything is asked of anybody."""
    file = world.folder / "ca.pem"
    if content is not None:
        file.write_text(content)
    assert "error: ca_file: " in world.registry(ca_file=str(file)).fail("org", "list")
