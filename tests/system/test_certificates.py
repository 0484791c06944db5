"""Whom this process trusts where its Python looks for that in places of another system."""

import os
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest

from pricore.config import Config
from pricore.system.certificates import trust

SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@pytest.mark.skipif(not any(Path(path).is_file() for path in SYSTEM), reason="this system trusts nobody")
def test_the_systems_are_found_where_python_does_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with the single file on another system than the one it was built on."""
    nowhere = SimpleNamespace(cafile=None, capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: nowhere)
    monkeypatch.setenv("SSL_CERT_FILE", "")  # put back afterwards
    monkeypatch.delenv("SSL_CERT_FILE")
    trust(Config(data=tmp_path))
    assert os.environ["SSL_CERT_FILE"] in SYSTEM
    assert ssl.create_default_context().get_ca_certs()


def test_what_was_chosen_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "chosen"))
    trust(Config(data=tmp_path))
    assert os.environ["SSL_CERT_FILE"] == str(tmp_path / "chosen")
