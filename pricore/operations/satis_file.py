"""What another registry follows, understood: a satis.json with the logins of its hosts, or a list of addresses."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from pricore.errors import InvalidError
from pricore.hosts.addresses import Address, is_folder, login_place, parse_address, without_login
from pricore.hosts.table import PROVIDERS

_MOST_BYTES: Final = 16 * 1024 * 1024
_TYPES: Final[Mapping[str, str | None]] = {"vcs": None, "git": None} | {
    kind: provider.name for provider in PROVIDERS.values() for kind in provider.composer.types
}
"""Repositories that git reads, and the providers that their types name."""

_REASONS: Final[Mapping[str, str]] = {
    "composer": "another registry: projects name it beside this one",
    "package": "a package that stands in satis.json alone: put it into a repository, or upload its archive",
    "artifact": "a folder of archives: upload them",
    "path": "a folder without history: follow the Git repository that it is in",
}


class SatisRepository(msgspec.Struct, frozen=True):
    """A repository to follow, and why it cannot be where `address` is None."""

    url: str
    address: Address | None
    reason: str = ""


class SatisLogin(msgspec.Struct, frozen=True):
    """What a host is logged in to with.

    `host` has its port where that isn't the usual one. `username` is None where any will do. A `plain` one goes
    over http:// too, because repositories are read so.
    """

    host: str
    username: str | None
    token: str
    plain: bool = False

    def __repr__(self) -> str:
        return f"SatisLogin({self.host!r})"


class Satis(msgspec.Struct, frozen=True, kw_only=True):
    """What a satis.json sets up: `logins` are those that its repositories need.

    It is `restricted` where its `require` chooses among packages or versions.
    """

    name: str
    repositories: list[SatisRepository]
    logins: list[SatisLogin]
    restricted: bool


def read_satis(path: Path) -> Satis:
    """Understand a satis.json, and the auth.json beside it if there is one; or a list of addresses, a line each.

    `-` is the standard input. Raises InvalidError.
    """
    content = _read(path)
    if not content.lstrip().startswith(("{", "[")):
        lines = [line.strip() for line in content.splitlines()]
        document: dict[str, Any] = {
            "repositories": [{"type": "vcs", "url": line} for line in lines if line and not line.startswith("#")]
        }
    else:
        document = _parse(content, path)
    settings = _mapping(document.get("config"))
    auth = path.parent / "auth.json"
    secrets = [settings, _parse(_read(auth), auth)] if auth.is_file() else [settings]
    logins = {login.host: login for found in reversed(secrets) for login in _logins(found)}
    repositories = []
    for item in _items(document.get("repositories")):
        url, login = _part_login(item.get("url"))
        if login is not None:
            logins.setdefault(login.host, login)
        repositories.append(_repository(str(item.get("type", "")), url, settings, path.parent))
    name = document.get("name")
    return Satis(
        name=name if isinstance(name, str) else "",
        repositories=repositories,
        logins=_needed(logins, repositories),
        restricted=bool(document.get("require")) and not document.get("require-all"),
    )


def _read(path: Path) -> str:
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        if len(content) <= _MOST_BYTES:
            return content.decode("utf-8-sig")
    except OSError as error:
        raise InvalidError(f"cannot read {path}: {error.strerror}", field="file") from None
    except UnicodeDecodeError:
        raise InvalidError(f"{path} is no text", field="file") from None
    raise InvalidError(f"{path} has more than {_MOST_BYTES // 1024**2} MB", field="file")


def _parse(content: str, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        where = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidError(f"{path} is no JSON{where}", field="file") from None
    if not isinstance(found, dict):
        raise InvalidError(f"{path} is no satis.json: there has to be an object", field="file")
    return found


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _items(value: object) -> Iterator[dict[str, Any]]:
    """The repositories, in a list or by name; `"packagist.org": false` is none."""
    found = value if isinstance(value, list) else _mapping(value).values()
    return (item for item in found if isinstance(item, dict) and ("url" in item or "type" in item))


def _repository(kind: str, url: str, settings: Mapping[str, Any], folder: Path) -> SatisRepository:
    if kind not in _TYPES:
        return SatisRepository(
            without_login(url),
            None,
            _REASONS.get(kind, f"a repository of the type {kind[:40] or '?'}: only Git's are followed"),
        )
    if url in (".", "..") or url.startswith(("./", "../")) or (url and is_folder(str(folder / url))):
        url = str(folder.absolute() / url)
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    try:
        address = parse_address(url, _TYPES[kind] or _provider_of(host, settings))
    except InvalidError as error:
        return SatisRepository(without_login(url), None, str(error))
    return SatisRepository(address.url, address)


def _provider_of(host: str | None, settings: Mapping[str, Any]) -> str | None:
    """The provider among whose hosts the settings have one."""
    for provider in PROVIDERS.values():
        name = provider.composer.domains
        if name is not None and isinstance(domains := settings.get(name), list) and host in domains:
            return provider.name
    return None


def _part_login(value: object) -> tuple[str, SatisLogin | None]:
    """A URL without the user and password that it holds, and those."""
    url = value if isinstance(value, str) else ""
    try:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.username or not parts.hostname:
            return url, None
    except ValueError:
        return url, None
    place = parts.netloc.rpartition("@")[2]
    user, password = unquote(parts.username), unquote(parts.password or "")
    if password in ("", "x-oauth-basic"):  # a token in the user's place, as GitHub takes it
        user, password = "", user
    return parts._replace(netloc=place).geturl(), SatisLogin(place.lower(), user or None, password)


def _needed(logins: Mapping[str, SatisLogin], repositories: Sequence[SatisRepository]) -> list[SatisLogin]:
    """The logins of hosts that are followed, a host each."""
    places = [login_place(item.address.url) for item in repositories if item.address is not None]
    return [
        msgspec.structs.replace(login, plain=("http", host) in places)
        for host, login in logins.items()
        if ("https", host) in places or ("http", host) in places
    ]


def _logins(found: Mapping[str, Any]) -> Iterator[SatisLogin]:
    """What an auth.json, or the config of a satis.json, has for hosts."""
    for host, login in _mapping(found.get("http-basic")).items():
        user, password = _mapping(login).get("username"), _mapping(login).get("password")
        if isinstance(user, str) and isinstance(password, str):
            yield SatisLogin(host.lower(), user, password)
    tokens = [item for provider in PROVIDERS.values() for item in provider.composer.tokens.items()]
    for kind, username in (*tokens, ("bearer", None)):
        for host, login in _mapping(found.get(kind)).items():
            token = _mapping(login).get("token", login)
            if isinstance(token, str):
                yield SatisLogin(host.lower(), username, token)
