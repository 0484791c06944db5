"""Trust in an authority of the operator's, beside those that the system trusts, for all that speaks TLS from here.

OpenSSL goes by `SSL_CERT_FILE`, and takes it for all that there is; git and what talks to buckets are made to do
so. So it names a file that has both: in the data folder, where every process of the registry finds it.
"""

import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pricore.config import Config
from pricore.errors import ConfigError, explain

_NAME: Final = "authorities.pem"
_SYSTEM: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems keep what they trust: Debian and Alpine, Red Hat, SUSE, BSD."""


def trust(config: Config) -> None:
    """Let this process, and what it starts, trust `ca_file` too, where that is set.

    A Python that came with the program may look for the system's own where another system has them: it is told.
    The data folder has to be there. Raises ConfigError for a file that cannot be read, or has no certificate.
    """
    if config.ca_file is None:
        places = ssl.get_default_verify_paths()
        if not (places.cafile or places.capath or "SSL_CERT_FILE" in os.environ) and (system := _first(_SYSTEM)):
            os.environ["SSL_CERT_FILE"] = str(system)
        return
    own = read_certificates(config.ca_file)
    path = config.data / _NAME
    try:
        _write(path, f"{_system(path)}\n{own}")
    except OSError as error:
        raise ConfigError(f"ca_file: cannot write {path}: {explain(error)}") from None
    os.environ["SSL_CERT_FILE"] = os.environ["GIT_SSL_CAINFO"] = str(path)


def read_certificates(path: Path) -> str:
    """The text of `ca_file`. Raises ConfigError for a file that cannot be read, or has no certificate."""
    try:
        own = path.read_text(encoding="ascii")
        found = bool(ssl.create_default_context(cadata=own).get_ca_certs()) if own.strip() else False
    except (ssl.SSLError, ValueError):  # before OSError, which the first is too
        found = False
    except OSError as error:
        raise ConfigError(f"ca_file: cannot read {path}: {error.strerror}") from None
    if not found:
        raise ConfigError(f"ca_file: {path} holds no certificate in PEM")
    return own


def _system(made: Path) -> str:
    """The certificates that are trusted without it."""
    named = os.environ.get("SSL_CERT_FILE", "")
    places = (named if named != str(made) else "", ssl.get_default_verify_paths().cafile or "", *_SYSTEM)
    found = _first(places)
    return "" if found is None else found.read_text(encoding="utf-8", errors="replace")


def _first(places: Iterable[str]) -> Path | None:
    """The first of them that is a file."""
    return next((Path(place) for place in places if place and Path(place).is_file()), None)


def _write(path: Path, content: str) -> None:
    """Put it there whole, where something else is there: others may be reading it."""
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") == content:
        return
    new = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        new.write_text(content, encoding="utf-8")
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
