"""The settings, read once and never changed: defaults, then the YAML file, then `PRICORE_*`, then flags."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import platformdirs

from pricore.errors import ConfigError

Network = IPv4Network | IPv6Network


VANISHED = ("keep", "remove")
"""What may become of released versions whose tag is gone upstream."""

SECRETS = ("s3_access_key", "s3_secret_key")
"""Settings that the environment can also give as `PRICORE_<NAME>_FILE`, a file with the value."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything an operator can set.

    `public_url` is where clients reach this registry, without a slash at the end; empty means "where the
    request says that it came to". `inline_limit` is the size in bytes up to which an organization's
    metadata travels inside packages.json; 0 keeps it out. Its default is some 50 kB on the wire: up to there
    `composer update` is never slower for it, and over a network with a delay always faster (make bench).
    `git_timeout` bounds every run of git, seconds, and `repository_limit` what is kept of a repository, megabytes,
    0 for all of it.

    `workers` are the processes that answer requests; one of them syncs.

    `sync_interval` is the time between two looks at a repository that nobody asks for, seconds, 0 for none;
    `sync_workers` is how many repositories are read at the same time. `vanished_versions` says what becomes of
    releases whose tag is gone upstream, keep or remove. `upload_limit` bounds a zip that is uploaded, megabytes.

    Rate limits count by the minute, 0 for none: requests of a token from an address, downloads of a package with
    it, and failed authentications of an address. `rate_limits` False switches all of them off.
    `trusted_proxies` are the networks whose forwarding headers are believed. `internal_hosts` are names and
    networks of hosts on the inside that a repository added over the API may be on. `key_file` holds the key
    that seals secrets in the database; None is `key` in the data folder.

    `dist_storage` is where archives are kept: empty for the data folder, else a bucket as s3://bucket/prefix that
    `s3_endpoint` has (empty: AWS), with the keys given (empty: as AWS's programs find them). `dist_redirect` sends
    clients there with signed URLs. `dist_limit` is what kept archives may take, megabytes, and `dist_days` how
    long one is kept that nobody asks for; 0 is no limit.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    public_url: str = ""
    inline_limit: int = 512 * 1024
    git_timeout: int = 1800
    repository_limit: int = 10 * 1024
    sync_interval: int = 300
    sync_workers: int = 2
    vanished_versions: str = "keep"
    upload_limit: int = 100
    rate_limits: bool = True
    requests_per_minute: int = 1000
    downloads_per_minute: int = 100
    failures_per_minute: int = 60
    trusted_proxies: tuple[Network, ...] = ()
    internal_hosts: tuple[Network | str, ...] = ()
    key_file: Path | None = None
    dist_storage: str = ""
    dist_redirect: bool = False
    dist_limit: int = 0
    dist_days: int = 0
    s3_endpoint: str = ""
    s3_region: str = "us-east-1"
    s3_access_key: str = field(default="", repr=False)
    s3_secret_key: str = field(default="", repr=False)

    @property
    def database(self) -> Path:
        return self.data / "pricore.sqlite3"

    @property
    def repositories(self) -> Path:
        """Where the mirrors are, one bare repository each, named by the repository's id."""
        return self.data / "repositories"

    @property
    def dists(self) -> Path:
        return self.data / "dists"

    @property
    def uploads(self) -> Path:
        """Where the archives of uploaded versions are; they are nowhere else."""
        return self.data / "uploads"

    @property
    def known_hosts(self) -> Path:
        """The keys of SSH hosts that were met, as OpenSSH keeps them."""
        return self.data / "known_hosts"

    @property
    def key(self) -> Path:
        return self.key_file or self.data / "key"


def load_config(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The settings in force; `file` overrides `PRICORE_CONFIG`, and a flag of None counts as not given.

    Raises ConfigError for a file that cannot be read, an unknown key or a value of the wrong form.
    """
    values: dict[str, object] = {"data": platformdirs.user_data_path("pricore")}
    chosen = file or (Path(environ["PRICORE_CONFIG"]) if environ.get("PRICORE_CONFIG") else None)
    standard = platformdirs.user_config_path("pricore") / "config.yaml"
    if chosen is not None or standard.is_file():
        values |= _read_file(chosen or standard)
    for setting in fields(Config):
        variable = f"PRICORE_{setting.name.upper()}"
        if text := environ.get(variable):
            values[setting.name] = _checked(setting.name, text, variable)
        elif setting.name in SECRETS and (path := environ.get(f"{variable}_FILE")):
            values[setting.name] = _checked(setting.name, _read_secret(Path(path), variable), f"{variable}_FILE")
    for name, value in (flags or {}).items():
        if value is not None:
            values[name] = _checked(name, value, "--" + name.replace("_", "-"))
    config = Config(**values)  # type: ignore[arg-type]  # every value went through _checked
    return replace(
        config,
        data=_absolute(config.data, "data folder"),
        key_file=None if config.key_file is None else _absolute(config.key_file, "key file"),
    )


def _absolute(path: Path, what: str) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"the {what} {path} is in the home of a user that there isn't") from None


def _read_secret(path: Path, variable: str) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ConfigError(f"{variable}_FILE: cannot read {path}: {reason}") from None


def _read_file(path: Path) -> dict[str, object]:
    import yaml  # only who has a file pays for the parser

    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date such as 2027-02-30
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold settings as `name: value`")
    known = {setting.name for setting in fields(Config)}
    for key in content:
        if key not in known:
            raise ConfigError(f"{path}: unknown setting {key!r}; there are {', '.join(sorted(known))}")
    return {key: _checked(key, value, f"{path}: {key}") for key, value in content.items()}


def _checked(name: str, value: object, origin: str) -> object:
    """The value of one setting in its own type; `origin` says in an error where it came from."""
    match name:
        case "data":
            if isinstance(value, str | Path) and str(value):
                return Path(value)
            raise ConfigError(f"{origin} must be a folder")
        case "key_file":
            if isinstance(value, str | Path) and str(value):
                return Path(value)
            raise ConfigError(f"{origin} must be a file")
        case "host":
            if isinstance(value, str) and value and not re.search(r"[\s/@]", value):
                return value
            raise ConfigError(f"{origin} must be a host name or an address, such as 127.0.0.1")
        case "public_url":
            return _public_url(value, origin)
        case "dist_storage":
            return _bucket(value, origin)
        case "s3_endpoint":
            return _public_url(value, origin)
        case "s3_region" | "s3_access_key" | "s3_secret_key":
            # nothing of the value: it may be a secret
            if isinstance(value, str) and re.fullmatch(r"[!-~]{1,500}", value):
                return value
            raise ConfigError(f"{origin} must be text without blanks")
        case "vanished_versions":
            if value in VANISHED:
                return value
            raise ConfigError(f"{origin} must be one of {', '.join(VANISHED)}")
        case "rate_limits" | "dist_redirect":
            return _switch(value, origin)
        case "trusted_proxies":
            return tuple(_network(item, origin) for item in _items(value, origin))
        case "internal_hosts":
            return tuple(_host_or_network(item, origin) for item in _items(value, origin))
        case "port":
            return _number(value, origin, low=0, high=65535)
        case "sync_interval":
            return _number(value, origin, low=0, high=31 * 24 * 3600)
        case "workers" | "sync_workers":
            return _number(value, origin, low=1, high=64)
        case "upload_limit":
            return _number(value, origin, low=1, high=2048)
        case "dist_days":
            return _number(value, origin, low=0, high=36500)
        case "git_timeout":
            return _number(value, origin, low=1, high=24 * 3600)
        case _:
            return _number(value, origin, low=0, high=2**31)


def _number(value: object, origin: str, *, low: int, high: int) -> int:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[0-9]{1,10}", text) and low <= int(text) <= high:
        return int(text)
    raise ConfigError(f"{origin} must be a whole number from {low} to {high}")


def _switch(value: object, origin: str) -> bool:
    # YAML reads on and off as truth values by itself
    if str(value).lower() in ("on", "true", "yes", "1"):
        return True
    if str(value).lower() in ("off", "false", "no", "0"):
        return False
    raise ConfigError(f"{origin} must be on or off")


def _items(value: object, origin: str) -> list[str]:
    """The items of a list: of YAML's, or with commas between them."""
    items = value.split(",") if isinstance(value, str) else value
    if isinstance(items, list) and all(isinstance(item, str) for item in items):
        return [item.strip() for item in items if item.strip()]
    raise ConfigError(f"{origin} must be a list, or text with commas between its items")


def _network(text: str, origin: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ConfigError(f"{origin}: {text!r} is no address or network, such as 10.0.0.0/8") from None


def _host_or_network(text: str, origin: str) -> Network | str:
    if re.fullmatch(r"(?=.*[A-Za-z])[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        return text.lower()
    return _network(text, origin)


def _bucket(value: object, origin: str) -> str:
    if value in ("", None):
        return ""
    if (
        isinstance(value, str)
        and re.fullmatch(r"s3://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(?:/[A-Za-z0-9._-]+)*/?", value)
        and not {".", ".."} & set(value.split("/"))
    ):
        return value.rstrip("/")
    raise ConfigError(
        f"{origin} must be a bucket such as s3://bucket or s3://bucket/prefix; empty is the data folder"
    )


def _public_url(value: object, origin: str) -> str:
    if value in ("", None):
        return ""
    # what is allowed here goes into JSON documents as it is
    if isinstance(value, str) and re.fullmatch(r"https?://[A-Za-z0-9.\-_\[\]:]+(?:/[A-Za-z0-9.\-_~/]*)?", value):
        try:
            parts = urlsplit(value)
            if parts.hostname and parts.port != 0:
                return value.rstrip("/")
        except ValueError:
            pass  # brackets around what is no address, or a port that is none
    raise ConfigError(f"{origin} must be a URL such as https://packages.example.com")
