"""The settings, read once and never changed: defaults, then the YAML file, then `PRICORE_*`, then flags.

The file is the first that there is: --config, `PRICORE_CONFIG`, the user's, the machine's.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import platformdirs

from pricore.errors import ConfigError

Network = IPv4Network | IPv6Network

VANISHED = ("keep", "remove")
"""What may become of released versions whose tag is gone upstream."""

LOG_FORMATS = ("console", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")
"""How the log is written, and from which level on."""

MACHINES_FILE: Final = Path("/etc/pricore/config.yaml")
"""The file of settings where neither the command nor the user has one."""

DEFAULT: Final = "default"
"""Where a setting comes from that nobody gave."""

_Check = Callable[[object, str], object]
"""Gives the value of a setting as what was given means it; the text names the place. Raises ConfigError."""


def _choice(*choices: str) -> _Check:
    def check(value: object, origin: str) -> object:
        if value in choices:
            return value
        raise ConfigError(f"{origin} must be one of {', '.join(choices)}")

    return check


def _path(kind: str, what: str) -> _Check:
    def check(value: object, origin: str) -> Path:
        if not isinstance(value, str | Path) or not str(value):
            raise ConfigError(f"{origin} must be a {kind}")
        try:
            return Path(value).expanduser().absolute()
        except RuntimeError:
            raise ConfigError(f"the {what} {value} is in the home of a user who does not exist") from None

    return check


def _text(form: str, what: str) -> _Check:
    def check(value: object, origin: str) -> str:
        if isinstance(value, str) and re.fullmatch(form, value):
            return value
        raise ConfigError(f"{origin} must be {what}")

    return check


def _secret(value: object, origin: str) -> str:
    """A secret, given itself or as the file that holds it; no error repeats it."""
    if isinstance(value, Path):
        try:
            value = value.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, RuntimeError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text, or ~ is unknown"
            raise ConfigError(f"{origin}: cannot read {value}: {reason}") from None
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise ConfigError(f"{origin} must be a line of text")


def _number(low: int = 0, high: int = 2**31) -> _Check:
    def check(value: object, origin: str) -> int:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if re.fullmatch(r"[0-9]{1,10}", text) and low <= int(text) <= high:
            return int(text)
        raise ConfigError(f"{origin} must be a whole number from {low} to {high}")

    return check


def _switch(value: object, origin: str) -> bool:
    # YAML reads on and off as truth values by itself
    if str(value).lower() in ("on", "true", "yes", "1"):
        return True
    if str(value).lower() in ("off", "false", "no", "0"):
        return False
    raise ConfigError(f"{origin} must be on or off")


def _list(of: Callable[[str, str], object]) -> _Check:
    """A list: YAML's, or with commas between its items."""

    def check(value: object, origin: str) -> object:
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, list) and all(isinstance(item, str) for item in items):
            return tuple(of(item.strip(), origin) for item in items if item.strip())
        raise ConfigError(f"{origin} must be a list, or text with commas between its items")

    return check


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


def _url(value: object, origin: str) -> str:
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


def setting(default: object, check: _Check, *, secret: bool = False, fixed: bool = False) -> Any:
    """A setting with its default, and the check of what is given.

    A `secret` is shown nowhere, and `PRICORE_X_FILE` can name the file that holds it. A `fixed` one cannot change
    while the server runs.
    """
    return field(default=default, repr=not secret, metadata={"check": check, "secret": secret, "fixed": fixed})


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything an operator can set.

    `public_url` is where clients reach this registry, without a slash at the end; empty means "where the request
    says that it came to". `inline_limit` is the size in bytes up to which an organization's metadata travels
    inside packages.json; 0 keeps it out. Its default is some 50 kB on the wire: up to there `composer update` is
    never slower for it, and over a network with a delay always faster (make bench). Dependabot reads versions from
    packages.json alone; where it finds none, it runs Composer. `git_timeout` bounds every run of git, seconds, and
    `repository_limit` what is kept of a repository, megabytes, 0 for all of it.

    `workers` are the processes that answer requests; one of them syncs.

    `sync_interval` is the time between two looks at a repository that nobody asks for, seconds, 0 for none;
    `sync_workers` is how many repositories are read at the same time. `vanished_versions` says what becomes of
    releases whose tag is gone upstream, keep or remove. `upload_limit` bounds a zip that is uploaded, megabytes.

    Rate limits count by the minute, 0 for none: requests of a token from an address, downloads of a package with
    it, and failed authentications of an address. `rate_limits` False switches all of them off.
    `restricted_sources` shows addresses of sources to tokens with rules, too. `trusted_proxies` are the networks
    whose forwarding headers are believed. `internal_hosts` are names and networks of hosts on the inside that a
    repository added over the API may be on. `git_proxy` is the URL of the proxy to Git hosts over http and https;
    empty is the environment's, which a repository added over the API doesn't get. `key_file` holds the key that
    seals secrets in the database; None is `key` in the data folder. `ca_file` has certificates to trust (PEM).

    `log_format` and `log_level` are those of the server's log, to which `access_log` adds a line for each request.
    `stop_timeout` is the time that running requests have to end once the server is stopped, seconds.
    `dist_storage` is where archives are kept: empty for the data folder, else a bucket as s3://bucket/prefix that
    `s3_endpoint` has (empty: AWS), with the keys given (empty: as AWS's programs find them). `dist_redirect` sends
    clients there with signed URLs. `dist_limit` is what kept archives may take, megabytes, and `dist_days` how
    long one is kept that nobody asks for; 0 is no limit. `pin_limit` is what the archives of commits may take that
    projects of an organization pin branches to and that no version is made of, megabytes unpacked; 0 is no limit.
    """

    data: Path = field(metadata={"check": _path("folder", "data folder"), "secret": False, "fixed": True})
    host: str = setting(
        "127.0.0.1", _text(r"[^\s/@]+", "a host name or an address, such as 127.0.0.1"), fixed=True
    )
    port: int = setting(8000, _number(0, 65535), fixed=True)
    workers: int = setting(1, _number(1, 64), fixed=True)
    public_url: str = setting("", _url)
    inline_limit: int = setting(512 * 1024, _number())
    git_timeout: int = setting(1800, _number(1, 24 * 3600))
    repository_limit: int = setting(10 * 1024, _number())
    sync_interval: int = setting(300, _number(0, 31 * 24 * 3600))
    sync_workers: int = setting(2, _number(1, 64))
    vanished_versions: str = setting("keep", _choice(*VANISHED))
    upload_limit: int = setting(100, _number(1, 2048))
    rate_limits: bool = setting(True, _switch)
    requests_per_minute: int = setting(1000, _number())
    downloads_per_minute: int = setting(100, _number())
    failures_per_minute: int = setting(60, _number())
    restricted_sources: bool = setting(False, _switch, fixed=True)
    trusted_proxies: tuple[Network, ...] = setting((), _list(_network))
    internal_hosts: tuple[Network | str, ...] = setting((), _list(_host_or_network))
    git_proxy: str = setting("", _url)
    key_file: Path | None = setting(None, _path("file", "key file"))
    ca_file: Path | None = setting(None, _path("file", "file of authorities"), fixed=True)
    log_format: str = setting("console", _choice(*LOG_FORMATS))
    log_level: str = setting("info", _choice(*LOG_LEVELS))
    access_log: bool = setting(False, _switch)
    stop_timeout: int = setting(25, _number(0, 3600))
    dist_storage: str = setting("", _bucket, fixed=True)
    dist_redirect: bool = setting(False, _switch)
    dist_limit: int = setting(0, _number())
    dist_days: int = setting(0, _number(0, 36500))
    pin_limit: int = setting(1024, _number())
    s3_endpoint: str = setting("", _url, fixed=True)
    s3_region: str = setting("us-east-1", _text(r"[!-~]{1,500}", "text without blanks"), fixed=True)
    s3_access_key: str = setting("", _secret, secret=True, fixed=True)
    s3_secret_key: str = setting("", _secret, secret=True, fixed=True)

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
    def base_path(self) -> str:
        """The path of the public URL, below which everything is served too; empty where it has none."""
        return urlsplit(self.public_url).path

    @property
    def most_pinned(self) -> int | None:
        """The bytes of pinned archives that an organization may have, None for any."""
        return self.pin_limit * 1024**2 or None

    @property
    def known_hosts(self) -> Path:
        """The keys of SSH hosts that were met, as OpenSSH keeps them."""
        return self.data / "known_hosts"

    @property
    def key(self) -> Path:
        return self.key_file or self.data / "key"


FIXED: Final = tuple(item.name for item in fields(Config) if item.metadata["fixed"])
"""Settings that cannot change while the server runs."""


@dataclass(frozen=True)
class Settings:
    """Where each setting comes from, by its name, and what is wrong with them, a line for each mistake.

    `config` is None where there are mistakes.
    """

    config: Config | None
    origins: Mapping[str, str]
    mistakes: tuple[str, ...]

    def usable(self) -> Config:
        """The settings. Raises ConfigError with the first mistake where there is one."""
        if self.config is None:
            raise ConfigError(self.mistakes[0])
        return self.config


def load_config(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The settings in force; `file` overrides `PRICORE_CONFIG`, and a flag of None counts as not given.

    Raises ConfigError for a file that cannot be read, an unknown key or a value of the wrong form.
    """
    return read_settings(file=file, environ=environ, flags=flags).usable()


def read_settings(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    flags: Mapping[str, object] | None = None,
) -> Settings:
    """The settings in force and where they come from, or everything that is wrong with what was given."""
    values: dict[str, object] = {"data": platformdirs.user_data_path("pricore")}
    checks: dict[str, _Check] = {item.name: item.metadata["check"] for item in fields(Config)}
    origins = dict.fromkeys(checks, DEFAULT)
    mistakes: list[str] = []
    for given in (_in_file(file, environ), _in_environment(environ), _in_flags(flags or {})):
        try:
            for name, value, origin, place in given:
                if name not in origins:
                    mistakes.append(f"{origin}: unknown setting {name!r}; there are {', '.join(sorted(origins))}")
                    continue
                try:
                    values[name] = checks[name](value, place)
                    origins[name] = origin
                except ConfigError as error:
                    mistakes.append(str(error))
        except ConfigError as error:  # of a whole file
            mistakes.append(str(error))
    # each was checked, and all but one have a default
    config = None if mistakes else Config(**values)  # type: ignore[arg-type]
    return Settings(config, origins, tuple(mistakes))


def find_unknown(environ: Mapping[str, str] = os.environ) -> list[str]:
    """A line for each `PRICORE_*` that sets nothing: Pricore itself passes over them, as they may be others'."""
    names = {item.name.upper() for item in fields(Config)} | {"CACHE", "CONFIG", "DEBUG"}
    names |= {f"{item.name.upper()}_FILE" for item in fields(Config) if is_secret(item.name)}
    known = {f"PRICORE_{name}" for name in names}
    unknown = sorted(name for name in environ if name.startswith("PRICORE_") and name not in known)
    return [f"{name} is no setting; docs/settings.md lists those there are" for name in unknown]


def is_secret(name: str) -> bool:
    """Whether a setting must not be shown."""
    return any(item.name == name and item.metadata["secret"] for item in fields(Config))


_Given = Iterator[tuple[str, object, str, str]]
"""The name of a setting, what was given for it, where that comes from, and how an error names the place."""


def _in_file(file: Path | None, environ: Mapping[str, str]) -> _Given:
    chosen = file or (Path(environ["PRICORE_CONFIG"]) if environ.get("PRICORE_CONFIG") else None)
    places = (platformdirs.user_config_path("pricore") / "config.yaml", MACHINES_FILE)
    path = chosen or next(filter(_is_there, places), None)
    if path is not None:
        for name, value in _read_file(path).items():
            yield name, value, str(path), f"{path}: {name}"


def _is_there(path: Path) -> bool:
    """Whether a file is there; one in a folder that is closed to this user counts, and is an error when read."""
    try:
        return path.is_file()
    except PermissionError:
        return True


def _in_environment(environ: Mapping[str, str]) -> _Given:
    for item in fields(Config):
        variable = f"PRICORE_{item.name.upper()}"
        if text := environ.get(variable):
            yield item.name, text, variable, variable
        if (path := environ.get(f"{variable}_FILE")) and is_secret(item.name):
            yield item.name, Path(path), f"{variable}_FILE", f"{variable}_FILE"


def _in_flags(flags: Mapping[str, object]) -> _Given:
    for name, value in flags.items():
        if value is not None:
            flag = "--" + name.replace("_", "-")
            yield name, value, flag, flag


def _read_file(path: Path) -> dict[str, object]:
    import yaml  # only who has a file pays for the parser

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        hint = "; run this as the user who serves, or give another file" if error.errno == errno.EACCES else ""
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}{hint}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: no UTF-8, or a date such as 2027-02-30
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict | None):
        raise ConfigError(f"{path} must hold settings as `name: value`")
    return content or {}
